//! Names of users, devices and channels. Parsing validates a name; a value of these types is valid.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;
use unicode_security::{GeneralSecurityProfile, MixedScript};

use super::id::{as_text, read_text};
use crate::clean;

/// The longest name in characters, without a channel's `#`.
pub const NAME_CHARS_MAX: usize = 32;

/// The length of a tag, and how many of its characters are displayed.
const TAG_CHARS: usize = 26;
const SHOWN_CHARS: usize = 4;

/// A user's name: NFC, 1 to 32 letters, digits, `-` and `_` of one script (Latin digits may be
/// mixed in), starting with a letter or a digit.
///
/// All spellings that differ in case only are one user: they are equal, have one place in a map and
/// one hash. The spelling is for display, files and the wire.
#[derive(Clone)]
pub struct UserName {
    spelled: Arc<str>,
    /// `None` for a name whose folded form is its spelling, as most are.
    folded: Option<Arc<str>>,
}

impl UserName {
    fn of(spelled: &str) -> UserName {
        let is_folded = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
        let folded = (!spelled.bytes().all(is_folded)).then(|| fold(spelled));
        let folded = folded.filter(|folded| folded != spelled).map(Arc::from);
        UserName { spelled: spelled.into(), folded }
    }

    /// Returns the spelling.
    pub fn as_str(&self) -> &str {
        &self.spelled
    }

    /// Returns the form that is equal for all spellings: lower case, in NFC.
    pub fn folded(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.spelled)
    }
}

/// Folds a name. Some letters are composed with a mark in lower case only, hence NFC after it.
fn fold(name: &str) -> String {
    name.to_lowercase().nfc().collect()
}

impl PartialEq for UserName {
    fn eq(&self, other: &UserName) -> bool {
        self.folded() == other.folded()
    }
}

impl Eq for UserName {}

impl PartialOrd for UserName {
    fn partial_cmp(&self, other: &UserName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UserName {
    fn cmp(&self, other: &UserName) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for UserName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

/// A user's device: `laptop`, `phone`. The same characters as in a user's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(Arc<str>);

/// A channel: `#` and a name in lower case, so that `#Tea` and `#tea` are one channel. A channel
/// with a PIN has a tag that is derived from the PIN: `#tea~` and 26 characters. Only the first few
/// are displayed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

/// The recipient of a message: `#channel` or `@user`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Channel(ChannelName),
    User(UserName),
}

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("names have 1 to {NAME_CHARS_MAX} characters")]
    Length,
    #[error("names contain only letters, digits, - and _, and start with a letter or a digit")]
    Character,
    #[error("names use one script: letters that look alike must not be mixed")]
    MixedScript,
    #[error("a channel is written #name")]
    NoChannel,
    #[error("a channel with a PIN is written #name~ and 26 letters")]
    Tag,
    #[error("messages are sent to #channel or @name")]
    NoTarget,
}

impl DeviceName {
    /// Returns the device of key files that name none.
    pub fn main() -> Self {
        DeviceName("main".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_default(&self) -> bool {
        &*self.0 == "main"
    }
}

impl ChannelName {
    /// Returns the channel that every user is in.
    pub fn lobby() -> Self {
        ChannelName("#lobby".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_lobby(&self) -> bool {
        &*self.0 == "#lobby"
    }

    /// Whether its messages are sealed under a PIN.
    pub fn has_pin(&self) -> bool {
        self.tag().is_some()
    }

    /// Returns the tag, which is derived from the PIN.
    pub fn tag(&self) -> Option<&str> {
        self.0.split_once('~').map(|(_, tag)| tag)
    }

    /// Returns the channel of the same name with this tag.
    ///
    /// # Errors
    ///
    /// Refuses a text that is not a tag.
    pub fn with_tag(&self, tag: &str) -> Result<ChannelName, NameError> {
        format!("{}~{tag}", self.bare()).parse()
    }

    /// Returns the channel of the same name without a PIN.
    pub fn bare(&self) -> ChannelName {
        ChannelName(format!("#{}", self.letters()).into())
    }

    /// Returns the name without `#` and tag.
    pub fn letters(&self) -> &str {
        let name = self.0.split_once('~').map_or(&*self.0, |(name, _)| name);
        &name[1..]
    }

    /// Whether `text` names this channel: a tag may be abbreviated, and `#tea~open` is the channel
    /// without a PIN.
    pub fn is_meant_by(&self, text: &str) -> bool {
        let (name, tag) = text.split_once('~').unwrap_or((text, ""));
        let name = name.strip_prefix('#').unwrap_or(name).to_lowercase();
        let tag = tag.to_lowercase();
        let tagged = match tag.as_str() {
            "open" => !self.has_pin(),
            tag => self.tag().unwrap_or_default().starts_with(tag),
        };
        name == self.letters() && tagged
    }
}

impl Target {
    pub fn is_lobby(&self) -> bool {
        matches!(self, Target::Channel(channel) if channel.is_lobby())
    }

    /// Whether messages to it are sealed: to a user, or under a PIN.
    pub fn is_sealed(&self) -> bool {
        match self {
            Target::Channel(channel) => channel.has_pin(),
            Target::User(_) => true,
        }
    }
}

/// Validates the characters of a name and returns it normalized.
fn letters(text: &str) -> Result<String, NameError> {
    if is_plain(text) { Ok(text.to_owned()) } else { any_letters(text) }
}

/// The fast path for most names: ASCII is in NFC and of one script.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && text.len() <= NAME_CHARS_MAX && text.bytes().all(plain)
}

/// The general case of `letters`.
fn any_letters(text: &str) -> Result<String, NameError> {
    let name: String = text.nfc().take(NAME_CHARS_MAX + 1).collect();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        return Err(NameError::Length);
    }
    let legal = |c: char| {
        let letter = c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c);
        matches!(c, '-' | '_') || (letter && !clean::acts(c) && c.identifier_allowed())
    };
    let first = name.chars().next().is_some_and(char::is_alphanumeric);
    if !first || !name.chars().all(legal) || clean::text(&name) != name {
        return Err(NameError::Character);
    }
    if !name.is_single_script() {
        return Err(NameError::MixedScript);
    }
    Ok(name)
}

impl FromStr for UserName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(UserName::of(&letters(text)?))
    }
}

impl FromStr for DeviceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(DeviceName(letters(text)?.into()))
    }
}

impl FromStr for ChannelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = text.strip_prefix('#').ok_or(NameError::NoChannel)?;
        if is_plain(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(ChannelName(text.into()));
        }
        let (name, tag) = match name.split_once('~') {
            Some((name, tag)) => (name, Some(tag)),
            None => (name, None),
        };
        let name = letters(&fold(&letters(name)?))?;
        match tag {
            None => Ok(ChannelName(format!("#{name}").into())),
            Some(tag) if is_tag(tag) && name != "lobby" => {
                Ok(ChannelName(format!("#{name}~{tag}").into()))
            }
            Some(_) => Err(NameError::Tag),
        }
    }
}

impl FromStr for Target {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('@') {
            Some(name) => name.parse().map(Target::User),
            None if text.starts_with('#') => text.parse().map(Target::Channel),
            None => Err(NameError::NoTarget),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Channel(name) => name.fmt(f),
            Target::User(name) => write!(f, "@{name}"),
        }
    }
}

/// The form on screen: enough of the tag to tell channels apart.
impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag() {
            Some(tag) => f.pad(&format!("#{}~{}", self.letters(), &tag[..SHOWN_CHARS])),
            None => f.pad(&self.0),
        }
    }
}

/// Whether `text` is 128 bits as Crockford's base32 in lower case. Its last letter has two bits too
/// many.
fn is_tag(text: &str) -> bool {
    let legal = |byte: u8| b"0123456789abcdefghjkmnpqrstvwxyz".contains(&byte);
    text.len() == TAG_CHARS && text.bytes().all(legal) && b"048cgmrw".contains(&text.as_bytes()[25])
}

/// Implements `Debug` of all names, which prints the text.
macro_rules! names {
    ($($kind:ident),+) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    )+};
}

names!(UserName, DeviceName, ChannelName);
as_text!(UserName, DeviceName);

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.spelled)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The wire and files have the whole name with its tag.
impl Serialize for ChannelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Target::Channel(name) => name.serialize(serializer),
            Target::User(_) => serializer.collect_str(self),
        }
    }
}

read_text!(ChannelName, Target);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn user_names_have_one_script() {
        for good in ["alice", "Bob-2", "ünal", "анна", "李雷", "a_b", "7up"] {
            assert_eq!(good.parse::<UserName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            "_a",
            "a b",
            "a/b",
            "..",
            "a.b",
            "a\u{200d}b",
            "a\u{202e}b",
            "\u{1b}[31m",
            "раypal",
            "a\n",
            "@a",
            "#a",
            "a'b",
            "👍",
        ] {
            assert!(bad.parse::<UserName>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(32).parse::<UserName>().is_ok());
        assert_eq!("a".repeat(33).parse::<UserName>(), Err(NameError::Length));
    }

    #[test]
    fn the_tag_of_a_channel_with_a_pin_is_abbreviated_on_screen() {
        let tag = "kq3f0123456789abcdefghjkm0";
        let tea: ChannelName = format!("#Tea~{tag}").parse().unwrap();
        assert_eq!((tea.letters(), tea.tag()), ("tea", Some(tag)));
        assert_eq!((tea.to_string(), tea.bare().as_str()), ("#tea~kq3f".to_owned(), "#tea"));
        assert_eq!(serde_json::to_string(&tea).unwrap(), format!("\"#tea~{tag}\""));
        assert_eq!(serde_json::from_str::<Target>(&format!("\"#tea~{tag}\"")).unwrap(), {
            Target::Channel(tea.clone())
        });
        assert_eq!(tea.bare().with_tag(tag), Ok(tea.clone()));
        assert!(tea.has_pin() && !tea.bare().has_pin());
        for meant in ["tea", "#tea", "#TEA~kq", "#tea~KQ3F", tea.as_str()] {
            assert!(tea.is_meant_by(meant), "{meant}");
        }
        assert!(tea.bare().is_meant_by("#tea~open") && tea.bare().is_meant_by("tea"));
        for other in ["te", "#tea~k9", "#teas", "tea~open"] {
            assert!(!tea.is_meant_by(other), "{other}");
        }
        for bad in ["#tea~", "#tea~kq3f", &format!("#lobby~{tag}"), &format!("#tea~{tag}0")] {
            assert_eq!(bad.parse::<ChannelName>(), Err(NameError::Tag), "{bad}");
        }
        assert_eq!(tea.as_str().replace("m0", "m1").parse::<ChannelName>(), Err(NameError::Tag));
    }

    #[test]
    fn channels_fold_their_case() {
        assert_eq!("#Tea".parse::<ChannelName>().unwrap().as_str(), "#tea");
        assert!("tea".parse::<ChannelName>().is_err());
        assert!("#".parse::<ChannelName>().is_err());
        assert_eq!("@bob".parse::<Target>().unwrap().to_string(), "@bob");
        assert_eq!("bob".parse::<Target>(), Err(NameError::NoTarget));
    }

    #[test]
    fn all_spellings_of_a_name_are_one_user() {
        let hash = |name: &UserName| {
            let mut hasher = std::hash::DefaultHasher::new();
            name.hash(&mut hasher);
            hasher.finish()
        };
        let same = [("bob", "BOB"), ("bob", "boB"), ("\u{e4}nn", "\u{c4}NN"), ("анна", "Анна")];
        for (one, other) in same {
            let [one, other]: [UserName; 2] = [one, other].map(|name| name.parse().unwrap());
            assert_eq!((&one, hash(&one)), (&other, hash(&other)));
            assert_eq!(one.cmp(&other), Ordering::Equal);
            assert_eq!(Target::User(one.clone()), Target::User(other.clone()));
            assert_ne!(one.as_str(), other.as_str(), "the spelling stays");
            assert_eq!(other.to_string().parse::<UserName>().unwrap().as_str(), other.as_str());
        }
        // In capitals no letter has the mark, in lower case one does.
        assert_eq!(fold("H\u{331}"), fold("\u{1e96}"));
        let [bob, bobb]: [UserName; 2] = ["bob", "BOBB"].map(|name| name.parse().unwrap());
        assert!(bob < bobb && bob != bobb);
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_general_case(text in "[ -~]{0,34}|[a-zA-Z0-9_-]{0,34}") {
            prop_assert_eq!(letters(&text), any_letters(&text));
        }

        #[test]
        fn a_name_parses_to_itself(text in any::<String>()) {
            if let Ok(name) = text.parse::<UserName>() {
                let again: UserName = name.as_str().parse().unwrap();
                prop_assert_eq!((again.as_str(), again.folded()), (name.as_str(), name.folded()));
                prop_assert_eq!(&fold(name.folded()), name.folded());
                prop_assert!(!name.as_str().contains(['/', '.', '\0', ' ']));
            }
            if let Ok(name) = text.parse::<Target>() {
                prop_assert_eq!(name.to_string().parse::<Target>().unwrap(), name);
            }
        }
    }
}
