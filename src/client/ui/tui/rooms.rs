//! The open rooms, stored beside the journal of the server for the next run.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::chat::{ChannelName, Target};
use crate::crypto::at_rest;
use crate::home::FileError;
use crate::home::file::{read_bytes_up_to, replace};

/// Bound on stored rooms.
const ROOMS_MAX: usize = 100;
/// Bytes read of the file, in which each room has at most 256 bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

pub struct Rooms {
    file: PathBuf,
    /// The record key.
    key: Zeroizing<[u8; 32]>,
    pub open: Vec<Target>,
}

impl Rooms {
    /// `stem` is the journal's path without extensions. An unreadable file counts as an empty list.
    pub fn load(stem: PathBuf, key: Zeroizing<[u8; 32]>) -> Rooms {
        let file = stem.with_extension("rooms");
        let text = read_bytes_up_to(&file, FILE_BYTES_MAX).ok().flatten();
        let text = text.and_then(|locked| at_rest::unlock(&key, &locked));
        let mut open: Vec<Target> =
            text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        open.truncate(ROOMS_MAX);
        Rooms { file, key, open }
    }

    /// Returns whether these rooms differ from the stored ones.
    pub fn differ<'a>(&self, open: impl Iterator<Item = &'a Target>) -> bool {
        !open.take(ROOMS_MAX).eq(self.open.iter().take(ROOMS_MAX))
    }

    pub fn channels(&self) -> impl Iterator<Item = ChannelName> {
        self.open.iter().filter_map(|room| match room {
            Target::Channel(channel) if !channel.is_lobby() => Some(channel.clone()),
            _ => None,
        })
    }

    pub fn save(&self) -> Result<(), FileError> {
        let open = &self.open[..self.open.len().min(ROOMS_MAX)];
        let text = serde_json::to_vec(open).expect("names are plain JSON");
        replace(&self.file, &at_rest::lock(&self.key, &text), 0o600)
    }
}
