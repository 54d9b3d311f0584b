//! Received and read positions of each conversation. Pure.

use std::collections::BTreeMap;

use crate::chat::{
    ConversationInfo, Epoch, Message, MsgId, Position, ReadMark, Seq, SyncPoint, Target,
};

/// Conversations that a client resumes: as many as fit one record.
const RESUME_MAX: usize = 120;

#[derive(Default)]
struct ConversationState {
    point: Option<SyncPoint>,
    read: Seq,
    /// Not yet sent to the server.
    read_unsent: bool,
    /// Newest message at the start of the connection; up to it messages are old.
    last: Seq,
    divided: bool,
    last_own: Option<Own>,
}

/// An own message. The server states its seq; the id is what the user has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    pub seq: Seq,
    pub id: MsgId,
}

/// The state of all conversations.
#[derive(Default)]
pub struct Conversations {
    conversations: BTreeMap<Target, ConversationState>,
    changed: bool,
}

/// How an own message is displayed.
#[derive(Clone, Copy)]
pub enum Displayed {
    /// Below all others.
    Last,
    /// In the answer to a request.
    InAnswer,
    /// Not again.
    Before,
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
        for Position { to, point } in positions {
            conversations.entry(&to).point = Some(point);
        }
        conversations
    }

    /// Returns an error if the server has lost messages that were received here. Called before
    /// `learn`.
    pub fn loss(&self, to: &Target, epoch: Epoch, last: Seq) -> Option<String> {
        let point = self.sync_point(to)?;
        if point.epoch != epoch {
            return Some(format!(
                "the server has begun another numbering of {to}, as after a restore from a backup \
                 or a loss. Messages that you have read may be shown again, and some may be missing"
            ));
        }
        (point.seq > last).then(|| {
            format!(
                "the server has lost messages of {to}: it ends at number {last}, and number {} was here. \
                 Tell its operator",
                point.seq
            )
        })
    }

    /// Returns the last seq that is still valid, if the server has begun another epoch or has lost
    /// messages. Called before `learn`.
    pub fn void_after(&self, to: &Target, epoch: Epoch, last: Seq) -> Option<Seq> {
        let point = self.sync_point(to)?;
        match point.epoch == epoch {
            true => (point.seq > last).then_some(last),
            false => Some(Seq(0)),
        }
    }

    /// Takes the server's positions of a conversation. Returns which messages may be unread: before
    /// the first visit to a channel there are none, and in a private conversation all are.
    pub fn learn(&mut self, info: &ConversationInfo) -> Option<(Seq, Seq)> {
        let ConversationInfo { ref to, epoch, last, read, .. } = *info;
        let conversation = self.entry(to);
        let visited = conversation.point.is_some() || read > Seq(0);
        if conversation.point.is_none_or(|point| point.epoch != epoch || point.seq > last) {
            (conversation.point, conversation.read) =
                (Some(SyncPoint { epoch, seq: Seq(0) }), read);
            conversation.last_own = None;
        }
        conversation.read = conversation.read.max(read);
        (conversation.last, conversation.divided) = (last, false);
        let counts = visited || matches!(to, Target::User(_));
        let unread = (counts && last > conversation.read).then_some((conversation.read, last));
        // An empty conversation is stored too: everything after it is new.
        self.changed |= last == Seq(0);
        unread
    }

    pub fn sync_point(&self, to: &Target) -> Option<SyncPoint> {
        self.conversations.get(to)?.point.filter(|point| point.seq > Seq(0))
    }

    /// All positions, for storage and for resuming.
    pub fn positions(&self) -> Vec<Position> {
        let position = |(to, conversation): (&Target, &ConversationState)| {
            // All messages of a conversation that was empty are new.
            let is_new = |point: &SyncPoint| point.seq > Seq(0) || conversation.last == Seq(0);
            let point = conversation.point.filter(is_new)?;
            Some(Position { to: to.clone(), point })
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

    /// Records a message. `own` messages count as read, and so do `ignored` ones.
    pub fn arrive(&mut self, to: &Target, message: &Message, own: bool, ignored: bool) -> Arrival {
        self.changed = true;
        let conversation = self.entry(to);
        let before = conversation.point.map_or(Seq(0), |point| point.seq);
        let known = conversation.point.is_some() && message.seq <= before;
        if !known && let Some(point) = &mut conversation.point {
            point.seq = message.seq;
        }
        let old = message.seq <= conversation.last;
        let others = !own && !ignored && !message.kind.is_change();
        let unread =
            !known && old && others && !conversation.divided && message.seq > conversation.read;
        conversation.divided |= unread;
        // Before the first visit everything is unread; a divider above all messages would be
        // useless.
        let divider = unread && conversation.read > Seq(0);
        Arrival { known, divider }
    }

    /// Records an own message. By the last one the user means the one that was displayed last: a
    /// message that is not displayed again changes at most its seq.
    pub fn own(&mut self, to: &Target, message: &Message, displayed: Displayed) {
        // A message of an earlier log has no seq here.
        if message.kind.is_change() || message.deleted || message.seq == Seq(0) {
            return;
        }
        let own = Own { seq: message.seq, id: message.id };
        let last_own = &mut self.entry(to).last_own;
        let counts = match displayed {
            Displayed::Last => true,
            Displayed::InAnswer => last_own.is_none_or(|last| last.seq < own.seq),
            Displayed::Before => last_own.is_some_and(|last| last.id == own.id),
        };
        if counts {
            *last_own = Some(own);
        }
    }

    /// Skips messages up to this seq, which will not arrive. Returns whether unread ones among them
    /// are `stored` and the first of all.
    pub fn skip(&mut self, to: &Target, upto: Seq, stored: bool) -> bool {
        self.changed = true;
        let conversation = self.entry(to);
        if let Some(point) = &mut conversation.point {
            point.seq = point.seq.max(upto);
        }
        let unread = stored && !conversation.divided && upto > conversation.read;
        let divider = unread && conversation.read > Seq(0);
        conversation.divided |= divider;
        divider
    }

    /// Records that the user has read up to this seq on another device. Returns which messages may
    /// still be unread.
    pub fn read_elsewhere(&mut self, to: &Target, seq: Seq) -> Option<(Seq, Seq)> {
        let before = self.entry(to).read;
        self.read(to, seq, false);
        let conversation = self.entry(to);
        let newest = conversation.point.map_or(Seq(0), |point| point.seq).max(conversation.last);
        (seq > before && newest > seq).then_some((seq, newest))
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

    /// Records that an own message of this client was stored.
    pub fn said(&mut self, to: &Target, own: Own) {
        self.entry(to).last_own = Some(own);
    }

    /// The newest own message in a conversation.
    pub fn last_own(&self, to: &Target) -> Option<Own> {
        self.conversations.get(to)?.last_own
    }

    fn entry(&mut self, to: &Target) -> &mut ConversationState {
        self.conversations.entry(to.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Retention;

    fn line(seq: u64) -> Message {
        Message { replay: true, ..Message::said(seq, "#lobby", "alice", "hi") }
    }

    /// The messages before which a divider is shown, for a user who reads each.
    fn dividers(
        conversations: &mut Conversations,
        lines: std::ops::RangeInclusive<u64>,
    ) -> Vec<u64> {
        let lobby: Target = "#lobby".parse().unwrap();
        let shown = lines.filter(|seq| {
            let arrival = conversations.arrive(&lobby, &line(*seq), false, false);
            conversations.read(&lobby, Seq(*seq), true);
            arrival.divider
        });
        shown.collect()
    }

    fn info(to: &str, last: u64, read: u64) -> ConversationInfo {
        let (to, last, read) = (to.parse().unwrap(), Seq(last), Seq(read));
        ConversationInfo { to, epoch: Epoch(1), last, read, retention: Retention::Forever }
    }

    #[test]
    fn the_divider_precedes_the_first_unread_message_except_at_the_first_visit() {
        let mut conversations = Conversations::default();
        assert_eq!(conversations.learn(&info("#lobby", 3, 0)), None);
        assert_eq!(dividers(&mut conversations, 1..=5), [] as [u64; 0]);
        assert_eq!(conversations.learn(&info("#lobby", 8, 5)), Some((Seq(5), Seq(8))));
        assert_eq!(dividers(&mut conversations, 6..=9), [6]);
    }

    #[test]
    fn the_divider_precedes_a_gap_with_the_first_unread_message() {
        let lobby: Target = "#lobby".parse().unwrap();
        let mut conversations = Conversations::default();
        conversations.learn(&info("#lobby", 900, 5));
        assert!(!conversations.skip(&lobby, Seq(5), true), "nothing unread is in it");
        assert!(!conversations.skip(&lobby, Seq(300), false), "nothing of it can be loaded");
        assert!(conversations.skip(&lobby, Seq(400), true));
        assert_eq!(dividers(&mut conversations, 401..=900), [] as [u64; 0], "once");
    }

    #[test]
    fn private_messages_are_unread_at_the_first_visit_and_all_after_an_empty_one() {
        let mut conversations = Conversations::default();
        assert_eq!(conversations.learn(&info("@bob", 300, 0)), Some((Seq(0), Seq(300))));
        assert_eq!(conversations.learn(&info("#tea", 0, 0)), None);
        assert_eq!(conversations.positions().len(), 1, "an empty one is resumed from its start");
        assert_eq!(conversations.learn(&info("#tea", 300, 0)), Some((Seq(0), Seq(300))));
        let left = conversations.read_elsewhere(&"#tea".parse().unwrap(), Seq(200));
        assert_eq!(left, Some((Seq(200), Seq(300))));
    }
}
