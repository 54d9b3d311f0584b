//! How an error meets the person: a line what, a line what to do, and the exit code.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::keyring::FileError;
use crate::keyring::LockError;
use crate::ledger::LedgerError;
use crate::net::listener::ListenError;

/// Prints an error with its advice and gives the exit code for its kind.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    let (hint, code) = advice(error);
    if let Some(hint) = hint {
        eprintln!("hint:  {hint}");
    }
    ExitCode::from(code)
}

fn advice(error: &anyhow::Error) -> (Option<String>, u8) {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<ConfigError>() {
            let hint = match error {
                ConfigError::Value { hint, .. } => hint.clone(),
                ConfigError::Io { .. } => None,
            };
            return (hint.or(Some("docs/operating.md lists every key".into())), 3);
        }
        if let Some(error) = cause.downcast_ref::<FileError>() {
            let hint = match error {
                FileError::Exposed { path, .. } => Some(format!("chmod 600 {}", path.display())),
                FileError::Key { path, .. } => {
                    Some(format!("restore {} from a copy, or move it away", path.display()))
                }
                _ => None,
            };
            return (hint, 3);
        }
        if let Some(error) = cause.downcast_ref::<LedgerError>() {
            let hint = match error {
                LedgerError::Newer { .. } | LedgerError::Poisoned { .. } => None,
                LedgerError::Damaged { .. } | LedgerError::Sqlite { .. } => {
                    Some("pychat verify says more; pychat restore FILE brings a backup back".into())
                }
                LedgerError::InDoubt { .. } | LedgerError::Io { .. } => {
                    Some("look at the disk: space, permissions, cables".to_owned())
                }
            };
            return (hint, 3);
        }
        if let Some(LockError::Taken { .. }) = cause.downcast_ref::<LockError>() {
            return (Some("one server at a time has a home: --home names another".into()), 3);
        }
        if let Some(error) = cause.downcast_ref::<ListenError>() {
            let hint = match error.error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another program listens there: end it, or choose --listen IP:PORT".to_owned()
                }
                _ => "choose another address with --listen IP:PORT".to_owned(),
            };
            return (Some(hint), 4);
        }
    }
    (None, 1)
}
