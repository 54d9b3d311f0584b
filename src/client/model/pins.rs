//! PIN channels whose key is being derived, and the lines typed meanwhile.

use std::collections::BTreeMap;

use super::super::slash;
use super::action::{Action, Ahead, error, notice};
use super::output::Output;
use crate::chat::{ChannelName, SecretText, Target};
use crate::crypto::pin_channel::Pin;

/// Time to guess PINs: one try takes 120 ms on one core, for an attacker who has the channel's tag.
const TIMES: &str = "an attacker who has the server's disk can guess PINs, one each 120 ms for \
    each core:\n4 digits        20 minutes\n6 digits        33 hours\n8 digits        139 \
    days\n6 letters       1.2 years\n8 letters       790 years\n/create's own   4 million years";

/// Strength in bits below which a PIN causes a warning.
const BITS_ENOUGH: u32 = 45;

/// Source of a channel's PIN, until the channel is entered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This client has made it, so nobody else can be there.
    Made,
    Given,
}

/// A key derivation in progress.
struct Derivation {
    channel: ChannelName,
    is_short: bool,
}

#[derive(Default)]
pub struct Pins {
    /// Channels whose PIN was just entered.
    opened: BTreeMap<ChannelName, Origin>,
    derivations: Vec<Derivation>,
    /// Lines typed meanwhile; they may be for the channel of such a PIN.
    ahead: Vec<Ahead>,
}

impl Pins {
    /// Returns whether a derivation is in progress.
    pub fn is_busy(&self) -> bool {
        !self.derivations.is_empty()
    }

    /// Returns whether neither a derivation nor a line is pending.
    pub fn is_settled(&self) -> bool {
        self.derivations.is_empty() && self.ahead.is_empty()
    }

    /// Queues a line typed during a derivation.
    pub fn typed(&mut self, line: String, within: Option<Target>) {
        self.ahead.push(Ahead { line: SecretText::new(line), within });
    }

    /// Returns the queued lines once no derivation is in progress.
    pub fn take_ahead(&mut self) -> Option<Action> {
        let is_due = !self.is_busy() && !self.ahead.is_empty();
        is_due.then(|| Action::Again(std::mem::take(&mut self.ahead)))
    }

    /// Drops text typed for a channel that was not entered; commands still run.
    pub fn drop_ahead(&mut self, channel: &str) -> Option<Action> {
        let before = self.ahead.len();
        self.ahead.retain(|one| !slash::says_here(one.line.reveal()));
        let dropped = before - self.ahead.len();
        (dropped > 0).then(|| {
            error(format!(
                "{channel} was not entered: the messages typed after it were not sent ({dropped})"
            ))
        })
    }

    /// Starts `/join CHANNEL PIN`.
    pub fn join(&mut self, name: ChannelName, pin: &str) -> Vec<Action> {
        self.derive(name, SecretText::new(pin.to_owned()), false)
    }

    /// Starts `/create CHANNEL`: a channel with a generated PIN.
    pub fn create(&mut self, name: ChannelName) -> Vec<Action> {
        let pin = SecretText::new(Pin::generate().text().to_owned());
        self.derive(name, pin, true)
    }

    fn derive(&mut self, name: ChannelName, pin: SecretText, made: bool) -> Vec<Action> {
        if name.is_lobby() {
            return vec![error("every user is in #lobby: it has no PIN".into())];
        }
        let is_short = Pin::new(pin.reveal()).bits() < BITS_ENOUGH;
        self.derivations.push(Derivation { channel: name.bare(), is_short });
        let told = notice(format!("deriving the key of {name} ..."));
        vec![told, self.shown(), Action::Derive { name, pin, made }]
    }

    /// The derivations in progress, for the user.
    fn shown(&self) -> Action {
        let channels = self.derivations.iter().map(|one| one.channel.clone());
        Action::Output(Output::Deriving(channels.collect()))
    }

    /// Ends a derivation that has failed.
    pub fn fails(&mut self) -> Action {
        if !self.derivations.is_empty() {
            self.derivations.remove(0);
        }
        self.shown()
    }

    /// Ends a derivation. Returns what is shown, with a notice about the PIN.
    pub fn opens(&mut self, channel: &ChannelName, made: Option<&SecretText>) -> Vec<Action> {
        let bare = channel.bare();
        let at = self.derivations.iter().position(|one| one.channel == bare);
        let derivation = at.map(|index| self.derivations.remove(index));
        let origin = if made.is_some() { Origin::Made } else { Origin::Given };
        self.opened.insert(channel.clone(), origin);
        let words = match made {
            Some(pin) => Some(format!(
                "{channel} was created: the letters after ~ come from the PIN, because others may have a \
                 {bare} too. This command lets people in, so give it only to those whom you \
                 invite:\n/join {bare} {}",
                pin.reveal()
            )),
            None => {
                derivation.filter(|one| one.is_short).map(|_| format!("this PIN is short: {TIMES}"))
            }
        };
        [self.shown()].into_iter().chain(words.map(notice)).collect()
    }

    /// Records that nobody else is in a channel. Returns whether that is unexpected, because its
    /// PIN came from others.
    pub fn is_first(&mut self, channel: &ChannelName) -> bool {
        self.opened.remove(channel) == Some(Origin::Given)
    }

    /// Forgets a channel that was not entered.
    pub fn forget(&mut self, channel: &ChannelName) {
        self.opened.remove(channel);
    }
}
