//! config.json: the operator's configuration.

mod home_name;
mod host;
mod web;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use log::LevelFilter;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::chat::{ChannelName, Conversation, Retention, TimeSpan};
use crate::file::json_file::{self, Misfit};
use crate::file::{self, FileError};
use crate::limits::Limits;
use crate::nearest::nearest;
use crate::suite::Suites;
pub use home_name::{HOME_DOMAINS, HomeName, HomeNameError, PRIVATE_V4, PRIVATE_V6};
pub use host::{InviteHost, is_reachable};
pub use web::{WebOrigin, WebTls, host_of};

/// The configuration. The keys `server_ip` and `server_port` are a complete config.json; all others
/// have defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server_ip: IpAddr,
    pub server_port: u16,
    /// The addresses on which the server listens, instead of `server_ip` and `server_port`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<SocketAddr>,
    /// Host or address in invites, if the one that the server listens on is of no use to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_host: Option<InviteHost>,
    /// Message of the day, shown after each login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motd: Option<String>,
    /// How long the audit trail is kept: `forever`, `1y`, or `off` for no trail.
    pub audit: Retention,
    /// Which users are asked for a password.
    pub passwords: Passwords,
    /// Keys that have not logged in for this long are no longer registered; `None` for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_expiry: Option<TimeSpan>,
    /// Level, format and file of the log.
    pub log: LogRules,
    /// Whether the log contains users' addresses.
    pub log_ip: bool,
    /// Loopback address of the metrics for Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// Path of the read-only socket, whose users see what operators see and cannot change anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_socket: Option<PathBuf>,
    /// Address of the web port, where clients connect by WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web: Option<SocketAddr>,
    /// Certificate of the web port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_tls: Option<WebTls>,
    /// Names of this server in its home network. Without `web_tls`, the server's own certificate
    /// authority issues a certificate for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub web_names: Vec<HomeName>,
    /// Origins of this server on the web, as browsers name them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub web_origins: Vec<WebOrigin>,
    /// Proxies in front of the web port, which name their peers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub web_proxies: Vec<IpRange>,
    /// Whether messages are stored on disk.
    pub history: History,
    /// Retention of messages in conversations without an own rule.
    pub retention: Retention,
    /// Whether the messages of a channel with a PIN are removed with its last member.
    pub forget_empty: bool,
    /// Rules of single channels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    pub channels: BTreeMap<ChannelName, ChannelRules>,
    /// Address ranges that may connect; all if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpRange>,
    /// Address ranges that may not connect, also if `allow` contains them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpRange>,
    /// Address ranges that are exempt from the limits on unauthenticated connections. The default
    /// is loopback if only this computer's own programs connect from there (`exempt_and_shared`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exempt: Option<Vec<IpRange>>,
    /// Suites of the handshake that clients may use.
    pub suites: Suites,
    pub limits: Limits,
}

/// Old files of the log: each is renamed when the log is rotated.
const LOG_FILES_MAX: u32 = 1_000;

/// Maximum number of addresses on which a server listens: each is a socket that one thread polls.
pub const LISTEN_MAX: usize = 16;

/// The addresses of this computer's own programs.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// Whether messages are stored on disk at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    On,
    Off,
}

/// Rules of a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelRules {
    pub retention: Retention,
}

/// Reads rules of channels, of which no two are for one channel: `#WORK` and `#work` are one.
fn unique<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<ChannelName, ChannelRules>, D::Error> {
    struct Rules;

    impl<'de> Visitor<'de> for Rules {
        type Value = BTreeMap<ChannelName, ChannelRules>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("rules by channel")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut rules = BTreeMap::new();
            while let Some((channel, rule)) = map.next_entry::<ChannelName, _>()? {
                if rules.insert(channel.clone(), rule).is_some() {
                    let error = format!("two rules for {channel}: case makes no other name");
                    return Err(de::Error::custom(error));
                }
            }
            Ok(rules)
        }
    }
    deserializer.deserialize_map(Rules)
}

/// Which users are asked for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passwords {
    /// Users who have one.
    Set,
    /// All users: a user without a password is not admitted.
    All,
}

/// Level, format and file of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogRules {
    #[serde(with = "level")]
    pub level: LevelFilter,
    pub format: LogFormat,
    /// Path, relative to the home; stderr if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A file of this size is renamed.
    pub bytes_max: u64,
    /// Number of renamed files that are kept.
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

/// Returns a level of the log; `None` for other words. `off` and `trace` of the library are none.
pub fn log_level(word: &str) -> Option<LevelFilter> {
    let level = word.parse().ok()?;
    (LevelFilter::Error..=LevelFilter::Debug).contains(&level).then_some(level)
}

/// Log levels as words: `error`, `warn`, `info`, `debug`.
mod level {
    use log::LevelFilter;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(level: &LevelFilter, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&level.as_str().to_lowercase())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LevelFilter, D::Error> {
        let word = String::deserialize(from)?;
        let wrong = || de::Error::custom("a level is error, warn, info or debug");
        super::log_level(&word).ok_or_else(wrong)
    }
}

/// The retention of each conversation.
#[derive(Clone, Debug)]
pub struct Retentions {
    default: Retention,
    channels: BTreeMap<ChannelName, Retention>,
    forget_empty: bool,
}

impl Retentions {
    /// Returns whether some conversation would move between disk and memory.
    pub fn moves(&self, to: &Retentions) -> bool {
        let off = |one: Retention| one == Retention::Off;
        let named = self.channels.keys().chain(to.channels.keys());
        let mut named = named.map(|channel| Conversation::Channel(channel.clone()));
        off(self.default) != off(to.default)
            || named.any(|conversation| off(self.of(&conversation)) != off(to.of(&conversation)))
    }

    /// Returns one retention for all conversations.
    pub fn all(default: Retention) -> Retentions {
        Retentions { default, channels: BTreeMap::new(), forget_empty: false }
    }

    pub fn of(&self, conversation: &Conversation) -> Retention {
        match conversation {
            // A rule for a name applies to channels with a PIN of that name too.
            Conversation::Channel(channel) => {
                let own = self.channels.get(channel);
                *own.or_else(|| self.channels.get(&channel.bare())).unwrap_or(&self.default)
            }
            Conversation::Private(..) => self.default,
        }
    }

    /// Returns whether there is a rule for this channel.
    pub fn names(&self, conversation: &Conversation) -> bool {
        matches!(conversation, Conversation::Channel(channel) if self.channels.contains_key(channel))
    }

    /// Returns whether a conversation's messages are removed as soon as it has no members.
    pub fn forgets(&self, conversation: &Conversation) -> bool {
        self.forget_empty
            && matches!(conversation, Conversation::Channel(channel) if channel.has_pin())
    }
}

/// An address or a CIDR range. Host bits must be zero; IPv4-mapped addresses compare as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    pub network: IpAddr,
    pub prefix_bits: u8,
}

/// An error of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    File(#[from] FileError),
    /// `hint` names the nearest known key, if one is similar.
    #[error("{}: {place}{problem}", path.display())]
    Value { path: PathBuf, place: String, problem: String, hint: Option<String> },
}

impl Config {
    /// Returns the addresses on which the server listens, unless the command line names others.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self.listen.is_empty() {
            true => vec![SocketAddr::new(self.server_ip, self.server_port)],
            false => self.listen.clone(),
        }
    }

    /// Returns the free space that new messages leave on the disk, in bytes; 0 without a history.
    pub fn disk_reserve_bytes(&self) -> u64 {
        match self.history {
            History::On => self.limits.disk_reserve_bytes as u64,
            History::Off => 0,
        }
    }

    /// Returns whether unrelated users connect from loopback: through an onion service or, if the
    /// server listens only on loopback, through a proxy or a tunnel.
    pub fn loopback_is_shared(&self, listen: &[SocketAddr]) -> bool {
        let host = self.invite_host.as_ref().map_or("", InviteHost::as_str);
        let onion = host.to_ascii_lowercase().ends_with(".onion");
        let is_loopback = |at: &SocketAddr| at.ip().to_canonical().is_loopback();
        onion || (self.exempt.is_none() && listen.iter().all(is_loopback))
    }

    /// Returns the ranges that are exempt from the limits on unauthenticated connections, and the
    /// ranges that do not identify users.
    pub fn exempt_and_shared(&self, listen: &[SocketAddr]) -> (Vec<IpRange>, Vec<IpRange>) {
        let loopback = || LOOPBACK.map(|range| range.parse().expect("a legal range")).to_vec();
        let shared = self.loopback_is_shared(listen);
        let exempt = match &self.exempt {
            Some(own) => own.clone(),
            None if shared => Vec::new(),
            None => loopback(),
        };
        (exempt, if shared { loopback() } else { Vec::new() })
    }

    pub fn retentions(&self) -> Retentions {
        if self.history == History::Off {
            return Retentions::all(Retention::Off);
        }
        let rule = |(name, rules): (&ChannelName, &ChannelRules)| (name.clone(), rules.retention);
        let channels = self.channels.iter().map(rule).collect();
        Retentions { default: self.retention, channels, forget_empty: self.forget_empty }
    }

    /// Reads a configuration; the defaults if the file does not exist.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Ok(Config::read(path)?.unwrap_or_default())
    }

    /// Reads a configuration; `None` if the file does not exist. A link that leads to no file is an
    /// error: the rules of the configuration would not apply.
    pub fn read(path: &Path) -> Result<Option<Config>, ConfigError> {
        let Some(bytes) = file::read_bytes_up_to(path, json_file::LARGE)? else {
            return match path.is_symlink() {
                true => Err(FileError::damaged(path, "it leads to no file").into()),
                false => Ok(None),
            };
        };
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| FileError::damaged(path, "it is not text"))?;
        Config::parse(&text, path).map(Some)
    }

    fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let fault = |place: String, problem: String, hint| {
            let path = path.to_owned();
            ConfigError::Value { path, place, problem, hint }
        };
        let misfit = |Misfit { place, problem }| {
            let comment = text.lines().any(|line| line.trim_start().starts_with(['/', '#']));
            let no_comments = || "JSON has no comments: remove them".to_owned();
            let hint = hint(&problem).or_else(|| comment.then(no_comments));
            fault(place, problem, hint)
        };
        let config: Config = json_file::parse(text).map_err(misfit)?;
        let objects = ["limits", "log", "web_tls"];
        json_file::check_objects(text, &objects, "channels").map_err(misfit)?;
        config
            .limits
            .check()
            .map_err(|(name, problem)| fault(format!("limits.{name}: "), problem, None))?;
        if config.log.files_max > LOG_FILES_MAX {
            let problem = format!("it is at most {LOG_FILES_MAX}");
            return Err(fault("log.files_max: ".to_owned(), problem, None));
        }
        check_listen(&config.listen).map_err(|problem| fault("listen: ".into(), problem, None))?;
        if config.metrics.is_some_and(|address| !address.ip().is_loopback()) {
            let problem = "metrics are for this computer only: use a loopback address";
            return Err(fault("metrics: ".to_owned(), problem.to_owned(), None));
        }
        Ok(config)
    }
}

/// Checks addresses on which one server listens.
///
/// # Errors
/// There are too many addresses, or one is listed twice.
pub fn check_listen(addresses: &[SocketAddr]) -> Result<(), String> {
    if addresses.len() > LISTEN_MAX {
        return Err(format!("a server listens on at most {LISTEN_MAX} addresses"));
    }
    let twice = addresses
        .iter()
        .enumerate()
        .find(|(number, address)| address.port() != 0 && addresses[..*number].contains(address));
    twice.map_or(Ok(()), |(_, address)| Err(format!("{address} is listed twice")))
}

/// Returns the hint for a word that serde does not know: the nearest expected one.
fn hint(problem: &str) -> Option<String> {
    let of = |kind| problem.strip_prefix(kind);
    let words = of("unknown field `").or_else(|| of("unknown variant `"))?;
    let mut words = words.split('`').step_by(2);
    let unknown = words.next()?;
    match nearest(unknown, words).filter(|(distance, _)| *distance <= 1 + unknown.len() / 4) {
        Some((_, known)) => Some(format!("did you mean {known}?")),
        None if Limits::NAMES.contains(&unknown) => {
            Some(format!("{unknown} belongs under \"limits\""))
        }
        None => None,
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server_ip: IpAddr::from([127, 0, 0, 1]),
            server_port: 5000,
            listen: Vec::new(),
            invite_host: None,
            motd: None,
            audit: Retention::Forever,
            passwords: Passwords::Set,
            device_expiry: None,
            log: LogRules::default(),
            log_ip: true,
            metrics: None,
            read_socket: None,
            web: None,
            web_tls: None,
            web_names: Vec::new(),
            web_origins: Vec::new(),
            web_proxies: Vec::new(),
            history: History::On,
            retention: Retention::Forever,
            forget_empty: false,
            channels: BTreeMap::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            exempt: None,
            suites: Suites::default(),
            limits: Limits::default(),
        }
    }
}

/// Returns whether an address may connect: it is in no range of `deny`, and in one of `allow`
/// unless that is empty.
pub fn admits(allow: &[IpRange], deny: &[IpRange], address: IpAddr) -> bool {
    let within = |ranges: &[IpRange]| ranges.iter().any(|range| range.contains(address));
    !within(deny) && (allow.is_empty() || within(allow))
}

impl IpRange {
    /// Returns the network with this prefix that contains an address.
    pub fn around(address: IpAddr, prefix_bits: u8) -> IpRange {
        let bits = u32::from(prefix_bits);
        let network = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        };
        IpRange { network, prefix_bits }
    }

    /// Whether the ranges have an address in common.
    pub fn overlaps(&self, other: &IpRange) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// Returns the number of addresses; `None` for all of IPv6, which has more than a `u128`.
    pub fn addresses(&self) -> Option<u128> {
        let width = if self.network.is_ipv4() { 32 } else { 128 };
        1_u128.checked_shl(width - u32::from(self.prefix_bits))
    }

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
    #[error("an address or range has the form 192.168.1.7, 192.168.1.0/24 or fd00::/8")]
    Form,
    /// The network that contains the address.
    #[error("the range has bits beyond its prefix: write {0}")]
    HostBits(IpRange),
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
        let range = IpRange::around(network, prefix_bits);
        if range.network != network {
            return Err(RangeError::HostBits(range));
        }
        // Ranges of IPv4 in any notation match peers that connect over IPv4.
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
mod tests;
