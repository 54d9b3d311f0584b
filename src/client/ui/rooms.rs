//! The open rooms, in which of them messages ring the bell, and the words that count as mentions,
//! stored beside the journal of the server for the next run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::highlights::Highlights;
use crate::chat::{ChannelName, Target};
use crate::client::slash::Notify;
use crate::crypto::at_rest;
use crate::file::FileError;
use crate::file::{read_bytes_up_to, replace};
use crate::system::clock::Instant;

/// Bound on stored rooms.
const ROOMS_MAX: usize = 100;
/// Bound on stored settings of the bell.
const NOTIFY_MAX: usize = 500;
/// Bytes read of the file, in which each entry has at most 256 bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Time until the same rooms and settings are written again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// By conversation, which messages ring the bell.
pub type NotifySettings = BTreeMap<String, Notify>;

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    open: Vec<Target>,
    notify: NotifySettings,
    highlights: Highlights,
}

pub struct Rooms {
    file: PathBuf,
    /// The record key.
    key: Zeroizing<[u8; 32]>,
    stored: Stored,
    failed: Option<Failed>,
}

/// Rooms and settings that could not be written.
struct Failed {
    rooms: Stored,
    tried: Instant,
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
        Rooms { file, key, stored, failed: None }
    }

    /// The rooms that were open.
    pub fn open(&self) -> &[Target] {
        &self.stored.open
    }

    /// Which messages ring the bell.
    pub fn notify(&self) -> &NotifySettings {
        &self.stored.notify
    }

    /// The words that count as mentions.
    pub fn highlights(&self) -> &Highlights {
        &self.stored.highlights
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
    /// The file cannot be written, which is reported once until it can. Later calls try it again.
    pub fn save<'a>(
        &mut self,
        open: impl Iterator<Item = &'a Target>,
        notify: &NotifySettings,
        highlights: &Highlights,
    ) -> Result<(), FileError> {
        let open: Vec<&Target> = open.take(ROOMS_MAX).collect();
        let differs = *notify != self.stored.notify
            || *highlights != self.stored.highlights
            || !open.iter().copied().eq(&self.stored.open);
        if !differs {
            self.failed = None;
            return Ok(());
        }
        let open = open.into_iter().cloned().collect();
        let rooms = Stored { open, notify: notify.clone(), highlights: highlights.clone() };
        let waits = |failed: &Failed| failed.rooms == rooms && failed.tried.elapsed() < RETRY_AFTER;
        if self.failed.as_ref().is_some_and(waits) {
            return Ok(());
        }
        match self.write(&rooms) {
            Ok(()) => {
                (self.stored, self.failed) = (rooms, None);
                Ok(())
            }
            Err(error) => {
                let failed = Failed { rooms, tried: Instant::now() };
                let is_reported = self.failed.replace(failed).is_some();
                if is_reported { Ok(()) } else { Err(error) }
            }
        }
    }

    fn write(&self, rooms: &Stored) -> Result<(), FileError> {
        let kept = rooms.notify.iter().take(NOTIFY_MAX);
        let kept = kept.map(|(name, notify)| (name.clone(), *notify)).collect();
        let (open, highlights) = (rooms.open.clone(), rooms.highlights.clone());
        let text = Stored { open, notify: kept, highlights };
        let text = serde_json::to_vec(&text).expect("names are plain JSON");
        replace(&self.file, &at_rest::lock(&self.key, &text), 0o600)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rooms_that_could_not_be_written_are_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let load = || Rooms::load(folder.path().join("server"), Zeroizing::new([7; 32]));
        let [tea, work]: [Target; 2] = ["#tea", "#work"].map(|name| name.parse().unwrap());
        let (mut rooms, none) = (load(), NotifySettings::new());
        let words = Highlights::default();
        fs::remove_dir(folder.path()).unwrap();
        assert!(rooms.save([&tea].into_iter(), &none, &words).is_err());
        assert!(rooms.save([&tea].into_iter(), &none, &words).is_ok(), "it is reported once");
        assert!(rooms.save([&work].into_iter(), &none, &words).is_ok(), "it is reported once");
        assert!(rooms.open().is_empty(), "nothing is stored");
        fs::create_dir(folder.path()).unwrap();
        rooms.save([&work].into_iter(), &none, &words).unwrap();
        assert!(load().open().is_empty(), "the same rooms wait");
        rooms.failed.as_mut().unwrap().tried -= RETRY_AFTER;
        rooms.save([&work].into_iter(), &none, &words).unwrap();
        assert_eq!((load().open(), rooms.open()), (&[work.clone()][..], &[work.clone()][..]));
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(
            rooms.save([&tea].into_iter(), &none, &words).is_err(),
            "the next failure is reported"
        );
    }
}
