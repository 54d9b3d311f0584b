//! Channels with a PIN whose key is worked out, and what is typed meanwhile.

use std::collections::BTreeMap;

use super::super::slash;
use super::action::{Action, Ahead, error, notice};
use crate::chat::{ChannelName, SecretText, Target};
use crate::crypto::pin_channel::Pin;

/// Guessing times of PINs: who has a channel's tag tries one each 120 ms on one core.
const TIMES: &str = "whoever has the server's disk can try PINs, one each 120 ms for each core:\n\
    4 digits        20 minutes\n\
    6 digits        33 hours\n\
    8 digits        139 days\n\
    6 letters       1.2 years\n\
    8 letters       790 years\n\
    /create's own   4 million years";

/// PINs below this are warned of.
const BITS_ENOUGH: u32 = 45;

/// Whose PIN a channel has, until the channel is entered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This client has made it: nobody else can be there.
    Made,
    Given,
}

/// A PIN whose key is being worked out.
struct Derivation {
    channel: ChannelName,
    is_short: bool,
}

#[derive(Default)]
pub(super) struct Pins {
    /// Channels whose PIN was given just now.
    opened: BTreeMap<ChannelName, Origin>,
    derivations: Vec<Derivation>,
    /// Lines that were typed meanwhile: they may be for the channel of such a PIN.
    ahead: Vec<Ahead>,
}

impl Pins {
    /// Whether a PIN is being worked out.
    pub fn is_busy(&self) -> bool {
        !self.derivations.is_empty()
    }

    /// Whether neither a PIN is worked out nor a line waits for one.
    pub fn is_settled(&self) -> bool {
        self.derivations.is_empty() && self.ahead.is_empty()
    }

    /// A line was typed while a PIN is worked out.
    pub fn typed(&mut self, line: String, within: Option<Target>) {
        self.ahead.push(Ahead { line: SecretText::new(line), within });
    }

    /// What was typed ahead is taken once no PIN is being worked out.
    pub fn take_ahead(&mut self) -> Option<Action> {
        let is_due = !self.is_busy() && !self.ahead.is_empty();
        is_due.then(|| Action::Again(std::mem::take(&mut self.ahead)))
    }

    /// What was typed ahead for a channel that is not entered goes nowhere; commands are carried
    /// out.
    pub fn drop_ahead(&mut self, channel: &str) -> Option<Action> {
        let before = self.ahead.len();
        self.ahead.retain(|one| !slash::says_here(one.line.reveal()));
        let dropped = before - self.ahead.len();
        (dropped > 0).then(|| {
            error(format!(
                "{channel} was not entered: what was typed behind it was not sent ({dropped})"
            ))
        })
    }

    /// `/join CHANNEL PIN`.
    pub fn join(&mut self, name: ChannelName, pin: &str) -> Vec<Action> {
        self.derive(name, SecretText::new(pin.to_owned()), false)
    }

    /// `/create CHANNEL`: a channel with a PIN that nobody has to think of.
    pub fn create(&mut self, name: ChannelName) -> Vec<Action> {
        let pin = SecretText::new(Pin::generate().text().to_owned());
        self.derive(name, pin, true)
    }

    fn derive(&mut self, name: ChannelName, pin: SecretText, made: bool) -> Vec<Action> {
        if name.is_lobby() {
            return vec![error("everybody is in #lobby: it has no PIN".into())];
        }
        let is_short = Pin::new(pin.reveal()).bits() < BITS_ENOUGH;
        self.derivations.push(Derivation { channel: name.bare(), is_short });
        let told = notice(format!("working out the key of {name} ..."));
        vec![told, Action::Derive { name, pin, made }]
    }

    /// No key was worked out.
    pub fn fails(&mut self) {
        if !self.derivations.is_empty() {
            self.derivations.remove(0);
        }
    }

    /// The key of a channel is worked out. Gives what the person should know of its PIN.
    pub fn opens(&mut self, channel: &ChannelName, made: Option<&SecretText>) -> Option<Action> {
        let bare = channel.bare();
        let at = self.derivations.iter().position(|one| one.channel == bare);
        let derivation = at.map(|index| self.derivations.remove(index));
        let origin = if made.is_some() { Origin::Made } else { Origin::Given };
        self.opened.insert(channel.clone(), origin);
        let words = match made {
            Some(pin) => Some(format!(
                "{channel} is made; this line lets others in, so tell it to nobody else:\n\
                 /join {bare} {}",
                pin.reveal()
            )),
            None => {
                derivation.filter(|one| one.is_short).map(|_| format!("this PIN is short: {TIMES}"))
            }
        };
        words.map(notice)
    }

    /// Nobody else is in a channel; whether that is odd, because others have given its PIN.
    pub fn is_first(&mut self, channel: &ChannelName) -> bool {
        self.opened.remove(channel) == Some(Origin::Given)
    }

    /// A channel was not entered.
    pub fn forget(&mut self, channel: &ChannelName) {
        self.opened.remove(channel);
    }
}
