//! Which keys this client logs in with: the data folder's own, and the one that `key rotate` has
//! made. Both may change in the data folder while the client runs.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::data_folder::DataFolder;
use crate::crypto::{Fingerprint, Identity, PublicKey};
use crate::home::FileError;

pub struct Keys {
    pub own: Arc<Identity>,
    /// Tried first: a server that admits it makes it the own one.
    pub next: Option<Arc<Identity>>,
    /// The one before the own one: what was sealed for it opens still.
    pub former: Option<Arc<Identity>>,
    /// What opened the own key, for those that come later.
    passphrase: Option<Zeroizing<String>>,
    /// A next key that cannot be opened, which is told once.
    closed: Option<PublicKey>,
}

impl Keys {
    pub fn new(
        own: Identity,
        next: Option<Identity>,
        passphrase: Option<Zeroizing<String>>,
    ) -> Keys {
        let (own, next) = (Arc::new(own), next.map(Arc::new));
        Keys { own, next, former: None, passphrase, closed: None }
    }

    /// With the former key, where it is there and opens.
    pub fn with_former(mut self, data_folder: &DataFolder) -> Keys {
        let former = data_folder.old_identity(self.passphrase.as_ref());
        self.former = former.ok().flatten().map(Arc::new);
        self
    }

    /// Takes up what has changed in the data folder. Gives what stands in the way of a key there.
    pub fn refresh(&mut self, data_folder: &DataFolder) -> Option<FileError> {
        let known = self.passphrase.clone();
        let own = match data_folder.public() {
            // Another client has made the next key the own one.
            Ok(Some(own)) if own != *self.own.public() => {
                data_folder.identity(&mut || known.clone())
            }
            _ => Ok(None),
        };
        if let Ok(Some(own)) = own {
            self.former = Some(std::mem::replace(&mut self.own, Arc::new(own)));
        }
        let waiting = match data_folder.next_public() {
            Ok(waiting) => waiting,
            Err(error) => return Some(error),
        };
        let Some(waiting) = waiting.filter(|waiting| waiting != self.own.public()) else {
            self.next = None;
            return None;
        };
        if self.next.as_ref().is_some_and(|next| *next.public() == waiting) {
            return None;
        }
        self.next = None;
        match data_folder.next_identity(known.as_ref(), &mut || None) {
            Ok(next) => {
                self.next = next.map(Arc::new);
                None
            }
            Err(error) => {
                let told = self.closed.replace(waiting);
                (told != self.closed).then_some(error)
            }
        }
    }

    /// Whether there is another key than this one to log in with.
    pub fn another(&mut self, key: &Fingerprint, data_folder: &DataFolder) -> bool {
        // What stands in the way of one is told with the next connection.
        let _ = self.refresh(data_folder);
        let keys = self.next.iter().chain([&self.own]);
        keys.into_iter().any(|one| one.public().fingerprint() != *key)
    }

    /// A server has admitted a key: where it is the next one, it becomes the own one.
    pub fn admitted(
        &mut self,
        key: &Arc<Identity>,
        data_folder: &DataFolder,
    ) -> Result<(), FileError> {
        if self.next.as_ref().is_some_and(|next| Arc::ptr_eq(next, key)) {
            self.next = None;
            self.former = Some(std::mem::replace(&mut self.own, Arc::clone(key)));
            data_folder.promote_next(key)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(key: &Identity) -> Fingerprint {
        key.public().fingerprint()
    }

    #[test]
    fn two_clients_of_a_profile_never_promote_a_key_that_nobody_admitted() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        let old = print(&data_folder.create_identity().unwrap());
        let first = print(&data_folder.create_next_identity(None).unwrap());
        let open = || {
            let own = data_folder.identity(&mut || None).unwrap().unwrap();
            Keys::new(own, data_folder.next_identity(None, &mut || None).unwrap(), None)
        };
        let (mut one, mut two) = (open(), open());
        let next = one.next.clone().unwrap();
        one.admitted(&next, &data_folder).unwrap();
        assert_eq!((print(&one.own), one.next.is_none()), (first, true));
        assert!(!one.another(&first, &data_folder));
        // A later key waits when the second client gets in with the one that it knows.
        let later = print(&data_folder.create_next_identity(None).unwrap());
        let next = two.next.clone().unwrap();
        two.admitted(&next, &data_folder).unwrap();
        assert_eq!(data_folder.public().unwrap().unwrap().fingerprint(), first);
        assert_eq!(print(&data_folder.identity(&mut || None).unwrap().unwrap()), first);
        assert_eq!(data_folder.next_public().unwrap().unwrap().fingerprint(), later);
        assert!(old != first && two.another(&first, &data_folder));
        assert_eq!(two.next.map(|next| print(&next)), Some(later));
    }

    #[test]
    fn what_another_client_took_up_is_taken_up_and_a_locked_key_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::at(folder.path()).unwrap();
        let old = data_folder.create_identity().unwrap();
        let mut keys = Keys::new(old, None, Some(Zeroizing::new("tall tree".into())));
        let next = data_folder.create_next_identity(Some("small tree")).unwrap();
        assert!(keys.refresh(&data_folder).is_some() && keys.refresh(&data_folder).is_none());
        assert!(keys.next.is_none());
        data_folder.lock_next(&next, Some("tall tree")).unwrap();
        assert!(keys.refresh(&data_folder).is_none());
        assert_eq!(keys.next.as_ref().map(|next| print(next)), Some(print(&next)));
        data_folder.promote_next(&next).unwrap();
        assert!(keys.refresh(&data_folder).is_none());
        assert_eq!((print(&keys.own), keys.next.is_none()), (print(&next), true));
    }
}
