//! Conversations: a channel, or the private messages of two users.

use std::fmt;
use std::str::FromStr;

use super::{ChannelName, NameError, Target, UserName};

/// A channel, or a private conversation of two users, ordered by their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conversation {
    Channel(ChannelName),
    Private(UserName, UserName),
}

impl Conversation {
    pub fn private(one: UserName, other: UserName) -> Conversation {
        if one <= other {
            Conversation::Private(one, other)
        } else {
            Conversation::Private(other, one)
        }
    }

    /// Returns the conversation that `target` names for `user`.
    pub fn of(user: &UserName, target: Target) -> Conversation {
        match target {
            Target::Channel(channel) => Conversation::Channel(channel),
            Target::User(other) => Conversation::private(user.clone(), other),
        }
    }

    /// Returns the target by which `user` addresses this conversation.
    pub fn as_seen_by(&self, user: &UserName) -> Target {
        match self {
            Conversation::Channel(channel) => Target::Channel(channel.clone()),
            Conversation::Private(one, other) if one == user => Target::User(other.clone()),
            Conversation::Private(one, _) => Target::User(one.clone()),
        }
    }

    /// The form in logs: neither a tag, with which a reader of the log could try PINs, nor who
    /// writes to whom.
    pub fn in_log(&self) -> String {
        match self {
            Conversation::Channel(channel) => channel.bare().to_string(),
            Conversation::Private(..) => "a private conversation".to_owned(),
        }
    }

    /// Returns a text that is the same for all spellings of the two users' names.
    pub fn folded(&self) -> String {
        match self {
            Conversation::Channel(channel) => channel.as_str().to_owned(),
            Conversation::Private(one, other) => format!("@{}@{}", one.folded(), other.folded()),
        }
    }

    /// Returns a private conversation of `old` as one of `new`; `None` for other conversations.
    pub fn renamed(&self, old: &UserName, new: &UserName) -> Option<Conversation> {
        let people = self.people().filter(|people| people.contains(&old))?;
        let [one, other] = people.map(|name| if name == old { new } else { name }.clone());
        Some(Conversation::private(one, other))
    }

    /// Returns the two users of a private conversation.
    pub fn people(&self) -> Option<[&UserName; 2]> {
        match self {
            Conversation::Channel(_) => None,
            Conversation::Private(one, other) => Some([one, other]),
        }
    }
}

/// The form in files: `#channel` with its whole tag, or `@one@other`.
impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conversation::Channel(channel) => f.write_str(channel.as_str()),
            Conversation::Private(one, other) => write!(f, "@{one}@{other}"),
        }
    }
}

impl FromStr for Conversation {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('@').and_then(|names| names.split_once('@')) {
            Some((one, other)) => Ok(Conversation::private(one.parse()?, other.parse()?)),
            None => Ok(Conversation::Channel(text.parse()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_equal_for_both_users_and_round_trips() {
        let (ana, bob): (UserName, UserName) = ("ana".parse().unwrap(), "bob".parse().unwrap());
        let conversation = Conversation::of(&ana, "@bob".parse().unwrap());
        assert_eq!(conversation, Conversation::of(&bob, "@ana".parse().unwrap()));
        assert_eq!(conversation.as_seen_by(&ana).to_string(), "@bob");
        assert_eq!(conversation.as_seen_by(&bob).to_string(), "@ana");
        for conversation in
            [conversation, "#tea".parse().unwrap(), Conversation::private(ana.clone(), ana)]
        {
            assert_eq!(conversation.to_string().parse::<Conversation>().unwrap(), conversation);
        }
        assert!("@ana".parse::<Conversation>().is_err());
        let shouts = Conversation::of(&"ANA".parse().unwrap(), "@Bob".parse().unwrap());
        assert_eq!((&shouts.folded()[..], shouts.to_string()), ("@ana@bob", "@ANA@Bob".into()));
    }
}
