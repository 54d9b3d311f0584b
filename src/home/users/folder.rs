//! Whose each file in users/ is. Names of files are compared as people's names are: in NFC and in
//! any case, so that `zoé.json` from a Mac, in NFD, belongs to zoé.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::chat::{DeviceName, NameError, UserName};

/// The files of users/ by whose they are.
#[derive(Default)]
pub struct Folder {
    /// `NAME.pem` and `NAME.DEVICE.pem`, in the order of names.
    pub keys: Vec<KeyFile>,
    /// `NAME.json`, by the folded name: one for each person, unless they contradict each other.
    settings: HashMap<String, Vec<PathBuf>>,
    /// Files that are neither, in the order of names.
    pub strays: Vec<PathBuf>,
}

/// A file that has the name of a key's.
pub struct KeyFile {
    pub path: PathBuf,
    pub owner: Result<(UserName, DeviceName), NameError>,
}

impl Folder {
    /// Reads the names of the files.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn read(dir: &Path) -> io::Result<Folder> {
        let mut paths = fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        let mut folder = Folder::default();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // macOS puts `._NAME` beside a file, editors and `cp` have their own.
            let hidden = name.is_empty() || name.starts_with('.');
            match name.rsplit_once('.') {
                Some((stem, "pem")) if !hidden => {
                    let owner = owner(stem);
                    folder.keys.push(KeyFile { path, owner });
                }
                Some((stem, "json")) if !hidden && stem.parse::<UserName>().is_ok() => {
                    let name: UserName = stem.parse().expect("it was parsed just now");
                    folder.settings.entry(fold(&name)).or_default().push(path);
                }
                _ => folder.strays.push(path),
            }
        }
        Ok(folder)
    }

    /// The files with a person's settings: none or one, unless they contradict each other.
    pub fn settings_of(&self, name: &UserName) -> &[PathBuf] {
        self.settings.get(&fold(name)).map_or(&[], Vec::as_slice)
    }

    /// The settings of people who have no key here.
    pub fn settings_of_nobody(&self) -> impl Iterator<Item = &PathBuf> {
        let owners: Vec<_> = self.keys.iter().filter_map(|file| file.owner.as_ref().ok()).collect();
        let has_key = move |folded: &str| owners.iter().any(|(name, _)| fold(name) == folded);
        let all = self.settings.iter().filter(move |(folded, _)| !has_key(folded));
        all.flat_map(|(_, paths)| paths)
    }

    /// The key files of a person, or of one device of theirs.
    pub fn keys_of(
        &self,
        name: &UserName,
        device: Option<&DeviceName>,
    ) -> impl Iterator<Item = &Path> {
        let of = move |file: &&KeyFile| {
            file.owner.as_ref().is_ok_and(|(owner, own)| {
                let is = device.is_none_or(|device| same(device.as_str(), own.as_str()));
                fold(owner) == fold(name) && is
            })
        };
        self.keys.iter().filter(of).map(|file| file.path.as_path())
    }
}

/// Names are the same in any case.
pub fn fold(name: &UserName) -> String {
    name.as_str().to_lowercase()
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Whose key a file's name says it is.
fn owner(stem: &str) -> Result<(UserName, DeviceName), NameError> {
    Ok(match stem.split_once('.') {
        Some((name, device)) => (name.parse()?, device.parse()?),
        None => (stem.parse()?, DeviceName::main()),
    })
}
