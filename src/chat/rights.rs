//! Who may do what: one pure table of every act against every role and state. What the table does
//! not name is denied.

use std::fmt;
use std::str::FromStr;

use super::id::as_text;
use super::{Command, Kind};

/// A user's role on this server, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    #[default]
    Member,
    Moderator,
    Owner,
    /// Whoever holds the server's own account: its terminal and `pychat ctl`. No user has it.
    Console,
}

/// How a person stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    Muted,
    Banned,
}

/// The text is no role that a user can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is owner, moderator or member")]
pub struct RoleError;

macro_rules! acts {
    ($($(#[$doc:meta])* $act:ident $word:literal $least:ident,)+) => {
        /// Everything that can be asked of a server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Act {
            $($(#[$doc])* $act,)+
        }

        impl Act {
            pub const ALL: &'static [Act] = &[$(Act::$act),+];

            /// As in the table of the documents.
            pub fn word(self) -> &'static str {
                match self {
                    $(Act::$act => $word),+
                }
            }

            /// The least role that has it.
            fn least(self) -> Role {
                match self {
                    $(Act::$act => Role::$least),+
                }
            }
        }
    };
}

acts! {
    Say "say, me" Member,
    Edit "edit" Member,
    Delete "delete" Member,
    Topic "topic" Member,
    SetTopic "topic TEXT" Member,
    Away "away" Member,
    Join "join" Member,
    Part "part" Member,
    People "list" Member,
    Channels "channels" Member,
    Whois "whois" Member,
    History "history" Member,
    Search "search" Member,
    Keys "keys" Member,
    /// To publish the certificate of one's device.
    Certify "certify" Member,
    /// Up to where one has a conversation, and has read it.
    Read "resume, read" Member,
    Quit "exit" Member,
    /// The operator's words as such; each is then looked up by itself.
    Operate "any operator's word" Moderator,
    Kick "kick" Moderator,
    Ban "ban" Moderator,
    Unban "unban" Moderator,
    Banlist "banlist" Moderator,
    Mute "mute" Moderator,
    Unmute "unmute" Moderator,
    Announce "announce" Moderator,
    Op "op" Owner,
    Deop "deop" Owner,
    Motd "motd" Owner,
    Reload "reload" Owner,
    Shutdown "shutdown" Owner,
    /// Counters, all channels, retention, erasing and other administration of the server.
    Administer "stats, users, retention, erase ..." Console,
}

/// Whether somebody of this role, who stands so, may do this at all.
pub fn may(role: Role, state: State, act: Act) -> bool {
    let stands = match state {
        State::Free => true,
        // Who is muted reads on, tidies up, and says nothing that others would see.
        State::Muted => matches!(
            act,
            Act::Delete
                | Act::Topic
                | Act::Join
                | Act::Part
                | Act::People
                | Act::Channels
                | Act::Whois
                | Act::History
                | Act::Search
                | Act::Keys
                | Act::Certify
                | Act::Read
                | Act::Quit
        ),
        State::Banned => act == Act::Quit,
    };
    // The console has no session.
    let seat = role != Role::Console || act.least() > Role::Member;
    stands && seat && role >= act.least()
}

/// Whether somebody of the role `of` may be kicked, banned, muted, raised or lowered by `by`: only
/// from above, and an owner is kicked at most.
pub fn may_against(by: Role, of: Role, act: Act) -> bool {
    match act {
        Act::Kick => by > of,
        Act::Ban | Act::Mute | Act::Op | Act::Deop => by > of && of < Role::Owner,
        _ => false,
    }
}

/// Whether `by` may take back what somebody of the role `decided` has decided, or put another in
/// its place: an owner's word and the console's hold until one of them says otherwise.
pub fn may_undo(by: Role, decided: Role) -> bool {
    by >= Role::Moderator && by >= decided.min(Role::Owner)
}

/// The act behind a client's request; none for what this server does not know.
pub fn act_of(command: &Command) -> Option<Act> {
    Some(match command {
        Command::Say(message) => match message.kind {
            Kind::Say | Kind::Me => Act::Say,
            Kind::Edit { .. } => Act::Edit,
            Kind::Delete { .. } => Act::Delete,
        },
        Command::Topic { text: None, .. } => Act::Topic,
        Command::Topic { text: Some(_), .. } => Act::SetTopic,
        // Whoever is back says nothing.
        Command::Away { text: None } => Act::Read,
        Command::Away { text: Some(_) } => Act::Away,
        Command::Join { .. } => Act::Join,
        Command::Part { .. } => Act::Part,
        Command::People { .. } => Act::People,
        Command::Channels { .. } => Act::Channels,
        Command::Whois { .. } => Act::Whois,
        Command::History { .. } => Act::History,
        Command::Search { .. } => Act::Search,
        Command::Keys { .. } => Act::Keys,
        Command::Certify { .. } => Act::Certify,
        Command::Resume { .. } | Command::Read { .. } => Act::Read,
        Command::Quit => Act::Quit,
        Command::Operate { .. } => Act::Operate,
        // It has its time before the welcome.
        Command::Password { .. } | Command::Unknown => return None,
    })
}

const ROLES: [Role; 4] = [Role::Member, Role::Moderator, Role::Owner, Role::Console];

/// The table of docs/operating.md.
pub fn table() -> String {
    let mut text =
        String::from("| act | member | moderator | owner | console | muted | banned |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for act in Act::ALL {
        let free = ROLES.map(|role| may(role, State::Free, *act));
        // Of who is muted or banned, the mightiest that can be.
        let bound = [State::Muted, State::Banned].map(|state| may(Role::Moderator, state, *act));
        let cells = free.iter().chain(&bound).map(|may| if *may { "yes" } else { "-" });
        let cells: Vec<_> = cells.collect();
        text.push_str(&format!("| `{}` | {} |\n", act.word(), cells.join(" | ")));
    }
    text
}

/// The table of docs/operating.md of what is done to others, and to what others have decided.
pub fn table_of_targets() -> String {
    let mut text = String::from("| act | about | member | moderator | owner | console |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    let mut row = |act: Act, about: String, allows: &dyn Fn(Role) -> bool| {
        let can = |role| may(role, State::Free, act) && allows(role);
        let cells = ROLES.map(|role| if can(role) { "yes" } else { "-" });
        text.push_str(&format!("| `{}` | {about} | {} |\n", act.word(), cells.join(" | ")));
    };
    for act in [Act::Kick, Act::Ban, Act::Mute, Act::Op, Act::Deop] {
        for of in &ROLES[..3] {
            row(act, format!("{of}"), &|by| may_against(by, *of, act));
        }
    }
    for act in [Act::Unban, Act::Unmute, Act::Ban, Act::Mute] {
        for decided in &ROLES[1..] {
            row(act, format!("decided by {decided}"), &|by| may_undo(by, *decided));
        }
    }
    text
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text.to_lowercase().as_str() {
            "owner" => Ok(Role::Owner),
            "moderator" => Ok(Role::Moderator),
            "member" => Ok(Role::Member),
            _ => Err(RoleError),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Member => "member",
            Role::Moderator => "moderator",
            Role::Owner => "owner",
            Role::Console => "console",
        })
    }
}

as_text!(Role);

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
