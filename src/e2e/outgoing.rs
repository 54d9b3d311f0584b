//! Lines on their way out. Of each place one is under way at a time, so that each can name the one
//! before it, and no count is ever used for two.

use std::collections::VecDeque;

use super::trust::{NoWay, Recipient, TrustState};
use super::{Engine, Output, refused};
use crate::chat::{
    Body, Code, Command, Kind, MsgId, NewMessage, Opaque, Refusal, Seq, Target, UserName,
};
use crate::crypto::certificate::{Certificate, SigningKey};
use crate::crypto::note::{ContentType, Draft, Link, Note, SealError, claimed_sender};
use crate::crypto::private::{DEVICES_MAX, Device, Parsed, seal_to};
use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;
use crate::crypto::{Fingerprint, random};

/// Room for what a record has beside the sealed bytes.
const HEAD_BYTES: usize = 1_024;
const WIRE_BYTES_MAX: usize = RECORD_BODY_BYTES_MAX - HEAD_BYTES;

/// One place's way out.
pub struct Queue {
    waiting: VecDeque<NewMessage>,
    under_way: Option<MsgId>,
    /// It came too fast and is sent again soon: nothing overtakes it.
    postponed: Option<MsgId>,
    /// Lines that say something, and lines that change others: each kind counts its own.
    sessions: [Session; 2],
}

struct Session {
    id: [u8; 16],
    n: u64,
}

impl Default for Session {
    fn default() -> Session {
        Session { id: random(), n: 0 }
    }
}

impl Default for Queue {
    fn default() -> Queue {
        let sessions = Default::default();
        Queue { waiting: VecDeque::new(), under_way: None, postponed: None, sessions }
    }
}

impl Queue {
    pub fn lost(&mut self) {
        self.waiting.clear();
        (self.under_way, self.postponed) = (None, None);
    }

    /// A line whose count is used will not be sent: others begin anew.
    pub fn given_up(&mut self, id: MsgId) {
        if self.postponed.take_if(|postponed| *postponed == id).is_some() {
            self.sessions = Default::default();
        }
    }

    /// As in a snapshot that was taken before its last message.
    #[cfg(test)]
    pub fn counts_again(&mut self) {
        self.sessions.iter_mut().for_each(|session| session.n = session.n.saturating_sub(1));
    }

    fn session(&mut self, kind: Kind) -> &mut Session {
        &mut self.sessions[usize::from(kind.is_change())]
    }
}

/// What became of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Stored,
    Refused,
    /// It is sent again by itself.
    Postponed,
}

/// Why a line is not sealed.
enum Not {
    /// This person's keys are asked for first.
    Wait(UserName),
    Refused(Code, String),
}

impl From<Refusal> for Not {
    fn from(refusal: Refusal) -> Not {
        Not::Refused(refusal.code(), refusal.to_string())
    }
}

impl Engine {
    pub(super) fn say(&mut self, message: NewMessage, now_ms: i64, next: &mut Vec<Output>) {
        let place = match &message.to {
            Target::User(name) => Target::User(self.trust.spelled(name)),
            channel => channel.clone(),
        };
        let lane = self.outgoing.entry(place.clone()).or_default();
        match lane.postponed {
            Some(postponed) if postponed == message.id => {
                lane.postponed = None;
                lane.waiting.push_front(message);
            }
            _ => lane.waiting.push_back(message),
        }
        self.pump(&place, now_ms, next);
    }

    pub(super) fn pump_all(&mut self, now_ms: i64, next: &mut Vec<Output>) {
        for place in self.outgoing.keys().cloned().collect::<Vec<_>>() {
            self.pump(&place, now_ms, next);
        }
    }

    /// Sends the next line of a place, if none is under way.
    fn pump(&mut self, place: &Target, now_ms: i64, next: &mut Vec<Output>) {
        loop {
            let Some(lane) = self.outgoing.get_mut(place) else { return };
            if lane.under_way.is_some() || lane.postponed.is_some() {
                return;
            }
            let Some(message) = lane.waiting.pop_front() else { return };
            let NewMessage { id, kind, .. } = message;
            match self.seal(&message, place, now_ms, next) {
                Ok((to, sealed)) => {
                    let body = Body::Sealed(sealed);
                    next.push(Output::Send(Command::Say(NewMessage { to, id, kind, body })));
                    let lane = self.outgoing.get_mut(place).expect("it was just there");
                    return lane.under_way = Some(id);
                }
                Err(Not::Wait(name)) => {
                    let lane = self.outgoing.get_mut(place).expect("it was just there");
                    lane.waiting.push_front(message);
                    return self.ask(name, next);
                }
                Err(Not::Refused(code, hint)) => next.push(refused(id, code, hint)),
            }
        }
    }

    /// The server has decided about a line.
    pub(super) fn settled(&mut self, id: MsgId, how: Settled, now_ms: i64, next: &mut Vec<Output>) {
        if how == Settled::Stored {
            self.sealed.remove(&id);
        }
        let found = self.outgoing.iter_mut().find(|(_, lane)| lane.under_way == Some(id));
        let Some((place, lane)) = found else { return };
        lane.under_way = None;
        match how {
            Settled::Stored => {}
            Settled::Postponed => lane.postponed = Some(id),
            // Its count stays its own, whenever it is sent again: others begin anew.
            Settled::Refused => lane.sessions = Default::default(),
        }
        let place = place.clone();
        self.pump(&place, now_ms, next);
    }

    /// A line as it goes out: the same bytes each time.
    fn seal(
        &mut self,
        message: &NewMessage,
        place: &Target,
        now_ms: i64,
        next: &mut Vec<Output>,
    ) -> Result<(Target, Opaque), Not> {
        let NewMessage { id, kind, body, .. } = message;
        let text = body.text();
        let to = match place {
            Target::User(name) => Target::User(self.trust.spelled(name)),
            channel => channel.clone(),
        };
        if let Some(sealed) = self.sealed.get(id).filter(|sealed| self.holds(&to, sealed, now_ms)) {
            return Ok((to, sealed.clone()));
        }
        self.has_own_name()?;
        if text.len() > self.text_bytes_max {
            let max_bytes = self.text_bytes_max;
            return Err(Refusal::TooLong { bytes: text.len(), max_bytes }.into());
        }
        if text.trim().is_empty() && !matches!(kind, Kind::Delete { .. }) {
            return Err(Refusal::Empty.into());
        }
        let (to, body) = match place {
            Target::Channel(channel) => {
                let note = self.note(place, place, message, now_ms)?;
                let Some(key) = self.channels.get(channel) else {
                    let hint = format!("the PIN of {channel} is not known here: /join it with it");
                    return Err(Not::Refused(Code::NotMember, hint));
                };
                let context = &self.context(&self.own, place);
                let draft = Draft { context, note: &note, text };
                (place.clone(), key.seal(&draft, self.signing()?))
            }
            Target::User(name) => {
                // First, so that it is the registered name whatever was typed.
                let recipients = self.recipients(name, now_ms)?;
                // Nothing goes out for a key that could be another one after a crash.
                self.keep_people().map_err(|hint| Not::Refused(Code::Storage, hint))?;
                self.tell_left_out(name, next);
                let to = Target::User(self.trust.spelled(name));
                let note = self.note(place, &to, message, now_ms)?;
                let context = &self.context(&self.own, &to);
                let draft = Draft { context, note: &note, text };
                (to, self.seal_private(&draft, recipients, now_ms)?)
            }
        };
        let body = body.map_err(|_| Not::from(Refusal::Unknown))?;
        let sealed = Opaque::new(&body).expect("a sealed line has bytes");
        if sealed.wire_len() > WIRE_BYTES_MAX {
            let (bytes, max_bytes) = (sealed.wire_len(), WIRE_BYTES_MAX);
            return Err(Refusal::TooLong { bytes, max_bytes }.into());
        }
        let lane = self.outgoing.get_mut(place).expect("it is its lane");
        lane.session(*kind).n += 1;
        self.sealed.insert(*id, sealed.clone());
        next.push(Output::Store(*id, sealed.clone()));
        Ok((to, sealed))
    }

    /// Whether a message that was sealed once may still go out as it is: under a certificate that
    /// is over, or under names that do not hold any more, nobody would read it.
    fn holds(&self, to: &Target, sealed: &Opaque, now_ms: i64) -> bool {
        let (body, own) = (sealed.bytes(), self.account.own());
        let verify = |bytes| Certificate::verify(bytes, own.public(), self.account.founding());
        let Some(certificate) = claimed_sender(body).ok().and_then(|bytes| verify(bytes)) else {
            return true;
        };
        let context = self.context(&self.own, to);
        let opens = match to {
            Target::Channel(channel) => {
                let key = self.channels.get(channel);
                key.is_some_and(|key| key.open(&context, body, &certificate).is_ok())
            }
            Target::User(_) => Parsed::parse(body).is_ok_and(|parsed| {
                parsed.open(&context, &own, self.devices.opening(), &certificate).is_ok()
            }),
        };
        opens && !certificate.is_over_since(now_ms / 1000)
    }

    /// A server that gives the user another's name does not get messages that are signed under it.
    fn has_own_name(&self) -> Result<(), Not> {
        let (own, print) = (&self.own, self.account.own().public().fingerprint());
        match self.trust.standing(own, &print) {
            TrustState::Theirs(_) => Ok(()),
            _ if !self.trust.is_listed(own) => Err(Not::Wait(own.clone())),
            _ => {
                let hint = format!(
                    "the server calls you {own}, and your key is not {own}'s as far as this client \
                     knows: nothing is sealed under this name. If the operator has renamed you: \
                     /fingerprint {own}, then /fingerprint {own} confirm, then /retry"
                );
                Err(Not::Refused(Code::Forbidden, hint))
            }
        }
    }

    fn signing(&self) -> Result<(&Certificate, &SigningKey), Not> {
        let hint = "this device has no keys to seal with: its disk has to be looked at";
        self.devices.signing().ok_or_else(|| Not::Refused(Code::Storage, hint.into()))
    }

    fn note(
        &mut self,
        lane: &Target,
        place: &Target,
        message: &NewMessage,
        now_ms: i64,
    ) -> Result<Note, Not> {
        let id_of = |seq: Seq| {
            let known = self.ids.get(place).and_then(|ids| ids.get(&seq));
            let hint = "this line was not seen here: /history first";
            let known = known.ok_or_else(|| Not::Refused(Code::NoSuchLine, hint.into()))?;
            Ok::<MsgId, Not>(known.0)
        };
        let kind = match message.kind {
            Kind::Say => Kind::Say,
            Kind::Me => Kind::Me,
            Kind::Edit { of } => Kind::Edit { of: id_of(of)? },
            Kind::Delete { of } => Kind::Delete { of: id_of(of)? },
        };
        let lane = self.outgoing.get_mut(lane).expect("the line waits in it");
        let Session { id: session, n } = *lane.session(message.kind);
        let own = self.account.own().public().fingerprint();
        let changes = kind.is_change();
        let prev = self.sequences.newest(place, &own.to_url(), changes);
        let (time_ms, link) = (now_ms.max(0) as u64, Link { session, n, prev });
        Ok(Note { id: message.id, time_ms, kind, content: ContentType::TEXT, link })
    }

    fn recipients(&mut self, name: &UserName, now_ms: i64) -> Result<Vec<Recipient>, Not> {
        match self.trust.recipients(name, now_ms) {
            Ok(recipients) => Ok(recipients),
            Err(NoWay::Ask) => {
                if self.trust.is_listed(name) {
                    self.trust.stale(name);
                }
                Err(Not::Wait(name.clone()))
            }
            Err(NoWay::Nobody) => {
                // They may be registered by the next time.
                self.trust.stale(name);
                Err(Refusal::NoSuchUser(name.clone()).into())
            }
            Err(NoWay::Changed) if self.trust.spelled(name) == self.own => {
                Ok(self.trust.own_devices(name, now_ms))
            }
            Err(NoWay::Over) if self.trust.spelled(name) == self.own => {
                Ok(self.trust.own_devices(name, now_ms))
            }
            Err(NoWay::Over) => {
                let hint = format!(
                    "{name} had certificates, and the server tells of none that holds now: they \
                     were not here for weeks, it keeps theirs back, or a clock is wrong. Wait for \
                     {name}, or type /fingerprint {name} confirm to seal for their RSA key alone, \
                     then /retry"
                );
                Err(Not::Refused(Code::Forbidden, hint))
            }
            Err(NoWay::Changed) => {
                let alike = self.looks_like(name).map_or(String::new(), |alike| alike + ". ");
                let hint = format!(
                    "{alike}{name} has a key that you have not confirmed: compare /fingerprint {name} \
                     with them, then /fingerprint {name} confirm"
                );
                Err(Not::Refused(Code::Forbidden, hint))
            }
        }
    }

    /// For which keys of the two nothing is sealed any more; once in a run.
    fn tell_left_out(&mut self, name: &UserName, next: &mut Vec<Output>) {
        let (own, this) = (self.own.clone(), self.account.own().public().fingerprint());
        for whose in if *name == own { vec![name] } else { vec![name, &own] } {
            let left_out = self.trust.left_out(whose).into_iter();
            for print in left_out.filter(|print| *print != this) {
                let text = format!(
                    "the certificate of a device of {whose} is over ({print}): nothing is sealed \
                     for it until it is here again, or you type /fingerprint {whose} confirm, \
                     which seals for its RSA key alone"
                );
                next.push(Output::Told(text));
            }
        }
    }

    /// For all devices of a person, for one's own others, and for this one.
    fn seal_private(
        &self,
        draft: &Draft,
        mut recipients: Vec<Recipient>,
        now_ms: i64,
    ) -> Result<Result<Vec<u8>, SealError>, Not> {
        let signing = self.signing()?;
        let own = self.account.own();
        let key = own.public();
        recipients.extend(self.trust.own_devices(&self.own, now_ms));
        recipients.retain(|one| one.key != *key);
        recipients.push(Recipient { key: key.clone(), certificate: Some(signing.0.clone()) });
        let mut seen: Vec<Fingerprint> = Vec::new();
        recipients.retain(|one| {
            let print = one.key.fingerprint();
            let new = !seen.contains(&print);
            seen.push(print);
            new
        });
        let count = recipients.len();
        let hint = if count > DEVICES_MAX {
            Some(format!(
                "you two have {count} devices: a message is sealed for {DEVICES_MAX} at most"
            ))
        } else {
            let room = (WIRE_BYTES_MAX / 4 * 3).saturating_sub(900 + 496 * count);
            (draft.text.len() > room).then(|| {
                format!(
                    "a private message for {count} devices may have {room} bytes: nothing of it \
                     was sent; split it"
                )
            })
        };
        if let Some(hint) = hint {
            return Err(Not::Refused(Code::TooLong, hint));
        }
        let devices: Vec<Device> = recipients.iter().map(Recipient::device).collect();
        Ok(seal_to(draft, signing, &devices))
    }
}
