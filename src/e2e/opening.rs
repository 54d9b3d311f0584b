//! Opening of sealed messages: the sender's certificate, the keys, the signature.

use super::changes;
use super::channels::Channels;
use super::device_keys::DeviceKeys;
use super::storage::{Account, Storage};
use super::trust::{FormerName, Prints, TrustState, TrustStore};
use super::trust_file::TrustFile;
use super::verified::Verified;
use super::violation::{Violation, check};
use crate::chat::{ChannelName, Confidentiality, Message, Opaque, Target, UserName};
use crate::crypto::Fingerprint;
use crate::crypto::certificate::Certificate;
use crate::crypto::context::Context;
use crate::crypto::header::{Opened, SealError, body_hash, claimed_sender};
use crate::crypto::private::{Parsed, Under};
use crate::limits::DAY_MS;

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
    /// The names under which a private message was sealed, if they are not those that the server
    /// states: the conversation, as this reader calls it, and the sender.
    pub former: Option<(Target, UserName)>,
}

impl Read {
    /// The signed time, in milliseconds since 1970.
    pub fn time_ms(&self) -> i64 {
        changes::time_ms(&self.opened.header)
    }
}

/// A context under which a message may have been sealed, and until when its names were those of the
/// two users, in milliseconds since 1970; `None` for present names.
struct Dated {
    context: Context,
    until_ms: Option<i64>,
    /// See [`Read::former`].
    former: Option<(Target, UserName)>,
}

/// What a sealed body contains, how confidential it was, and [`Read::former`].
type Parts = (Opened, Confidentiality, Option<(Target, UserName)>);

/// Opens a message under the first context that fits. Returns the error of the first one.
fn first_opened<T>(
    contexts: &[Dated],
    open: impl Fn(&Context) -> Result<T, SealError>,
) -> Result<(T, &Dated), SealError> {
    let mut failed = None;
    for dated in contexts {
        match open(&dated.context) {
            Ok(opened) => return Ok((opened, dated)),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    Err(failed.unwrap_or(SealError::Closed))
}

/// Returns an error for a message under former names that was sealed after the users had them: the
/// server could show it a second time under the present ones.
fn check_names(opened: &Opened, until_ms: Option<i64>) -> Result<(), Violation> {
    let time_ms = changes::time_ms(&opened.header);
    let is_late = until_ms.is_some_and(|until_ms| time_ms > until_ms.saturating_add(DAY_MS));
    check(!is_late, Violation::Forged)
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
        let (opened, confidentiality, former) = match to {
            Target::Channel(channel) => {
                self.open_channel(channel, message, body.bytes(), &certificate)?
            }
            Target::User(with) => self.open_private(with, message, body.bytes(), &certificate)?,
        };
        // The signed time must lie within the certificate's validity.
        let holds = certificate.is_valid_at(opened.header.time_ms / 1000);
        check(holds, Violation::Forged)?;
        Ok(Read { opened, confidentiality, certificate, hash: body_hash(body.bytes()), former })
    }

    fn open_channel(
        &self,
        channel: &ChannelName,
        message: &Message,
        body: &[u8],
        certificate: &Certificate,
    ) -> Result<Parts, Violation> {
        let context = self.context(&message.from, &Target::Channel(channel.clone()));
        let key = self.channels.key(channel).ok_or(Violation::NoKey)?;
        Ok((key.open(&context, body, certificate)?, Confidentiality::Pin, None))
    }

    fn open_private(
        &mut self,
        with: &UserName,
        message: &Message,
        body: &[u8],
        certificate: &Certificate,
    ) -> Result<Parts, Violation> {
        // A private message of another user is addressed to the own user, whatever the server
        // states.
        let is_own = message.from == *self.own;
        let recipient = if is_own { with } else { self.own };
        let contexts = self.contexts((&message.from, recipient), with, certificate);
        let parsed = Parsed::parse(body)?;
        if !self.devices.opening().iter().any(|(hash, _)| parsed.is_for(hash)) {
            // Another client of this profile may have made the key. Keys that cannot be read open
            // nothing.
            let _ = self.devices.refresh(self.storage, self.account);
        }
        let (own, openers) = (self.devices.opening(), self.account.openers());
        let ((opened, under), dated) = first_opened(&contexts, |context| {
            let mut opened =
                openers.iter().map(|opener| parsed.open(context, opener, own, certificate));
            let first = opened.next().expect("there is a key");
            opened.fold(first, |found, next| found.or(next))
        })?;
        check_names(&opened, dated.until_ms)?;
        let Prints { theirs, news, gone } = self.trust.prints(recipient);
        let mut prints = theirs.iter().chain(&news).chain(&gone);
        let bare = prints.any(|print| parsed.is_for(&print.0));
        let confidentiality = match under {
            Under::Certificate if !bare => Confidentiality::Sealed,
            _ => Confidentiality::RsaAlone,
        };
        Ok((opened, confidentiality, dated.former.clone()))
    }

    fn context(&self, sender: &UserName, conversation: &Target) -> Context {
        Context::new(self.account.founding(), sender, conversation)
    }

    /// Returns the contexts under which a private message may have been sealed, that of the present
    /// names first: the users may have had other names then.
    fn contexts(
        &self,
        (from, recipient): (&UserName, &UserName),
        with: &UserName,
        certificate: &Certificate,
    ) -> Vec<Dated> {
        let theirs = match recipient == self.own {
            true => self.account.openers().iter().map(|own| own.public().fingerprint()).collect(),
            false => self.trust.keys_of(recipient),
        };
        let senders = self.names_of(from, &[certificate.fingerprint()]);
        let recipients = self.names_of(recipient, &theirs);
        let dated = |sender: &FormerName, receiver: &FormerName| {
            let other = if with == from { sender } else { receiver };
            let is_present = sender.name == *from && receiver.name == *recipient;
            let former = || (Target::User(other.name.clone()), sender.name.clone());
            Dated {
                context: self.context(&sender.name, &Target::User(receiver.name.clone())),
                until_ms: sender.until_ms.into_iter().chain(receiver.until_ms).min(),
                former: (!is_present).then(former),
            }
        };
        let of = |sender| recipients.iter().map(move |receiver| dated(sender, receiver));
        senders.iter().flat_map(of).collect()
    }

    /// Returns the present name of a user, and the former ones of these keys.
    fn names_of(&self, name: &UserName, prints: &[Fingerprint]) -> Vec<FormerName> {
        let mut names = vec![FormerName { name: name.clone(), until_ms: None }];
        names.extend(self.trust.former_names(name, prints));
        names
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
