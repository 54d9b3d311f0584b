//! Where lines live: a channel, or the private conversation of two people.

use std::fmt;
use std::str::FromStr;

use super::{ChannelName, NameError, Target, UserName};

/// A channel, or the private conversation of two people (in the order of their names).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Channel(ChannelName),
    Private(UserName, UserName),
}

impl Place {
    pub fn private(one: UserName, other: UserName) -> Place {
        if one <= other { Place::Private(one, other) } else { Place::Private(other, one) }
    }

    /// The place that `user` means by `target`.
    pub fn of(user: &UserName, target: Target) -> Place {
        match target {
            Target::Channel(channel) => Place::Channel(channel),
            Target::User(other) => Place::private(user.clone(), other),
        }
    }

    /// What `user` calls this place.
    pub fn as_seen_by(&self, user: &UserName) -> Target {
        match self {
            Place::Channel(channel) => Target::Channel(channel.clone()),
            Place::Private(one, other) if one == user => Target::User(other.clone()),
            Place::Private(one, _) => Target::User(one.clone()),
        }
    }

    /// The two people of a private conversation.
    pub fn people(&self) -> Option<[&UserName; 2]> {
        match self {
            Place::Channel(_) => None,
            Place::Private(one, other) => Some([one, other]),
        }
    }
}

/// For files: `#channel` with its whole tag, or `@one@other`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Channel(channel) => f.write_str(channel.as_str()),
            Place::Private(one, other) => write!(f, "@{one}@{other}"),
        }
    }
}

impl FromStr for Place {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('@').and_then(|names| names.split_once('@')) {
            Some((one, other)) => Ok(Place::private(one.parse()?, other.parse()?)),
            None => Ok(Place::Channel(text.parse()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_for_both_and_is_read_back() {
        let (ana, bob): (UserName, UserName) = ("ana".parse().unwrap(), "bob".parse().unwrap());
        let place = Place::of(&ana, "@bob".parse().unwrap());
        assert_eq!(place, Place::of(&bob, "@ana".parse().unwrap()));
        assert_eq!(place.as_seen_by(&ana).to_string(), "@bob");
        assert_eq!(place.as_seen_by(&bob).to_string(), "@ana");
        for place in [place, "#tea".parse().unwrap(), Place::private(ana.clone(), ana)] {
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
        assert!("@ana".parse::<Place>().is_err());
    }
}
