//! `pychat keygen` and `pychat key`: this client's own key.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Subcommand;
use zeroize::Zeroizing;

use crate::chat::UserName;
use crate::client::storage::data_folder::DataFolder;
use crate::crypto::succession::{Succession, Whose};
use crate::crypto::{Identity, PublicKey};
use crate::fault::{Fault, code};
use crate::invite::{key_line, next_line};
use crate::print::{self, err, out};
use crate::system::files;

const NEW_PASSPHRASE: &str = "new passphrase (empty for none): ";

#[derive(Subcommand)]
pub enum Job {
    /// Print the public key as the line to send to an operator
    Show {
        /// The name in the line
        #[arg(long)]
        name: Option<UserName>,
        /// Print SPKI PEM instead
        #[arg(long)]
        pem: bool,
    },
    /// Encrypt the key with a passphrase; an empty one decrypts it
    Passphrase,
    /// Generate a new key, which replaces the old one once a server has admitted it
    Rotate {
        /// The name in the line
        #[arg(long)]
        name: Option<UserName>,
    },
}

/// Generates the key; refuses where there is one.
pub fn generate() -> anyhow::Result<ExitCode> {
    let data_folder = DataFolder::open()?;
    err!("generating an RSA-3072 key ...");
    let identity = data_folder.create_identity()?;
    err!("wrote {} ({})", data_folder.key_file().display(), files::READERS);
    out!("{}", identity.public().fingerprint())?;
    Ok(ExitCode::SUCCESS)
}

pub fn run(job: Job) -> anyhow::Result<ExitCode> {
    let data_folder = DataFolder::open()?;
    match job {
        Job::Show { name, pem } => {
            let key = data_folder.public()?.ok_or_else(no_key)?;
            if pem {
                print::result(key.to_pem())?;
            } else {
                show(&data_folder, name, &key)?;
            }
        }
        Job::Passphrase => {
            let (identity, known) = open(&data_folder)?;
            let mut unlock = || ask("passphrase of the new key: ");
            let next = data_folder.next_identity(known.as_ref(), &mut unlock)?;
            let passphrase = ask_twice(NEW_PASSPHRASE)?;
            let passphrase = Some(passphrase.as_str()).filter(|text| !text.is_empty());
            data_folder.lock(&identity, passphrase)?;
            if let Some(next) = next {
                data_folder.lock_next(&next, passphrase)?;
            }
            if let Some(passphrase) = passphrase {
                data_folder.lock_old(passphrase)?;
            }
            let state = if passphrase.is_some() { "locked" } else { "no longer locked" };
            err!("the key is {state}");
        }
        Job::Rotate { name } => {
            let (old, passphrase) = open(&data_folder)?;
            let mut unlock = || ask("passphrase of the new key: ");
            let next = match data_folder.next_identity(passphrase.as_ref(), &mut unlock)? {
                Some(next) => {
                    err!("a new key is already waiting for admission; its line is:");
                    next
                }
                None => {
                    // The new key gets the passphrase of the old one.
                    err!("generating an RSA-3072 key ...");
                    let passphrase = passphrase.as_ref().map(|text| text.as_str());
                    let next = data_folder.create_next_identity(passphrase)?;
                    err!(
                        "send this line to the operator (pychat users add). Both keys have signed"
                    );
                    err!("it. Your old key stays in use until a server has admitted the new one:");
                    next
                }
            };
            let name = own_name(&data_folder, name)?;
            let succession = Succession::sign(&old, Whose::Person, &next);
            out!("{}", next_line(&name, next.public(), &succession))?;
            say(next.public());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The client's key, and its passphrase where it has one.
fn open(data_folder: &DataFolder) -> anyhow::Result<(Identity, Option<Zeroizing<String>>)> {
    let mut passphrase = None;
    let identity = data_folder.identity(&mut || {
        passphrase = ask("passphrase: ");
        passphrase.clone()
    })?;
    Ok((identity.ok_or_else(no_key)?, passphrase))
}

/// Prints the line to send, and the fingerprint to read aloud.
fn show(data_folder: &DataFolder, name: Option<UserName>, key: &PublicKey) -> anyhow::Result<()> {
    out!("{}", key_line(&own_name(data_folder, name)?, key))?;
    say(key);
    Ok(())
}

fn say(key: &PublicKey) {
    err!("fingerprint {}", key.fingerprint());
    err!("read aloud  {}", key.fingerprint().spoken());
}

/// The given name, or the user's name on the server that was used last.
fn own_name(data_folder: &DataFolder, name: Option<UserName>) -> anyhow::Result<UserName> {
    let last = data_folder.servers()?.into_iter().next().and_then(|server| server.name);
    let name = name.or(last);
    Ok(name.ok_or_else(|| Fault::new(code::USAGE, "the name is missing", "add --name NAME"))?)
}

fn no_key() -> Fault {
    Fault::new(code::UNREADABLE, "there is no key yet", "pychat keygen generates it")
}

fn no_terminal() -> Fault {
    let hint = "run the command on a terminal: flags and pipes are not used for secrets";
    Fault::new(code::USAGE, "a passphrase is read from a terminal only", hint)
}

/// Asks on a terminal without echo; none where there is no terminal.
pub fn ask(prompt: &str) -> Option<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    rpassword::prompt_password(prompt).ok().map(Zeroizing::new)
}

/// Asks twice for a new secret.
pub fn ask_twice(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let one = ask(prompt);
    let one = one.ok_or_else(no_terminal)?;
    let two = ask("once more: ").ok_or_else(no_terminal)?;
    if *one != *two {
        return Err(Fault::new(
            code::OTHER,
            "the two entries differ: nothing was changed",
            "try again",
        )
        .into());
    }
    Ok(one)
}
