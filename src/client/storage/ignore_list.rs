//! Ignored users, and whether joins and parts are hidden. Stored beside the journal of the server.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::chat::UserName;
use crate::crypto::at_rest;
use crate::home::FileError;
use crate::home::file::{read_bytes_up_to, replace};

/// Bound on ignored users.
const IGNORED_MAX: usize = 1_000;
/// Bytes read of the file, in which each name has at most 128 bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IgnoreList {
    pub ignored: Vec<UserName>,
    pub quiet: bool,
}

impl IgnoreList {
    /// Returns whether a name is ignored, in any case.
    pub fn ignores(&self, name: &UserName) -> bool {
        self.ignored.iter().any(|ignored| is_same(ignored, name))
    }

    /// Ignores a user, or stops ignoring. Returns whether the user is ignored now.
    pub fn toggle(&mut self, name: UserName) -> bool {
        let before = self.ignored.len();
        self.ignored.retain(|ignored| !is_same(ignored, &name));
        let now = self.ignored.len() == before;
        if now {
            self.ignored.push(name);
        }
        now
    }
}

fn is_same(one: &UserName, other: &UserName) -> bool {
    one.as_str().to_lowercase() == other.as_str().to_lowercase()
}

/// `STEM.ignored`, 0600, under the record key.
pub struct IgnoreFile {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
}

impl IgnoreFile {
    /// `stem` is the journal's path without extensions. An unreadable file counts as an empty list.
    pub fn open(stem: PathBuf, key: Zeroizing<[u8; 32]>) -> (IgnoreFile, IgnoreList) {
        let file = IgnoreFile { path: stem.with_extension("ignored"), key };
        let text = read_bytes_up_to(&file.path, FILE_BYTES_MAX).ok().flatten();
        let text = text.and_then(|locked| at_rest::unlock(&file.key, &locked));
        let mut ignore_list: IgnoreList =
            text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        ignore_list.ignored.truncate(IGNORED_MAX);
        (file, ignore_list)
    }

    pub fn save(&self, ignore_list: &IgnoreList) -> Result<(), FileError> {
        let text = serde_json::to_vec(ignore_list).expect("names are plain JSON");
        replace(&self.path, &at_rest::lock(&self.key, &text), 0o600)
    }
}
