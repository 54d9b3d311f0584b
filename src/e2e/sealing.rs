//! Sealing of messages: keys, recipients and header.

use super::changes::Changes;
use super::channels::Channels;
use super::clock::Clock;
use super::device_keys::DeviceKeys;
use super::key_compare::looks_like;
use super::key_requests::KeyRequests;
use super::message_ids::MessageIds;
use super::output::Output;
use super::sequence::Sequences;
use super::storage::{Account, Storage};
use super::trust::{NoWay, Recipient, TrustState, TrustStore};
use super::trust_file::TrustFile;
use crate::chat::{
    ChannelName, Code, Kind, MsgId, NewMessage, Opaque, Refusal, Seq, Target, UserName,
};
use crate::crypto::certificate::{Certificate, SigningKey};
use crate::crypto::context::Context;
use crate::crypto::header::{ChainLink, ContentType, Header, Plaintext, SealError, claimed_sender};
use crate::crypto::private::{DEVICES_MAX, Device, Parsed, seal_to};
use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;
use crate::crypto::{Fingerprint, random};

/// Room for the other fields of the record, in bytes.
const HEAD_BYTES: usize = 1_024;
pub const WIRE_BYTES_MAX: usize = RECORD_BODY_BYTES_MAX - HEAD_BYTES;

#[derive(Clone, Copy)]
pub struct Session {
    id: [u8; 16],
    pub n: u64,
}

impl Default for Session {
    fn default() -> Session {
        Session { id: random(), n: 0 }
    }
}

/// The place of a message among those of this device.
#[derive(Clone, Copy)]
pub struct Chain {
    pub session: Session,
    /// Hash of the previous message, if that is not delivered yet.
    pub prev: Option<[u8; 32]>,
}

/// Why a message cannot be sealed.
pub enum NotSealed {
    /// The keys of this user have to be requested first.
    Wait(UserName),
    Refused(Code, String),
}

impl From<Refusal> for NotSealed {
    fn from(refusal: Refusal) -> NotSealed {
        NotSealed::Refused(refusal.code(), refusal.to_string())
    }
}

/// The keys and the state that sealing uses.
pub struct Sealing<'a> {
    pub account: &'a dyn Account,
    pub storage: &'a mut dyn Storage,
    pub own: &'a UserName,
    pub trust: &'a mut TrustStore,
    pub file: &'a mut TrustFile,
    pub devices: &'a DeviceKeys,
    pub requests: &'a mut KeyRequests,
    pub channels: &'a Channels,
    pub sequences: &'a Sequences,
    pub ids: &'a MessageIds,
    pub changes: &'a Changes,
    pub clock: &'a Clock,
    pub now_ms: i64,
}

/// A message and, of a change, the message that its user has chosen.
pub type Chosen<'a> = (&'a NewMessage, Option<MsgId>);

/// A sealed body, or the error of the cipher.
pub type Sealed = Result<Vec<u8>, SealError>;

impl Sealing<'_> {
    pub fn seal_channel(
        &self,
        channel: &ChannelName,
        (message, chosen): Chosen,
        chain: Chain,
    ) -> Result<Sealed, NotSealed> {
        let conversation = Target::Channel(channel.clone());
        let header = self.header(&conversation, (message, chosen), chain)?;
        let Some(key) = self.channels.key(channel) else {
            let hint = format!(
                "the PIN of {channel} is not known here: /join {channel} with its \
                                PIN"
            );
            return Err(NotSealed::Refused(Code::NotMember, hint));
        };
        let context = &self.context(&conversation);
        let plaintext = Plaintext { context, header: &header, text: message.body.text() };
        Ok(key.seal(&plaintext, self.signing()?))
    }

    /// Also returns the registered spelling of the name.
    pub fn seal_private(
        &mut self,
        name: &UserName,
        (message, chosen): Chosen,
        chain: Chain,
        next: &mut Vec<Output>,
    ) -> Result<(Target, Sealed), NotSealed> {
        // The pin must be on the disk first: after a crash the name could be pinned to another key.
        let saved = self.file.save_learned(self.storage, self.account, self.trust);
        saved.map_err(|hint| NotSealed::Refused(Code::Storage, hint))?;
        let recipients = self.recipients(name)?;
        self.report_left_out(name, next);
        let to = Target::User(self.trust.spelled(name));
        let header = self.header(&to, (message, chosen), chain)?;
        let context = &self.context(&to);
        let plaintext = Plaintext { context, header: &header, text: message.body.text() };
        let sealed = self.seal_for(&plaintext, recipients)?;
        Ok((to, sealed))
    }

    /// The context that messages of the user in this conversation are bound to.
    fn context(&self, conversation: &Target) -> Context {
        Context::new(self.account.founding(), self.own, conversation)
    }

    /// Returns whether an earlier sealed body may still go out. Under an expired certificate or an
    /// outdated name no reader could open it.
    pub fn holds(&self, to: &Target, sealed: &Opaque) -> bool {
        let (body, own) = (sealed.bytes(), self.account.own());
        let verify = |bytes| Certificate::verify(bytes, own.public(), self.account.founding());
        let Some(certificate) = claimed_sender(body).ok().and_then(|bytes| verify(bytes)) else {
            return true;
        };
        let context = self.context(to);
        let opens = match to {
            Target::Channel(channel) => {
                let key = self.channels.key(channel);
                key.is_some_and(|key| key.open(&context, body, &certificate).is_ok())
            }
            Target::User(_) => Parsed::parse(body).is_ok_and(|parsed| {
                parsed.open(&context, &own, self.devices.opening(), &certificate).is_ok()
            }),
        };
        opens && !certificate.is_over_since(self.now_ms / 1000)
    }

    /// Takes over what another client of this data folder has decided about keys.
    pub fn refresh(&mut self) -> Result<(), NotSealed> {
        let read = self.file.refresh(self.storage, self.account, self.trust, self.now_ms);
        read.map_err(|hint| NotSealed::Refused(Code::Storage, hint))
    }

    /// Refuses to sign under a name that belongs to other keys.
    pub fn has_own_name(&self) -> Result<(), NotSealed> {
        let (own, print) = (self.own, self.account.own().public().fingerprint());
        match self.trust.trust_state(own, &print) {
            TrustState::Theirs(_) => Ok(()),
            _ if !self.trust.is_listed(own) => Err(NotSealed::Wait(own.clone())),
            _ => {
                let hint = format!(
                    "the server calls you {own}, but your key is not a known key of {own}: \
                     nothing is sealed under this name. If the operator has renamed you: \
                     /fingerprint {own}, then /fingerprint {own} confirm, then /retry"
                );
                Err(NotSealed::Refused(Code::Forbidden, hint))
            }
        }
    }

    fn signing(&self) -> Result<(&Certificate, &SigningKey), NotSealed> {
        let own = self.account.own().public().fingerprint();
        let now_s = (self.now_ms / 1000).max(0) as u64;
        self.devices.signing(&own, now_s).ok_or_else(|| match self.clock.difference() {
            Some(differs) => {
                let hint = format!(
                    "{differs}, so this device has no valid key for sealing: correct the clock \
                     that is wrong, connect again, then /retry"
                );
                NotSealed::Refused(Code::Forbidden, hint)
            }
            None => {
                let hint = "this device has no keys for sealing: check its disk";
                NotSealed::Refused(Code::Storage, hint.into())
            }
        })
    }

    fn header(
        &self,
        conversation: &Target,
        (message, chosen): Chosen,
        Chain { session: Session { id: session, n }, prev }: Chain,
    ) -> Result<Header, NotSealed> {
        let target = |seq| self.target(conversation, seq, chosen);
        let kind = match message.kind {
            Kind::Say => Kind::Say,
            Kind::Me => Kind::Me,
            Kind::File { blob } => Kind::File { blob },
            Kind::Edit { of } => Kind::Edit { of: target(of)? },
            Kind::Delete { of } => Kind::Delete { of: target(of)? },
        };
        let own = self.account.own().public().fingerprint();
        let newest = || self.sequences.newest(conversation, &own.to_url(), kind.is_change());
        let prev = prev.unwrap_or_else(newest);
        let (time_ms, link) = (self.time_ms(conversation, kind)?, ChainLink { session, n, prev });
        Ok(Header { id: message.id, time_ms, kind, content: ContentType::of(kind), link })
    }

    /// Returns the id of the message that a change is about: the one that the user has chosen, if
    /// the server still states its number. Otherwise the server would make the user sign a change
    /// of another message.
    fn target(
        &self,
        conversation: &Target,
        seq: Seq,
        chosen: Option<MsgId>,
    ) -> Result<MsgId, NotSealed> {
        let known = self.ids.id_of(conversation, seq, self.own);
        let hint = match (known, chosen) {
            (Some(known), Some(chosen)) if known == chosen => return Ok(chosen),
            (Some(_), Some(_)) => {
                "the server gives the number of that message to another one: nothing was sent. If \
                 this happens again, do not trust this server"
            }
            _ => {
                "this client has not seen that message in this run: load it with /history, then \
                 type the change again"
            }
        };
        Err(NotSealed::Refused(Code::NoSuchMessage, hint.into()))
    }

    /// When it is signed. An edit is later than the one before, whatever this device's clock says:
    /// the latest one holds.
    fn time_ms(&self, conversation: &Target, kind: Kind<MsgId>) -> Result<u64, NotSealed> {
        let now_ms = self.now_ms.max(0) as u64;
        let before = kind.of().and_then(|of| {
            let changed = (conversation.clone(), self.own.clone(), of);
            self.changes.edited_ms(&changed)
        });
        let after_ms = before.map_or(0, |before| before.max(0) as u64 + 1);
        let certificate = self.signing()?.0;
        let holds = certificate.is_valid_at(after_ms / 1000);
        Ok(if holds { now_ms.max(after_ms) } else { now_ms })
    }

    fn recipients(&mut self, name: &UserName) -> Result<Vec<Recipient>, NotSealed> {
        let now_ms = self.now_ms;
        match self.trust.recipients(name, now_ms) {
            Ok(recipients) => Ok(recipients),
            Err(NoWay::Ask) => {
                if self.trust.is_listed(name) {
                    self.trust.stale(name);
                }
                Err(NotSealed::Wait(name.clone()))
            }
            Err(NoWay::Nobody) => {
                // The user may register before the next attempt.
                self.trust.stale(name);
                Err(Refusal::NoSuchUser(name.clone()).into())
            }
            Err(NoWay::Changed) if self.trust.spelled(name) == *self.own => {
                Ok(self.trust.own_devices(name, now_ms))
            }
            Err(NoWay::Over) if self.trust.spelled(name) == *self.own => {
                Ok(self.trust.own_devices(name, now_ms))
            }
            Err(NoWay::Over) => {
                let hint = format!(
                    "{name} had certificates, but the server lists no valid one: {name} was \
                     offline for weeks, the server withholds it, or a clock is wrong. Wait for \
                     {name}, or type /fingerprint {name} confirm to seal for their RSA key \
                     alone, then /retry"
                );
                Err(NotSealed::Refused(Code::Forbidden, hint))
            }
            Err(NoWay::Changed) => {
                let alike = looks_like(name, self.trust, self.own)
                    .map_or(String::new(), |alike| alike + ". ");
                let hint = format!(
                    "{alike}{name} has a key that you have not confirmed: compare /fingerprint \
                     {name} with them, then type /fingerprint {name} confirm"
                );
                Err(NotSealed::Refused(Code::Forbidden, hint))
            }
        }
    }

    /// Reports, once in a run, the keys of both users for which messages are no longer sealed.
    fn report_left_out(&mut self, name: &UserName, next: &mut Vec<Output>) {
        let (own, this) = (self.own.clone(), self.account.own().public().fingerprint());
        for whose in if *name == own { vec![name] } else { vec![name, &own] } {
            let left_out = self.trust.left_out(whose).into_iter();
            for print in left_out.filter(|print| *print != this) {
                let text = format!(
                    "a device of {whose} has no valid certificate ({print}): it has not logged in \
                     yet or for weeks, or the server withholds the certificate. Nothing is sealed \
                     for it until it has one, or you type /fingerprint {whose} confirm, which seals \
                     for its RSA key alone"
                );
                next.push(Output::Reply(text));
            }
        }
    }

    /// Seals for all devices of a user, the other own devices, and this one.
    fn seal_for(
        &self,
        plaintext: &Plaintext,
        mut recipients: Vec<Recipient>,
    ) -> Result<Sealed, NotSealed> {
        let signing = self.signing()?;
        let own = self.account.own();
        let key = own.public();
        recipients.extend(self.trust.own_devices(self.own, self.now_ms));
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
                "the two of you have {count} devices: a message can be sealed for at most \
                 {DEVICES_MAX}"
            ))
        } else {
            let room = (WIRE_BYTES_MAX / 4 * 3).saturating_sub(900 + 496 * count);
            (plaintext.text.len() > room).then(|| {
                format!(
                    "a private message for {count} devices is limited to {room} bytes: nothing \
                     was sent; split the message"
                )
            })
        };
        if let Some(hint) = hint {
            return Err(NotSealed::Refused(Code::TooLong, hint));
        }
        let devices: Vec<Device> = recipients.iter().map(Recipient::device).collect();
        Ok(seal_to(plaintext, signing, &devices))
    }
}
