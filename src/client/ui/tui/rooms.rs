//! The open rooms, and in which of them messages ring the bell, stored beside the journal of the
//! server for the next run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::chat::{ChannelName, Target};
use crate::client::slash::Notify;
use crate::crypto::at_rest;
use crate::home::FileError;
use crate::home::file::{read_bytes_up_to, replace};

/// Bound on stored rooms.
const ROOMS_MAX: usize = 100;
/// Bound on stored settings of the bell.
const NOTIFY_MAX: usize = 500;
/// Bytes read of the file, in which each entry has at most 256 bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// By conversation, which messages ring the bell.
pub type NotifySettings = BTreeMap<String, Notify>;

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    open: Vec<Target>,
    notify: NotifySettings,
}

pub struct Rooms {
    file: PathBuf,
    /// The record key.
    key: Zeroizing<[u8; 32]>,
    stored: Stored,
}

impl Rooms {
    /// `stem` is the journal's path without extensions. An unreadable file counts as an empty list.
    pub fn load(stem: PathBuf, key: Zeroizing<[u8; 32]>) -> Rooms {
        let file = stem.with_extension("rooms");
        let text = read_bytes_up_to(&file, FILE_BYTES_MAX).ok().flatten();
        let text = text.and_then(|locked| at_rest::unlock(&key, &locked));
        let mut stored: Stored =
            text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        stored.open.truncate(ROOMS_MAX);
        Rooms { file, key, stored }
    }

    /// The rooms that were open.
    pub fn open(&self) -> &[Target] {
        &self.stored.open
    }

    /// Which messages ring the bell.
    pub fn notify(&self) -> &NotifySettings {
        &self.stored.notify
    }

    pub fn channels(&self) -> impl Iterator<Item = ChannelName> {
        self.stored.open.iter().filter_map(|room| match room {
            Target::Channel(channel) if !channel.is_lobby() => Some(channel.clone()),
            _ => None,
        })
    }

    /// Stores these rooms and settings where they differ from the stored ones.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save<'a>(
        &mut self,
        open: impl Iterator<Item = &'a Target>,
        notify: &NotifySettings,
    ) -> Result<(), FileError> {
        let open: Vec<&Target> = open.take(ROOMS_MAX).collect();
        let differs = *notify != self.stored.notify || !open.iter().copied().eq(&self.stored.open);
        if !differs {
            return Ok(());
        }
        let open = open.into_iter().cloned().collect();
        self.stored = Stored { open, notify: notify.clone() };
        let kept = notify.iter().take(NOTIFY_MAX).map(|(name, notify)| (name.clone(), *notify));
        let text = Stored { open: self.stored.open.clone(), notify: kept.collect() };
        let text = serde_json::to_vec(&text).expect("names are plain JSON");
        replace(&self.file, &at_rest::lock(&self.key, &text), 0o600)
    }
}
