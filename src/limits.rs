//! Every limit, named once with its unit and settable under `"limits"` in config.json.

use serde::{Deserialize, Serialize};

/// Plaintext of one transport record, in bytes. Part of the protocol, so not settable.
pub const RECORD_PLAIN_BYTES_MAX: usize = 16_384;
/// One record on the wire before login, in bytes (protocol).
pub const RECORD_LOGIN_BYTES_MAX: usize = 2_048;
/// One message of a server, which may span records, in bytes (protocol): ten thousand names fit.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Text of one message, in bytes of UTF-8, whatever a server's `text_bytes_max` says (protocol).
pub const TEXT_BYTES_MAX: usize = 8_192;
/// Topic, hint, reason, away text, version or message of the day, as a client takes it from a server, in
/// bytes: ten times what a server sets.
pub const WORD_BYTES_MAX: usize = 4_096;
/// Notice of a server, in bytes: the answer to an operator's command may have many lines.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Rows of one answer of a server (people, channels, places, keys), as a client takes it.
pub const ANSWER_ROWS_MAX: usize = 10_000;
/// Conversations of which a server may tell a client in one run.
pub const CONVERSATIONS_MAX: usize = 10_000;
/// References of requests that a client remembers: an answer with another one is none of its own.
pub const ASKED_REFS_MAX: usize = 16_384;
/// Reference of a request, in bytes (protocol).
pub const REF_BYTES_MAX: usize = 64;
/// Bytes of a password.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Every delay that a server names, in milliseconds, as a client takes it: at least and at most.
pub const RETRY_MS: (u64, u64) = (1_000, 15 * 60_000);
/// A list in an answer (people, channels), in bytes: a quarter of what may wait for a session by default,
/// and five thousand short names. What does not fit is left out and counted.
pub const LIST_BYTES_MAX: usize = 64 * 1024;
/// An answer to an operator's word in the chat, in bytes; `pychat ctl` has no such bound.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;
/// People whose keys one request may name.
pub const KEY_NAMES_MAX: usize = 50;
/// A person's mailbox takes this share of its messages from one sender, so that nobody fills it alone.
pub const MAILBOX_SENDERS: usize = 4;
/// Certificates that a key may publish at once, and seconds until it may publish another.
pub const CERTIFICATES_BURST: u32 = 10;
pub const CERTIFICATE_EVERY_S: u64 = 60;
/// Events that a client holds back until it is told the keys of a line's sender ...
pub const HELD_EVENTS_MAX: usize = 20_000;
/// ... and bytes of them: some of each of a person's hundred channels, when the client comes back.
pub const HELD_EVENTS_BYTES_MAX: usize = 32 << 20;
/// Keys of people whom a client has met by the server's word alone: beyond, it meets whom its person
/// writes to or asks for. Whoever was met stays, so that nobody is pushed out by people who are invented.
pub const MET_KEYS_MAX: usize = 10_000;
/// Text of a search, in bytes (protocol): a sentence.
pub const SEARCH_BYTES_MAX: usize = 256;
/// Words of a search, as the index counts them (protocol): each is looked up in each line's place.
pub const SEARCH_WORDS_MAX: usize = 32;
/// People whose searches wait for the reader, and whose requests for history wait for theirs: at
/// `search_ms_max` each, the last one waits for four seconds.
pub const READS_WAITING_MAX: usize = 16;
/// An answer to `/history` or `/search` that cost more CPU time than this, in milliseconds, counts as
/// several: a person's searches cost the server 50 ms each second at the default rate, whatever they are.
pub const ANSWER_MS: u64 = 25;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $value:expr,)+) => {
        /// The settable limits. Each field's document says what it bounds and why it is what it is.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[$doc])* pub $name: $kind,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $($name: $value,)+ }
            }
        }

        impl Limits {
            /// The names, for suggestions and for the table in the documents.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];
        }
    };
}

limits! {
    /// Connections with a thread: sessions and logins under way; 0 derives the cap from what the system allows.
    connections_max: usize = 0,
    /// Sessions of one person.
    sessions_per_user_max: usize = 10,
    /// Text of one line, in bytes of UTF-8.
    text_bytes_max: usize = 8_192,
    /// A topic or an away text, in bytes.
    topic_bytes_max: usize = 400,
    /// Bans and mutes that hold at once.
    sanctions_max: usize = 1_000,
    #[serde(alias = "channels_per_session_max")]
    /// Channels that one person may be in or have made, over all their sessions.
    channels_per_user_max: usize = 100,
    /// Channels on this server.
    channels_max: usize = 10_000,
    /// An empty channel is forgotten after this many seconds.
    channel_empty_s: u64 = 60,
    /// Above this many people a channel does not announce who comes and goes (`/list` shows it).
    announce_people_max: usize = 200,
    /// A session that was cut off and comes back within this many seconds was never away for others.
    resume_window_s: u64 = 30,
    /// Lines that a client gets at once when it comes back; older ones are loaded on demand.
    resume_lines_max: usize = 500,
    /// Lines of a place that a client gets when it sees the place for the first time.
    first_lines_max: usize = 100,
    /// Lines of one answer to `/history` or `/search`.
    history_lines_max: usize = 1_000,
    /// Answers to `/history` and `/search` a person may have each second, tenfold at once.
    histories_per_s: f64 = 2.0,
    /// CPU time of one answer to `/history` or `/search`, in milliseconds; then it tells what it has found.
    search_ms_max: u64 = 250,
    /// Private messages that wait for a person who is away; a quarter of them from one sender.
    mailbox_lines_max: usize = 1_000,
    /// A line can be edited or deleted by its sender for this many seconds.
    change_s_max: u64 = 24 * 60 * 60,
    /// Records that wait for the ledger; who would add one more waits.
    ledger_waiting_max: usize = 4_096,
    /// Newest entries of a place kept in memory for readers who are behind, in bytes.
    tail_bytes_max: usize = 1 << 20,
    /// Lines kept in memory only, of all places together, in bytes; the oldest of the largest go.
    memory_bytes_max: usize = 64 << 20,
    /// Answers waiting for a session that does not read them, in bytes.
    answers_bytes_max: usize = 256 * 1024,
    /// Lines a person may send at once.
    lines_burst: u32 = 5,
    /// Lines a person may send each second after that.
    lines_per_s: f64 = 2.0,
    /// Bytes of text a person may send each second (and ten times as many at once).
    bytes_per_s: f64 = 61_440.0,
    /// Requests (`/list`, a ping, a refused line ...) a person may make each second, tenfold at once.
    requests_per_s: f64 = 10.0,
    /// Bytes that a person's requests may draw in answers each second, tenfold at once.
    answer_bytes_per_s: f64 = 262_144.0,
    /// Joins of a person that others are told of each second, tenfold at once; beyond, they are silent.
    notices_per_s: f64 = 1.0,
    /// Sessions that a person may begin each second, tenfold at once.
    logins_per_s: f64 = 2.0,
    /// Channels and conversations that a person may write in first, each hour and at once.
    places_per_h: f64 = 120.0,
    /// Channels with a PIN that a person may join in any hour without having known them before.
    pin_joins_per_h: usize = 10,
    /// From the connection to the login, in milliseconds; absolute.
    login_ms_max: u64 = 10_000,
    /// A person has this many seconds to give their password.
    password_s_max: u64 = 120,
    /// Unauthenticated connections of an IPv4 address or IPv6 /64; a /56 has twice as many, a /48 or IPv4 /24 four times.
    strangers_per_source_max: usize = 8,
    /// Connections that have sent no valid hello; for one more the oldest is closed.
    strangers_max: usize = 256,
    /// Connections that have sent a valid hello and no key yet; for one more the oldest is closed, once it is a second old.
    handshakes_max: usize = 256,
    /// Connections in the RSA operation and the login, each on a thread; for one more the oldest is closed, once it is two seconds old.
    logins_max: usize = 128,
    /// Connections that may wait for an RSA operation, those of recent members aside.
    rsa_waiting_max: usize = 32,
    /// RSA operations at once; 0 is half of the cores.
    rsa_permits: usize = 0,
    /// A source whose penalties add up to this many seconds is refused ...
    penalty_refuse_s: u64 = 15,
    /// ... and no source is refused for longer than this.
    penalty_s_max: u64 = 600,
    /// Sources and networks with a penalty that are remembered.
    penalty_sources_max: usize = 65_536,
    /// A silent session is asked for a sign of life after this many seconds ...
    ping_s: u64 = 30,
    /// ... and ended after this many.
    silence_s_max: u64 = 75,
    /// A session is asked to log in again, under fresh keys, after this many seconds.
    session_age_s_max: u64 = 24 * 60 * 60,
    /// After the server's key was changed, the one before is accepted for so many seconds.
    key_overlap_s: u64 = 30 * 24 * 60 * 60,
    /// From the word to stop to the exit, in milliseconds.
    drain_ms_max: u64 = 4_000,
    /// Connections that may wait for `accept`.
    listen_backlog: u32 = 1_024,
}

impl Limits {
    /// What is made by these at the start holds until the next one.
    const AT_START: &'static [&'static str] = &[
        "connections_max",
        "change_s_max",
        "ledger_waiting_max",
        "tail_bytes_max",
        "memory_bytes_max",
        "strangers_max",
        "handshakes_max",
        "rsa_waiting_max",
        "rsa_permits",
        "listen_backlog",
    ];

    /// These limits in the place of `old` while the server runs, and the names of those that have to
    /// wait for its next start.
    pub fn over(&self, old: &Limits) -> (Limits, Vec<&'static str>) {
        let value = |limits| serde_json::to_value(limits).expect("limits are plain JSON");
        let (mut new, old) = (value(self), value(old));
        let waits = |name: &&&str| new[**name] != old[**name];
        let waiting: Vec<_> = Self::AT_START.iter().filter(waits).copied().collect();
        waiting.iter().for_each(|name| new[*name] = old[*name].clone());
        (serde_json::from_value(new).expect("each value is a limit's"), waiting)
    }

    /// The first limit that cannot be what it is, and why.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let positive = [
            ("sessions_per_user_max", self.sessions_per_user_max),
            ("channels_per_user_max", self.channels_per_user_max),
            ("channels_max", self.channels_max),
            ("strangers_per_source_max", self.strangers_per_source_max),
            ("strangers_max", self.strangers_max),
            ("handshakes_max", self.handshakes_max),
            ("logins_max", self.logins_max),
            ("lines_burst", self.lines_burst as usize),
            ("ping_s", self.ping_s as usize),
            ("session_age_s_max", self.session_age_s_max as usize),
            ("login_ms_max", self.login_ms_max as usize),
            ("password_s_max", self.password_s_max as usize),
            ("text_bytes_max", self.text_bytes_max),
            ("resume_lines_max", self.resume_lines_max),
            ("history_lines_max", self.history_lines_max),
            ("pin_joins_per_h", self.pin_joins_per_h),
            ("ledger_waiting_max", self.ledger_waiting_max),
            ("search_ms_max", self.search_ms_max as usize),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err((name, "0 would let nobody in or nothing through"));
        }
        let rates = [
            ("lines_per_s", self.lines_per_s),
            ("bytes_per_s", self.bytes_per_s),
            ("requests_per_s", self.requests_per_s),
            ("histories_per_s", self.histories_per_s),
            ("answer_bytes_per_s", self.answer_bytes_per_s),
            ("notices_per_s", self.notices_per_s),
            ("logins_per_s", self.logins_per_s),
            ("places_per_h", self.places_per_h),
        ];
        if let Some((name, _)) = rates.iter().find(|(_, rate)| !rate.is_finite() || *rate <= 0.0) {
            return Err((name, "a rate is a number above 0"));
        }
        if self.text_bytes_max > TEXT_BYTES_MAX {
            return Err(("text_bytes_max", "a record of the protocol holds a line of 8192 bytes"));
        }
        if self.search_ms_max > 1_000 {
            return Err((
                "search_ms_max",
                "a reader that takes longer than 1000 counts as not healthy",
            ));
        }
        if self.tail_bytes_max < 65_536 {
            return Err(("tail_bytes_max", "65536 is the least that holds a few long lines"));
        }
        if self.silence_s_max <= self.ping_s {
            return Err(("silence_s_max", "it must be longer than ping_s"));
        }
        Ok(())
    }
}
