//! The PIN channels whose keys this client has. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::chat::ChannelName;
use crate::crypto::pin_channel::PinChannel;

pub struct Channels {
    keys: HashMap<ChannelName, PinChannel>,
    /// Channels that the user has asked to leave, with the reference of the request.
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

    /// Removes the channel and returns whether it was known.
    pub fn remove(&mut self, name: &ChannelName) -> bool {
        self.keys.remove(name).is_some()
    }

    /// Records that the user has asked to leave this channel.
    pub fn leaves(&mut self, name: &ChannelName, reference: Option<&String>) {
        self.leaving.insert(name.clone(), reference.cloned());
    }

    /// Handles a confirmed part. Returns whether the user had asked for it.
    pub fn confirm_left(&mut self, name: &ChannelName, reference: Option<&String>) -> bool {
        let asked = self.leaving.get(name).is_some_and(|asked| asked.as_ref() == reference);
        asked && self.leaving.remove(name).is_some()
    }

    /// Returns the channel that the request with this reference was to leave.
    pub fn left_by(&self, reference: Option<&String>) -> Option<ChannelName> {
        let mut leaving = self.leaving.iter();
        leaving.find(|(_, asked)| asked.as_ref() == reference).map(|(name, _)| name.clone())
    }

    /// Forgets a request to leave: the server has refused it, or the user joins again.
    pub fn stays(&mut self, name: &ChannelName) {
        self.leaving.remove(name);
    }

    /// Forgets open requests when the connection is lost.
    pub fn lost(&mut self) {
        self.leaving.clear();
    }
}
