//! Opening of sealed messages: the sender's certificate, the keys, the signature.

use super::changes;
use super::channels::Channels;
use super::device_keys::DeviceKeys;
use super::storage::{Account, Storage};
use super::trust::{Prints, TrustState, TrustStore};
use super::trust_file::TrustFile;
use super::verified::Verified;
use super::violation::{Violation, check};
use crate::chat::{ChannelName, Confidentiality, Message, Opaque, Target, UserName};
use crate::crypto::Fingerprint;
use crate::crypto::certificate::Certificate;
use crate::crypto::context::Context;
use crate::crypto::header::{Opened, body_hash, claimed_sender};
use crate::crypto::private::{Parsed, Under};

/// The signing key that a sealed message claims.
pub fn claimed(message: &Message) -> Option<Fingerprint> {
    let sealed = message.body.sealed()?;
    claimed_sender(sealed.bytes()).ok().map(Certificate::issuer)
}

/// The keys that open messages, and those that certify their senders.
pub struct Opening<'a> {
    pub account: &'a dyn Account,
    pub storage: &'a mut dyn Storage,
    pub own: &'a UserName,
    pub trust: &'a mut TrustStore,
    pub file: &'a mut TrustFile,
    pub devices: &'a mut DeviceKeys,
    pub channels: &'a Channels,
    pub verified: &'a mut Verified,
    pub now_ms: i64,
}

/// An opened message with a valid signature.
pub struct Read {
    pub opened: Opened,
    pub confidentiality: Confidentiality,
    pub certificate: Certificate,
    pub hash: [u8; 32],
}

impl Read {
    /// The signed time, in milliseconds since 1970.
    pub fn time_ms(&self) -> i64 {
        changes::time_ms(&self.opened.header)
    }
}

impl Opening<'_> {
    /// Opens a sealed message and checks its certificate and signature.
    pub fn open(
        &mut self,
        message: &Message,
        to: &Target,
        body: &Opaque,
    ) -> Result<Read, Violation> {
        let certificate = self.certificate(&message.from, body.bytes())?;
        let (opened, confidentiality) = match to {
            Target::Channel(channel) => {
                self.open_channel(channel, message, body.bytes(), &certificate)?
            }
            Target::User(with) => self.open_private(with, message, body.bytes(), &certificate)?,
        };
        // The signed time must lie within the certificate's validity.
        let holds = certificate.is_valid_at(opened.header.time_ms / 1000);
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
}
