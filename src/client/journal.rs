//! Stored client state for one server: messages that the server has not stored yet, and the
//! positions of each conversation. Files of the profile (0600), under a key that only the user's
//! own key opens.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::storage::SealedMap;
use crate::chat::{Mark, MsgId, NewMessage, Opaque, Position, Target};
use crate::crypto::at_rest;
use crate::system::files;

/// An entry of the outbox file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Add(NewMessage),
    Done(MsgId),
    /// The server has refused it.
    Refused(MsgId),
    /// The user wants it sent again.
    Retry(MsgId),
    /// The sealed body of a message.
    Sealed(MsgId, Opaque),
    /// One of these, encrypted under the record key.
    Locked(Opaque),
}

/// The open files, owned by one client at a time.
pub struct Journal {
    outbox: File,
    key: Zeroizing<[u8; 32]>,
    open: usize,
    marks: SealedMap,
    /// The positions on disk.
    kept: HashMap<Target, Mark>,
}

/// The state that an earlier run has left.
#[derive(Default)]
pub struct Left {
    pub outbox: Vec<NewMessage>,
    /// Refused messages, which are sent again only by the user.
    pub refused: HashSet<MsgId>,
    pub sealed: HashMap<MsgId, Opaque>,
    pub positions: Vec<Position>,
}

impl Left {
    /// The messages that were not refused.
    pub fn in_transit(&self) -> Vec<NewMessage> {
        let goes = |message: &&NewMessage| !self.refused.contains(&message.id);
        self.outbox.iter().filter(goes).cloned().collect()
    }
}

impl Journal {
    /// `stem` is the files' path without extensions, and `key` encrypts what was typed. Returns
    /// `None` if another client owns the files.
    pub fn open(stem: &Path, key: Zeroizing<[u8; 32]>) -> io::Result<Option<(Journal, Left)>> {
        let path = stem.with_extension("outbox");
        let mut options = files::private();
        options.read(true).write(true).create(true).truncate(false);
        let mut outbox = options.open(path)?;
        if !files::try_lock(&outbox)? {
            return Ok(None);
        }
        let mut text = Vec::new();
        outbox.read_to_end(&mut text)?;
        // An entry that was cut off was never reported as stored.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let left = read_entries(&text[..whole], &key);
        // Without the positions the newest messages are shown again; nothing is lost.
        let (marks, entries) = SealedMap::open(stem.with_extension("marks"), key.clone())?;
        let mut kept: HashMap<Target, Mark> = HashMap::new();
        for (to, mark) in entries {
            match mark {
                Some(mark) => kept.insert(to, mark),
                None => kept.remove(&to),
            };
        }
        let position = |(to, mark): (&Target, &Mark)| Position { to: to.clone(), mark: *mark };
        let positions = kept.iter().map(position).collect();
        // The entries stay in the file until all messages are stored, so neither a crash nor a full
        // disk loses any.
        let mut journal = Journal { outbox, key, open: left.outbox.len(), marks, kept };
        journal.shorten(if left.outbox.is_empty() { 0 } else { whole as u64 })?;
        Ok(Some((journal, Left { positions, ..left })))
    }

    /// Adds a typed message.
    pub fn add(&mut self, message: &NewMessage) -> io::Result<()> {
        self.open += 1;
        self.write_locked(&Entry::Add(message.clone()))
    }

    /// Stores the sealed body that goes out for a message.
    pub fn seal(&mut self, id: MsgId, sealed: &Opaque) -> io::Result<()> {
        self.write_locked(&Entry::Sealed(id, sealed.clone()))
    }

    /// Records that a message was stored by the server, or dropped.
    pub fn done(&mut self, id: MsgId) -> io::Result<()> {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            return self.shorten(0);
        }
        self.write(&Entry::Done(id))
    }

    /// Records that the server has refused a message.
    pub fn refused(&mut self, id: MsgId) -> io::Result<()> {
        self.write(&Entry::Refused(id))
    }

    /// Records that a message is sent again.
    pub fn retry(&mut self, id: MsgId) -> io::Result<()> {
        self.write(&Entry::Retry(id))
    }

    /// Stores the positions of conversations, and syncs typed messages to the disk.
    pub fn keep(&mut self, positions: &[Position]) -> io::Result<()> {
        self.outbox.sync_data()?;
        let is_new = |one: &&Position| self.kept.get(&one.to) != Some(&one.mark);
        let new = |one: &Position| (one.to.clone(), Some(one.mark));
        let changed: Vec<_> = positions.iter().filter(is_new).map(new).collect();
        self.kept.extend(changed.iter().filter_map(|(to, mark)| Some((to.clone(), (*mark)?))));
        let all = || self.kept.iter().map(|(to, mark)| (to.clone(), Some(*mark))).collect();
        self.marks.store(&changed, all)
    }

    fn write_locked(&mut self, entry: &Entry) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec(entry)?);
        let locked = at_rest::lock(&self.key, &text);
        self.write(&Entry::Locked(Opaque::new(&locked).expect("a salt at least")))
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.outbox.write_all(&line)
    }

    /// Truncates the file; new entries follow at this length.
    fn shorten(&mut self, bytes: u64) -> io::Result<()> {
        self.outbox.set_len(bytes)?;
        self.outbox.seek(SeekFrom::Start(bytes)).map(drop)
    }
}

/// Returns the open messages, which of them were refused, and their sealed bodies.
fn read_entries(text: &[u8], key: &[u8; 32]) -> Left {
    let mut left = Left::default();
    for line in text.split(|byte| *byte == b'\n') {
        let entry = match serde_json::from_slice(line) {
            Ok(Entry::Locked(locked)) => at_rest::unlock(key, locked.bytes())
                .and_then(|text| serde_json::from_slice::<Entry>(&text).ok()),
            other => other.ok(),
        };
        match entry {
            Some(Entry::Add(message)) => left.outbox.push(message),
            Some(Entry::Done(id)) => {
                left.outbox.retain(|message| message.id != id);
                left.sealed.remove(&id);
            }
            Some(Entry::Refused(id)) => drop(left.refused.insert(id)),
            Some(Entry::Retry(id)) => drop(left.refused.remove(&id)),
            Some(Entry::Sealed(id, body)) => drop(left.sealed.insert(id, body)),
            Some(Entry::Locked(_)) | None => {}
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Zeroizing<[u8; 32]> {
        Zeroizing::new([7; 32])
    }

    fn say(id: u8) -> NewMessage {
        let line = format!(
            r##"{{"type":"say","to":"#lobby","id":"{}","text":"hi there"}}"##,
            "0".repeat(30) + &format!("{id:02x}")
        );
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn only_unstored_messages_are_restored() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("server");
        let (mut journal, left) = Journal::open(&stem, key()).unwrap().unwrap();
        assert!(left.outbox.is_empty());
        assert!(Journal::open(&stem, key()).unwrap().is_none(), "another client owns it");
        (1..=3).for_each(|id| journal.add(&say(id)).unwrap());
        journal.done(say(2).id).unwrap();
        let body = Opaque::new(b"sealed").unwrap();
        journal.seal(say(3).id, &body).unwrap();
        let written = std::fs::read_to_string(stem.with_extension("outbox")).unwrap();
        assert!(!written.contains("hi there") && !written.contains("lobby"), "{written}");
        journal.outbox.write_all(b"{\"add\":{\"type\":\"sa").unwrap();
        drop(journal);
        let path = stem.with_extension("outbox");
        let mut written = std::fs::read(&path).unwrap();
        written.truncate(1 + written.iter().rposition(|byte| *byte == b'\n').unwrap());
        for _ in 0..2 {
            let (journal, left) = Journal::open(&stem, key()).unwrap().unwrap();
            assert_eq!(left.outbox, [say(1), say(3)]);
            assert_eq!(left.sealed, HashMap::from([(say(3).id, body.clone())]));
            // Nothing is rewritten that a kill or a full disk could interrupt.
            assert!(std::fs::read(&path).unwrap() == written);
            drop(journal);
        }
        let (mut journal, left) = Journal::open(&stem, key()).unwrap().unwrap();
        journal.add(&say(4)).unwrap();
        journal.done(say(4).id).unwrap();
        for id in [1, 3].map(|id| say(id).id) {
            journal.refused(id).unwrap();
        }
        journal.retry(say(3).id).unwrap();
        let read = read_entries(&std::fs::read(&path).unwrap(), &key());
        let refused = HashSet::from([say(1).id]);
        assert_eq!((read.outbox, read.refused), (left.outbox, refused));
        journal.done(say(1).id).unwrap();
        journal.done(say(3).id).unwrap();
        assert_eq!(std::fs::metadata(stem.with_extension("outbox")).unwrap().len(), 0);
    }

    #[test]
    fn positions_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("server");
        let text = r##"[{"to":"#lobby","log":"00000000000000ff","seq":"7"}]"##;
        let positions: Vec<Position> = serde_json::from_str(text).unwrap();
        let (mut journal, _) = Journal::open(&stem, key()).unwrap().unwrap();
        journal.keep(&positions).unwrap();
        drop(journal);
        let written = std::fs::read(stem.with_extension("marks")).unwrap();
        assert!(!written.windows(5).any(|window| window == b"lobby"));
        assert_eq!(Journal::open(&stem, key()).unwrap().unwrap().1.positions, positions);
    }
}
