//! Stored client state for one server: messages that the server has not stored yet, and the
//! positions of each conversation. Files of the profile (0600), under a key that only the user's
//! own key opens.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::SealedMap;
use super::outbox_file::{Opened, OutboxFile};
use crate::chat::{MsgId, NewMessage, Opaque, Position, SyncPoint, Target};

/// The open files.
pub struct Journal {
    pub outbox: OutboxFile,
    /// Only the first client of a profile stores positions.
    points: Option<Positions>,
}

/// The positions of conversations.
struct Positions {
    path: PathBuf,
    map: SealedMap,
    /// The positions on disk.
    kept: HashMap<Target, SyncPoint>,
}

/// The state that an earlier run has left.
#[derive(Default)]
pub struct Left {
    pub outbox: Vec<NewMessage>,
    /// Refused messages, which are sent again only by the user.
    pub refused: HashSet<MsgId>,
    pub sealed: HashMap<MsgId, Opaque>,
    pub positions: Vec<Position>,
    /// This is the first client of the profile, which owns its files.
    pub is_first: bool,
    /// Damage of the files, for the user.
    pub damage: Vec<String>,
}

impl Left {
    /// The messages that were not refused.
    pub fn in_transit(&self) -> Vec<NewMessage> {
        let goes = |message: &&NewMessage| !self.refused.contains(&message.id);
        self.outbox.iter().filter(goes).cloned().collect()
    }
}

impl Journal {
    /// `stem` is the files' path without extensions, and `key` encrypts what was typed.
    ///
    /// # Errors
    /// The outbox cannot be opened.
    pub fn open(stem: &Path, key: Zeroizing<[u8; 32]>) -> io::Result<(Journal, Left)> {
        let Opened { file: outbox, unsent, is_first, damage } = OutboxFile::open(stem, &key)?;
        let points =
            is_first.then(|| Positions::open(stem.with_extension("positions"), key)).transpose()?;
        let damage =
            damage.into_iter().chain(points.as_ref().and_then(Positions::damage)).collect();
        let positions = points.as_ref().map(Positions::positions).unwrap_or_default();
        let (refused, sealed, messages) = (unsent.refused, unsent.sealed, unsent.messages);
        let left = Left { outbox: messages, refused, sealed, positions, is_first, damage };
        Ok((Journal { outbox, points }, left))
    }

    /// Stores the positions of conversations, and syncs typed messages to the disk.
    ///
    /// # Errors
    /// A file cannot be written, which the error names.
    pub fn keep(&mut self, positions: &[Position]) -> io::Result<()> {
        self.outbox.sync()?;
        self.points.as_mut().map_or(Ok(()), |points| points.keep(positions))
    }
}

impl Positions {
    fn open(path: PathBuf, key: Zeroizing<[u8; 32]>) -> io::Result<Positions> {
        // Without the positions the newest messages are shown again; nothing is lost.
        let (map, entries) = SealedMap::open(path.clone(), key)?;
        let mut kept: HashMap<Target, SyncPoint> = HashMap::new();
        for (to, point) in entries {
            match point {
                Some(point) => kept.insert(to, point),
                None => kept.remove(&to),
            };
        }
        Ok(Positions { path, map, kept })
    }

    /// The damage of the file, for the user.
    fn damage(&self) -> Option<String> {
        let path = self.path.display();
        let text = "is damaged: messages that you have seen may be shown again";
        (self.map.damaged > 0).then(|| format!("{path} {text}"))
    }

    fn positions(&self) -> Vec<Position> {
        let position =
            |(to, point): (&Target, &SyncPoint)| Position { to: to.clone(), point: *point };
        self.kept.iter().map(position).collect()
    }

    fn keep(&mut self, positions: &[Position]) -> io::Result<()> {
        let is_new = |one: &&Position| self.kept.get(&one.to) != Some(&one.point);
        let new = |one: &Position| (one.to.clone(), Some(one.point));
        let changed: Vec<_> = positions.iter().filter(is_new).map(new).collect();
        let all = || {
            let mut all: HashMap<_, _> =
                self.kept.iter().map(|(to, point)| (to.clone(), Some(*point))).collect();
            all.extend(changed.iter().cloned());
            all.into_iter().collect()
        };
        let stored = self.map.store(&changed, all);
        stored.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })?;
        self.kept.extend(changed.into_iter().filter_map(|(to, point)| Some((to, point?))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Zeroizing<[u8; 32]> {
        Zeroizing::new([7; 32])
    }

    #[test]
    fn positions_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("server");
        let text = r##"[{"to":"#lobby","epoch":"00000000000000ff","seq":"7"}]"##;
        let positions: Vec<Position> = serde_json::from_str(text).unwrap();
        let (mut journal, _) = Journal::open(&stem, key()).unwrap();
        journal.keep(&positions).unwrap();
        drop(journal);
        let written = std::fs::read(stem.with_extension("positions")).unwrap();
        assert!(!written.windows(5).any(|window| window == b"lobby"));
        assert_eq!(Journal::open(&stem, key()).unwrap().1.positions, positions);
    }
}
