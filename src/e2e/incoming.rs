//! Lines that come in: opened, and held against what the server says of them.

use std::collections::BTreeMap;

use super::outgoing::Settled;
use super::sequence::{Order, Signed};
use super::trust::{Prints, TrustState};
use super::{CHECKED_MAX, CLOCKS_MS, Engine, IDS_ALL_MAX, IDS_MAX, Output, Violation};
use crate::chat::{Body, Event, Kind, Lock, Message, MsgId, Opaque, Seq, Target, UserName};
use crate::crypto::Fingerprint;
use crate::crypto::certificate::Certificate;
use crate::crypto::context::Context;
use crate::crypto::note::{Note, Opened, body_hash, claimed_sender};
use crate::crypto::private::{Parsed, Under};

/// Who has signed a sealed line, as it says itself.
pub fn claimed(message: &Message) -> Option<Fingerprint> {
    let sealed = message.body.sealed()?;
    claimed_sender(sealed.bytes()).ok().map(Certificate::issuer)
}

impl Engine {
    pub(super) fn message(&mut self, message: Message, now_ms: i64, next: &mut Vec<Output>) {
        let to = message.conversation(Some(&self.own));
        let (id, own) = (message.id, message.from == self.own);
        let told_again = message.reference.is_some();
        let from = message.from.clone();
        let told = self.judge(message, &to, now_ms, next);
        if std::mem::take(&mut self.seen_newer) {
            self.is_learned(&from, now_ms);
        }
        next.push(told);
        if own && !told_again {
            self.settled(id, Settled::Stored, now_ms, next);
        }
    }

    /// The line as it is shown, or what is wrong with it.
    fn judge(
        &mut self,
        mut message: Message,
        to: &Target,
        now_ms: i64,
        next: &mut Vec<Output>,
    ) -> Output {
        if !to.is_sealed() {
            return match message.body.take_sealed() {
                None => Output::Event(Event::Message(message)),
                Some(_) => rejected(message, Violation::Malformed),
            };
        }
        let (new, missing) = match &message.reference {
            // An answer goes by itself: what it tells is no news.
            Some(reference) if !self.history.goes_on(to, reference, message.seq) => {
                return rejected(message, Violation::Again);
            }
            Some(_) => (false, 0),
            None => {
                let live_ms = (!message.replay).then_some(now_ms);
                self.sequences.arrives(to, message.seq, live_ms)
            }
        };
        if missing > 0 {
            next.push(rejected(message.clone(), Violation::Missing(missing)));
        }
        if self.is_anothers_seat(to, &message) {
            return rejected(message, Violation::Spliced);
        }
        // What is new is told as such once.
        let live = message.reference.is_none() && !message.replay;
        if live && !new {
            return rejected(message, Violation::Again);
        }
        let Some(sealed) = message.body.take_sealed() else {
            return self.clear(message, to, new, now_ms);
        };
        let read = match to {
            Target::Channel(channel) => self.read_channel(channel, &message, &sealed, now_ms),
            Target::User(with) => self.read_private(with, &message, &sealed, now_ms),
        };
        let (opened, lock, certificate) = match read {
            Ok(read) => read,
            Err(violation) => return rejected(message, violation),
        };
        // A line that is not old was signed when its key was of use: a stolen one that is over
        // signs none.
        let since_ms = match (live, new) {
            (true, _) => now_ms,
            (false, true) => self.sequences.told_ms(to).min(now_ms),
            (false, false) => i64::MIN,
        };
        if certificate.is_over_since(since_ms.saturating_sub(CLOCKS_MS) / 1000) {
            return rejected(message, Violation::Expired);
        }
        // Nor is one that was retired before it.
        let print = certificate.fingerprint();
        let time_ms = (opened.note.time_ms.min(i64::MAX as u64) as i64).saturating_sub(CLOCKS_MS);
        let since_ms = if live { i64::MAX } else { since_ms };
        if self.trust.is_late(&message.from, &print, since_ms, time_ms) {
            return rejected(message, Violation::Retired);
        }
        let device = certificate.fingerprint().to_url();
        let note = &opened.note;
        let changes = note.kind.is_change();
        let (time_ms, hash) = (note.time_ms.min(i64::MAX as u64) as i64, body_hash(sealed.bytes()));
        let signed = Signed { link: &note.link, changes, time_ms, hash };
        let agrees = self.agrees(note, &message, to);
        let order = match agrees {
            Agreement::No => return rejected(message, Violation::Spliced),
            // What the line said first is nowhere any more.
            Agreement::Changed => {
                self.spent(&message, to, new);
                Order::Good
            }
            Agreement::Yes if new => self.takes(&message, to, &device, signed),
            Agreement::Yes if message.reference.is_some() => {
                self.history.takes(&message, &device, &note.link, hash)
            }
            Agreement::Yes => Order::Good,
        };
        let violation = match order {
            Order::Good => None,
            // After another log began, old lines are told again; as what they are.
            Order::Again if message.replay && self.tells_again(to, &message) => {
                message.time_ms = time_ms;
                None
            }
            Order::Again => return rejected(message, Violation::Again),
            Order::Missing(lines) => Some(Violation::Missing(lines)),
            Order::Unlinked => Some(Violation::Unlinked),
        };
        // A change has its own time, of which the server says nothing where it tells the line.
        let dated = matches!(agrees, Agreement::Yes)
            && (new || message.reference.is_some())
            && message.time_ms.abs_diff(time_ms) > CLOCKS_MS as u64;
        let violations = violation.into_iter().chain(dated.then_some(Violation::Dated(time_ms)));
        next.extend(violations.map(|violation| rejected(message.clone(), violation)));
        self.remember_id(to, &message);
        let Some(text) = opened.text else { return rejected(message, Violation::Newer) };
        // What is signed says itself whether it is deleted.
        (message.body, message.lock, message.deleted) = (Body::Text(text), lock, false);
        message.edited &= !message.kind.is_change();
        self.remember(to, &message, opened.note.kind.of(), now_ms);
        Output::Event(Event::Message(message))
    }

    /// A new line, in the place's chains and at the older end of what is here.
    fn takes(&mut self, message: &Message, to: &Target, device: &str, signed: Signed) -> Order {
        let order = self.sequences.takes(to, &message.from, device, signed);
        if !signed.changes && order != Order::Again {
            self.history.is_told(to, message, Some((device, signed.link)));
        }
        order
    }

    /// Whether this line, which was told before, may be told again: under one seq of this log.
    fn tells_again(&self, to: &Target, message: &Message) -> bool {
        let elsewhere =
            |(seq, (id, _)): (&Seq, &(MsgId, UserName))| *id == message.id && *seq != message.seq;
        self.sequences.tells_again(to) && !self.ids.get(to).into_iter().flatten().any(elsewhere)
    }

    /// What a line said first is not told.
    fn spent(&mut self, message: &Message, to: &Target, new: bool) {
        match message.reference {
            Some(_) => self.history.spent(&message.from),
            None if new => {
                self.sequences.spent(to, &message.from);
                self.history.is_told(to, message, None);
            }
            None => {}
        }
    }

    /// A line without anything sealed where lines are sealed.
    fn clear(&mut self, mut message: Message, to: &Target, new: bool, now_ms: i64) -> Output {
        // The seat of a deleted line, and of a change whose line was changed again.
        let seat = message.deleted || message.kind.is_change();
        let empty = message.body.is_empty();
        // What was said before they sealed is told again, and by the server's word alone.
        let before = message.replay || message.reference.is_some();
        if seat && empty && !before {
            // A change that is made now is signed.
            return rejected(message, Violation::Downgraded);
        }
        if seat && empty && (message.deleted || message.kind.is_edit()) {
            // It excuses a count, and changes nothing: not what is shown, and not what is kept.
            self.spent(&message, to, new);
            message.lock = Lock::Open;
            return Output::Event(Event::Message(message));
        }
        let seals = self.trust.seals(&message.from);
        match to {
            Target::User(_) if before || !seals => {
                message.lock = Lock::Open;
                self.remember_id(to, &message);
                self.remember(to, &message, None, now_ms);
                Output::Event(Event::Message(message))
            }
            _ => rejected(message, Violation::Downgraded),
        }
    }

    fn read_channel(
        &mut self,
        channel: &crate::chat::ChannelName,
        message: &Message,
        sealed: &Opaque,
        now_ms: i64,
    ) -> Result<(Opened, Lock, Certificate), Violation> {
        let body = sealed.bytes();
        let certificate = self.certificate(&message.from, body, now_ms)?;
        let context = self.context(&message.from, &Target::Channel(channel.clone()));
        let key = self.channels.get(channel).ok_or(Violation::NoKey)?;
        let opened = key.open(&context, body, &certificate)?;
        valid(&certificate, &opened.note)?;
        Ok((opened, Lock::Pin, certificate))
    }

    fn read_private(
        &mut self,
        with: &UserName,
        message: &Message,
        sealed: &Opaque,
        now_ms: i64,
    ) -> Result<(Opened, Lock, Certificate), Violation> {
        let body = sealed.bytes();
        let certificate = self.certificate(&message.from, body, now_ms)?;
        // What others say in private is said to the person of this client, whatever the server
        // says.
        let recipient = if message.from == self.own { with.clone() } else { self.own.clone() };
        let context = self.context(&message.from, &Target::User(recipient.clone()));
        let parsed = Parsed::parse(body)?;
        let openers = self.account.openers();
        if !self.devices.opening().iter().any(|(hash, _)| parsed.is_for(hash)) {
            // Another client of this folder may have made it; what cannot be read opens nothing.
            let _ = self.devices.refresh(&*self.storage, &*self.account);
        }
        let own = self.devices.opening();
        let mut opened =
            openers.iter().map(|opener| parsed.open(&context, opener, own, &certificate));
        let first = opened.next().expect("there is a key");
        let (opened, under) = opened.fold(first, |found, next| found.or(next))?;
        valid(&certificate, &opened.note)?;
        let Prints { theirs, news, gone } = self.trust.prints(&recipient);
        let mut prints = theirs.iter().chain(&news).chain(&gone);
        let bare = prints.any(|print| parsed.is_for(&print.0));
        let lock = match under {
            Under::Certificate if !bare => Lock::Sealed,
            _ => Lock::RsaAlone,
        };
        Ok((opened, lock, certificate))
    }

    /// What a message of `sender` in this conversation is sealed and signed with.
    pub(super) fn context(&self, sender: &UserName, conversation: &Target) -> Context {
        Context::new(self.account.founding(), sender, conversation)
    }

    /// The certificate in a body, if a key of this person has signed it.
    fn certificate(
        &mut self,
        from: &UserName,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Certificate, Violation> {
        let bytes = claimed_sender(body)?;
        let key = match self.trust.standing(from, &Certificate::issuer(bytes)) {
            TrustState::Theirs(key) | TrustState::Retired(key) => key,
            TrustState::Unconfirmed => return Err(Violation::Unconfirmed),
            TrustState::Unknown if self.trust.is_listed(from) => return Err(Violation::Forged),
            TrustState::Unknown => return Err(Violation::NoKeys),
        };
        let hash = crate::crypto::sha256(&[bytes]);
        if let Some(checked) = self.checked.get(&hash)
            && checked.fingerprint() == key.fingerprint()
        {
            return Ok(checked.clone());
        }
        let certificate =
            Certificate::verify(bytes, key, self.account.founding()).ok_or(Violation::Forged)?;
        if self.checked.len() >= CHECKED_MAX {
            self.checked.clear();
        }
        self.seen_newer |= self.trust.saw(from, &certificate, now_ms);
        self.checked.insert(hash, certificate.clone());
        Ok(certificate)
    }

    /// Whether the server's word for a line is its sender's.
    fn agrees(&self, note: &Note, message: &Message, to: &Target) -> Agreement {
        let ids = self.ids.get(to);
        let names = |of: Option<MsgId>| match message.kind.of() {
            // A line that was not seen here is changed nowhere here.
            Some(seq) => ids
                .and_then(|ids| ids.get(&seq))
                .is_none_or(|(known, whose)| of == Some(*known) && *whose == message.from),
            None => of.is_none(),
        };
        let itself = note.id == message.id && note.kind.code() == message.kind.code();
        let agrees = match message.kind {
            Kind::Say | Kind::Me if message.edited => note.kind == Kind::Edit { of: message.id },
            // A later change has its place.
            Kind::Edit { .. } if !itself && message.replay => {
                note.kind.is_edit() && names(note.kind.of())
            }
            _ => itself && names(note.kind.of()),
        };
        match (agrees, itself) {
            (true, true) => Agreement::Yes,
            (true, false) => Agreement::Changed,
            (false, _) => Agreement::No,
        }
    }

    /// Whether another line was found good under its seq.
    fn is_anothers_seat(&self, to: &Target, message: &Message) -> bool {
        let known = self.ids.get(to).and_then(|ids| ids.get(&message.seq));
        known.is_some_and(|(id, whose)| *id != message.id || *whose != message.from)
    }

    fn remember_id(&mut self, to: &Target, message: &Message) {
        let ids = self.ids.entry(to.clone()).or_default();
        ids.insert(message.seq, (message.id, message.from.clone()));
        if ids.len() > IDS_MAX {
            ids.pop_first();
        }
        let all: usize = self.ids.values().map(BTreeMap::len).sum();
        if all > IDS_ALL_MAX
            && let Some(ids) = self.ids.values_mut().max_by_key(|ids| ids.len())
        {
            ids.pop_first();
        }
    }
}

enum Agreement {
    Yes,
    /// It is what a later change has made of it.
    Changed,
    No,
}

/// A certificate holds for its own time only.
fn valid(certificate: &Certificate, note: &Note) -> Result<(), Violation> {
    if certificate.is_valid_at(note.time_ms / 1000) { Ok(()) } else { Err(Violation::Forged) }
}

fn rejected(mut message: Message, violation: Violation) -> Output {
    message.body = Body::default();
    Output::Violation { message, violation }
}
