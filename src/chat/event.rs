//! All that a server may tell. `docs/protocol.md` shows each as JSON.

use serde::{Deserialize, Serialize};

use super::{
    ChannelName, Code, DeviceName, LogId, Message, MsgId, Opaque, Retention, Seq, Target, Ticket,
    UserName,
};

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// What the server knows of a conversation for the one who is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationInfo {
    pub to: Target,
    pub log: LogId,
    /// The newest line.
    pub last: Seq,
    /// Up to here this person has read, on any device.
    pub read: Seq,
    pub retention: Retention,
}

/// One row of `/channels`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelInfo {
    /// Who is not a member of a channel with a PIN is told its bare name.
    pub channel: ChannelName,
    /// It has a PIN.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sealed: bool,
    /// People, not sessions.
    pub here: usize,
    /// Whether the one who asked is a member.
    pub member: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// A registered key of a person, and the newest certificate that it has signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceKey {
    pub device: DeviceName,
    /// SPKI, DER.
    pub key: Opaque,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Opaque>,
}

/// One thing that a server tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// The first event: the login holds. Names are as the server has them.
    Welcome {
        name: UserName,
        device: DeviceName,
        /// The server's version, for people.
        version: String,
        /// The longest text of a line, in bytes of UTF-8.
        text_bytes_max: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        motd: Option<String>,
    },
    /// Before the welcome: this person's password is wanted. `wrong` after a wrong one; a guess
    /// within `retry_ms` is not looked at.
    Password {
        wrong: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
    Message(Message),
    /// A line that was sent again had been stored before: under this seq.
    Stored {
        id: MsgId,
        to: Target,
        seq: Seq,
    },
    /// Lines between what was told before and what is told now are left out: `stored` ones can be
    /// asked for, others are gone.
    Gap {
        to: Target,
        from_seq: Seq,
        to_seq: Seq,
        stored: bool,
    },
    /// After `Resume`: the conversations that this person can read, beside channels.
    Conversations {
        conversations: Vec<ConversationInfo>,
    },
    /// Another device of this person has read so far.
    Read {
        to: Target,
        seq: Seq,
    },
    /// The end of an answer to `History` or `Search`, whose lines came before it. Where `more`,
    /// older ones are left; where `partial`, some were not looked at, because that would have cost
    /// too much.
    History {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Target>,
        lines: usize,
        more: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        partial: bool,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// This session is now in a channel.
    Entered {
        channel: ChannelName,
        log: LogId,
        last: Seq,
        read: Seq,
        retention: Retention,
        people: Vec<UserName>,
        /// People who are here and did not fit.
        #[serde(default, skip_serializing_if = "is_zero")]
        omitted: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// This session is no longer in a channel.
    Parted {
        channel: ChannelName,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A person came into a channel; `here` people are in it now.
    Joined {
        to: ChannelName,
        who: UserName,
        here: usize,
    },
    /// A person's last session left a channel after `after_ms`; `reason` where one was given.
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
        /// People who are here and did not fit.
        #[serde(default, skip_serializing_if = "is_zero")]
        omitted: usize,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    Channels {
        channels: Vec<ChannelInfo>,
        /// Channels that did not fit: those with the fewest people, none of them the asker's while
        /// others can be left out.
        #[serde(default, skip_serializing_if = "is_zero")]
        omitted: usize,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    Whois {
        name: UserName,
        /// `SHA256:...` of each registered key.
        fingerprints: Vec<String>,
        /// Devices that are connected now.
        devices: Vec<DeviceName>,
        /// Since the last line of this person; none when nobody is connected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idle_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        away: Option<String>,
        /// The open channels that this person is in, and those with a PIN that the asker is in too.
        channels: Vec<ChannelName>,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A person's keys: none where nobody is registered by the name. Where `more`, others follow.
    Keys {
        name: UserName,
        keys: Vec<DeviceKey>,
        #[serde(default, skip_serializing_if = "is_false")]
        more: bool,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The server has another key (SPKI, DER), with the signatures of the key before it and of the
    /// new one.
    Successor {
        key: Opaque,
        signatures: Opaque,
    },
    /// What this device sends with its next login, beside its password.
    Ticket {
        ticket: Ticket,
    },
    /// A channel's topic; `who` set it just now, or nobody did and this answers a question.
    Topic {
        to: ChannelName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<UserName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// How long the channel's lines are kept.
        retention: Retention,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A request was not carried out. `id` names a line, `ref` any other request.
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
    /// A word from the server or its operator, or the answer to an operator's own word.
    Notice {
        text: String,
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The server ends the session; come back after `retry_ms`, or not at all where there is none.
    Goodbye {
        code: Code,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
    /// A word that this client does not know: skipped.
    #[serde(other)]
    Unknown,
}
