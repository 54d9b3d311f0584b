//! The profile on disk: the key and the known servers (files 0600 in a folder 0700).

use std::io;
use std::path::{Path, PathBuf};

#[cfg(not(target_family = "wasm"))]
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use super::known_server::Server;
use super::outbox_file;
use crate::crypto::{Fingerprint, Identity, KeyError, PublicKey};
use crate::file::{FileError, json_file};
use crate::file::{make_folder, read_identity, read_text, replace, turn, write_new};
use crate::suite::Suites;
use crate::system::files;
use crate::system::fs;

/// Asks for the passphrase of a locked key; `None` if nobody can answer.
pub type Ask<'a> = &'a mut dyn FnMut() -> Option<Zeroizing<String>>;

/// The profile's folder: `$XDG_DATA_HOME/pychat` or the platform's equivalent.
#[derive(Clone)]
pub struct DataFolder {
    dir: PathBuf,
}

/// Settings for every user interface and every server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Messages of sealed conversations are stored for `/search`.
    pub search: bool,
    /// Accepted handshake suites.
    pub suites: Suites,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { search: true, suites: Suites::default() }
    }
}

impl DataFolder {
    /// Opens or creates the folder (0700).
    #[cfg(not(target_family = "wasm"))]
    pub fn open() -> anyhow::Result<DataFolder> {
        let dir = etcetera::choose_base_strategy()?.data_dir().join("pychat");
        Ok(DataFolder::at(&dir)?)
    }

    /// Opens or creates this folder.
    pub fn at(dir: &Path) -> Result<DataFolder, FileError> {
        make_folder(&dir.join("servers"), 0o700)?;
        Ok(DataFolder { dir: dir.to_owned() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn key_file(&self) -> PathBuf {
        self.dir.join("id.pem")
    }

    /// The public key; `None` before a key exists. Only a locked key that another program made
    /// needs a passphrase.
    pub fn public(&self) -> Result<Option<PublicKey>, FileError> {
        match read_public(&self.dir.join("id.pub.pem"))? {
            Some(key) => Ok(Some(key)),
            None => Ok(self.identity(&mut || None)?.map(|own| own.public().clone())),
        }
    }

    /// The private key; `ask` is called only if the file is locked.
    pub fn identity(&self, ask: Ask) -> Result<Option<Identity>, FileError> {
        read_identity(&self.key_file(), ask)
    }

    /// The key from `key rotate` that no server has admitted yet. `known` is tried before `ask` is
    /// called.
    pub fn next_identity(
        &self,
        known: Option<&Zeroizing<String>>,
        ask: Ask,
    ) -> Result<Option<Identity>, FileError> {
        let path = self.dir.join("id.next.pem");
        match read_identity(&path, &mut || known.cloned()) {
            Err(FileError::Key { error: KeyError::Passphrase | KeyError::Locked, .. }) => {
                read_identity(&path, ask)
            }
            other => other,
        }
    }

    /// The public key of that key.
    pub fn next_public(&self) -> Result<Option<PublicKey>, FileError> {
        if !self.dir.join("id.next.pem").exists() {
            return Ok(None);
        }
        match read_public(&self.dir.join("id.next.pub.pem"))? {
            Some(key) => Ok(Some(key)),
            None => Ok(self.next_identity(None, &mut || None)?.map(|next| next.public().clone())),
        }
    }

    /// Creates the key. Never replaces one.
    pub fn create_identity(&self) -> Result<Identity, FileError> {
        let identity = Identity::generate();
        write_new(&self.key_file(), identity.to_pem(None).as_bytes(), 0o600)?;
        self.write_public("id.pub.pem", &identity)?;
        Ok(identity)
    }

    /// Creates the next key, which takes over once a server has admitted it.
    pub fn create_next_identity(&self, passphrase: Option<&str>) -> Result<Identity, FileError> {
        let identity = Identity::generate();
        let pem = identity.to_pem(passphrase);
        write_new(&self.dir.join("id.next.pem"), pem.as_bytes(), 0o600)?;
        self.write_public("id.next.pub.pem", &identity)?;
        Ok(identity)
    }

    /// Makes the next key the own key after a server has admitted it; the old one stays as
    /// `id.old.pem`. `id.pem` exists at every moment, and an interrupted promotion is completed at
    /// the next login.
    pub fn promote_next(&self, next: &Identity) -> Result<(), FileError> {
        if self.next_public()?.as_ref() != Some(next.public()) {
            // Another client was first, and the current next key may be a later one.
            return Ok(());
        }
        let (key, old, waiting) =
            (self.key_file(), self.dir.join("id.old.pem"), self.dir.join("id.next.pem"));
        self.write_public("id.pub.pem", next)?;
        if let Some(pem) = read_text(&key)? {
            replace(&old, pem.as_bytes(), 0o600)?;
        }
        fs::rename(&waiting, &key).map_err(FileError::io(&waiting))?;
        files::sync_folder(&key).map_err(FileError::io(&key))?;
        // Without its private key this file is useless.
        let _ = fs::remove_file(self.dir.join("id.next.pub.pem"));
        Ok(())
    }

    /// Rewrites the key under another passphrase, or under none.
    pub fn lock(&self, identity: &Identity, passphrase: Option<&str>) -> Result<(), FileError> {
        replace(&self.key_file(), identity.to_pem(passphrase).as_bytes(), 0o600)
    }

    /// Rewrites the next key in the same way.
    pub fn lock_next(&self, next: &Identity, passphrase: Option<&str>) -> Result<(), FileError> {
        replace(&self.dir.join("id.next.pem"), next.to_pem(passphrase).as_bytes(), 0o600)
    }

    /// Locks the former key too, because other servers may still admit it.
    pub fn lock_old(&self, passphrase: &str) -> Result<(), FileError> {
        let path = self.dir.join("id.old.pem");
        match read_identity(&path, &mut || None) {
            Ok(Some(old)) => replace(&path, old.to_pem(Some(passphrase)).as_bytes(), 0o600),
            Err(FileError::Key { error: KeyError::Locked, .. }) | Ok(None) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The user's settings.
    pub fn settings(&self) -> Result<Settings, FileError> {
        Ok(json_file::load(&self.settings_file(), json_file::SMALL)?.unwrap_or_default())
    }

    pub fn set(&self, settings: &Settings) -> Result<(), FileError> {
        json_file::save(&self.settings_file(), settings, 0o600)
    }

    fn settings_file(&self) -> PathBuf {
        self.dir.join("settings.json")
    }

    /// All servers, last used first.
    pub fn servers(&self) -> Result<Vec<Server>, FileError> {
        Ok(json_file::load_list(&self.servers_file(), json_file::SMALL)?.unwrap_or_default())
    }

    /// Adds or updates a server and makes it the last used. Each server has one entry, found by its
    /// founding key, so that a new address or key updates it.
    ///
    /// # Errors
    /// Another client has stored a key that does not follow this client's: it is kept.
    pub fn remember(&self, server: &Server) -> Result<(), FileError> {
        self.write(server, true)
    }

    /// Updates a server that was stored before.
    ///
    /// # Errors
    /// As `remember`; and the server was removed meanwhile, by `pychat trust`.
    pub fn update(&self, server: &Server) -> Result<(), FileError> {
        self.write(server, false)
    }

    fn write(&self, server: &Server, may_add: bool) -> Result<(), FileError> {
        if self.servers()?.first() == Some(server) {
            return Ok(());
        }
        let _turn = turn(&self.dir.join("lock"))?;
        let servers = self.servers()?;
        let refused =
            |problem: &str| FileError::io(&self.servers_file())(io::Error::other(problem));
        let newest = match servers.iter().find(|other| other.founding() == server.founding()) {
            Some(stored) => stored.merged(server).ok_or_else(|| {
                refused("another client of this folder has pinned another key of this server")
            })?,
            None if may_add => server.clone(),
            None => return Err(refused("this server was removed: exit this client")),
        };
        if servers.first() == Some(&newest) {
            return Ok(());
        }
        self.put(servers, &newest, &newest)
    }

    /// Replaces a server, and every entry that has one of its keys pinned, with another, and makes
    /// that the last used.
    pub fn exchange(&self, old: &Server, new: &Server) -> Result<(), FileError> {
        let _turn = turn(&self.dir.join("lock"))?;
        self.put(self.servers()?, old, new)
    }

    fn put(&self, mut servers: Vec<Server>, old: &Server, new: &Server) -> Result<(), FileError> {
        let replaced = [old.founding(), new.founding()];
        let is_pinned_by =
            |other: &Server| other.fingerprint().is_some_and(|it| new.is_known_by(&it));
        servers.retain(|other| !replaced.contains(&other.founding()) && !is_pinned_by(other));
        servers.insert(0, new.clone());
        json_file::save(&self.servers_file(), &servers, 0o600)
    }

    /// The folders with files of servers: those in use, and those that were set aside.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn folders_of_servers(&self) -> io::Result<Vec<PathBuf>> {
        let aside = match fs::read_dir(self.dir.join("set-aside")) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok([vec![self.dir.join("servers")], aside].concat())
    }

    /// Moves the files stored under a founding key aside, and returns their new folder.
    ///
    /// # Errors
    /// A client uses the files, or they cannot be moved.
    pub fn set_aside(&self, founding: &Fingerprint) -> Result<PathBuf, FileError> {
        let (name, servers) = (founding.to_url(), self.dir.join("servers"));
        // Held until the files are moved: no client takes some of them up meanwhile.
        let stem = self.journal_stem(founding);
        let held = outbox_file::lock_all(&stem).map_err(FileError::io(&stem))?;
        let running = || io::Error::other("a client of this server is running: close it first");
        let _held = held.ok_or_else(|| FileError::io(&stem)(running()))?;
        let folder = |number: u32| self.dir.join("set-aside").join(format!("{name}-{number}"));
        let free = (1..).map(folder).find(|folder| !folder.exists());
        let folder = free.expect("one of four thousand million numbers is free");
        make_folder(&folder, 0o700)?;
        let devices = self.devices_dir(founding);
        match fs::rename(&devices, folder.join("device")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::io(&devices)(error));
            }
            _ => {}
        }
        let entries: Vec<_> =
            fs::read_dir(&servers).and_then(Iterator::collect).map_err(FileError::io(&servers))?;
        // Public keys of servers have similar names.
        let is_its = |path: &Path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(&format!("{name}.")) && !file.ends_with(".pem")
        };
        let mut files: Vec<_> =
            entries.iter().map(|entry| entry.path()).filter(|path| is_its(path)).collect();
        // A client that begins makes another outbox, so these are the last to go.
        let outbox = format!("{name}.outbox");
        let is_outbox = |path: &PathBuf| path.to_string_lossy().contains(&outbox);
        files.sort_by_key(is_outbox);
        for path in files {
            let to = folder.join(path.file_name().unwrap_or_default());
            fs::rename(&path, to).map_err(FileError::io(&path))?;
        }
        Ok(folder)
    }

    /// The stored public key of a server, checked against its fingerprint.
    pub fn server_key(&self, server: &Fingerprint) -> Result<Option<PublicKey>, FileError> {
        let path = self.server_key_file(server);
        match read_public(&path)? {
            Some(key) if key.fingerprint() != *server => {
                Err(FileError::damaged(&path, "the key in it does not match its name"))
            }
            key => Ok(key),
        }
    }

    pub fn remember_server_key(&self, key: &PublicKey) -> Result<(), FileError> {
        let path = self.server_key_file(&key.fingerprint());
        replace(&path, key.to_pem().as_bytes(), 0o600)
    }

    /// Folder of the device keys for a server, named by the fingerprint of its founding key.
    pub fn devices_dir(&self, founding: &Fingerprint) -> PathBuf {
        self.dir.join("device").join(founding.to_url())
    }

    /// The former key, which may open older sealed content.
    pub fn old_identity(
        &self,
        known: Option<&Zeroizing<String>>,
    ) -> Result<Option<Identity>, FileError> {
        read_identity(&self.dir.join("id.old.pem"), &mut || known.cloned())
    }

    /// Path of the journal for a server, without extensions. It is named by the founding key, so a
    /// rotation does not change it.
    pub fn journal_stem(&self, founding: &Fingerprint) -> PathBuf {
        self.dir.join("servers").join(founding.to_url())
    }

    fn servers_file(&self) -> PathBuf {
        self.dir.join("servers.json")
    }

    fn server_key_file(&self, server: &Fingerprint) -> PathBuf {
        self.dir.join("servers").join(format!("{}.pem", server.to_url()))
    }

    fn write_public(&self, file: &str, identity: &Identity) -> Result<(), FileError> {
        replace(&self.dir.join(file), identity.public().to_pem().as_bytes(), 0o644)
    }
}

fn read_public(path: &Path) -> Result<Option<PublicKey>, FileError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    let key = PublicKey::from_pem(&text);
    key.map(Some).map_err(|error| FileError::Key { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::thread;

    use super::*;

    #[test]
    fn clients_that_start_at_once_lose_no_server() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        thread::scope(|scope| {
            for number in 0..16 {
                let data_folder = &data_folder;
                let key = Fingerprint([number; 32]);
                let server = Server::new("host".into(), 5000 + u16::from(number), &key, None);
                scope.spawn(move || data_folder.remember(&server).unwrap());
            }
        });
        let servers = data_folder.servers().unwrap();
        assert_eq!(servers.len(), 16);
        // An unchanged entry is not written, because the disk may be full.
        let file = || std::fs::metadata(data_folder.servers_file()).unwrap().ino();
        let written = file();
        data_folder.remember(&servers[0]).unwrap();
        assert_eq!(file(), written);
    }

    #[test]
    fn a_client_that_missed_a_rotation_takes_back_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        let [one, two, three] = [1, 2, 3].map(|number| Fingerprint([number; 32]));
        let missed = Server::new("host".into(), 5000, &one, None);
        let newest = missed.succeeded_by(&two);
        data_folder.remember(&newest).unwrap();
        data_folder.remember(&missed.at("other".into(), 5000)).unwrap();
        assert_eq!(data_folder.servers().unwrap(), [newest.at("other".into(), 5000)]);
        // A former key names another next one.
        assert!(data_folder.remember(&missed.succeeded_by(&three)).is_err());
        assert_eq!(data_folder.servers().unwrap()[0].fingerprint(), Some(two));
    }

    #[test]
    fn search_logs_that_were_set_aside_are_erased_too() {
        use crate::client::storage::Folder;
        use crate::e2e::storage::Storage;
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        let print = Fingerprint([9; 32]);
        let file = data_folder.journal_stem(&print).with_extension("search");
        fs::write(&file, "messages").unwrap();
        let aside = data_folder.set_aside(&print).unwrap().join(file.file_name().unwrap());
        assert_eq!(fs::read_to_string(&aside).unwrap(), "messages", "the control");
        Folder::open(&data_folder, &print).unwrap().erase_search_logs().unwrap();
        assert!(!fs::read_to_string(&aside).unwrap_or_default().contains("messages"));
    }

    #[test]
    fn a_server_with_another_key_is_the_same_server() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        let [one, two, three] = [1, 2, 3].map(|number| Fingerprint([number; 32]));
        let server = Server::new("host".into(), 5000, &one, None);
        data_folder.remember(&server).unwrap();
        let server = server.succeeded_by(&two).succeeded_by(&three);
        data_folder.remember(&server).unwrap();
        assert_eq!(data_folder.servers().unwrap(), std::slice::from_ref(&server));
        assert_eq!((server.fingerprint(), server.founding()), (Some(three), Some(one)));
        assert!([one, two, three].iter().all(|key| server.is_known_by(key)));
        assert!(!server.is_known_by(&Fingerprint([4; 32])));
    }
}
