//! Verification of incoming messages: opens them and compares their signed headers with what the
//! server states.

use super::changes::{self, Changes, Version};
use super::channels::Channels;
use super::clock::CLOCKS_MS;
use super::device_keys::DeviceKeys;
use super::history_check::HistoryCheck;
use super::message_ids::MessageIds;
use super::output::Output;
use super::search::{Found, Search, retention_notice};
use super::sequence::{Order, Sequences, Signed};
use super::storage::{Account, Storage};
use super::trust::{Prints, TrustState, TrustStore};
use super::trust_file::TrustFile;
use super::verified::Verified;
use super::violation::Violation;
use crate::chat::{
    Body, ChannelName, Confidentiality, ConversationInfo, Event, Kind, Message, MsgId, Opaque,
    Retention, Target, UserName,
};
use crate::crypto::Fingerprint;
use crate::crypto::certificate::Certificate;
use crate::crypto::context::Context;
use crate::crypto::header::{Header, Opened, body_hash, claimed_sender};
use crate::crypto::private::{Parsed, Under};

/// The signing key that a sealed message claims.
pub fn claimed(message: &Message) -> Option<Fingerprint> {
    let sealed = message.body.sealed()?;
    claimed_sender(sealed.bytes()).ok().map(Certificate::issuer)
}

/// The state that messages are verified against, and the keys that open them.
pub struct Incoming<'a> {
    pub account: &'a dyn Account,
    pub storage: &'a mut dyn Storage,
    pub own: &'a UserName,
    pub trust: &'a mut TrustStore,
    pub file: &'a mut TrustFile,
    pub devices: &'a mut DeviceKeys,
    pub channels: &'a Channels,
    pub verified: &'a mut Verified,
    pub sequences: &'a mut Sequences,
    pub history: &'a mut HistoryCheck,
    pub ids: &'a mut MessageIds,
    pub changes: &'a mut Changes,
    pub search: &'a mut Search,
    pub now_ms: i64,
}

/// How a message arrived.
#[derive(Clone, Copy)]
struct Arrival {
    /// The first one with its seq, and not part of an answer.
    new: bool,
    /// Stored by the server just now.
    live: bool,
}

/// An opened message with a valid signature.
struct Read {
    opened: Opened,
    confidentiality: Confidentiality,
    certificate: Certificate,
    hash: [u8; 32],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Whole,
    /// The body is that of a later change.
    Changed,
}

impl Read {
    /// The signed time, in milliseconds since 1970.
    fn time_ms(&self) -> i64 {
        changes::time_ms(&self.opened.note)
    }
}

impl Incoming<'_> {
    /// Takes the server's list of conversations.
    pub fn begin(&mut self, conversations: &[ConversationInfo], next: &mut Vec<Output>) {
        // A log in memory changes with each start of the server.
        let (mut others, mut in_memory) = (Vec::new(), Vec::new());
        for ConversationInfo { to, log, last, retention, .. } in conversations {
            if !self.can_open(to) {
                continue;
            }
            let (other, known) = self.sequences.begin(to, *log, *last, self.now_ms);
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
                "the server begins anew with {}, as after a restore from a backup: lines that you \
                 have read may be told again, under their own time, and some may be missing. What \
                 you have read stays for /search. If nobody has restored one, do not trust this server",
                others.join(", ")
            );
            next.push(Output::Trouble(text));
        }
        if !in_memory.is_empty() {
            let text = format!(
                "the server begins anew with {}: it stores messages there in memory only, and has \
                 lost them, as after a restart. What you have read stays for /search",
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
        check(!self.ids.is_anothers(to, message), Violation::Spliced)?;
        let again = message.reference.is_some() && self.ids.is_elsewhere(to, message);
        check(!again, Violation::Again)?;
        check(arrival.new || !arrival.live, Violation::Again)?;
        let Some(sealed) = message.body.take_sealed() else {
            return self.verify_unsigned(message, to, arrival);
        };
        let read = self.open(message, to, &sealed)?;
        self.check_time(message, to, &read, arrival)?;
        let agreement = self.agrees(message, to, &read.opened.note)?;
        let order = self.order(message, to, &read, (arrival, agreement));
        let violation = self.check_order(order, message, to, read.time_ms())?;
        check(self.is_current(message, to, &read.opened.note), Violation::Outdated)?;
        let dated =
            agreement == Agreement::Whole && self.has_other_time(message, arrival, read.time_ms());
        let dated = dated.then_some(Violation::Dated(read.time_ms()));
        if agreement == Agreement::Whole && !arrival.new && message.reference.is_none() {
            // The server could state any time for an old message.
            message.time_ms = read.time_ms();
        }
        let violations = violation.into_iter().chain(dated);
        next.extend(violations.map(|violation| rejected(message.clone(), violation)));
        self.ids.remember(to, message);
        if let Kind::Delete { of } = message.kind {
            self.sequences.seats(to).is_deleted(&message.from, of);
        }
        for (from, changes) in self.sequences.take_unexplained(to, self.now_ms) {
            let message = Message { from, ..message.clone() };
            next.push(rejected(message, Violation::Unexplained(changes)));
        }
        self.is_shown(message, to, read)
    }

    /// Returns whether messages of this conversation can be opened at all. Nothing is remembered
    /// of channels whose PIN is not known: a server can invent them.
    fn can_open(&self, to: &Target) -> bool {
        match to {
            Target::Channel(channel) if channel.has_pin() => self.channels.key(channel).is_some(),
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
        let (new, missing) = self.sequences.arrives(to, message.seq, live.then_some(self.now_ms));
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
        let seat = message.deleted || message.kind.is_change();
        let empty = message.body.is_empty();
        // Messages from before the sender used encryption are replayed unsigned.
        let before = message.replay || message.reference.is_some();
        // A new change must be signed.
        check(!seat || !empty || before, Violation::Downgraded)?;
        if seat && empty && (message.deleted || message.kind.is_edit()) {
            // A tombstone changes neither the screen nor the stored messages.
            match message.kind.of() {
                None => self.count_tombstone(message, to, arrival),
                // Nothing shows it: it needs the signed deletion of the message.
                Some(of) if arrival.new => {
                    self.sequences.seats(to).add_unsigned_edit(&message.from, of);
                }
                Some(_) => {}
            }
            message.confidentiality = Confidentiality::Open;
            return Ok(());
        }
        let is_private = matches!(to, Target::User(_));
        let allowed = is_private && (before || !self.trust.seals(&message.from));
        check(allowed, Violation::Downgraded)?;
        let changed = (to.clone(), message.from.clone(), message.id);
        check(self.changes.takes(changed, None, self.now_ms), Violation::Outdated)?;
        message.confidentiality = Confidentiality::Open;
        self.ids.remember(to, message);
        let said_ms = message.time_ms;
        self.is_found(Found { conversation: to, message, changes: None, said_ms });
        Ok(())
    }

    /// Opens a sealed message and checks its certificate and signature.
    fn open(&mut self, message: &Message, to: &Target, body: &Opaque) -> Result<Read, Violation> {
        let certificate = self.certificate(&message.from, body.bytes())?;
        let (opened, confidentiality) = match to {
            Target::Channel(channel) => {
                self.open_channel(channel, message, body.bytes(), &certificate)?
            }
            Target::User(with) => self.open_private(with, message, body.bytes(), &certificate)?,
        };
        // The signed time must lie within the certificate's validity.
        let holds = certificate.is_valid_at(opened.note.time_ms / 1000);
        check(holds, Violation::Forged)?;
        Ok(Read { opened, confidentiality, certificate, hash: body_hash(body.bytes()) })
    }

    fn open_channel(
        &self,
        channel: &ChannelName,
        message: &Message,
        body: &[u8],
        certificate: &Certificate,
    ) -> Result<(Opened, Confidentiality), Violation> {
        let context = self.context(&message.from, &Target::Channel(channel.clone()));
        let key = self.channels.key(channel).ok_or(Violation::NoKey)?;
        Ok((key.open(&context, body, certificate)?, Confidentiality::Pin))
    }

    fn open_private(
        &mut self,
        with: &UserName,
        message: &Message,
        body: &[u8],
        certificate: &Certificate,
    ) -> Result<(Opened, Confidentiality), Violation> {
        // A private message of another user is addressed to the own user, whatever the server
        // states.
        let recipient = if message.from == *self.own { with } else { self.own };
        let context = self.context(&message.from, &Target::User(recipient.clone()));
        let parsed = Parsed::parse(body)?;
        if !self.devices.opening().iter().any(|(hash, _)| parsed.is_for(hash)) {
            // Another client of this profile may have made the key. Keys that cannot be read open
            // nothing.
            let _ = self.devices.refresh(self.storage, self.account);
        }
        let (own, openers) = (self.devices.opening(), self.account.openers());
        let mut opened =
            openers.iter().map(|opener| parsed.open(&context, opener, own, certificate));
        let first = opened.next().expect("there is a key");
        let (opened, under) = opened.fold(first, |found, next| found.or(next))?;
        let Prints { theirs, news, gone } = self.trust.prints(recipient);
        let mut prints = theirs.iter().chain(&news).chain(&gone);
        let bare = prints.any(|print| parsed.is_for(&print.0));
        let confidentiality = match under {
            Under::Certificate if !bare => Confidentiality::Sealed,
            _ => Confidentiality::RsaAlone,
        };
        Ok((opened, confidentiality))
    }

    fn context(&self, sender: &UserName, conversation: &Target) -> Context {
        Context::new(self.account.founding(), sender, conversation)
    }

    /// Returns the certificate in a body if it is signed by a key of this user.
    fn certificate(&mut self, from: &UserName, body: &[u8]) -> Result<Certificate, Violation> {
        let bytes = claimed_sender(body)?;
        let key = match self.trust.trust_state(from, &Certificate::issuer(bytes)) {
            TrustState::Theirs(key) | TrustState::Retired(key) => key,
            TrustState::Unconfirmed => return Err(Violation::Unconfirmed),
            TrustState::Unknown if self.trust.is_listed(from) => return Err(Violation::Forged),
            TrustState::Unknown => return Err(Violation::NoKeys),
        };
        let hash = crate::crypto::sha256(&[bytes]);
        if let Some(checked) = self.verified.get(&hash, &key.fingerprint()) {
            return Ok(checked.clone());
        }
        let certificate = Certificate::verify(bytes, key, self.account.founding());
        let certificate = certificate.ok_or(Violation::Forged)?;
        if self.trust.saw(from, &certificate, self.now_ms) {
            self.file.is_learned(from, self.now_ms);
        }
        self.verified.add(hash, certificate.clone());
        Ok(certificate)
    }

    /// Checks that the certificate and its signing key were valid when the message was signed.
    fn check_time(
        &self,
        message: &Message,
        to: &Target,
        read: &Read,
        arrival: Arrival,
    ) -> Result<(), Violation> {
        // A new message was signed when its key was valid, so an expired stolen key signs none.
        let since_ms = match (arrival.live, arrival.new) {
            (true, _) => self.now_ms,
            (false, true) => self.sequences.told_ms(to).min(self.now_ms),
            (false, false) => i64::MIN,
        };
        let over = read.certificate.is_over_since(since_ms.saturating_sub(CLOCKS_MS) / 1000);
        check(!over, Violation::Expired)?;
        // The same holds for keys that were retired before it.
        let print = read.certificate.fingerprint();
        let time_ms = read.time_ms().saturating_sub(CLOCKS_MS);
        let since_ms = if arrival.live { i64::MAX } else { since_ms };
        let late = self.trust.is_late(&message.from, &print, since_ms, time_ms);
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
        let (link, time_ms, hash) = (&read.opened.note.link, read.time_ms(), read.hash);
        let changes = read.opened.note.kind.is_change();
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
            Agreement::Whole if self.ids.is_elsewhere(to, message) => Order::Again,
            Agreement::Whole => Order::Good,
        }
    }

    /// Returns what is missing before the message, if anything. A message that was received before
    /// is accepted in another log only.
    fn check_order(
        &self,
        order: Order,
        message: &mut Message,
        to: &Target,
        time_ms: i64,
    ) -> Result<Option<Violation>, Violation> {
        match order {
            Order::Good => Ok(None),
            Order::Missing(lines) => Ok(Some(Violation::Missing(lines))),
            Order::Unlinked => Ok(Some(Violation::Unlinked)),
            Order::Again => {
                // A replayed message has one seq in this log.
                let again = self.sequences.may_replay(to) && !self.ids.is_elsewhere(to, message);
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

    /// Whether its sender has not changed it since, as far as this client knows.
    fn is_current(&mut self, message: &Message, to: &Target, header: &Header) -> bool {
        let id = header.kind.of().unwrap_or(message.id);
        let changed = (to.clone(), message.from.clone(), id);
        self.changes.takes(changed, Version::of(header), self.now_ms)
    }

    /// It is stored for `/search`.
    fn is_found(&mut self, found: Found) {
        let told = self.sequences.log_and_retention(found.conversation);
        self.search.remember(self.storage, found, told, self.now_ms);
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
        let changes = read.opened.note.kind.of();
        self.is_found(Found { conversation: to, message, changes, said_ms });
        Ok(())
    }

    /// Counts a message whose original body is gone. It excuses one missing message of its sort.
    fn count_tombstone(&mut self, message: &Message, to: &Target, arrival: Arrival) {
        let changes = message.kind.is_change();
        match message.reference {
            // An answer has no changes.
            Some(_) if changes => {}
            Some(_) => self.history.spent(&message.from),
            None if arrival.new => {
                self.sequences.seats(to).add(&message.from, changes);
                if !changes {
                    self.history.record(to, message, None);
                }
            }
            None => {}
        }
    }
}

fn check(holds: bool, violation: Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation) }
}

/// The message without its text.
fn rejected(mut message: Message, violation: Violation) -> Output {
    message.body = Body::default();
    Output::Violation { message, violation }
}
