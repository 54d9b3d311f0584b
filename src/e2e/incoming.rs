//! Verification of incoming messages: opens them and compares their signed headers with what the
//! server states.

use super::changes::{Changes, Version};
use super::clock::CLOCKS_MS;
use super::history_check::HistoryCheck;
use super::message_ids::MessageIds;
use super::opening::{Opening, Read};
use super::output::Output;
use super::replay_requests::ReplayRequests;
use super::search::{Found, Search, retention_notice};
use super::sequence::{Order, Sequences, Signed};
use super::violation::{Violation, check};
use crate::chat::{
    Body, Confidentiality, ConversationInfo, Event, Kind, Message, MsgId, Retention, Target,
};
use crate::crypto::header::Header;

/// The state that messages are verified against, and the keys that open them.
pub struct Incoming<'a> {
    pub opening: Opening<'a>,
    pub sequences: &'a mut Sequences,
    pub history: &'a mut HistoryCheck,
    pub replays: &'a mut ReplayRequests,
    /// This client stores what it verifies.
    pub stores: bool,
    pub ids: &'a mut MessageIds,
    pub changes: &'a mut Changes,
    pub search: &'a mut Search,
}

/// How a message arrived.
#[derive(Clone, Copy)]
struct Arrival {
    /// The first one with its seq, and not part of an answer.
    new: bool,
    /// Stored by the server just now.
    live: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Whole,
    /// The body is that of a later change.
    Changed,
}

impl Incoming<'_> {
    /// Takes the server's list of conversations.
    pub fn begin(&mut self, conversations: &[ConversationInfo], next: &mut Vec<Output>) {
        // A log in memory changes with each start of the server.
        let (mut others, mut in_memory) = (Vec::new(), Vec::new());
        for told @ ConversationInfo { to, epoch, last, retention, .. } in conversations {
            if !self.can_open(to) {
                continue;
            }
            self.replays.check_log(told);
            let (other, known) = self.sequences.begin(to, *epoch, *last, self.opening.now_ms);
            let before = self.retains(to, *retention, next);
            if other {
                self.ids.forget(to);
                self.history.skip(to);
            }
            if other && known && to.is_sealed() {
                let memory = (before, *retention) == (Some(Retention::Off), Retention::Off);
                if memory { &mut in_memory } else { &mut others }.push(to.to_string());
            }
        }
        if !others.is_empty() {
            let text = format!(
                "the server has begun another numbering of {}, as after a restore from a backup. \
                 Messages that you have read may be shown again with their old times, and some \
                 may be missing. /search still finds the messages that you have read. If the \
                 operator has not restored a backup, do not trust this server",
                others.join(", ")
            );
            next.push(Output::Trouble(text));
        }
        if !in_memory.is_empty() {
            let text = format!(
                "the server has begun another numbering of {}: it stores these messages in memory \
                 only, and has lost them, as after a restart. /search still finds the messages \
                 that you have read",
                in_memory.join(", ")
            );
            next.push(Output::Trouble(text));
        }
    }

    /// Records the retention of a conversation, which also applies to messages read from now on.
    /// Returns the previous one.
    fn retains(
        &mut self,
        conversation: &Target,
        retention: Retention,
        next: &mut Vec<Output>,
    ) -> Option<Retention> {
        let before = self.sequences.retains(conversation, retention);
        next.extend(before.and_then(|before| retention_notice(conversation, before, retention)));
        before
    }

    /// Handles the events that come between messages.
    pub fn passes(&mut self, event: &Event, next: &mut Vec<Output>) {
        match event {
            // A channel with a PIN has no topic.
            Event::Topic { to, retention, .. } if !to.has_pin() => {
                self.retains(&Target::Channel(to.clone()), *retention, next);
            }
            Event::History { .. } => {
                let violation = Violation::Unlinked;
                let missed = self.history.finish().into_iter();
                next.extend(missed.map(|message| Output::Violation { message, violation }));
            }
            Event::Gap { to, to_seq, .. } if self.can_open(to) => {
                self.sequences.skip(to, *to_seq);
                self.history.skip(to);
            }
            _ => {}
        }
    }

    /// Returns the message to show, or the violation.
    pub fn verify(&mut self, mut message: Message, to: &Target, next: &mut Vec<Output>) -> Output {
        match self.judge(&mut message, to, next) {
            Ok(()) => Output::Event(Event::Message(message)),
            Err(violation) => rejected(message, violation),
        }
    }

    /// Runs all checks, in order. Violations of a message that is shown all the same go to `next`.
    fn judge(
        &mut self,
        message: &mut Message,
        to: &Target,
        next: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        if !to.is_sealed() {
            return check(message.body.take_sealed().is_none(), Violation::Malformed);
        }
        check(self.can_open(to), Violation::NoKey)?;
        let arrival = self.arrives(message, to, next)?;
        let identity = (message.id, &message.from);
        check(!self.ids.is_anothers(to, message.seq, identity), Violation::Spliced)?;
        // Of an own message the number may be known by its acknowledgement.
        let may_be_elsewhere = message.reference.is_some() || message.from == *self.opening.own;
        let again = may_be_elsewhere && self.ids.is_elsewhere(to, message.seq, identity);
        check(!again, Violation::Again)?;
        check(arrival.new || !arrival.live, Violation::Again)?;
        let asked = message.reference.is_some() || self.replays.admits(to, message.seq);
        check(arrival.new || asked, Violation::Again)?;
        let Some(sealed) = message.body.take_sealed() else {
            return self.verify_unsigned(message, to, arrival);
        };
        let read = self.opening.open(message, to, &sealed)?;
        self.check_time(message, to, &read, arrival)?;
        let agreement = self.agrees(message, to, &read.opened.header)?;
        let order = self.order(message, to, &read, (arrival, agreement));
        let violation = self.check_order(order, message, to, read.time_ms())?;
        check(self.is_current(message, to, &read), Violation::Outdated)?;
        let dated =
            agreement == Agreement::Whole && self.has_other_time(message, arrival, read.time_ms());
        let dated = dated.then_some(Violation::Dated(read.time_ms()));
        if agreement == Agreement::Whole && !arrival.new && message.reference.is_none() {
            // The server could state any time for an old message.
            message.time_ms = read.time_ms();
        }
        let violations = violation.into_iter().chain(dated);
        next.extend(violations.map(|violation| rejected(message.clone(), violation)));
        self.ids.remember(to, message.seq, (message.id, &message.from));
        if let Kind::Delete { of } = message.kind {
            self.sequences.tombstones(to).is_deleted(&message.from, of);
        }
        for (from, changes) in self.sequences.take_unexplained(to, self.opening.now_ms) {
            let message = Message { from, ..message.clone() };
            next.push(rejected(message, Violation::Unexplained(changes)));
        }
        self.is_shown(message, to, read)
    }

    /// Returns whether messages of this conversation can be opened at all. Nothing is remembered
    /// of channels whose PIN is not known: a server can invent them.
    fn can_open(&self, to: &Target) -> bool {
        match to {
            Target::Channel(channel) if channel.has_pin() => {
                self.opening.channels.key(channel).is_some()
            }
            _ => true,
        }
    }

    /// Checks the seq, and returns whether the message is new.
    fn arrives(
        &mut self,
        message: &Message,
        to: &Target,
        next: &mut Vec<Output>,
    ) -> Result<Arrival, Violation> {
        // Answers to requests do not advance the conversation.
        if let Some(reference) = &message.reference {
            let goes_on = self.history.advance(to, reference, message.seq);
            check(goes_on, Violation::Again)?;
            return Ok(Arrival { new: false, live: false });
        }
        let live = !message.replay;
        let (new, missing) =
            self.sequences.arrives(to, message.seq, live.then_some(self.opening.now_ms));
        if missing > 0 {
            next.push(rejected(message.clone(), Violation::Missing(missing)));
        }
        Ok(Arrival { new, live })
    }

    /// Checks a message without a sealed body in a sealed conversation.
    fn verify_unsigned(
        &mut self,
        message: &mut Message,
        to: &Target,
        arrival: Arrival,
    ) -> Result<(), Violation> {
        // The tombstone of a deleted message, or of a change whose message was changed again.
        let is_tombstone = message.deleted || message.kind.is_change();
        let empty = message.body.is_empty();
        // Messages from before the sender used encryption are replayed unsigned.
        let before = message.replay || message.reference.is_some();
        // A new change must be signed.
        check(!is_tombstone || !empty || before, Violation::Downgraded)?;
        if is_tombstone && empty && (message.deleted || message.kind.is_edit()) {
            // A tombstone changes neither the screen nor the stored messages.
            match message.kind.of() {
                None => self.count_tombstone(message, to, arrival),
                // Nothing shows it: it needs the signed deletion of the message.
                Some(of) if arrival.new => {
                    self.sequences.add_unsigned_edit(to, &message.from, of, self.opening.own);
                }
                Some(_) => {}
            }
            message.confidentiality = Confidentiality::Open;
            return Ok(());
        }
        let is_private = matches!(to, Target::User(_));
        let allowed = is_private && (before || !self.opening.trust.seals(&message.from));
        check(allowed, Violation::Downgraded)?;
        let changed = (to.clone(), message.from.clone(), message.id);
        check(self.changes.takes(changed, None, self.opening.now_ms), Violation::Outdated)?;
        message.confidentiality = Confidentiality::Open;
        self.ids.remember(to, message.seq, (message.id, &message.from));
        let said_ms = message.time_ms;
        self.is_found(Found { conversation: to, message, changes: None, said_ms });
        Ok(())
    }

    /// Checks that the certificate and its signing key were valid when the message was signed.
    fn check_time(
        &self,
        message: &Message,
        to: &Target,
        read: &Read,
        arrival: Arrival,
    ) -> Result<(), Violation> {
        // A new message was signed when its key was valid, so an expired stolen key signs none. A
        // message that this client has asked for may be of any age.
        let is_asked = message.reference.is_some()
            || !arrival.new && !self.stores && self.replays.is_from_start(to);
        let since_ms = match arrival.live {
            true => self.opening.now_ms,
            false if is_asked => i64::MIN,
            false => self.sequences.stated_ms(to).min(self.opening.now_ms),
        };
        let over = read.certificate.is_over_since(since_ms.saturating_sub(CLOCKS_MS) / 1000);
        check(!over, Violation::Expired)?;
        // The same holds for keys that were retired before it.
        let print = read.certificate.fingerprint();
        let time_ms = read.time_ms().saturating_sub(CLOCKS_MS);
        let since_ms = if arrival.live { i64::MAX } else { since_ms };
        let late = self.opening.trust.is_late(&message.from, &print, since_ms, time_ms);
        check(!late, Violation::Retired)
    }

    /// Compares the signed header with what the server states about the message.
    fn agrees(
        &self,
        message: &Message,
        to: &Target,
        header: &Header,
    ) -> Result<Agreement, Violation> {
        let names = |of: Option<MsgId>| self.ids.names(to, message, of);
        let itself = header.id == message.id && header.kind.code() == message.kind.code();
        let agrees = match message.kind {
            Kind::Say | Kind::Me if message.edited => header.kind == Kind::Edit { of: message.id },
            // A later change has a message of its own.
            Kind::Edit { .. } if !itself && message.replay => {
                header.kind.is_edit() && names(header.kind.of())
            }
            Kind::File { blob } => itself && header.kind.blob() == Some(blob),
            _ => itself && names(header.kind.of()),
        };
        check(agrees, Violation::Spliced)?;
        Ok(if itself { Agreement::Whole } else { Agreement::Changed })
    }

    /// Checks the place of the message among those of its device.
    fn order(
        &mut self,
        message: &Message,
        to: &Target,
        read: &Read,
        (arrival, agreement): (Arrival, Agreement),
    ) -> Order {
        let device = read.certificate.fingerprint().to_url();
        let (link, time_ms, hash) = (&read.opened.header.link, read.time_ms(), read.hash);
        let changes = read.opened.header.kind.is_change();
        match agreement {
            // The original body no longer exists.
            Agreement::Changed => {
                self.count_tombstone(message, to, arrival);
                Order::Good
            }
            Agreement::Whole if arrival.new => {
                let signed = Signed { link, changes, time_ms, hash };
                let order = self.sequences.check(to, &message.from, &device, signed);
                // Extends the contiguous range at its older end.
                if !changes && order != Order::Again {
                    self.history.record(to, message, Some((&device, link)));
                }
                order
            }
            Agreement::Whole if message.reference.is_some() => {
                self.history.check(message, &device, link, hash)
            }
            // An older message is replayed under its own seq.
            Agreement::Whole
                if self.ids.is_elsewhere(to, message.seq, (message.id, &message.from)) =>
            {
                Order::Again
            }
            Agreement::Whole => Order::Good,
        }
    }

    /// Returns what is missing before the message, if anything. A message that was received before
    /// is accepted in another epoch only.
    fn check_order(
        &self,
        order: Order,
        message: &mut Message,
        to: &Target,
        time_ms: i64,
    ) -> Result<Option<Violation>, Violation> {
        match order {
            Order::Good => Ok(None),
            Order::Missing(messages) => Ok(Some(Violation::Missing(messages))),
            Order::Unlinked => Ok(Some(Violation::Unlinked)),
            Order::Again => {
                // A replayed message has one seq in this log.
                let again = self.sequences.may_replay(to)
                    && !self.ids.is_elsewhere(to, message.seq, (message.id, &message.from));
                check(message.replay && again, Violation::Again)?;
                message.time_ms = time_ms;
                Ok(None)
            }
        }
    }

    /// Returns whether the sender's clock differs too much from the server's. A change is skipped:
    /// the server does not state its time where it shows the message.
    fn has_other_time(&self, message: &Message, arrival: Arrival, time_ms: i64) -> bool {
        let told = arrival.new || message.reference.is_some();
        told && message.time_ms.abs_diff(time_ms) > CLOCKS_MS as u64
    }

    /// Whether its sender has not changed it since, as far as this client knows, also under former
    /// names.
    fn is_current(&mut self, message: &Message, to: &Target, read: &Read) -> bool {
        let header = &read.opened.header;
        let (id, version) = (header.kind.of().unwrap_or(message.id), Version::of(header));
        let present = (to.clone(), message.from.clone());
        let names = [Some(present), read.former.clone()].into_iter().flatten();
        let mut takes = |(conversation, from)| {
            self.changes.takes((conversation, from, id), version, self.opening.now_ms)
        };
        // Each of them takes it.
        names.map(&mut takes).fold(true, |all, one| all & one)
    }

    /// It is stored for `/search`.
    fn is_found(&mut self, found: Found) {
        let told = self.sequences.epoch_and_retention(found.conversation);
        self.search.remember(self.opening.storage, found, told, self.opening.now_ms);
    }

    /// Returns the text, if this version can show its type.
    fn is_shown(
        &mut self,
        message: &mut Message,
        to: &Target,
        read: Read,
    ) -> Result<(), Violation> {
        let said_ms = read.time_ms();
        let text = read.opened.text.ok_or(Violation::Newer)?;
        // The signed header decides whether the message is deleted.
        (message.body, message.confidentiality, message.deleted) =
            (Body::Text(text), read.confidentiality, false);
        message.edited &= !message.kind.is_change();
        let changes = read.opened.header.kind.of();
        self.is_found(Found { conversation: to, message, changes, said_ms });
        Ok(())
    }

    /// Counts a message whose original body is gone. It excuses one missing message of its sort.
    fn count_tombstone(&mut self, message: &Message, to: &Target, arrival: Arrival) {
        let changes = message.kind.is_change();
        match message.reference {
            // An answer has no changes.
            Some(_) if changes => {}
            Some(_) => self.history.count_tombstone(&message.from),
            None if arrival.new => {
                self.sequences.tombstones(to).add(&message.from, changes);
                if !changes {
                    self.history.record(to, message, None);
                }
            }
            None => {}
        }
    }
}

/// The message without its text.
fn rejected(mut message: Message, violation: Violation) -> Output {
    message.body = Body::default();
    Output::Violation { message, violation }
}
