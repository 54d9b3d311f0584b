//! Which rooms are open, kept beside the journal of the talk with a server: they are open again the
//! next time.

use std::path::PathBuf;

use crate::chat::{ChannelName, Target};
use crate::keyring::FileError;
use crate::keyring::file::{read_text, replace};

/// More are not remembered.
const ROOMS_MAX: usize = 100;

pub struct Rooms {
    file: PathBuf,
    pub open: Vec<Target>,
}

impl Rooms {
    /// `stem` is the journal's path without its endings. A file that cannot be read opens no room.
    pub fn load(stem: PathBuf) -> Rooms {
        let file = stem.with_extension("rooms.json");
        let text = read_text(&file).ok().flatten();
        let mut open: Vec<Target> =
            text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        open.truncate(ROOMS_MAX);
        Rooms { file, open }
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
        replace(&self.file, &text, 0o600)
    }
}
