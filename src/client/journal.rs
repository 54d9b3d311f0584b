//! What a client keeps of its talk with one server: lines that are not stored yet, and up to where
//! it has each conversation. Files of the data folder (0600), under a key that only the person's
//! own opens.

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

/// One entry of the outbox file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Add(NewMessage),
    Done(MsgId),
    /// The server refused it.
    Refused(MsgId),
    /// The person wants it sent all the same.
    Retry(MsgId),
    /// How a line goes out that only people can read.
    Sealed(MsgId, Opaque),
    /// One of these, under the key of what is written line by line.
    Locked(Opaque),
}

/// The open files; one client at a time has them.
pub struct Journal {
    outbox: File,
    key: Zeroizing<[u8; 32]>,
    open: usize,
    marks: SealedMap,
    /// As they are on disk.
    kept: HashMap<Target, Mark>,
}

/// What an earlier run has left.
#[derive(Default)]
pub struct Left {
    pub outbox: Vec<NewMessage>,
    /// Which of them were refused: only the person sends those again.
    pub refused: HashSet<MsgId>,
    pub sealed: HashMap<MsgId, Opaque>,
    pub positions: Vec<Position>,
}

impl Left {
    /// Those lines that were not refused.
    pub fn on_their_way(&self) -> Vec<NewMessage> {
        let goes = |message: &&NewMessage| !self.refused.contains(&message.id);
        self.outbox.iter().filter(goes).cloned().collect()
    }
}

impl Journal {
    /// `stem` is the files' path without their endings, and under `key` lies what was typed. None
    /// where another client has them.
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
        // What was not written whole was never said to be kept.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let left = read_entries(&text[..whole], &key);
        // Without them the newest lines are shown again, and nothing is lost.
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
        // The lines stay where they are until all are stored: nothing is lost by an end in between,
        // nor by a disk that is full.
        let mut journal = Journal { outbox, key, open: left.outbox.len(), marks, kept };
        journal.shorten(if left.outbox.is_empty() { 0 } else { whole as u64 })?;
        Ok(Some((journal, Left { positions, ..left })))
    }

    /// A line was typed.
    pub fn add(&mut self, message: &NewMessage) -> io::Result<()> {
        self.open += 1;
        self.write_locked(&Entry::Add(message.clone()))
    }

    /// A line goes out like this, whenever it is sent.
    pub fn seal(&mut self, id: MsgId, sealed: &Opaque) -> io::Result<()> {
        self.write_locked(&Entry::Sealed(id, sealed.clone()))
    }

    /// A line is stored, or dropped.
    pub fn done(&mut self, id: MsgId) -> io::Result<()> {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            return self.shorten(0);
        }
        self.write(&Entry::Done(id))
    }

    /// The server refused a line.
    pub fn refused(&mut self, id: MsgId) -> io::Result<()> {
        self.write(&Entry::Refused(id))
    }

    /// It is sent again.
    pub fn retry(&mut self, id: MsgId) -> io::Result<()> {
        self.write(&Entry::Retry(id))
    }

    /// Up to where the client has each conversation. What was typed is on the disk after this, too.
    pub fn keep(&mut self, positions: &[Position]) -> io::Result<()> {
        self.outbox.sync_data()?;
        let is_new = |one: &&Position| self.kept.get(&one.to) != Some(&one.mark);
        let new = |one: &Position| (one.to.clone(), Some(one.mark));
        let changed: Vec<_> = positions.iter().filter(is_new).map(new).collect();
        self.kept.extend(changed.iter().filter_map(|(to, mark)| Some((to.clone(), (*mark)?))));
        let all = || self.kept.iter().map(|(to, mark)| (to.clone(), Some(*mark))).collect();
        self.marks.keep(&changed, all)
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

    /// What follows is written behind so many bytes.
    fn shorten(&mut self, bytes: u64) -> io::Result<()> {
        self.outbox.set_len(bytes)?;
        self.outbox.seek(SeekFrom::Start(bytes)).map(drop)
    }
}

/// Lines that were added and are not done, which of them were refused, and how they go out.
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
    fn what_is_not_stored_is_there_again_and_what_is_stored_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("server");
        let (mut journal, left) = Journal::open(&stem, key()).unwrap().unwrap();
        assert!(left.outbox.is_empty());
        assert!(Journal::open(&stem, key()).unwrap().is_none(), "another client has it");
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
            // Nothing is written anew, which a kill or a full disk could break off.
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
    fn positions_are_kept() {
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
