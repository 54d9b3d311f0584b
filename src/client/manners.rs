//! Whom this person ignores, and whether comings and goings are hidden: kept beside the journal of
//! the talk with a server, for the next time.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::chat::UserName;
use crate::keyring::FileError;
use crate::keyring::file::{read_text, replace};

/// More people than these are not remembered.
const IGNORED_MAX: usize = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manners {
    pub ignored: Vec<UserName>,
    pub quiet: bool,
}

impl Manners {
    /// However the name is written.
    pub fn ignores(&self, name: &UserName) -> bool {
        self.ignored.iter().any(|ignored| is_same(ignored, name))
    }

    /// Ignores a person, or no longer; whether they are ignored now.
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

/// `STEM.manners.json`, 0600.
pub struct MannersFile(PathBuf);

impl MannersFile {
    /// `stem` is the journal's path without its endings. A file that cannot be read ignores nobody.
    pub fn open(stem: PathBuf) -> (MannersFile, Manners) {
        let file = stem.with_extension("manners.json");
        let text = read_text(&file).ok().flatten();
        let mut manners: Manners =
            text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        manners.ignored.truncate(IGNORED_MAX);
        (MannersFile(file), manners)
    }

    pub fn save(&self, manners: &Manners) -> Result<(), FileError> {
        let text = serde_json::to_vec(manners).expect("names are plain JSON");
        replace(&self.0, &text, 0o600)
    }
}
