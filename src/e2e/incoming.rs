//! Messages that come in: opened, and held against what the server says of them.

use std::collections::HashMap;

use super::changes::{self, Changes, Version};
use super::channels::Channels;
use super::device_keys::DeviceKeys;
use super::history_check::HistoryCheck;
use super::message_ids::MessageIds;
use super::output::Output;
use super::search::{Found, Search, told_shorter};
use super::sequence::{Order, Sequences, Signed};
use super::storage::{Account, Storage};
use super::trust::{Prints, TrustState, TrustStore};
use super::trust_file::TrustFile;
use super::violation::Violation;
use crate::chat::{
    Body, ChannelName, Confidentiality, ConversationInfo, Event, Kind, Message, MsgId, Opaque,
    Retention, Target, UserName,
};
use crate::crypto::Fingerprint;
use crate::crypto::certificate::{Certificate, CertificateHash};
use crate::crypto::context::Context;
use crate::crypto::header::{Header, Opened, body_hash, claimed_sender};
use crate::crypto::private::{Parsed, Under};

/// Certificates that were checked.
const CHECKED_MAX: usize = 1_000;
/// Clocks differ by less, or it is told.
const CLOCKS_MS: i64 = 86_400_000;

/// Who has signed a sealed message, as it says itself.
pub fn claimed(message: &Message) -> Option<Fingerprint> {
    let sealed = message.body.sealed()?;
    claimed_sender(sealed.bytes()).ok().map(Certificate::issuer)
}

/// Certificates that were verified, by their hashes.
#[derive(Default)]
pub struct Verified(HashMap<CertificateHash, Certificate>);

/// What a message is verified against, and by what it is opened.
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

/// How a message came.
#[derive(Clone, Copy)]
struct Arrival {
    /// It is the first one under its seq, and no answer.
    new: bool,
    /// It was stored just now.
    live: bool,
}

/// A message that its sender has signed.
struct Read {
    opened: Opened,
    confidentiality: Confidentiality,
    certificate: Certificate,
    hash: [u8; 32],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Whole,
    /// It is what a later change has made of it.
    Changed,
}

impl Read {
    /// By its sender's clock.
    fn time_ms(&self) -> i64 {
        changes::time_ms(&self.opened.note)
    }
}

impl Incoming<'_> {
    /// What the server says of conversations.
    pub fn begin(&mut self, conversations: &[ConversationInfo], next: &mut Vec<Output>) {
        // Memory alone has another log after each start of the server.
        let (mut others, mut in_memory) = (Vec::new(), Vec::new());
        for ConversationInfo { to, log, last, retention, .. } in conversations {
            let (other, met) = self.sequences.begin(to, *log, *last, self.now_ms);
            let before = self.retains(to, *retention, next);
            if other {
                self.ids.forget(to);
                self.history.skip(to);
            }
            if other && met && to.is_sealed() {
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

    /// The server says how long it stores messages of a conversation, which holds here for what is
    /// read from now on. Gives what it said before.
    fn retains(
        &mut self,
        conversation: &Target,
        retention: Retention,
        next: &mut Vec<Output>,
    ) -> Option<Retention> {
        let before = self.sequences.retains(conversation, retention);
        next.extend(before.and_then(|before| told_shorter(conversation, before, retention)));
        before
    }

    /// Something else comes between messages.
    pub fn passes(&mut self, event: &Event, next: &mut Vec<Output>) {
        match event {
            Event::Topic { to, retention, .. } => {
                self.retains(&Target::Channel(to.clone()), *retention, next);
            }
            Event::History { .. } => {
                let violation = Violation::Unlinked;
                let missed = self.history.ends().into_iter();
                next.extend(missed.map(|message| Output::Violation { message, violation }));
            }
            Event::Gap { to, to_seq, .. } => {
                self.sequences.skip(to, *to_seq);
                self.history.skip(to);
            }
            _ => {}
        }
    }

    /// The message as it is shown, or what is wrong with it.
    pub fn verify(&mut self, mut message: Message, to: &Target, next: &mut Vec<Output>) -> Output {
        match self.judge(&mut message, to, next) {
            Ok(()) => Output::Event(Event::Message(message)),
            Err(violation) => rejected(message, violation),
        }
    }

    /// All checks, in their order. What is wrong with a message that is shown all the same goes to
    /// `next`.
    fn judge(
        &mut self,
        message: &mut Message,
        to: &Target,
        next: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        if !to.is_sealed() {
            return check(message.body.take_sealed().is_none(), Violation::Malformed);
        }
        let arrival = self.arrives(message, to, next)?;
        check(!self.ids.is_anothers(to, message), Violation::Spliced)?;
        check(arrival.new || !arrival.live, Violation::Again)?;
        let Some(sealed) = message.body.take_sealed() else {
            return self.is_in_clear(message, to, arrival);
        };
        let read = self.open(message, to, &sealed)?;
        self.is_in_time(message, to, &read, arrival)?;
        let agreement = self.agrees(message, to, &read.opened.note)?;
        let order = self.order(message, to, &read, (arrival, agreement));
        let violation = self.is_in_order(order, message, to, read.time_ms())?;
        check(self.is_current(message, to, &read.opened.note), Violation::Outdated)?;
        let dated =
            agreement == Agreement::Whole && self.is_dated(message, arrival, read.time_ms());
        let dated = dated.then_some(Violation::Dated(read.time_ms()));
        let violations = violation.into_iter().chain(dated);
        next.extend(violations.map(|violation| rejected(message.clone(), violation)));
        self.ids.remember(to, message);
        self.is_shown(message, to, read)
    }

    /// Whether it is new, and stands where it should.
    fn arrives(
        &mut self,
        message: &Message,
        to: &Target,
        next: &mut Vec<Output>,
    ) -> Result<Arrival, Violation> {
        // An answer goes by itself: what it tells is no news.
        if let Some(reference) = &message.reference {
            let goes_on = self.history.goes_on(to, reference, message.seq);
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

    /// A message without anything sealed where messages are sealed.
    fn is_in_clear(
        &mut self,
        message: &mut Message,
        to: &Target,
        arrival: Arrival,
    ) -> Result<(), Violation> {
        // The seat of a deleted message, and of a change whose message was changed again.
        let seat = message.deleted || message.kind.is_change();
        let empty = message.body.is_empty();
        // What was said before they sealed is told again, and by the server's word alone.
        let before = message.replay || message.reference.is_some();
        // A change that is made now is signed.
        check(!seat || !empty || before, Violation::Downgraded)?;
        if seat && empty && (message.deleted || message.kind.is_edit()) {
            // It excuses a count, and changes nothing: not what is shown, and not what is kept.
            self.is_spent(message, to, arrival);
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

    /// Whether somebody whose key this is has sealed it, for whom it was sealed.
    fn open(&mut self, message: &Message, to: &Target, body: &Opaque) -> Result<Read, Violation> {
        let certificate = self.certificate(&message.from, body.bytes())?;
        let (opened, confidentiality) = match to {
            Target::Channel(channel) => {
                self.open_channel(channel, message, body.bytes(), &certificate)?
            }
            Target::User(with) => self.open_private(with, message, body.bytes(), &certificate)?,
        };
        // A certificate holds for its own time only.
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
        // What others say in private is said to the person of this client, whatever the server
        // says.
        let recipient = if message.from == *self.own { with } else { self.own };
        let context = self.context(&message.from, &Target::User(recipient.clone()));
        let parsed = Parsed::parse(body)?;
        if !self.devices.opening().iter().any(|(hash, _)| parsed.is_for(hash)) {
            // Another client of this profile may have made it; what cannot be read opens nothing.
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

    /// The certificate in a body, if a key of this person has signed it.
    fn certificate(&mut self, from: &UserName, body: &[u8]) -> Result<Certificate, Violation> {
        let bytes = claimed_sender(body)?;
        let key = match self.trust.standing(from, &Certificate::issuer(bytes)) {
            TrustState::Theirs(key) | TrustState::Retired(key) => key,
            TrustState::Unconfirmed => return Err(Violation::Unconfirmed),
            TrustState::Unknown if self.trust.is_listed(from) => return Err(Violation::Forged),
            TrustState::Unknown => return Err(Violation::NoKeys),
        };
        let hash = crate::crypto::sha256(&[bytes]);
        if let Some(checked) = self.verified.0.get(&hash)
            && checked.fingerprint() == key.fingerprint()
        {
            return Ok(checked.clone());
        }
        let certificate = Certificate::verify(bytes, key, self.account.founding());
        let certificate = certificate.ok_or(Violation::Forged)?;
        if self.verified.0.len() >= CHECKED_MAX {
            self.verified.0.clear();
        }
        if self.trust.saw(from, &certificate, self.now_ms) {
            self.file.is_learned(from, self.now_ms);
        }
        self.verified.0.insert(hash, certificate.clone());
        Ok(certificate)
    }

    /// Whether its certificate, and the key that signed that, were of use when it was signed.
    fn is_in_time(
        &self,
        message: &Message,
        to: &Target,
        read: &Read,
        arrival: Arrival,
    ) -> Result<(), Violation> {
        // A message that is not old was signed when its key was of use: a stolen one that is over
        // signs none.
        let since_ms = match (arrival.live, arrival.new) {
            (true, _) => self.now_ms,
            (false, true) => self.sequences.told_ms(to).min(self.now_ms),
            (false, false) => i64::MIN,
        };
        let over = read.certificate.is_over_since(since_ms.saturating_sub(CLOCKS_MS) / 1000);
        check(!over, Violation::Expired)?;
        // Nor is one that was retired before it.
        let print = read.certificate.fingerprint();
        let time_ms = read.time_ms().saturating_sub(CLOCKS_MS);
        let since_ms = if arrival.live { i64::MAX } else { since_ms };
        let late = self.trust.is_late(&message.from, &print, since_ms, time_ms);
        check(!late, Violation::Retired)
    }

    /// Whether the server's word for a message is its sender's.
    fn agrees(
        &self,
        message: &Message,
        to: &Target,
        note: &Header,
    ) -> Result<Agreement, Violation> {
        let names = |of: Option<MsgId>| self.ids.names(to, message, of);
        let itself = note.id == message.id && note.kind.code() == message.kind.code();
        let agrees = match message.kind {
            Kind::Say | Kind::Me if message.edited => note.kind == Kind::Edit { of: message.id },
            // A later change has its place.
            Kind::Edit { .. } if !itself && message.replay => {
                note.kind.is_edit() && names(note.kind.of())
            }
            _ => itself && names(note.kind.of()),
        };
        check(agrees, Violation::Spliced)?;
        Ok(if itself { Agreement::Whole } else { Agreement::Changed })
    }

    /// Where it stands among the messages of its sender's device.
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
            // What the message said first is nowhere any more.
            Agreement::Changed => {
                self.is_spent(message, to, arrival);
                Order::Good
            }
            Agreement::Whole if arrival.new => {
                let signed = Signed { link, changes, time_ms, hash };
                let order = self.sequences.takes(to, &message.from, &device, signed);
                // The older end of what is here.
                if !changes && order != Order::Again {
                    self.history.is_told(to, message, Some((&device, link)));
                }
                order
            }
            Agreement::Whole if message.reference.is_some() => {
                self.history.takes(message, &device, link, hash)
            }
            Agreement::Whole => Order::Good,
        }
    }

    /// What is missing before it, if anything; one that was told before is told again in another
    /// log only.
    fn is_in_order(
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
                // Old messages are told again as what they are: under one seq of this log.
                let again = self.sequences.tells_again(to) && !self.ids.is_elsewhere(to, message);
                check(message.replay && again, Violation::Again)?;
                message.time_ms = time_ms;
                Ok(None)
            }
        }
    }

    /// Whether its sender's clock says another time than the server's. A change has its own time,
    /// of which the server says nothing where it tells the message.
    fn is_dated(&self, message: &Message, arrival: Arrival, time_ms: i64) -> bool {
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
        let told = self.sequences.told_of(found.conversation);
        self.search.remember(self.storage, found, told, self.now_ms);
    }

    /// Its text, where this version can show it.
    fn is_shown(
        &mut self,
        message: &mut Message,
        to: &Target,
        read: Read,
    ) -> Result<(), Violation> {
        let said_ms = read.time_ms();
        let text = read.opened.text.ok_or(Violation::Newer)?;
        // What is signed says itself whether it is deleted.
        (message.body, message.confidentiality, message.deleted) =
            (Body::Text(text), read.confidentiality, false);
        message.edited &= !message.kind.is_change();
        let changes = read.opened.note.kind.of();
        self.is_found(Found { conversation: to, message, changes, said_ms });
        Ok(())
    }

    /// What a message said first is not told.
    fn is_spent(&mut self, message: &Message, to: &Target, arrival: Arrival) {
        match message.reference {
            Some(_) => self.history.spent(&message.from),
            None if arrival.new => {
                self.sequences.spent(to, &message.from);
                self.history.is_told(to, message, None);
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
