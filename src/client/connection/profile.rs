//! First contact: the choice of server, name and key.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::keys::Keys;
use super::pinning;
#[cfg(not(target_family = "wasm"))]
use super::pinning::{Pinned, pin};
use crate::chat::{Opaque, Ticket, UserName};
#[cfg(not(target_family = "wasm"))]
use crate::client::prompt::{Prompt, Question};
use crate::client::storage::data_folder::{DataFolder, Server};
use crate::client::ticket;
use crate::crypto::lineage::FORMER_KEYS_MAX;
use crate::crypto::session_ticket::HeldTicket;
use crate::crypto::succession::{Succession, Whose};
use crate::crypto::{Fingerprint, Identity, KeyError, PublicKey};
use crate::e2e::storage::Account;
use crate::fault::{Fault, code};
use crate::file::FileError;
use crate::invite::key_line;
#[cfg(not(target_family = "wasm"))]
use crate::print::err;
use crate::suite::Suites;
use crate::sync::{Mutex, MutexGuard, Rank};
#[cfg(not(target_family = "wasm"))]
use crate::system::programs;

/// The file beside the key that has the line for the operator.
const KEY_LINE_FILE: &str = "key-line.txt";

/// The server, the user and the keys of a connection.
pub struct Profile {
    pub data_folder: DataFolder,
    keys: Mutex<Keys>,
    /// With the currently pinned key.
    server: Mutex<Server>,
    pub name: UserName,
    /// Accepted handshake suites.
    pub suites: Suites,
    founding: Fingerprint,
    new: bool,
    /// The server has an entry in `servers.json`.
    stored: AtomicBool,
    /// The ticket for the next login. It is in memory only: from the disk, an attacker could use it
    /// to log in without the key's passphrase.
    session_ticket: Mutex<Option<HeldTicket>>,
}

impl Profile {
    /// Collects everything needed to connect from arguments, stored state and answers.
    #[cfg(not(target_family = "wasm"))]
    pub fn prepare(
        server: Option<&str>,
        name: Option<UserName>,
        prompt: &mut dyn Prompt,
    ) -> anyhow::Result<Profile> {
        let data_folder = DataFolder::open()?;
        let (known, suites) = (data_folder.servers()?, data_folder.settings()?.suites);
        let Pinned { mut server, notice } = match (server, known.first()) {
            (Some(text), _) => pin(text, &known, &pinning::ask)?,
            (None, Some(server)) => server.clone().into(),
            (None, None) => ask_server(prompt)?,
        };
        notice.iter().for_each(|text| prompt.show(text));
        let founding = server.fingerprint().and(server.founding()).ok_or_else(|| {
            let error = "servers.json: a fingerprint is incomplete";
            Fault::new(code::UNREADABLE, error, "use the invite again")
        })?;
        let name = match name.or_else(|| server.name.clone()) {
            Some(name) => name,
            None => ask_name(prompt)?,
        };
        let mut passphrase = None;
        let (identity, new) = match open_key(&data_folder, &mut passphrase, prompt)? {
            Some(identity) => (identity, false),
            None => (make_key(&data_folder, prompt)?, true),
        };
        let other = passphrase.as_ref().map(|_| "the new key has another passphrase");
        let mut unlock = || prompt.ask(&Question::Passphrase, other);
        // An error of the next key is reported with the first connection.
        let next = data_folder.next_identity(passphrase.as_ref(), &mut unlock).unwrap_or_default();
        let keys = Mutex::new(
            Rank::ClientKeys,
            Keys::new(identity, next, passphrase).with_former(&data_folder),
        );
        server.name = Some(name.clone());
        let known = data_folder.servers()?;
        let stored = known.iter().any(|other| other.founding() == Some(founding)).into();
        let server = Mutex::new(Rank::PinnedServer, server);
        let session_ticket = Mutex::new(Rank::SessionTicket, None);
        Ok(Profile {
            data_folder,
            keys,
            server,
            name,
            suites,
            founding,
            new,
            stored,
            session_ticket,
        })
    }

    /// A profile whose server, name and key are known.
    ///
    /// # Panics
    /// The fingerprint of the server is incomplete.
    pub fn of(
        data_folder: DataFolder,
        identity: Identity,
        server: Server,
        name: UserName,
    ) -> Profile {
        let founding = server.founding().expect("its fingerprints were checked");
        let keys = Mutex::new(Rank::ClientKeys, Keys::new(identity, None, None));
        let suites = Suites::default();
        Profile {
            data_folder,
            keys,
            server: Mutex::new(Rank::PinnedServer, server),
            name,
            suites,
            founding,
            new: false,
            stored: AtomicBool::new(false),
            session_ticket: Mutex::new(Rank::SessionTicket, None),
        }
    }

    /// Fingerprint of the key that the server must prove.
    pub fn pinned(&self) -> Fingerprint {
        self.server().fingerprint().expect("it was checked when this was made")
    }

    /// The server's address.
    pub fn address(&self) -> String {
        let Server { host, port, .. } = self.server();
        format!("{host}:{port}")
    }

    /// Returns whether the server has proven its pinned key to this client before.
    pub fn is_known(&self) -> bool {
        let known = self.data_folder.servers().unwrap_or_default();
        pinning::known_by(&self.pinned(), &known)
            .is_some_and(|known| known.founding() == Some(self.founding))
    }

    /// Records that the server has proven the pinned key at its address.
    pub fn met(&self) -> Result<(), FileError> {
        self.store(&self.server())
    }

    /// Adds the server at the first contact, and updates it later.
    fn store(&self, server: &Server) -> Result<(), FileError> {
        match self.stored.load(Ordering::Relaxed) {
            true => self.data_folder.update(server)?,
            false => self.data_folder.remember(server)?,
        }
        self.stored.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The ticket that the server has given to this device.
    pub fn ticket(&self) -> Option<Ticket> {
        ticket::load(&self.ticket_file(), &self.openers())
    }

    /// The server has given this device a ticket, in the place of the one before.
    pub fn keep_ticket(&self, ticket: &Ticket) -> Result<(), FileError> {
        ticket::store(&self.ticket_file(), ticket, &self.keepers())
    }

    fn ticket_file(&self) -> PathBuf {
        self.data_folder.journal_stem(&self.founding).with_extension("ticket")
    }

    /// Stores a session ticket of the server, which replaces the earlier one. `server` and `own`
    /// are the keys that both sides have proven in the session.
    pub fn keep_session_ticket(
        &self,
        ticket: &Opaque,
        secret: &Ticket,
        (server, own): (Fingerprint, Fingerprint),
    ) {
        let held = HeldTicket::new((ticket.bytes(), secret.reveal()), server, own);
        *self.session_ticket.lock() = held;
    }

    /// Takes the session ticket for a login to this server with this key. No ticket is used twice,
    /// so that tickets do not link two connections to one client.
    pub fn take_session_ticket(
        &self,
        server: &Fingerprint,
        own: &Fingerprint,
    ) -> Option<HeldTicket> {
        self.session_ticket.lock().take_if(|held| held.is_for(server, own))
    }

    /// The server's address and keys.
    pub fn server(&self) -> Server {
        self.server.lock().clone()
    }

    /// Handles the announcement of the next host key, which must be signed by the pinned and the
    /// new key. Returns a notice if it is new.
    ///
    /// # Errors
    /// A signature is missing, or the data folder cannot be written: the pinned key stays.
    pub fn succeed(&self, key: &[u8], signatures: &[u8]) -> anyhow::Result<Option<String>> {
        let key = PublicKey::from_der(key)?;
        let (server, print) = (self.server(), key.fingerprint());
        if server.is_known_by(&print) {
            return Ok(None);
        }
        if server.former_keys() >= FORMER_KEYS_MAX {
            anyhow::bail!(
                "the server has changed its key {FORMER_KEYS_MAX} times: no further key is stored"
            );
        }
        let old = self.data_folder.server_key(&self.pinned())?;
        let signed = old.zip(Succession::from_bytes(signatures));
        if !signed.is_some_and(|(old, signed)| signed.holds(&old, Whose::Server, &key)) {
            let known = self.data_folder.servers().unwrap_or_default();
            let whose = pinning::known_by(&print, &known).map_or_else(String::new, |other| {
                format!(" (the key of {}:{})", other.host, other.port)
            });
            anyhow::bail!(
                "the server announces {print}{whose} as its next key without the signatures of \
                 both keys"
            );
        }
        let server = server.succeeded_by(&print);
        self.data_folder.remember_server_key(&key)?;
        self.store(&server)?;
        *self.server.lock() = server;
        Ok(Some(format!("the server has a new key, signed by the one before: {print}")))
    }

    /// Shows a new key as the line for the operator.
    #[cfg(not(target_family = "wasm"))]
    pub fn announce(&self) {
        if self.new {
            self.show_key();
        }
    }

    /// Writes the line of a new key to a file, which can be sent where copying from the screen
    /// breaks it. Returns the path of a file that has this line.
    #[cfg(not(target_family = "wasm"))]
    fn line_file(&self, line: &str) -> Option<PathBuf> {
        let file = self.data_folder.key_file().with_file_name(KEY_LINE_FILE);
        let whole = format!("{line}\n");
        if self.new && crate::file::replace(&file, whole.as_bytes(), 0o600).is_err() {
            // The line is on the screen too.
            return None;
        }
        let stored = crate::file::read_text(&file).ok().flatten();
        stored.is_some_and(|text| *text == whole).then_some(file)
    }

    /// A page has no file that the user could send.
    #[cfg(target_family = "wasm")]
    fn line_file(&self, _: &str) -> Option<PathBuf> {
        None
    }

    pub fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock()
    }

    /// Prints the key line for the operator, and last the code that is compared: a small terminal
    /// scrolls the first lines off.
    #[cfg(not(target_family = "wasm"))]
    pub fn show_key(&self) {
        let (line, file) = self.line();
        err!("Send this line to the person who runs the server (it is public):");
        err!("{line}");
        if let Some(file) = file {
            err!("(the line is also in {})", file.display());
        }
        err!("and read them this over the phone:  {}", self.code());
    }

    /// The key line, and the file that has it too.
    fn line(&self) -> (String, Option<PathBuf>) {
        let own = Arc::clone(&self.keys().own);
        let line = key_line(&self.name, own.public());
        let file = self.line_file(&line);
        (line, file)
    }

    /// The code of the user's key, which the user reads to the operator.
    pub fn code(&self) -> String {
        let own = Arc::clone(&self.keys().own);
        own.public().fingerprint().spoken()
    }

    /// Returns the instructions for a user who is not admitted yet. The code that is compared comes
    /// first, and the long line last, so that a small screen shows the code.
    pub fn admission(&self) -> Vec<String> {
        let (line, file) = self.line();
        let mut lines = vec![
            self.code(),
            "Read this code to the person who runs the server, over the phone or face to face. \
             They see it with `pychat users waiting`, and admit you."
                .to_owned(),
            String::new(),
        ];
        let send = "If they ask for your key line, send them";
        lines.push(match file {
            // A small screen ends before the line.
            Some(file) => format!("{send} the file {} (it is public), or:", file.display()),
            None => format!("{send} this (it is public):"),
        });
        lines.push(line);
        lines
    }
}

#[cfg(not(target_family = "wasm"))]
fn ask_server(prompt: &mut dyn Prompt) -> Result<Pinned, Fault> {
    let mut trouble: Option<String> = None;
    loop {
        let Some(answer) = prompt.ask(&Question::Server, trouble.as_deref()) else {
            let hint = "pychat client pychat://HOST:PORT/FINGERPRINT, as the operator sent it";
            return Err(Fault::new(code::USAGE, "no server is known yet", hint));
        };
        match pin(&answer, &[], &pinning::ask) {
            Ok(pinned) => return Ok(pinned),
            Err(fault) => trouble = Some(fault.error),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
fn ask_name(prompt: &mut dyn Prompt) -> Result<UserName, Fault> {
    let own = std::env::var(programs::USER).unwrap_or_default();
    let own: String = own.chars().filter(|c| c.is_alphanumeric()).take(32).collect();
    let question = Question::Name { usual: own.clone() };
    let mut trouble: Option<String> = None;
    loop {
        let Some(answer) = prompt.ask(&question, trouble.as_deref()) else {
            return Err(Fault::new(
                code::USAGE,
                "the name is missing",
                "pychat client --name NAME",
            ));
        };
        let answer = if answer.is_empty() { &own } else { answer.as_str() };
        match answer.parse::<UserName>() {
            Ok(name) => return Ok(name),
            Err(error) => trouble = Some(error.to_string()),
        }
    }
}

/// Opens the key; `None` before one exists. The passphrase is kept for the next key.
#[cfg(not(target_family = "wasm"))]
fn open_key(
    data_folder: &DataFolder,
    passphrase: &mut Option<Zeroizing<String>>,
    prompt: &mut dyn Prompt,
) -> anyhow::Result<Option<Identity>> {
    let mut trouble: Option<String> = None;
    loop {
        let patient = prompt.is_patient();
        let mut unlock = || {
            *passphrase = prompt.ask(&Question::Passphrase, trouble.as_deref());
            passphrase.clone()
        };
        match data_folder.identity(&mut unlock) {
            Err(FileError::Key { error: error @ KeyError::Passphrase, .. }) if patient => {
                trouble = Some(error.to_string());
            }
            other => return Ok(other?),
        }
    }
}

/// Creates the key, and locks it if the user wants that.
#[cfg(not(target_family = "wasm"))]
fn make_key(data_folder: &DataFolder, prompt: &mut dyn Prompt) -> anyhow::Result<Identity> {
    let identity = std::thread::scope(|scope| {
        let making = scope.spawn(|| data_folder.create_identity());
        prompt.wait("making an RSA-3072 key", &|| making.is_finished());
        making.join().expect("the key thread does not panic")
    })?;
    prompt.show(&format!("made {}", data_folder.key_file().display()));
    let mut trouble = None;
    while let Some(first) = prompt.ask(&Question::NewPassphrase, trouble)
        && !first.is_empty()
    {
        match prompt.ask(&Question::NewPassphraseAgain, None) {
            Some(again) if again == first => {
                data_folder.lock(&identity, Some(&first))?;
                break;
            }
            _ => trouble = Some("the two passphrases differ"),
        }
    }
    Ok(identity)
}

impl Account for Profile {
    fn name(&self) -> &UserName {
        &self.name
    }

    fn founding(&self) -> &Fingerprint {
        &self.founding
    }

    fn own(&self) -> Arc<Identity> {
        Arc::clone(&self.keys().own)
    }

    fn openers(&self) -> Vec<Arc<Identity>> {
        let keys = self.keys();
        [Some(&keys.own), keys.former.as_ref()].into_iter().flatten().cloned().collect()
    }

    fn keepers(&self) -> Vec<PublicKey> {
        let keys = self.keys();
        let keepers = [Some(&keys.own), keys.next.as_ref()].into_iter().flatten();
        keepers.map(|key| key.public().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::test_keys::{ana, bob, spare};

    fn print(key: &Identity) -> Fingerprint {
        key.public().fingerprint()
    }

    #[test]
    fn a_running_client_takes_back_no_server_that_was_removed() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        let old = Server::new("host".into(), 1, &print(ana()), None);
        let new = Server::new("host".into(), 1, &print(bob()), None);
        let running =
            Profile::of(data_folder.clone(), spare(0), old.clone(), "carol".parse().unwrap());
        running.met().unwrap();
        data_folder.exchange(&old, &new).unwrap();
        assert!(running.met().is_err());
        assert_eq!(data_folder.servers().unwrap(), [new]);
    }

    #[test]
    fn a_client_that_missed_a_rotation_follows_no_other_successor() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        data_folder.remember_server_key(ana().public()).unwrap();
        let server = Server::new("host".into(), 1, &print(ana()), None);
        let profile =
            || Profile::of(data_folder.clone(), spare(0), server.clone(), "carol".parse().unwrap());
        let (missed, followed) = (profile(), profile());
        missed.met().unwrap();
        let signed = |old, new| Succession::sign(old, Whose::Server, new).to_bytes();
        followed.succeed(&bob().public().to_der(), &signed(ana(), bob())).unwrap();
        missed.met().unwrap();
        let thief = spare(1);
        assert!(missed.succeed(&thief.public().to_der(), &signed(ana(), &thief)).is_err());
        let known = data_folder.servers().unwrap();
        assert_eq!((known.len(), known[0].fingerprint()), (1, Some(print(bob()))));
    }

    #[test]
    fn no_server_makes_the_file_of_servers_too_large() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        data_folder.remember_server_key(ana().public()).unwrap();
        let former = |number: usize| Fingerprint([number as u8; 32]);
        let first = Server::new("host".into(), 1, &former(1), None);
        let signed = Succession::sign(ana(), Whose::Server, bob()).to_bytes();
        for count in [FORMER_KEYS_MAX - 1, FORMER_KEYS_MAX] {
            let server = (2..=count)
                .fold(first.clone(), |server, number| server.succeeded_by(&former(number)));
            let server = server.succeeded_by(&print(ana()));
            let profile =
                Profile::of(data_folder.clone(), spare(0), server, "carol".parse().unwrap());
            let told = profile.succeed(&bob().public().to_der(), &signed);
            match count == FORMER_KEYS_MAX {
                true => assert!(told.unwrap_err().to_string().contains("has changed its key")),
                false => assert!(told.unwrap().is_some(), "the control"),
            }
        }
    }

    #[test]
    fn a_rotation_needs_both_signatures() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        data_folder.remember_server_key(ana().public()).unwrap();
        let server = Server::new("host".into(), 1, &print(ana()), None);
        let profile = Profile::of(data_folder, spare(0), server, "carol".parse().unwrap());
        let next = bob().public().to_der();
        let signed = |old, whose, new| Succession::sign(old, whose, new).to_bytes();
        let whole = signed(ana(), Whose::Server, bob());
        let (by_old, by_new) = whole.split_at(384);
        let (third, back) = (spare(1), signed(bob(), Whose::Server, ana()));
        let others = signed(&third, Whose::Server, bob());
        for forged in [
            &signed(bob(), Whose::Server, bob())[..],
            &signed(ana(), Whose::Person, bob()),
            &others,
            &back,
            // The pinned key alone, with anything in place of the other signature; and the new key
            // alone.
            by_old,
            &[by_old, by_old].concat(),
            &[by_old, &[0; 384]].concat(),
            &[by_old, &others[384..]].concat(),
            &[by_old, &back[..384]].concat(),
            &[&others[..384], by_new].concat(),
            &[by_new, by_old].concat(),
            b"",
            &[0; 768],
        ] {
            let error = profile.succeed(&next, forged).unwrap_err().to_string();
            assert!(error.contains("without the signatures of both keys"), "{error}");
            assert_eq!(profile.pinned(), print(ana()));
        }
        assert!(profile.succeed(&next, &whole).unwrap().is_some());
        assert_eq!((profile.pinned(), *profile.founding()), (print(bob()), print(ana())));
        assert!(profile.succeed(&next, &whole).unwrap().is_none(), "it is known");
    }
}
