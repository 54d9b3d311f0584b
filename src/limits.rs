//! Every limit, named once with its unit. Those in `Limits` are settable under `"limits"` in
//! config.json; the constants are part of the protocol or of a bound that others depend on.

use std::any::TypeId;

use serde::{Deserialize, Serialize};

/// A day, in milliseconds.
pub const DAY_MS: i64 = 86_400_000;
/// Plaintext of one transport record, in bytes. Part of the protocol, so not settable.
pub const RECORD_PLAIN_BYTES_MAX: usize = 16_384;
/// One record on the wire before login, in bytes (protocol).
pub const RECORD_LOGIN_BYTES_MAX: usize = 2_048;
/// Maximum size of a session ticket, in bytes (protocol): T2 with it fits into a record of the login.
pub const SESSION_TICKET_BYTES_MAX: usize = 512;
/// Time in which a session ticket can be used, in seconds.
pub const SESSION_TICKET_S_MAX: u64 = 86_400;
/// Time since the last proof of the RSA key after which no session ticket is accepted, in seconds.
pub const SESSION_TICKET_PROVEN_S_MAX: u64 = 7 * 86_400;
/// Time after which a server makes the next key of its session tickets, in seconds. The key before
/// it opens tickets for as long again.
pub const SESSION_TICKET_KEY_S: u64 = 86_400;
/// Head of a request to the web port, in bytes, and the headers in it.
pub const HTTP_HEAD_BYTES_MAX: usize = 8_192;
pub const HTTP_HEADERS_MAX: usize = 100;
/// Header of the PROXY protocol, in bytes.
pub const PROXY_HEADER_BYTES_MAX: usize = 1_024;
/// WebSocket frames in which a record arrives, control frames before it included (protocol).
pub const RECORD_FRAMES_MAX: usize = 64;
/// One message of a server, which may span records, in bytes (protocol): ten thousand names fit.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Text of one message, in bytes of UTF-8, whatever a server's `text_bytes_max` says (protocol).
pub const TEXT_BYTES_MAX: usize = 8_192;
/// Bytes of a file's name, of its media type and of its ThumbHash.
pub const FILE_NAME_BYTES_MAX: usize = 200;
pub const MEDIA_BYTES_MAX: usize = 100;
pub const THUMB_BYTES_MAX: usize = 28;
/// Bytes of an upload that a server accepts beyond its last sync: what a loss of power can take.
pub const UPLOAD_AHEAD_BYTES: u64 = 16 << 20;
/// Bytes after which a server syncs an upload again.
pub const UPLOAD_SYNC_BYTES: u64 = 8 << 20;
/// Bytes of a file that a record counts at least, because each record has a cost of its own.
pub const FILE_RECORD_BYTES_MIN: u64 = 4_096;
/// Longest wait of a session for a record of an upload, in milliseconds: its messages wait too.
pub const FILE_PAUSE_MS_MAX: u64 = 250;
/// Files in an answer to `usage`.
pub const USAGE_FILES_MAX: usize = 100;
/// Topic, hint, reason, away text, version or message of the day that a client accepts from a
/// server, in bytes: the highest `topic_bytes_max`.
pub const SHORT_TEXT_BYTES_MAX: usize = 4_096;
/// Notice of a server, in bytes: the answer to an operator's command may have many lines.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Rows that a client accepts in one answer of a server (people, channels, conversations, keys).
pub const ANSWER_ROWS_MAX: usize = 10_000;
/// Conversations that a client accepts from a server in one run.
pub const CONVERSATIONS_MAX: usize = 10_000;
/// References of requests that a client remembers: an answer with another one is none of its own.
pub const ASKED_REFS_MAX: usize = 16_384;
/// Lines of stdin that a client takes before the server has acknowledged them and their output is
/// read, in bytes with 512 for each: some 7,000 messages. Beyond, it stops reading stdin.
pub const UNSETTLED_BYTES_MAX: usize = 4 << 20;
/// Pages that are attached to one client.
pub const PAGES_MAX: usize = 16;
/// Connections of pages that one client has at a time, attached ones included.
pub const PAGE_CONNECTIONS_MAX: usize = 64;
/// Seconds for the head of a page's request, and from its upgrade to its token.
pub const PAGE_HEAD_S: u64 = 10;
/// One message of a page, in bytes.
pub const PAGE_FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes that wait for a page. One that is further behind is closed, and attaches again.
pub const PAGE_BEHIND_BYTES_MAX: usize = 4 << 20;
/// Messages of a conversation, and bytes of all of them, that a client holds for pages that attach.
pub const PAGE_MESSAGES_MAX: usize = 500;
pub const PAGE_MEMORY_BYTES_MAX: usize = 32 << 20;
/// Files that pages have handed over and that are not sent yet.
pub const PAGE_FILES_MAX: usize = 16;
/// Bytes of fetched files that are only shown in pages; beyond it the oldest are removed.
pub const PAGE_VIEWED_BYTES_MAX: u64 = 256 << 20;
/// Clients of one profile that store their unsent messages: each has a file of its own.
pub const OUTBOX_FILES_MAX: usize = 16;
/// Size of one of these files, which a client neither exceeds nor reads beyond, in bytes.
pub const OUTBOX_FILE_BYTES_MAX: u64 = 64 << 20;
/// Users whom a client ignores.
pub const IGNORED_MAX: usize = 1_000;
/// Messages in one answer to `history` or `search` as a client takes it, and the upper bound of
/// `history_messages_max` (protocol).
pub const ANSWER_MESSAGES_MAX: usize = 1_000;
/// Messages in an answer to `history` where the request has no number (protocol).
pub const HISTORY_MESSAGES: usize = 100;
/// Messages in an answer to `search` (protocol).
pub const SEARCH_MESSAGES: usize = 50;
/// Seconds from a `history` or `search` after which a client takes no more messages of its answer:
/// three times as long as a server lets a request wait.
pub const ANSWER_S_MAX: u64 = 120;
/// Open `history` and `search` requests that a client remembers; the oldest are forgotten.
pub const OPEN_READS_MAX: usize = 1_000;
/// Reference of a request, in bytes (protocol).
pub const REF_BYTES_MAX: usize = 64;
/// Bytes of a password.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Delays that a client accepts from a server, in milliseconds: minimum and maximum.
pub const RETRY_MS: (u64, u64) = (1_000, 15 * 60_000);
/// Size of a list in an answer (people, channels), in bytes: a quarter of the default queue of a
/// session, or five thousand short names. Further entries are left out and counted.
pub const LIST_BYTES_MAX: usize = 64 * 1024;
/// Size of an answer to an operator's command in the chat, in bytes. Answers of `pychat ctl` are
/// not bounded.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Users whose keys one request can name.
pub const KEY_NAMES_MAX: usize = 50;
/// Records that a connection can send before its password is accepted, and their bytes: three
/// passwords and those that arrive too early, of 1 KiB each, and pings.
pub const PROMPT_RECORDS_MAX: usize = 32;
pub const PROMPT_BYTES_MAX: usize = 16 * 1024;
/// Keys that a server lists for `pychat users waiting`.
pub const UNREGISTERED_KEYS_MAX: usize = 32;
/// One sender can fill this fraction of a user's mailbox.
pub const MAILBOX_SENDERS: usize = 4;
/// Certificates that a user can publish at once, for all keys together, and seconds until the next
/// one.
pub const CERTIFICATES_BURST: u32 = 10;
pub const CERTIFICATE_EVERY_S: u64 = 60;
/// Events that a client queues until it has the keys of a message's sender.
pub const HELD_EVENTS_MAX: usize = 20_000;
/// Bytes of these events: some of each of a user's hundred channels, after a reconnect.
pub const HELD_EVENTS_BYTES_MAX: usize = 32 << 20;
/// Conversations of one `count`: a client with unread messages in more of them asks again.
pub const COUNTED_MAX: usize = 20;
/// Senders that a `count` names of each conversation: 64 KiB with those of all of them.
pub const COUNTED_SENDERS_MAX: usize = 50;
/// Keys that a client accepts from the server on first use. Beyond, it accepts only keys of people
/// to whom its user writes or for whom the user asks. Known people are never displaced by invented
/// ones.
pub const MET_KEYS_MAX: usize = 10_000;
/// Messages whose edits and deletions a client remembers: 4 MB on its disk. Beyond, the older half
/// is dropped.
pub const CHANGES_MAX: usize = 20_000;
/// Text of a search, in bytes (protocol): one sentence.
pub const SEARCH_BYTES_MAX: usize = 256;
/// Words of a search, as the index counts them (protocol): each is searched in each message.
pub const SEARCH_WORDS_MAX: usize = 32;
/// Users whose searches, or whose requests for history, can wait for the reader: at `search_ms_max`
/// each, the last one waits for four seconds.
pub const READS_WAITING_MAX: usize = 16;
/// Seconds that a request waits for its reader: 2 s for each earlier request and for itself, and 6
/// s more. A stuck reader blocks a session for at most this time, which is less than the time after
/// which a client ends a silent connection.
pub const READ_WAIT_S_MAX: u64 = 2 * (READS_WAITING_MAX as u64 + 1) + 6;
/// CPU time of an answer to `/history` or `/search`, in milliseconds, above which it counts as
/// several: at the default rate, a user's searches cost the server 50 ms of each second.
pub const ANSWER_MS: u64 = 25;

/// The lowest rate, per second or per hour: the wait for one message is a number of milliseconds.
const RATE_MIN: f64 = 1e-6;
/// The lowest rate of files: four records of a file each second.
const FILE_RATE_MIN: f64 = 65_536.0;
/// The highest values of limits, by their units.
const RATE_MAX: f64 = 1e12;
const TEN_YEARS_S: f64 = 315_360_000.0;
/// 1 TiB.
const BYTES_MAX: u64 = 1 << 40;
const COUNT_MAX: f64 = 1e9;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $value:expr,)+) => {
        /// The settable limits. Each field's document says what it bounds, and its unit.
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
            /// The names of all limits, for suggestions and for the table in the documents.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Each limit's value, as a number to compare.
            #[allow(clippy::unnecessary_cast, reason = "rates are f64 already")]
            fn values(&self) -> impl Iterator<Item = (&'static str, f64)> {
                [$((stringify!($name), self.$name as f64)),+].into_iter()
            }

            /// The limits that are rates: those of type `f64`.
            fn rates(&self) -> impl Iterator<Item = (&'static str, f64)> {
                let kinds = [$(TypeId::of::<$kind>()),+];
                let values = self.values().zip(kinds);
                values.filter(|(_, kind)| *kind == TypeId::of::<f64>()).map(|(rate, _)| rate)
            }
        }
    };
}

limits! {
    /// Connections with a thread: sessions and logins in progress. 0 derives the bound from what the system allows.
    connections_max: usize = 0,
    /// Concurrent sessions of one user, and open password prompts of one key at one source.
    sessions_per_user_max: usize = 10,
    /// Text of one message, in bytes of UTF-8.
    text_bytes_max: usize = 8_192,
    /// Topic of a channel or away text of a user, in bytes.
    topic_bytes_max: usize = 400,
    /// Bans and mutes in force at the same time.
    sanctions_max: usize = 1_000,
    #[serde(alias = "channels_per_session_max")]
    /// Channels that one user has joined or created, over all their sessions.
    channels_per_user_max: usize = 100,
    /// Channels on this server.
    channels_max: usize = 10_000,
    /// Time after which the server removes an empty channel from memory, in seconds. Messages stay.
    channel_empty_s: u64 = 60,
    /// Members of a channel up to which joins and departures are announced. `/list` shows the members of larger channels.
    announce_people_max: usize = 200,
    /// Time in which a disconnected session can resume without an announced departure, in seconds.
    resume_window_s: u64 = 30,
    /// Messages sent to a client when it reconnects. The client loads older ones on demand.
    resume_messages_max: usize = 500,
    /// Messages of a conversation sent to a client that has no message of it.
    first_messages_max: usize = 100,
    /// Messages in one answer to `/history` or `/search`, 1000 at most. An answer also has at most a quarter of `answers_bytes_max`: 250 messages of 260 bytes with name and time.
    history_messages_max: usize = 250,
    /// Requests for `/history` and `/search` of one user, per second. The burst is ten times as many.
    histories_per_s: f64 = 2.0,
    /// CPU time of one answer to `/history` or `/search`, in milliseconds. When it is used up, the answer has the results found so far.
    search_ms_max: u64 = 250,
    /// Private messages queued for an absent user. One sender can fill a quarter of them.
    mailbox_messages_max: usize = 1_000,
    /// Time in which the sender can edit or delete a message, in seconds.
    change_s_max: u64 = 24 * 60 * 60,
    /// Messages queued for the ledger. When the queue is full, senders are blocked.
    ledger_waiting_max: usize = 4_096,
    /// Newest messages of one conversation kept in memory for slow readers, in bytes.
    tail_bytes_max: usize = 1 << 20,
    /// Messages of all conversations that are in memory only, in bytes. The oldest of the largest conversation are dropped.
    memory_bytes_max: usize = 64 << 20,
    /// Free space on the disk that new messages leave for everything else, in bytes. The server refuses new messages while less is free. 0 disables this limit.
    disk_reserve_bytes: usize = 64 << 20,
    /// Largest file that one can send, in bytes. 0 keeps no files.
    file_bytes_max: usize = 100 << 20,
    /// Encrypted files of one user, in bytes. A file counts 4096 bytes at least.
    files_per_user_bytes_max: usize = 1 << 30,
    /// Encrypted files of all users, in bytes.
    files_bytes_max: usize = 10 << 30,
    /// Free space on the disk that files leave for everything else, in bytes.
    file_reserve_bytes: usize = 1 << 30,
    /// Age at which a file is removed, in seconds. The retention of its conversation applies too.
    file_age_s_max: u64 = 30 * 24 * 60 * 60,
    /// Time after which an unfinished upload, or a file that no message announces, is removed, in seconds.
    file_unfinished_s: u64 = 24 * 60 * 60,
    /// Unfinished uploads of one user.
    uploads_unfinished_max: usize = 3,
    /// Concurrent uploads and downloads of one session.
    transfers_per_session_max: usize = 8,
    /// Bytes of files that one user sends and fetches, per second, after a burst of `file_burst_bytes`. A record counts 4096 bytes at least.
    file_bytes_per_s: f64 = 8_388_608.0,
    /// Bytes of files that one user can send and fetch in a burst.
    file_burst_bytes: usize = 1 << 30,
    /// Unsent answers of one session, in bytes.
    answers_bytes_max: usize = 256 * 1024,
    /// Messages and topics that one user can send in a burst.
    messages_burst: u32 = 5,
    /// Messages and topics of one user after the burst, per second.
    messages_per_s: f64 = 2.0,
    /// Text of messages and topics of one user, in bytes per second. The burst is ten times as many.
    bytes_per_s: f64 = 61_440.0,
    /// Other requests of one user (`/list`, pings, refused messages), per second. The burst is ten times as many.
    requests_per_s: f64 = 10.0,
    /// Answers to the requests of one user, in bytes per second. The burst is ten times as many.
    answer_bytes_per_s: f64 = 262_144.0,
    /// Announced joins of one user, per second. The burst is ten times as many. Joins beyond the rate are not announced.
    joins_announced_per_s: f64 = 1.0,
    /// Logins of one user, per second. The burst is ten times as many.
    logins_per_s: f64 = 2.0,
    /// Conversations in which one user sends a first message, per hour. The burst is the same number.
    conversations_per_h: f64 = 120.0,
    /// Channels with a PIN that one user joins for the first time, per hour.
    pin_joins_per_h: usize = 10,
    /// Time from the connection to the login, in milliseconds. Partial data does not extend it.
    login_ms_max: u64 = 10_000,
    /// Time to answer the password prompt, in seconds.
    password_s_max: u64 = 120,
    /// Unauthenticated connections of one IPv4 address or IPv6 /64. A /56 has twice as many, a /48 or an IPv4 /24 four times.
    unauthenticated_per_source_max: usize = 8,
    /// Connections without a valid first record. A new connection replaces the oldest one of the network with the most connections.
    unauthenticated_max: usize = 256,
    /// Connections with a valid first record and no R2. A new connection replaces one that is at least one second old, or one of a network with more connections.
    handshakes_max: usize = 256,
    /// Connections in the RSA operation and the login. A new connection replaces one that is at least two seconds old, or one of a network with more connections.
    logins_max: usize = 128,
    /// Connections queued for an RSA operation. Connections from sources of recent logins are not counted. Suspects can fill a quarter.
    rsa_waiting_max: usize = 32,
    /// Concurrent RSA operations. 0 is half of the cores.
    rsa_permits: usize = 0,
    /// Sum of a source's penalties from which new connections of the source are refused, in seconds. Sources of recent logins are never refused.
    penalty_refuse_s: u64 = 15,
    /// Largest sum of penalties of a source or network, in seconds.
    penalty_s_max: u64 = 600,
    /// Sources and networks with a penalty that the server remembers.
    penalty_sources_max: usize = 65_536,
    /// Silence of a session after which the server sends a ping, in seconds.
    ping_s: u64 = 30,
    /// Silence of a session after which the server ends it, in seconds.
    idle_s_max: u64 = 75,
    /// Age of a session after which the client has to log in again under new keys, in seconds.
    session_age_s_max: u64 = 24 * 60 * 60,
    /// Time in which the server accepts its former key after a change, in seconds.
    key_overlap_s: u64 = 30 * 24 * 60 * 60,
    /// Connections to the web port that are no `/hop`. A new connection replaces the oldest one of the network with the most connections.
    web_connections_max: usize = 64,
    /// Connections to the web port that are no `/hop`, of one IPv4 address or IPv6 /64. Networks have more, as with `unauthenticated_per_source_max`.
    web_connections_per_source_max: usize = 16,
    /// Time from the stop command to the exit, in milliseconds.
    drain_ms_max: u64 = 4_000,
    /// Connections in the system's accept queue.
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
        "unauthenticated_max",
        "handshakes_max",
        "rsa_waiting_max",
        "rsa_permits",
        "web_connections_max",
        "web_connections_per_source_max",
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

    /// Returns the largest value of a limit, by the unit in its name. No sum of two of them, in
    /// milliseconds or in bytes, overflows.
    pub fn highest(name: &str) -> f64 {
        let unit = |suffix: &str| name.ends_with(suffix);
        match name {
            // What a client accepts.
            "topic_bytes_max" => SHORT_TEXT_BYTES_MAX as f64,
            "history_messages_max" => ANSWER_MESSAGES_MAX as f64,
            _ if unit("_per_s") => RATE_MAX,
            _ if unit("_ms_max") => DAY_MS as f64,
            _ if unit("_s") || unit("_s_max") => TEN_YEARS_S,
            _ if unit("_bytes_max") || unit("_bytes") => BYTES_MAX as f64,
            _ => COUNT_MAX,
        }
    }

    /// The first limit that cannot be what it is, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some((name, _)) = self.values().find(|(name, value)| *value > Self::highest(name)) {
            return Err((name, format!("it is at most {}", Self::highest(name))));
        }
        self.check_each().map_err(|(name, problem)| (name, problem.to_owned()))
    }

    fn check_rates(&self) -> Result<(), (&'static str, &'static str)> {
        let is_wrong = |rate: f64| !rate.is_finite() || rate < RATE_MIN;
        match self.rates().find(|(_, rate)| is_wrong(*rate)) {
            Some((name, _)) => Err((name, "a rate is a number of at least 0.000001")),
            None => Ok(()),
        }
    }

    fn check_each(&self) -> Result<(), (&'static str, &'static str)> {
        let positive = [
            ("sessions_per_user_max", self.sessions_per_user_max),
            ("channels_per_user_max", self.channels_per_user_max),
            ("channels_max", self.channels_max),
            ("unauthenticated_per_source_max", self.unauthenticated_per_source_max),
            ("unauthenticated_max", self.unauthenticated_max),
            ("handshakes_max", self.handshakes_max),
            ("logins_max", self.logins_max),
            ("web_connections_max", self.web_connections_max),
            ("web_connections_per_source_max", self.web_connections_per_source_max),
            ("messages_burst", self.messages_burst as usize),
            ("ping_s", self.ping_s as usize),
            ("session_age_s_max", self.session_age_s_max as usize),
            ("login_ms_max", self.login_ms_max as usize),
            ("password_s_max", self.password_s_max as usize),
            ("text_bytes_max", self.text_bytes_max),
            ("resume_messages_max", self.resume_messages_max),
            ("history_messages_max", self.history_messages_max),
            ("pin_joins_per_h", self.pin_joins_per_h),
            ("ledger_waiting_max", self.ledger_waiting_max),
            ("search_ms_max", self.search_ms_max as usize),
            ("file_age_s_max", self.file_age_s_max as usize),
            ("file_unfinished_s", self.file_unfinished_s as usize),
            ("uploads_unfinished_max", self.uploads_unfinished_max),
            ("transfers_per_session_max", self.transfers_per_session_max),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err((name, "0 would let nobody in or nothing through"));
        }
        self.check_rates()?;
        if self.text_bytes_max > TEXT_BYTES_MAX {
            return Err(("text_bytes_max", "a record holds a message of 8192 bytes"));
        }
        if self.search_ms_max > 1_000 {
            return Err((
                "search_ms_max",
                "a reader that takes longer than 1000 counts as not healthy",
            ));
        }
        if self.tail_bytes_max < 65_536 {
            return Err(("tail_bytes_max", "65536 is the least that holds a few long messages"));
        }
        if self.file_bytes_per_s < FILE_RATE_MIN {
            return Err((
                "file_bytes_per_s",
                "65536 is the least at which the bytes of a file do not delay messages for seconds",
            ));
        }
        if self.idle_s_max <= self.ping_s {
            return Err(("idle_s_max", "it must be longer than ping_s"));
        }
        Ok(())
    }
}
