//! The owners of the files in users/. File names are compared as user names are: in NFC and in any
//! case, so that `zoé.json` from a Mac, in NFD, belongs to zoé, and `BOB.JSON` to bob.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::chat::{DeviceName, NameError, UserName};

/// The files of users/ by owner.
#[derive(Default)]
pub struct Folder {
    /// `NAME.pem` and `NAME.DEVICE.pem`, sorted by name.
    pub keys: Vec<KeyFile>,
    /// `NAME.json`. Several files of one user contradict each other.
    settings: HashMap<UserName, Vec<PathBuf>>,
    /// Other files, sorted by name.
    pub strays: Vec<PathBuf>,
}

/// A file whose name is that of a key file.
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
            // macOS writes `._NAME` beside a file; editors and `cp` have their own names.
            let hidden = name.is_empty() || name.starts_with('.');
            let extension = |end: &str| {
                let (stem, extension) = name.rsplit_once('.')?;
                extension.eq_ignore_ascii_case(end).then_some(stem)
            };
            match (extension("pem"), extension("json")) {
                (Some(stem), _) if !hidden => {
                    let owner = owner(stem);
                    folder.keys.push(KeyFile { path, owner });
                }
                (_, Some(stem)) if !hidden && stem.parse::<UserName>().is_ok() => {
                    let name: UserName = stem.parse().expect("it was parsed just now");
                    folder.settings.entry(name).or_default().push(path);
                }
                _ => folder.strays.push(path),
            }
        }
        Ok(folder)
    }

    /// Returns the settings files of a user. More than one contradict each other.
    pub fn settings_of(&self, name: &UserName) -> &[PathBuf] {
        self.settings.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns settings of users without a key.
    pub fn settings_of_nobody(&self) -> impl Iterator<Item = &PathBuf> {
        let owners: Vec<_> = self.keys.iter().filter_map(|file| file.owner.as_ref().ok()).collect();
        let has_key = move |of: &UserName| owners.iter().any(|(name, _)| name == of);
        let all = self.settings.iter().filter(move |(name, _)| !has_key(name));
        all.flat_map(|(_, paths)| paths)
    }

    /// Returns the key files of a user, or of one device of the user.
    pub fn keys_of(
        &self,
        name: &UserName,
        device: Option<&DeviceName>,
    ) -> impl Iterator<Item = &Path> {
        let of = move |file: &&KeyFile| {
            file.owner.as_ref().is_ok_and(|(owner, own)| {
                let is = device.is_none_or(|device| same(device.as_str(), own.as_str()));
                owner == name && is
            })
        };
        self.keys.iter().filter(of).map(|file| file.path.as_path())
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Parses the user and device in a file name.
fn owner(stem: &str) -> Result<(UserName, DeviceName), NameError> {
    Ok(match stem.split_once('.') {
        Some((name, device)) => (name.parse()?, device.parse()?),
        None => (stem.parse()?, DeviceName::main()),
    })
}
