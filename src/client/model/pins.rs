//! Channels with a PIN, and the names by which people call channels.

use super::*;

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

/// A channel whose PIN was given just now, until it is entered.
pub(super) struct Inside {
    /// This client has made the PIN: nobody else can be there.
    pub made: bool,
}

impl Model {
    /// `/join CHANNEL PIN`.
    pub(super) fn join_with_pin(&mut self, name: &str, pin: &str) -> Vec<Action> {
        match new_channel(name) {
            Ok(name) => self.derive(name, Hidden::new(pin.to_owned()), false),
            Err(problem) => vec![error(problem)],
        }
    }

    /// `/join CHANNEL[,CHANNEL]`.
    pub(super) fn join_typed(&mut self, operands: &str) -> Vec<Action> {
        let marks: Vec<Position> = self.places.positions();
        let joined = self.joined.clone();
        let known = |name: &str| joined.iter().find(|channel| channel.is_meant_by(name));
        let names = operands.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut actions = Vec::new();
        for name in names {
            // One of a PIN that is known is meant by its tag alone; by its name, only the open one.
            let channel = match known(name).filter(|_| name.contains('~')) {
                Some(channel) => Ok(channel.clone()),
                None => new_channel(name),
            };
            match channel {
                Ok(channel) => {
                    if let Some(own) = known(name).filter(|own| **own != channel) {
                        actions.push(notice(format!(
                            "this is the open {channel}, which the operator can read; the one whose \
                             PIN you know is {own}"
                        )));
                    }
                    let Command::Join { after, .. } = join(&marks, channel.clone()) else {
                        continue;
                    };
                    actions.extend(self.enter(channel, after, None));
                }
                Err(problem) => actions.push(error(problem)),
            }
        }
        if actions.is_empty() { vec![error("which channel?".into())] } else { actions }
    }

    /// `/create CHANNEL`: a channel with a PIN that nobody has to think of.
    pub(super) fn create(&mut self, operands: &str) -> Vec<Action> {
        match new_channel(operands) {
            Ok(name) => {
                let pin = Hidden::new(Pin::generate().text().to_owned());
                self.derive(name, pin, true)
            }
            Err(problem) => vec![error(problem)],
        }
    }

    fn derive(&mut self, name: ChannelName, pin: Hidden, made: bool) -> Vec<Action> {
        if name.is_lobby() {
            return vec![error("everybody is in #lobby: it has no PIN".into())];
        }
        let short = Pin::new(pin.reveal()).bits() < BITS_ENOUGH;
        self.deriving.push((name.bare(), short));
        let told = notice(format!("working out the key of {name} ..."));
        vec![told, Action::Derive { name, pin, made }]
    }

    /// A PIN is known: in.
    pub(super) fn opened(
        &mut self,
        channel: Result<ChannelName, String>,
        made: Option<Hidden>,
    ) -> Vec<Action> {
        let name = channel.as_ref().ok().map(ChannelName::bare);
        let is = |one: &(ChannelName, bool)| name.as_ref().is_none_or(|name| *name == one.0);
        let derived = self.deriving.iter().position(is).map(|index| self.deriving.remove(index));
        let channel = match channel {
            Ok(channel) => channel,
            Err(problem) => {
                let mut actions = vec![error(problem)];
                actions.extend(self.goes_on_without("the channel"));
                return actions;
            }
        };
        let words = match &made {
            Some(pin) => Some(format!(
                "{channel} is made; this line lets others in, so tell it to nobody else:\n\
                 /join {} {}",
                channel.bare(),
                pin.reveal()
            )),
            None => derived.filter(|one| one.1).map(|_| format!("this PIN is short: {TIMES}")),
        };
        let marks = self.places.positions();
        self.left.remove(&channel.bare());
        self.opened.insert(channel.clone(), Inside { made: made.is_some() });
        let Command::Join { after, .. } = join(&marks, channel.clone()) else { return Vec::new() };
        let (there, name) = (Target::Channel(channel.clone()), channel.to_string());
        let mut actions = self.enter(channel, after, None);
        actions.extend(words.map(notice));
        actions.extend(match self.target == there {
            true => self.goes_on(),
            false => self.goes_on_without(&name),
        });
        actions
    }

    /// A channel as people type it: the `#` may be missing, and of its tag all that tells it from others.
    pub(super) fn channel(&self, name: &str) -> Result<ChannelName, String> {
        let meant: Vec<_> = self.joined.iter().filter(|one| one.is_meant_by(name)).collect();
        match meant[..] {
            [] => match new_channel(name) {
                Ok(channel) if self.left.contains(&channel) && !name.ends_with("~open") => {
                    Err(format!(
                        "{channel} had a PIN, and you left it: {channel}~open is the open one, \
                         which the operator can read"
                    ))
                }
                channel => channel,
            },
            [one] => Ok(one.clone()),
            _ => {
                let shown = |one: &&ChannelName| match one.has_pin() {
                    true => one.to_string(),
                    false => format!("{one}~open"),
                };
                let names: Vec<_> = meant.iter().map(shown).collect();
                Err(format!("which one? {}", names.join(" or ")))
            }
        }
    }

    pub(super) fn fingerprint(&mut self, name: UserName, confirms: bool) -> Vec<Action> {
        if !self.connected {
            return vec![error("there is no connection".into())];
        }
        self.open = true;
        vec![Action::LookUp { name, confirms }]
    }
}

/// A channel's name; the `#` may be missing.
fn new_channel(name: &str) -> Result<ChannelName, String> {
    let full = if name.starts_with('#') { name.to_owned() } else { format!("#{name}") };
    full.trim_end_matches("~open").parse().map_err(|problem| format!("{name}: {problem}"))
}
