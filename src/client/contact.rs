//! The first contact: which server, which name, which key. Asks on a terminal, and only there.

use std::io::{BufRead, IsTerminal, Write};

use zeroize::Zeroizing;

use super::vault::{Server, Vault};
use crate::chat::UserName;
use crate::crypto::{Fingerprint, Identity, PublicKey};
use crate::fault::{Fault, code};
use crate::invite::{Invite, InviteError, key_line};

/// Whom to call, and as whom.
pub struct Contact {
    pub vault: Vault,
    pub identity: Identity,
    /// What `key rotate` made: tried first.
    pub next: Option<Identity>,
    pub server: Server,
    pub name: UserName,
    pinned: Fingerprint,
    new: bool,
}

impl Contact {
    /// Everything that is needed to dial, from what was given, remembered or answered.
    pub fn prepare(server: Option<&str>, name: Option<UserName>) -> anyhow::Result<Contact> {
        let vault = Vault::open()?;
        let known = vault.servers()?;
        let asked = match (server, known.first()) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Some(_)) => None,
            (None, None) => {
                Some(ask("Server (the operator's pychat:// line): ").ok_or_else(|| {
                    let hint =
                        "pychat client pychat://HOST:PORT/FINGERPRINT, as the operator sent it";
                    Fault::new(code::USAGE, "no server is known yet", hint)
                })?)
            }
        };
        let mut server = match asked {
            Some(text) => pin(&text, &known)?,
            None => known[0].clone(),
        };
        let pinned = server.fingerprint().ok_or_else(|| {
            let error = "servers.json: a fingerprint is not whole";
            Fault::new(code::UNREADABLE, error, "use the invite again")
        })?;
        let name = match name.or_else(|| server.name.clone()) {
            Some(name) => name,
            None => ask_name()?,
        };
        let mut passphrase = None;
        let mut unlock = || {
            passphrase = super::contact::passphrase(&passphrase);
            passphrase.clone()
        };
        let (identity, new) = match vault.identity(&mut unlock) {
            Ok(Some(identity)) => (identity, false),
            Ok(None) => {
                eprintln!("making an RSA-3072 key ...");
                let made = vault.create_identity()?;
                eprintln!("made {}", vault.key_file().display());
                (made, true)
            }
            Err(error) => return Err(error.into()),
        };
        let next = vault.next_identity(&mut unlock)?;
        server.name = Some(name.clone());
        vault.remember(&server)?;
        Ok(Contact { vault, identity, next, server, name, pinned, new })
    }

    pub fn fingerprint(&self) -> &Fingerprint {
        &self.pinned
    }

    /// A new key is shown as the line to send.
    pub fn announce(&self) {
        if self.new {
            self.show_key();
        }
    }

    pub fn show_key(&self) {
        for line in self.admission() {
            eprintln!("{line}");
        }
    }

    /// What the operator needs to admit this person.
    pub fn admission(&self) -> Vec<String> {
        let key: &PublicKey = self.identity.public();
        vec![
            "Send this line to the person who runs the server (it is public):".to_owned(),
            key_line(&self.name, key),
            format!("and read them this over the phone:  {}", key.fingerprint().spoken()),
        ]
    }
}

/// A server must be pinned: by the invite, or since it was met before.
fn pin(text: &str, known: &[Server]) -> Result<Server, Fault> {
    let invite: Invite = text.parse().map_err(unusable)?;
    let met = |server: &&Server| server.host == invite.host && server.port == invite.port;
    let met = known.iter().find(met);
    match (&invite.fingerprint, met) {
        (Some(print), Some(server)) if server.fingerprint().as_ref() != Some(print) => {
            let other = server.fingerprint().map_or_else(String::new, |print| print.to_string());
            let error = format!(
                "{}:{} was known by another key\n  pinned  {other}\n  invite  {print}",
                invite.host, invite.port
            );
            let hint = "ask the operator whether the key changed; then remove the server from servers.json";
            Err(Fault::new(code::WRONG_SERVER, error, hint))
        }
        (Some(print), met) => {
            let name = met.and_then(|server| server.name.clone());
            Ok(Server::new(invite.host, invite.port, print, name))
        }
        (None, Some(server)) => Ok(server.clone()),
        (None, None) => {
            let error = format!("{}:{} is not known yet", invite.host, invite.port);
            let hint = "ask the operator for the invite: pychat://HOST:PORT/FINGERPRINT";
            Err(Fault::new(code::USAGE, error, hint))
        }
    }
}

fn unusable(error: InviteError) -> Fault {
    let hint = "paste the operator's whole pychat:// line";
    Fault::new(code::USAGE, error, hint)
}

fn ask_name() -> Result<UserName, Fault> {
    let own = std::env::var("USER").unwrap_or_default();
    let own: String = own.chars().filter(|c| c.is_alphanumeric()).take(32).collect();
    loop {
        let Some(answer) = ask(&format!("Your name [{own}]: ")) else {
            return Err(Fault::new(code::USAGE, "which name?", "pychat client --name NAME"));
        };
        let answer = if answer.is_empty() { &own } else { &answer };
        match answer.parse() {
            Ok(name) => return Ok(name),
            Err(error) => eprintln!("{error}"),
        }
    }
}

/// One answer from a terminal; none where there is none.
fn ask(prompt: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    eprint!("{prompt}");
    std::io::stderr().flush().ok()?;
    let mut line = String::new();
    let bytes = std::io::stdin().lock().read_line(&mut line).ok()?;
    (bytes > 0).then(|| line.trim().to_owned())
}

/// The passphrase, asked once for both keys.
fn passphrase(known: &Option<Zeroizing<String>>) -> Option<Zeroizing<String>> {
    if known.is_some() || !std::io::stdin().is_terminal() {
        return known.clone();
    }
    rpassword::prompt_password("passphrase of your key: ").ok().map(Zeroizing::new)
}
