//! Ignored users, and whether joins and parts are hidden. Stored beside the journal of the server.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::chat::UserName;
use crate::crypto::at_rest;
use crate::file::{FileError, read_bytes_up_to, replace};
use crate::limits::IGNORED_MAX;
use crate::system::fs;

/// Bytes read of the file, in which each name has at most 128 bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IgnoreList {
    pub ignored: Vec<UserName>,
    pub quiet: bool,
}

/// What became of a change of the list.
#[derive(Debug, PartialEq)]
pub enum Toggled {
    Ignored,
    Shown,
    /// Too many users are ignored.
    Full,
}

impl IgnoreList {
    pub fn ignores(&self, name: &UserName) -> bool {
        self.ignored.contains(name)
    }

    /// Ignores a user, or stops ignoring.
    pub fn toggle(&mut self, name: UserName) -> Toggled {
        let before = self.ignored.len();
        self.ignored.retain(|ignored| *ignored != name);
        if self.ignored.len() < before {
            return Toggled::Shown;
        }
        if before >= IGNORED_MAX {
            return Toggled::Full;
        }
        self.ignored.push(name);
        Toggled::Ignored
    }
}

/// `STEM.ignored`, 0600, under the record key.
pub struct IgnoreFile {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
}

impl IgnoreFile {
    /// `stem` is the journal's path without extensions. An unreadable file counts as an empty list,
    /// which the user is told.
    pub fn open(
        stem: PathBuf,
        key: Zeroizing<[u8; 32]>,
    ) -> (IgnoreFile, IgnoreList, Option<String>) {
        let file = IgnoreFile { path: stem.with_extension("ignored"), key };
        match file.read() {
            Ok(ignore_list) => (file, ignore_list, None),
            Err(error) => {
                let trouble = format!("the ignore list cannot be read: {error}");
                (file, IgnoreList::default(), Some(trouble))
            }
        }
    }

    fn read(&self) -> Result<IgnoreList, FileError> {
        let Some(locked) = read_bytes_up_to(&self.path, FILE_BYTES_MAX)? else {
            return Ok(IgnoreList::default());
        };
        let text = at_rest::unlock(&self.key, &locked);
        let list = text.and_then(|text| serde_json::from_slice::<IgnoreList>(&text).ok());
        let Some(mut ignore_list) = list else {
            // The next change replaces the file.
            let aside = self.path.with_extension("ignored-damaged");
            fs::rename(&self.path, &aside).map_err(FileError::io(&self.path))?;
            let moved = format!("the file is damaged and was renamed to {}", aside.display());
            return Err(FileError::damaged(&self.path, moved));
        };
        ignore_list.ignored.truncate(IGNORED_MAX);
        Ok(ignore_list)
    }

    pub fn save(&self, ignore_list: &IgnoreList) -> Result<(), FileError> {
        let text = serde_json::to_vec(ignore_list).expect("names are plain JSON");
        replace(&self.path, &at_rest::lock(&self.key, &text), 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_takes_another_name_once_one_is_removed() {
        let name = |number: usize| format!("user{number}").parse::<UserName>().unwrap();
        let mut list = IgnoreList::default();
        (0..IGNORED_MAX).for_each(|number| assert_eq!(list.toggle(name(number)), Toggled::Ignored));
        assert_eq!(list.toggle(name(IGNORED_MAX)), Toggled::Full);
        assert!(list.ignored.len() == IGNORED_MAX && !list.ignores(&name(IGNORED_MAX)));
        let folder = tempfile::tempdir().unwrap();
        let open = || IgnoreFile::open(folder.path().join("server"), Zeroizing::new([7; 32]));
        open().0.save(&list).unwrap();
        assert_eq!(open().1, list, "the next start reads all of it");
        assert_eq!(list.toggle(name(7)), Toggled::Shown);
        assert_eq!(list.toggle(name(IGNORED_MAX)), Toggled::Ignored);
    }

    #[test]
    fn a_damaged_list_is_told_and_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let open = || IgnoreFile::open(folder.path().join("server"), Zeroizing::new([7; 32]));
        let (file, mut list, trouble) = open();
        assert_eq!((list.ignored.len(), trouble), (0, None));
        list.toggle("bob".parse().unwrap());
        file.save(&list).unwrap();
        assert_eq!(open().1, list);
        let path = folder.path().join("server.ignored");
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (_, list, trouble) = open();
        let trouble = trouble.unwrap();
        assert!(list.ignored.is_empty() && trouble.contains("server.ignored: "), "{trouble}");
        assert_eq!(fs::read(path.with_extension("ignored-damaged")).unwrap(), bytes);
        assert_eq!(open().2, None, "it is told once");
    }
}
