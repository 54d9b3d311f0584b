//! Channels whose PINs are known. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::chat::ChannelName;
use crate::crypto::pin_channel::PinChannel;

pub struct Channels {
    keys: HashMap<ChannelName, PinChannel>,
    /// Those that this person has asked to leave, and under which reference.
    leaving: BTreeMap<ChannelName, Option<String>>,
}

impl Channels {
    pub fn of(keys: impl Iterator<Item = (ChannelName, PinChannel)>) -> Channels {
        Channels { keys: keys.collect(), leaving: BTreeMap::new() }
    }

    pub fn names(&self) -> impl Iterator<Item = &ChannelName> {
        self.keys.keys()
    }

    pub fn key(&self, name: &ChannelName) -> Option<&PinChannel> {
        self.keys.get(name)
    }

    pub fn add(&mut self, name: ChannelName, key: PinChannel) {
        self.keys.insert(name, key);
    }

    /// Whether it was known.
    pub fn remove(&mut self, name: &ChannelName) -> bool {
        self.keys.remove(name).is_some()
    }

    /// This person asks to leave it.
    pub fn leaves(&mut self, name: &ChannelName, reference: Option<&String>) {
        self.leaving.insert(name.clone(), reference.cloned());
    }

    /// The server says that it is left. Whether this person has asked for that.
    pub fn is_left(&mut self, name: &ChannelName, told: Option<&String>) -> bool {
        let asked = self.leaving.get(name).is_some_and(|asked| asked.as_ref() == told);
        asked && self.leaving.remove(name).is_some()
    }

    /// The one that was to be left by this request.
    pub fn left_by(&self, reference: Option<&String>) -> Option<ChannelName> {
        let mut leaving = self.leaving.iter();
        leaving.find(|(_, asked)| asked.as_ref() == reference).map(|(name, _)| name.clone())
    }

    /// The connection is gone, and with it what was asked.
    pub fn lost(&mut self) {
        self.leaving.clear();
    }
}
