//! Rights: a pure table of every act against every role and state. What the table does not name is
//! denied.

use std::fmt;
use std::str::FromStr;

use super::id::as_text;

/// A user's role on this server, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    #[default]
    Member,
    Moderator,
    Owner,
    /// The server's own operating-system account: its terminal and `pychat ctl`. No user has it.
    Console,
}

/// The sanction in force against a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    Muted,
    Banned,
    /// An operator on the read-only socket, who may read and not act.
    Reading,
}

/// The text is not a role that a user can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is owner, moderator or member")]
pub struct RoleError;

macro_rules! acts {
    ($($(#[$doc:meta])* $act:ident $word:literal $least:ident,)+) => {
        /// Everything that a server can be asked to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Act {
            $($(#[$doc])* $act,)+
        }

        impl Act {
            pub const ALL: &'static [Act] = &[$(Act::$act),+];

            /// Returns the name in the tables of the documents.
            pub fn word(self) -> &'static str {
                match self {
                    $(Act::$act => $word),+
                }
            }

            /// Returns the lowest role that has the right.
            pub fn least(self) -> Role {
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
    /// Publishes the certificate of a device.
    Certify "certify" Member,
    /// Sends positions and read positions, and counts the messages after them.
    Read "resume, read, count" Member,
    /// Uploads a file, which a message then announces.
    Put "put" Member,
    Files "get, drop, usage" Member,
    Quit "exit" Member,
    /// Operator commands in general; each command is then checked by itself.
    Operate "any operator command" Moderator,
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
    /// Read-only commands about counters, channels, files and users of the server.
    Inspect "stats, status, users ..." Console,
    /// Retention, erasing and other administration of the server.
    Administer "say, retention, erase ..." Console,
}

/// Whether a role in this state has the right.
pub fn may(role: Role, state: State, act: Act) -> bool {
    let in_state = match state {
        State::Free => true,
        // Muted users can read and delete, but do nothing that others see.
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
                | Act::Files
                | Act::Quit
        ),
        State::Banned => act == Act::Quit,
        State::Reading => matches!(act, Act::Operate | Act::Banlist | Act::Inspect),
    };
    // The rights of members need a session, which the console does not have.
    let applies = role != Role::Console || act.least() > Role::Member;
    in_state && applies && role >= act.least()
}

/// Whether `by` may kick, ban, mute, promote or demote a user of the role `of`. Only higher roles
/// may, and owners can only be kicked.
pub fn may_against(by: Role, of: Role, act: Act) -> bool {
    match act {
        Act::Kick => by > of,
        Act::Ban | Act::Mute | Act::Op | Act::Deop => by > of && of < Role::Owner,
        _ => false,
    }
}

/// Returns which users have a right that needs at least this role, and whom to ask.
pub fn who_may(least: Role) -> &'static str {
    match least {
        Role::Member => "users may, in the chat",
        Role::Moderator => "moderators and owners may: ask one of them",
        Role::Owner => "owners may: ask one of them",
        Role::Console => {
            "the account of the server may, with pychat ctl: ask the person who runs it"
        }
    }
}

/// Returns the least role that may do this to a user of the role `of`; `None` if no role may.
pub fn least_against(of: Role, act: Act) -> Option<Role> {
    ROLES.into_iter().find(|by| may(*by, State::Free, act) && may_against(*by, of, act))
}

/// Whether `by` may take back what somebody of the role `decided` has decided, or put another in
/// its place: an owner's word and the console's hold until one of them says otherwise.
pub fn may_undo(by: Role, decided: Role) -> bool {
    by >= Role::Moderator && by >= decided.min(Role::Owner)
}

const ROLES: [Role; 4] = [Role::Member, Role::Moderator, Role::Owner, Role::Console];

/// Renders the table of rights in docs/operating.md.
pub fn table() -> String {
    let mut text =
        String::from("| act | member | moderator | owner | console | muted | banned | reader |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for act in Act::ALL {
        let free = ROLES.map(|role| may(role, State::Free, *act));
        // Moderators are the highest role that can be muted or banned.
        let bound = [State::Muted, State::Banned].map(|state| may(Role::Moderator, state, *act));
        let reads = [may(Role::Console, State::Reading, *act)];
        let cells =
            free.iter().chain(&bound).chain(&reads).map(|may| if *may { "yes" } else { "-" });
        let cells: Vec<_> = cells.collect();
        text.push_str(&format!("| `{}` | {} |\n", act.word(), cells.join(" | ")));
    }
    text
}

/// Renders the table in docs/operating.md of what each role may do to others, and to sanctions of
/// others.
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
