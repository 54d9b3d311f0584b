//! The device ticket of a server, in the profile's folder, sealed to the user's key.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::chat::Ticket;
use crate::crypto::{Identity, PublicKey, at_rest};
use crate::file::FileError;
use crate::file::{read_bytes_up_to, replace};

/// Bytes read of the file. A ticket that is sealed for two keys has about 1 KiB.
const FILE_BYTES_MAX: u64 = 4_096;

/// Loads the stored ticket; `None` if there is none, or no key opens it. The next correct password
/// earns another one.
pub fn load(path: &Path, openers: &[Arc<Identity>]) -> Option<Ticket> {
    let sealed = read_bytes_up_to(path, FILE_BYTES_MAX).ok()??;
    let plain = openers.iter().find_map(|own| at_rest::open_by(own, &sealed))?;
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(&plain[..]).ok()?);
    Some(Ticket::new(*bytes))
}

/// Stores a ticket and replaces the previous one.
///
/// # Errors
/// The file cannot be written.
pub fn store(path: &Path, ticket: &Ticket, keepers: &[PublicKey]) -> Result<(), FileError> {
    let keepers: Vec<_> = keepers.iter().collect();
    replace(path, &at_rest::seal_for(&keepers, ticket.reveal()), 0o600)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::crypto::test_keys::spare;

    #[test]
    fn a_ticket_opens_for_its_owner_and_whatever_else_is_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.ticket");
        let [own, next, other] = [0, 1, 2].map(|number| Arc::new(spare(number)));
        let ticket = Ticket::new([7; 32]);
        assert_eq!(load(&path, &[Arc::clone(&own)]), None);
        store(&path, &ticket, &[own.public().clone(), next.public().clone()]).unwrap();
        for key in [&own, &next] {
            assert_eq!(load(&path, &[Arc::clone(key)]).as_ref(), Some(&ticket));
        }
        assert_eq!(load(&path, &[other]), None);
        let sealed = fs::read(&path).unwrap();
        assert!(sealed.windows(32).all(|window| window != [7; 32]));
        for bytes in
            [&sealed[..sealed.len() - 1], b"", &at_rest::seal_for(&[own.public()], b"short")]
        {
            fs::write(&path, bytes).unwrap();
            assert_eq!(load(&path, &[Arc::clone(&own)]), None);
        }
    }
}
