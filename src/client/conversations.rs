//! Received and read positions of each conversation. Pure.

use std::collections::BTreeMap;

use crate::chat::{LogId, Mark, Message, Position, ReadMark, Seq, Target};

/// Conversations that a client resumes: as many as fit one record.
const RESUME_MAX: usize = 120;

#[derive(Default)]
struct ConversationState {
    mark: Option<Mark>,
    read: Seq,
    /// Not yet sent to the server.
    read_unsent: bool,
    /// Newest message at the start of the connection; up to it messages are old.
    last: Seq,
    divided: bool,
    last_own: Option<Seq>,
}

impl ConversationState {
    fn owns(&mut self, message: &Message) {
        // A message of an earlier log has no seq here.
        if !message.kind.is_change() && !message.deleted && message.seq > Seq(0) {
            self.last_own = self.last_own.max(Some(message.seq));
        }
    }
}

/// The state of all conversations.
#[derive(Default)]
pub struct Conversations {
    conversations: BTreeMap<Target, ConversationState>,
    changed: bool,
}

/// How this client sees a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival {
    /// It was received before.
    pub known: bool,
    /// It is the first one that the user has not read.
    pub divider: bool,
}

impl Conversations {
    /// Restores the positions of an earlier run.
    pub fn of(positions: Vec<Position>) -> Conversations {
        let mut conversations = Conversations::default();
        for Position { to, mark } in positions {
            conversations.entry(&to).mark = Some(mark);
        }
        conversations
    }

    /// Returns an error if the server has lost messages that were received here. Called before
    /// `learn`.
    pub fn loss(&self, to: &Target, log: LogId, last: Seq) -> Option<String> {
        let mark = self.mark(to)?;
        if mark.log != log {
            return Some(format!(
                "the server begins anew with {to}, as after a restore from a backup or a loss: messages \
                 that you have read may be told again, and some may be missing"
            ));
        }
        (mark.seq > last).then(|| {
            format!(
                "the server has lost messages of {to}: it ends at number {last}, and number {} was here. \
                 Tell its operator",
                mark.seq
            )
        })
    }

    /// Takes the server's positions of a conversation. Returns the count of unread messages.
    pub fn learn(&mut self, to: &Target, log: LogId, last: Seq, read: Seq) -> u64 {
        let conversation = self.entry(to);
        if conversation.mark.is_none_or(|mark| mark.log != log || mark.seq > last) {
            (conversation.mark, conversation.read) = (Some(Mark { log, seq: Seq(0) }), read);
        }
        conversation.read = conversation.read.max(read);
        (conversation.last, conversation.divided) = (last, false);
        last.0.saturating_sub(conversation.read.0)
    }

    pub fn mark(&self, to: &Target) -> Option<Mark> {
        self.conversations.get(to)?.mark.filter(|mark| mark.seq > Seq(0))
    }

    /// All positions, for storage and for resuming.
    pub fn positions(&self) -> Vec<Position> {
        let position = |(to, conversation): (&Target, &ConversationState)| {
            let mark = conversation.mark.filter(|mark| mark.seq > Seq(0))?;
            Some(Position { to: to.clone(), mark })
        };
        self.conversations.iter().filter_map(position).collect()
    }

    /// The positions of the lobby and of private conversations.
    pub fn resume(&self) -> Vec<Position> {
        let mut positions = self.positions();
        positions.retain(|position| match &position.to {
            Target::Channel(channel) => channel.is_lobby(),
            Target::User(_) => true,
        });
        positions.truncate(RESUME_MAX);
        positions
    }

    /// Records a message. `own` messages count as read.
    pub fn arrive(&mut self, to: &Target, message: &Message, own: bool) -> Arrival {
        self.changed = true;
        let conversation = self.entry(to);
        let before = conversation.mark.map_or(Seq(0), |mark| mark.seq);
        let known = conversation.mark.is_some() && message.seq <= before;
        if !known && let Some(mark) = &mut conversation.mark {
            mark.seq = message.seq;
        }
        if own {
            conversation.owns(message);
        }
        let old = message.seq <= conversation.last;
        let unread =
            !known && old && !own && !conversation.divided && message.seq > conversation.read;
        conversation.divided |= unread;
        // Before the first visit everything is unread; a divider above all messages would be
        // useless.
        let divider = unread && conversation.read > Seq(0);
        Arrival { known, divider }
    }

    /// Records an own message from an answer to a request.
    pub fn own(&mut self, to: &Target, message: &Message) {
        self.entry(to).owns(message);
    }

    /// Skips messages up to this seq, which will not arrive.
    pub fn skip(&mut self, to: &Target, upto: Seq) {
        self.changed = true;
        if let Some(mark) = &mut self.entry(to).mark {
            mark.seq = mark.seq.max(upto);
        }
    }

    /// Records that the user has read up to this seq, here or on another device.
    pub fn read(&mut self, to: &Target, seq: Seq, here: bool) {
        let conversation = self.entry(to);
        if seq > conversation.read {
            (conversation.read, conversation.read_unsent) = (seq, here);
            self.changed |= here;
        }
    }

    /// The read positions that changed here since the last call.
    pub fn take_read(&mut self) -> Vec<ReadMark> {
        let unsent =
            self.conversations.iter_mut().filter(|(_, conversation)| conversation.read_unsent);
        let take = |(to, conversation): (&Target, &mut ConversationState)| {
            conversation.read_unsent = false;
            ReadMark { to: to.clone(), seq: conversation.read }
        };
        unsent.map(take).take(RESUME_MAX).collect()
    }

    /// Returns whether anything to store or to send changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Records that an own message was stored under this seq.
    pub fn said(&mut self, to: &Target, seq: Seq) {
        let state = self.entry(to);
        state.last_own = state.last_own.max(Some(seq));
    }

    /// The newest own message in a conversation.
    pub fn last_own(&self, to: &Target) -> Option<Seq> {
        self.conversations.get(to)?.last_own
    }

    fn entry(&mut self, to: &Target) -> &mut ConversationState {
        self.conversations.entry(to.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Kind, MsgId};

    fn line(seq: u64) -> Message {
        Message {
            seq: Seq(seq),
            to: "#lobby".parse().unwrap(),
            from: "alice".parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId([seq as u8; 16]),
            time_ms: 0,
            kind: Kind::Say,
            body: "hi".into(),
            confidentiality: crate::chat::Confidentiality::Open,
            edited: false,
            deleted: false,
            replay: true,
            reference: None,
        }
    }

    /// The messages before which a divider is shown, for a user who reads each.
    fn dividers(
        conversations: &mut Conversations,
        lines: std::ops::RangeInclusive<u64>,
    ) -> Vec<u64> {
        let lobby: Target = "#lobby".parse().unwrap();
        let shown = lines.filter(|seq| {
            let arrival = conversations.arrive(&lobby, &line(*seq), false);
            conversations.read(&lobby, Seq(*seq), true);
            arrival.divider
        });
        shown.collect()
    }

    #[test]
    fn the_divider_precedes_the_first_unread_message_except_at_the_first_visit() {
        let lobby: Target = "#lobby".parse().unwrap();
        let mut conversations = Conversations::default();
        assert_eq!(conversations.learn(&lobby, LogId(1), Seq(3), Seq(0)), 3);
        assert_eq!(dividers(&mut conversations, 1..=5), [] as [u64; 0]);
        assert_eq!(conversations.learn(&lobby, LogId(1), Seq(8), Seq(5)), 3);
        assert_eq!(dividers(&mut conversations, 6..=9), [6]);
    }
}
