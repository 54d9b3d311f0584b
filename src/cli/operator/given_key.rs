//! A user's key as the operator gives it, and its comparison with what the person reads aloud.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;

use super::args::agrees;
use crate::chat::{DeviceName, UserName};
use crate::clean;
use crate::crypto::PublicKey;
use crate::crypto::succession::Succession;
use crate::fault::{Fault, code};
use crate::file;
use crate::home::Users;
use crate::invite::{InviteError, KeyLine, is_key_line, read_key_line};
use crate::print::err;

/// The device whose key is replaced, as its file is named: the one of the only key, or a given one.
pub fn lost_device(
    users: &Users,
    name: &UserName,
    given: Option<DeviceName>,
) -> Result<Option<DeviceName>, Fault> {
    let own = users.keys_of(name).filter_map(|key| Some(users.by_key(key)?.1.clone()));
    let own: Vec<DeviceName> = own.collect();
    let device = match (given, &own[..]) {
        (Some(device), _) if own.contains(&device) => device,
        (None, [only]) => only.clone(),
        _ => {
            let own: Vec<_> = own.iter().map(DeviceName::as_str).collect();
            let hint = format!("--device is one of {}", own.join(", "));
            return Err(Fault::new(code::USAGE, format!("which key of {name}?"), hint));
        }
    };
    Ok(Some(device).filter(|device| !device.is_default()))
}

/// A key as the operator passes it.
pub struct Given {
    /// Present in a key line.
    pub name: Option<UserName>,
    pub key: PublicKey,
    /// By the user's previous key and by this one.
    pub succession: Option<Succession>,
}

/// Asks for a key line or a PEM file at the terminal. It ends with an empty line, or with the last
/// line of a PEM file. A whole key line does not end it: the rows pasted behind it would answer the
/// question that follows.
fn pasted() -> anyhow::Result<String> {
    err!("Paste the key line, then an empty line:");
    let mut text = String::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() && !text.trim().is_empty() {
            break;
        }
        text = text + &line + "\n";
        if text.contains("-----END") || text.len() as u64 > file::json_file::SMALL {
            break;
        }
    }
    Ok(text)
}

/// The error about a key line, with a remedy for a paste that the shell has broken.
fn unreadable(error: InviteError) -> Fault {
    let hint = match error {
        InviteError::Incomplete { .. } => {
            "a line break may have cut it, and the shell then takes the rest for commands, which it \
             does not find. That does no harm: run pychat users add alone, and paste when it asks"
        }
        _ => "run pychat users add alone, and paste the whole line when it asks",
    };
    Fault::new(code::UNREADABLE, error.to_string(), hint)
}

/// A key from a line, a file or stdin.
pub fn read_key(given: &str) -> anyhow::Result<Given> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if given.trim().is_empty() && !is_terminal {
        let hint = "give the user's key line, a file, or - for stdin";
        return Err(Fault::new(code::USAGE, "no key was given", hint).into());
    }
    let text = if given.trim().is_empty() {
        pasted()?
    } else if given == "-" {
        let mut text = String::new();
        let bound = file::json_file::SMALL;
        std::io::stdin().lock().take(bound + 1).read_to_string(&mut text)?;
        if text.len() as u64 > bound {
            let error = format!("stdin has more than {bound} bytes");
            return Err(Fault::new(code::UNREADABLE, error, "give one key line or PEM file").into());
        }
        text
    } else if is_key_line(given) {
        given.to_owned()
    } else {
        let text = file::read_text(Path::new(given))?;
        let text = text.ok_or_else(|| {
            let error = format!("{}: neither a file nor a key line", clean::line(given));
            Fault::new(code::UNREADABLE, error, "a key line begins with pychat-key1.")
        })?;
        text.to_string()
    };
    if text.contains("-----BEGIN") {
        return Ok(Given { name: None, key: PublicKey::from_pem(&text)?, succession: None });
    }
    let KeyLine { name, key, succession } = read_key_line(&text).map_err(unreadable)?;
    Ok(Given { name: Some(name), key, succession })
}

/// The operator compares what the person reads aloud.
pub fn confirm(name: &UserName, key: &PublicKey, yes: bool) -> anyhow::Result<()> {
    let print = key.fingerprint();
    err!("{name}: {print}");
    err!("  {}", print.spoken());
    if yes {
        return Ok(());
    }
    match agrees(&format!("Did {name} read you exactly this?"))? {
        Some(true) => Ok(()),
        Some(false) => Err(Fault::plain(code::OTHER, format!("{name} was not registered")).into()),
        None => {
            let hint = "compare it, then add --yes";
            Err(Fault::new(code::USAGE, "the key was not compared", hint).into())
        }
    }
}
