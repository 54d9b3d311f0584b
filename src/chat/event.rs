//! Events that a server sends. `docs/protocol.md` shows each as JSON.

use serde::{Deserialize, Serialize};

use super::{
    BlobId, ChannelName, Code, DeviceName, Epoch, FileBytes, Message, MsgId, Opaque, Refusal,
    Retention, Seq, Target, Ticket, UserName,
};

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// The state of a conversation, as sent to one of its readers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationInfo {
    pub to: Target,
    pub epoch: Epoch,
    /// The seq of the newest message.
    pub last: Seq,
    /// The last message that this user has read, on any device.
    pub read: Seq,
    pub retention: Retention,
}

/// Messages of one sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderCount {
    pub name: UserName,
    pub messages: u64,
}

/// The messages of a conversation after one seq and up to another that others sent and nobody
/// deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCount {
    pub to: Target,
    pub after: Seq,
    pub upto: Seq,
    pub messages: u64,
    /// The senders with the most of them.
    pub by: Vec<SenderCount>,
    /// Not all messages were looked at.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partial: bool,
}

/// One row of `/channels`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelInfo {
    /// The bare name where the channel has a PIN and the asking user is not a member.
    pub channel: ChannelName,
    /// Whether the channel has a PIN.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sealed: bool,
    /// Counts people, not sessions.
    pub here: usize,
    /// Whether the asking session is a member.
    pub member: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// A registered key of a user, and the newest certificate that it has signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceKey {
    pub device: DeviceName,
    /// SPKI, DER.
    pub key: Opaque,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Opaque>,
}

/// What a server accepts as files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRules {
    /// The largest encrypted file.
    pub bytes_max: FileBytes,
    /// How long a file is kept at most, in seconds.
    pub age_s_max: u64,
}

/// An encrypted file of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    pub blob: BlobId,
    pub to: Target,
    pub bytes: FileBytes,
    /// The upload is complete.
    pub kept: bool,
    /// A message names it.
    pub sent: bool,
    /// When it is removed, in milliseconds since 1970.
    pub until_ms: i64,
}

/// One event of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first event: the login succeeded. Names are spelled as registered.
    Welcome {
        name: UserName,
        device: DeviceName,
        /// The server's version, for display.
        version: String,
        /// The longest text of a message, in bytes of UTF-8.
        text_bytes_max: usize,
        /// The server's time, in milliseconds since 1970.
        time_ms: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        motd: Option<String>,
        /// Absent where the server keeps no files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<FileRules>,
    },
    /// Sent before the welcome: the server needs this user's password. `wrong` after a wrong one;
    /// the server ignores attempts within `retry_ms`.
    Password {
        wrong: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
    Message(Message),
    /// A message that was sent again is already stored, under this seq.
    Stored {
        id: MsgId,
        to: Target,
        seq: Seq,
    },
    /// Messages are left out here. Those that are `stored` can be requested; others are deleted.
    Gap {
        to: Target,
        from_seq: Seq,
        to_seq: Seq,
        stored: bool,
    },
    /// The answer to `Resume`: the private conversations of this user, and the lobby.
    Conversations {
        conversations: Vec<ConversationInfo>,
    },
    /// Another session of this user has read up to here.
    Read {
        to: Target,
        seq: Seq,
    },
    /// Ends an answer to `History` or `Search`, whose messages come before it. `more`: older
    /// messages exist. `partial`: some messages were not searched, because the search became too
    /// expensive.
    History {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Target>,
        messages: usize,
        more: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        partial: bool,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The answer to `Count`.
    Count {
        conversations: Vec<MessageCount>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// This session has entered a channel.
    Entered {
        channel: ChannelName,
        epoch: Epoch,
        last: Seq,
        read: Seq,
        retention: Retention,
        people: Vec<UserName>,
        /// The number of people who are left out because the answer is full.
        #[serde(default, skip_serializing_if = "is_zero")]
        omitted: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// This session has left a channel.
    Parted {
        channel: ChannelName,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A user entered a channel, which has `here` people now.
    Joined {
        to: ChannelName,
        who: UserName,
        here: usize,
    },
    /// A user's last session left a channel after `after_ms`, with a `reason` if one was given.
    Left {
        to: ChannelName,
        who: UserName,
        here: usize,
        after_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    People {
        channel: ChannelName,
        people: Vec<UserName>,
        /// The number of people who are left out because the answer is full.
        #[serde(default, skip_serializing_if = "is_zero")]
        omitted: usize,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    Channels {
        channels: Vec<ChannelInfo>,
        /// The number of channels that are left out because the answer is full: those with the
        /// fewest people, and the user's own last.
        #[serde(default, skip_serializing_if = "is_zero")]
        omitted: usize,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    Whois {
        name: UserName,
        /// The fingerprint (`SHA256:...`) of each registered key.
        fingerprints: Vec<String>,
        /// The devices that are connected.
        devices: Vec<DeviceName>,
        /// Time since this user's last message; absent when no session is connected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idle_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        away: Option<String>,
        /// The open channels of this user, and those with a PIN that the asking session is in too.
        channels: Vec<ChannelName>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A user's keys; empty for an unregistered name. `more`: further keys follow.
    Keys {
        name: UserName,
        keys: Vec<DeviceKey>,
        #[serde(default, skip_serializing_if = "is_false")]
        more: bool,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The server's key was replaced by this one (SPKI, DER), signed by the previous key and by the
    /// new one.
    Successor {
        key: Opaque,
        signatures: Opaque,
    },
    /// The answer to `Put`: the server has the bytes before `have`, and takes those before `limit`.
    Upload {
        transfer: u32,
        blob: BlobId,
        have: FileBytes,
        limit: FileBytes,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The answer to `Get`: the file has `bytes` bytes.
    Download {
        transfer: u32,
        blob: BlobId,
        bytes: FileBytes,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The server has the whole file on its disk, until a message names it or `until_ms`.
    Kept {
        blob: BlobId,
        until_ms: i64,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The server ended a transfer of this session.
    Stopped {
        transfer: u32,
        code: Code,
        hint: String,
    },
    /// The answer to `Drop`: the server has removed the file.
    Dropped {
        blob: BlobId,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The answer to `Usage`: the user's files take `bytes` of `of` bytes.
    Usage {
        bytes: FileBytes,
        of: FileBytes,
        /// The newest ones first.
        files: Vec<FileInfo>,
        /// The number of files that are left out because the answer is full.
        #[serde(default, skip_serializing_if = "is_zero")]
        omitted: usize,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// What this device sends with its next login, beside its password.
    Ticket {
        ticket: Ticket,
    },
    /// What this client presents at its next login, in place of its RSA key, and the secret that
    /// belongs to it.
    SessionTicket {
        ticket: Opaque,
        secret: Ticket,
    },
    /// A channel's topic; `who` set it just now, or nobody did and this answers a question.
    Topic {
        to: ChannelName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<UserName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// How long the channel's messages are stored.
        retention: Retention,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A request was refused. `id` names a message, `ref` any other request.
    Refused {
        code: Code,
        hint: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MsgId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A notice of the server or its operator, or the answer to an operator command.
    Notice {
        text: String,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The server ends the session. The client reconnects after `retry_ms`; without it, it does
    /// not.
    Goodbye {
        code: Code,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
    /// An unknown event: skipped.
    #[serde(other)]
    Unknown,
}

impl Refusal {
    /// Returns the event that reports this refusal.
    pub fn event(&self, id: Option<MsgId>, reference: Option<String>) -> Event {
        let (code, hint, retry_ms) = (self.code(), self.to_string(), self.retry_ms());
        Event::Refused { code, hint, id, retry_ms, reference }
    }
}
