//! Prints errors: one line what is wrong, one line what to do, and the exit code.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::crypto::KeyError;
use crate::crypto::password::PasswordError;
use crate::fault::{Fault, code};
use crate::file::FileError;
use crate::home::{AddError, AuditError, LockError, Reason};
use crate::invite::InviteError;
#[cfg(feature = "server")]
use crate::ledger::{EngineFault, LedgerError};
#[cfg(feature = "server")]
use crate::net::listener::ListenError;
use crate::print::{OutputError, err};

const DISK: &str = "check the disk: free space, permissions, cables";

/// Prints an error with its hint and returns the exit code of its kind.
pub fn report(error: &anyhow::Error) -> ExitCode {
    err!("error: {}", error_text(error));
    let (hint, code) = advice(error);
    if let Some(hint) = hint {
        err!("hint:  {hint}");
    }
    ExitCode::from(code)
}

/// The text of an error and its causes, each once.
pub fn error_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A hint, and an exit code.
type Advice = (Option<String>, u8);

/// One of the causes of an error.
type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// The hint and the exit code of an error: those of the first cause that has some.
pub fn advice(error: &anyhow::Error) -> Advice {
    let of = |cause| of_files(cause).or_else(|| of_keys(cause)).or_else(|| of_server(cause));
    error.chain().find_map(of).unwrap_or((None, code::OTHER))
}

/// Faults with a hint of their own, and files that cannot be used.
fn of_files(cause: Cause) -> Option<Advice> {
    if let Some(fault) = cause.downcast_ref::<Fault>() {
        return Some((fault.hint.clone(), fault.code));
    }
    if cause.downcast_ref::<OutputError>().is_some() {
        let hint = "what the command does is done: only its output is missing";
        return Some((Some(hint.into()), code::OTHER));
    }
    if let Some(error) = cause.downcast_ref::<ConfigError>() {
        let hint = match error {
            ConfigError::Value { hint, .. } => hint.clone(),
            ConfigError::File(_) => None,
        };
        return Some((hint.or(Some("docs/operating.md lists every key".into())), code::UNREADABLE));
    }
    if let Some(error) = cause.downcast_ref::<AuditError>() {
        let hint = match error {
            AuditError::File(error) => file(error),
            AuditError::Missing { .. } => Some(
                "restore it from a copy. Without one, stop the server and move keys/audit.head \
                 away: the next start begins a new trail"
                    .into(),
            ),
            _ => Some("find out who could write to it; the lines before it are valid".into()),
        };
        return Some((hint, code::UNREADABLE));
    }
    let error = cause.downcast_ref::<FileError>()?;
    Some((file(error), code::UNREADABLE))
}

/// Keys, lines with keys, passwords, and the registration of users.
fn of_keys(cause: Cause) -> Option<Advice> {
    if cause.downcast_ref::<PasswordError>().is_some() {
        return Some((Some("nothing was changed; try again".into()), code::OTHER));
    }
    if let Some(error) = cause.downcast_ref::<InviteError>() {
        return Some((line(error), code::UNREADABLE));
    }
    if let Some(error) = cause.downcast_ref::<KeyError>() {
        return Some((key(error), code::UNREADABLE));
    }
    cause.downcast_ref::<AddError>().map(registration)
}

fn registration(error: &AddError) -> Advice {
    let hint = match error {
        AddError::File(error) => return (file(error), code::UNREADABLE),
        AddError::Io(_) => {
            let hint = "this may be no server home: --home DIR selects one";
            return (Some(hint.into()), code::UNREADABLE);
        }
        AddError::Taken(_) => "--replace replaces the old key, --device NAME adds a device",
        AddError::Unsigned(_) => {
            "pychat users replace NAME LINE, after you have compared it over the phone"
        }
        AddError::Registered(_) | AddError::SameName(_) => "choose another name",
        AddError::Occupied(_) => "remove the file, or choose another name",
        AddError::Refused(Reason::Confusable(_)) => "--as NAME registers it under another name",
        AddError::NoDevice(..) => "pychat users show NAME lists the user's devices",
        AddError::Nobody(_) | AddError::Refused(_) => "pychat users list shows who is registered",
    };
    (Some(hint.into()), code::OTHER)
}

/// A server that cannot start, and its ledger.
fn of_server(cause: Cause) -> Option<Advice> {
    #[cfg(feature = "server")]
    if let Some(error) = cause.downcast_ref::<LedgerError>() {
        return Some((ledger(error), code::UNREADABLE));
    }
    #[cfg(feature = "server")]
    if let Some(error) = cause.downcast_ref::<ListenError>() {
        let hint = match error.error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or choose another address with --listen IP:PORT"
            }
            _ => "choose another address with --listen IP:PORT",
        };
        return Some((Some(hint.into()), code::UNREACHABLE));
    }
    let LockError::Taken { .. } = cause.downcast_ref::<LockError>()? else { return None };
    let hint = "pychat ctl shutdown stops it; --home DIR selects another home";
    Some((Some(hint.into()), code::UNREACHABLE))
}

#[cfg(feature = "server")]
fn ledger(error: &LedgerError) -> Option<String> {
    match error {
        LedgerError::Unreleased { .. } => Some(
            "nothing in it was changed; move it away, and pychat server --new-ledger creates a new one"
                .into(),
        ),
        LedgerError::Older { .. } => None,
        LedgerError::Newer { .. } => {
            Some("update pychat, or restore an earlier backup with pychat restore FILE".into())
        }
        LedgerError::Poisoned { .. } => None,
        error if error.is_of_the_disk() => Some(DISK.to_owned()),
        LedgerError::Engine { kind: EngineFault::Other, .. } => None,
        LedgerError::Damaged { .. } | LedgerError::Engine { .. } => {
            Some("pychat verify reports details; pychat restore FILE restores a backup".into())
        }
        LedgerError::Io { path, error } => Some(on_disk(path, error.kind())),
        LedgerError::InDoubt { .. } => Some(DISK.to_owned()),
    }
}

fn file(error: &FileError) -> Option<String> {
    match error {
        FileError::Exposed { path, .. } => Some(format!("chmod 600 {}", path.display())),
        FileError::Key { error: KeyError::Locked, .. } => {
            Some("run the command on a terminal, to type the passphrase".into())
        }
        FileError::Key { error: KeyError::Passphrase, .. } => Some("try again".into()),
        FileError::Key { path, .. } | FileError::Damaged { path, .. } => {
            Some(format!("restore {} from a copy, or move it away", path.display()))
        }
        FileError::Exists { .. } => Some("move it away first to create a new one".into()),
        FileError::Io { path, error } => Some(on_disk(path, error.kind())),
    }
}

/// What to do when the system refuses access to a file.
fn on_disk(path: &Path, kind: ErrorKind) -> String {
    match (kind, path.parent()) {
        (ErrorKind::NotFound | ErrorKind::NotADirectory, Some(folder)) if !folder.is_dir() => {
            format!("create the folder {} first, or name another one", folder.display())
        }
        (ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory, _) => {
            "name another file".into()
        }
        (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, _) => {
            "run the command as the owner of the folder, or as root".into()
        }
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => "free space on the disk".into(),
        (ErrorKind::AlreadyExists, _) if path.is_dir() => {
            "it is a folder: name a file in the folder".into()
        }
        (ErrorKind::AlreadyExists, _) => "the file exists: name another one".into(),
        _ => DISK.into(),
    }
}

/// What to do about an invalid invite or key line.
fn line(error: &InviteError) -> Option<String> {
    match error {
        InviteError::Incomplete { .. } | InviteError::Checksum => Some(
            "ask for the line again; `pychat users add -` accepts pasted lines with line breaks"
                .into(),
        ),
        InviteError::NoKeyLine => Some("pychat key show prints the line to register".into()),
        InviteError::Fingerprint(_) => Some("ask the operator for the invite again".into()),
        InviteError::Key(error) => key(error),
        InviteError::Server | InviteError::Name => None,
    }
}

fn key(error: &KeyError) -> Option<String> {
    match error {
        KeyError::Private => {
            Some("register the public key instead; pychat key show prints it".into())
        }
        KeyError::Size(_) | KeyError::Exponent | KeyError::Modulus => {
            Some("pychat keygen generates a valid key".into())
        }
        _ => None,
    }
}
