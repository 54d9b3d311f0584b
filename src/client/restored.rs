//! What an earlier run has left in the profile.

use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::connection::inbox;
use super::connection::profile::Profile;
use super::model::Input;
use super::storage::Folder;
use super::storage::ignore_list::{IgnoreFile, IgnoreList};
use super::storage::journal::{Journal, Left};
use crate::e2e::Engine;
use crate::e2e::storage::{Account, StorageError};
use crate::system::clock;

/// The end-to-end engine with the profile's stored state for this server.
///
/// # Errors
/// A file cannot be read.
pub fn engine(profile: &Arc<Profile>, retries: bool) -> Result<Engine, StorageError> {
    let folder = Folder::open(&profile.data_folder, profile.founding())?;
    Engine::open(profile.clone(), Box::new(folder), retries)
}

/// Opens the journal and restores the state of an earlier run.
pub fn take_up(
    profile: &Profile,
    engine: &mut Engine,
    inbox: &inbox::Sender,
) -> (Option<Journal>, Left) {
    match journal(profile, engine) {
        Ok((journal, left)) => {
            engine.resume_outgoing(left.sealed.clone());
            if left.is_first {
                engine.resume(clock::now_ms());
            }
            for damage in &left.damage {
                // The caller holds the receiver.
                let _ = inbox.send(Input::Trouble(damage.clone()));
            }
            (Some(journal), left)
        }
        Err(trouble) => {
            let _ = inbox.send(Input::Trouble(trouble));
            (None, Left::default())
        }
    }
}

/// The journal for this server.
fn journal(profile: &Profile, engine: &Engine) -> Result<(Journal, Left), String> {
    let stem = profile.data_folder.journal_stem(profile.founding());
    Journal::open(&stem, engine.record_key()).map_err(|error| {
        format!("the outbox cannot be opened, so unsent messages are only in memory: {error}")
    })
}

/// The people that the user ignores, and where they are stored; a program has none.
pub fn ignore_list(
    stem: Option<PathBuf>,
    key: Zeroizing<[u8; 32]>,
    inbox: &inbox::Sender,
) -> (Option<IgnoreFile>, IgnoreList) {
    let Some(stem) = stem else { return (None, IgnoreList::default()) };
    let (file, ignore_list, trouble) = IgnoreFile::open(stem, key);
    // The caller holds the receiver.
    trouble.into_iter().for_each(|text| drop(inbox.send(Input::Trouble(text))));
    (Some(file), ignore_list)
}
