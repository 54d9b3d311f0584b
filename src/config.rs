//! config.json: what an operator may set.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use log::LevelFilter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::chat::{ChannelName, Place, Retention, TimeSpan};
use crate::limits::Limits;
use crate::suite::Suites;

/// The seeds' two keys are a whole config.json; the rest has defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server_ip: IpAddr,
    pub server_port: u16,
    /// The host or address that invites name, where the one listened on says nothing to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_host: Option<String>,
    /// Shown to everybody who enters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motd: Option<String>,
    /// How long the audit trail is kept: `forever`, `1y`, or `off` for none.
    pub audit: Retention,
    /// Who is asked for a password: those who have one, or everybody.
    pub passwords: Passwords,
    /// Keys that were not here for so long are registered no more; none for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_expiry: Option<TimeSpan>,
    /// What is logged, how and where.
    pub log: LogRules,
    /// Whether addresses of people are written to the log.
    pub log_ip: bool,
    /// Where figures for Prometheus can be fetched: an address of this computer's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// Whether anything is kept on disk.
    pub history: History,
    /// How long lines are kept where a channel has no rule of its own.
    pub retention: Retention,
    /// Whether the lines of a channel with a PIN go with the last of its people.
    pub forget_empty: bool,
    /// Rules of single channels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<ChannelName, ChannelRules>,
    /// Addresses or CIDR ranges that may connect; all where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpRange>,
    /// Those that may not, whatever `allow` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpRange>,
    /// Sources that the limits against strangers spare: addresses or CIDR ranges.
    pub exempt: Vec<IpRange>,
    /// The suites of the handshake that clients may log in with.
    pub suites: Suites,
    pub limits: Limits,
}

/// Whether lines are kept on disk at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    On,
    Off,
}

/// What an operator may set for one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelRules {
    pub retention: Retention,
}

/// Who is asked for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passwords {
    /// Those who have one.
    Set,
    /// Everybody: who has none is not let in.
    All,
}

/// What is logged, how and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogRules {
    #[serde(with = "level")]
    pub level: LevelFilter,
    pub format: LogFormat,
    /// Instead of stderr; from the home's folder on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A file of so many bytes is moved aside ...
    pub bytes_max: u64,
    /// ... and so many of those are kept.
    pub files_max: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for LogRules {
    fn default() -> Self {
        LogRules {
            level: LevelFilter::Info,
            format: LogFormat::Text,
            file: None,
            bytes_max: 10 << 20,
            files_max: 5,
        }
    }
}

/// Levels as words: `error`, `warn`, `info`, `debug`.
mod level {
    use log::LevelFilter;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(level: &LevelFilter, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&level.as_str().to_lowercase())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LevelFilter, D::Error> {
        let word = String::deserialize(from)?;
        let wrong = || de::Error::custom("a level is error, warn, info or debug");
        word.parse().map_err(|_| wrong())
    }
}

/// How long the lines of each place are kept.
#[derive(Clone, Debug)]
pub struct Retentions {
    default: Retention,
    channels: BTreeMap<ChannelName, Retention>,
    forget_empty: bool,
}

impl Retentions {
    /// Whether some place would go from memory to disk, or from disk to memory.
    pub fn moves(&self, to: &Retentions) -> bool {
        let off = |one: Retention| one == Retention::Off;
        let named = self.channels.keys().chain(to.channels.keys());
        let mut named = named.map(|channel| Place::Channel(channel.clone()));
        off(self.default) != off(to.default)
            || named.any(|place| off(self.of(&place)) != off(to.of(&place)))
    }

    /// The same for every place.
    pub fn all(default: Retention) -> Retentions {
        Retentions { default, channels: BTreeMap::new(), forget_empty: false }
    }

    pub fn of(&self, place: &Place) -> Retention {
        match place {
            // A rule for a name holds for its channels with a PIN too.
            Place::Channel(channel) => {
                let own = self.channels.get(channel);
                *own.or_else(|| self.channels.get(&channel.bare())).unwrap_or(&self.default)
            }
            Place::Private(..) => self.default,
        }
    }

    /// Whether there is a rule for just this channel.
    pub fn names(&self, place: &Place) -> bool {
        matches!(place, Place::Channel(channel) if self.channels.contains_key(channel))
    }

    /// Whether a place's lines go at once when nobody is left in it.
    pub fn forgets(&self, place: &Place) -> bool {
        self.forget_empty && matches!(place, Place::Channel(channel) if channel.has_pin())
    }
}

/// An address or a CIDR range. Host bits must be zero; v4-mapped addresses compare as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    pub network: IpAddr,
    pub prefix_bits: u8,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    /// `hint` names the nearest known key where one is near.
    #[error("{}: {place}{problem}", path.display())]
    Value { path: PathBuf, place: String, problem: String, hint: Option<String> },
}

impl Config {
    pub fn retentions(&self) -> Retentions {
        if self.history == History::Off {
            return Retentions::all(Retention::Off);
        }
        let rule = |(name, rules): (&ChannelName, &ChannelRules)| (name.clone(), rules.retention);
        let channels = self.channels.iter().map(rule).collect();
        Retentions { default: self.retention, channels, forget_empty: self.forget_empty }
    }

    /// Reads a configuration; the defaults where there is no file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(&text, path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
            Err(error) => Err(ConfigError::Io { path: path.to_owned(), error }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let fault = |place: String, problem: String, hint| {
            let path = path.to_owned();
            ConfigError::Value { path, place, problem, hint }
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let config: Config =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                let place = match error.path().to_string().as_str() {
                    "." | "?" => String::new(),
                    place => format!("{place}: "),
                };
                let problem = error.inner().to_string();
                let comment = text.lines().any(|line| line.trim_start().starts_with(['/', '#']));
                let no_comments = || "JSON has no comments: remove them".to_owned();
                let hint = nearest(&problem).or_else(|| comment.then(no_comments));
                fault(place, problem, hint)
            })?;
        deserializer.end().map_err(|error| fault(String::new(), error.to_string(), None))?;
        config.limits.check().map_err(|(name, problem)| {
            fault(format!("limits.{name}: "), problem.to_owned(), None)
        })?;
        if config.metrics.is_some_and(|address| !address.ip().is_loopback()) {
            let problem = "figures are for this computer only: use a loopback address";
            return Err(fault("metrics: ".to_owned(), problem.to_owned(), None));
        }
        Ok(config)
    }
}

/// What to do about a word that serde does not know: the nearest of those that it expected there.
fn nearest(problem: &str) -> Option<String> {
    let of = |kind| problem.strip_prefix(kind);
    let words = of("unknown field `").or_else(|| of("unknown variant `"))?;
    let mut words = words.split('`').step_by(2);
    let unknown = words.next()?;
    let near = words.map(|known| (strsim::damerau_levenshtein(known, unknown), known)).min();
    match near.filter(|(distance, _)| *distance <= 1 + unknown.len() / 4) {
        Some((_, known)) => Some(format!("did you mean {known}?")),
        None if Limits::NAMES.contains(&unknown) => {
            Some(format!("{unknown} belongs under \"limits\""))
        }
        None => None,
    }
}

impl Default for Config {
    fn default() -> Self {
        let loopback =
            ["127.0.0.0/8", "::1/128"].map(|range| range.parse().expect("a legal range"));
        Config {
            server_ip: IpAddr::from([127, 0, 0, 1]),
            server_port: 5000,
            invite_host: None,
            motd: None,
            audit: Retention::Forever,
            passwords: Passwords::Set,
            device_expiry: None,
            log: LogRules::default(),
            log_ip: true,
            metrics: None,
            history: History::On,
            retention: Retention::Forever,
            forget_empty: false,
            channels: BTreeMap::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            exempt: loopback.to_vec(),
            suites: Suites::default(),
            limits: Limits::default(),
        }
    }
}

/// Whether an address may come in: it is in no range of `deny`, and in one of `allow` where there are
/// any.
pub fn admits(allow: &[IpRange], deny: &[IpRange], address: IpAddr) -> bool {
    let within = |ranges: &[IpRange]| ranges.iter().any(|range| range.contains(address));
    !within(deny) && (allow.is_empty() || within(allow))
}

impl IpRange {
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u8| {
            let shift = u32::from(width - self.prefix_bits);
            a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
        };
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// The text is no address or range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("an address or a range is written 192.168.1.7 or 192.168.1.0/24 or fd00::/8")]
    Form,
    #[error("the range has bits set beyond its prefix: write the network's own address")]
    HostBits,
}

impl FromStr for IpRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| RangeError::Form)?;
        let width: u8 = if network.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(prefix)
                if !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                prefix.parse().map_err(|_| RangeError::Form)?
            }
            Some(_) => return Err(RangeError::Form),
            None => width,
        };
        if prefix_bits > width {
            return Err(RangeError::Form);
        }
        let host_bits = match network {
            IpAddr::V4(v4) => u128::from(v4.to_bits()).checked_shl(96 + u32::from(prefix_bits)),
            IpAddr::V6(v6) => v6.to_bits().checked_shl(u32::from(prefix_bits)),
        };
        if host_bits.unwrap_or(0) != 0 {
            return Err(RangeError::HostBits);
        }
        // Who comes over IPv4 has an IPv4 address here, however a range of those is written.
        Ok(match network.to_canonical() {
            v4 if v4.is_ipv4() && network.is_ipv6() => {
                IpRange { network: v4, prefix_bits: prefix_bits.saturating_sub(96) }
            }
            _ => IpRange { network, prefix_bits },
        })
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_bits)
    }
}

impl Serialize for IpRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("config.json"))
    }

    #[test]
    fn the_seeds_file_is_a_whole_configuration() {
        let config = parse(r#"{"server_ip": "127.0.0.1", "server_port": 5000}"#).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(parse("{}").unwrap(), Config::default());
    }

    #[test]
    fn a_fault_is_named_by_its_place() {
        for (text, place) in [
            (r#"{"server_port": "5000"}"#, "server_port: "),
            (r#"{"limits": {"ping_s": -1}}"#, "limits.ping_s: "),
            (r#"{"limits": {"ping_s": 0}}"#, "limits.ping_s: "),
            (r#"{"limits": {"text_bytes_max": 9000}}"#, "limits.text_bytes_max: "),
            (r#"{"exempt": ["10.0.0.1/8"]}"#, "exempt[0]: "),
            (r#"{"allow": ["10.0.0.0/8", "fd00::1/8"]}"#, "allow[1]: "),
            (r#"{"deny": ["10.0.0.0/33"]}"#, "deny[0]: "),
            (r#"{"suites": [3]}"#, "suites: there is no suite 3"),
            (r#"{"suites": []}"#, "suites: at least one suite is needed"),
            (r#"{"suites": 2}"#, "suites: "),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("config.json: {place}")), "{error}");
        }
        for (text, word) in [
            (r#"{"server_prot": 1}"#, "server_port"),
            (r#"{"limits": {"ping": 1}}"#, "ping_s"),
            (r#"{"ping_s": 1}"#, "under \"limits\""),
            (r#"{"log": {"levle": "warn"}}"#, "did you mean level?"),
            (r#"{"log": {"format": "jsn"}}"#, "did you mean json?"),
            (r##"{"channels": {"#a": {"retentoin": "2d"}}}"##, "did you mean retention?"),
            ("// hello\n{}", "comments"),
        ] {
            let Err(ConfigError::Value { hint: Some(hint), .. }) = parse(text) else {
                panic!("no hint for {text}")
            };
            assert!(hint.contains(word), "{hint}");
        }
        let twice = parse(r#"{"server_port": 1, "server_port": 2}"#).unwrap_err().to_string();
        assert!(twice.contains("duplicate field `server_port`"), "{twice}");
        assert!(parse("{} {}").is_err());
    }

    #[test]
    fn whom_the_lists_admit() {
        let list = |ranges: &[&str]| -> Vec<IpRange> {
            ranges.iter().map(|range| range.parse().unwrap()).collect()
        };
        let admitted = |allow: &[&str], deny: &[&str], address: &str| {
            admits(&list(allow), &list(deny), address.parse().unwrap())
        };
        assert!(admitted(&[], &[], "192.0.2.7") && admitted(&[], &[], "::1"));
        assert!(admitted(&["192.0.2.0/24"], &[], "192.0.2.7"));
        assert!(admitted(&["192.0.2.0/24"], &[], "::ffff:192.0.2.7"), "v4-mapped");
        assert!(!admitted(&["192.0.2.0/24"], &[], "192.0.3.7"));
        assert!(!admitted(&["192.0.2.0/24"], &[], "2001:db8::1"));
        assert!(!admitted(&["192.0.2.0/24"], &["192.0.2.7"], "192.0.2.7"), "deny wins");
        assert!(!admitted(&[], &["2001:db8::/32"], "2001:db8:1::1"));
        assert!(admitted(&[], &["2001:db8::/32"], "2001:db9::1"));
    }

    #[test]
    fn a_place_moves_between_disk_and_memory_where_its_retention_is_turned_on_or_off() {
        let of = |text: &str| parse(text).unwrap().retentions();
        let plain = of("{}");
        assert!(!plain.moves(&of(r#"{"retention": "2d"}"#)));
        assert!(plain.moves(&of(r#"{"retention": "off"}"#)));
        assert!(!plain.moves(&of(r##"{"channels": {"#a": {"retention": "1h"}}}"##)));
        let off = of(r##"{"channels": {"#a": {"retention": "off"}}}"##);
        assert!(plain.moves(&off) && off.moves(&plain) && !off.moves(&off));
    }

    #[test]
    fn ranges_hold_what_they_say() {
        let holds = |range: &str, address: &str| {
            range.parse::<IpRange>().unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("127.0.0.0/8", "127.9.9.9") && !holds("127.0.0.0/8", "128.0.0.1"));
        assert!(holds("127.0.0.0/8", "::ffff:127.0.0.1"));
        // However it is written, and however they come.
        for address in ["192.0.2.7", "::ffff:192.0.2.7"] {
            assert!(holds("::ffff:192.0.2.0/120", address) && holds("::ffff:192.0.2.7", address));
            assert!(!holds("::ffff:192.0.3.0/120", address) && !holds("::/0", address));
        }
        assert!(holds("0.0.0.0/0", "9.9.9.9") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("::1", "::1") && holds("::/0", "fd00::1"));
        assert_eq!("10.0.0.1/8".parse::<IpRange>(), Err(RangeError::HostBits));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0/8", "x/8", "10.0.0.0/"] {
            assert_eq!(bad.parse::<IpRange>(), Err(RangeError::Form), "{bad}");
        }
    }
}
