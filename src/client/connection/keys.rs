//! Login keys: the profile's own, and the one from `key rotate`. Both may change on disk while the
//! client runs.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::client::storage::data_folder::DataFolder;
use crate::crypto::{Fingerprint, Identity, PublicKey};
use crate::file::FileError;

pub struct Keys {
    pub own: Arc<Identity>,
    /// Tried first; once a server admits it, it becomes the own key.
    pub next: Option<Arc<Identity>>,
    /// The previous own key, for content that was sealed for it.
    pub former: Option<Arc<Identity>>,
    /// The passphrase of the own key, tried for later keys too.
    passphrase: Option<Zeroizing<String>>,
    /// A next key that cannot be opened; reported once.
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

    /// Adds the former key if it exists and can be opened.
    pub fn with_former(mut self, data_folder: &DataFolder) -> Keys {
        let former = data_folder.old_identity(self.passphrase.as_ref());
        self.former = former.ok().flatten().map(Arc::new);
        self
    }

    /// Reloads keys that changed on disk. Returns an error that blocks one of them.
    pub fn refresh(&mut self, data_folder: &DataFolder) -> Option<FileError> {
        let known = self.passphrase.clone();
        let own = match data_folder.public() {
            // Another client has promoted the next key.
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

    /// Returns whether there is a login key other than this one.
    pub fn another(&mut self, key: &Fingerprint, data_folder: &DataFolder) -> bool {
        // An error is reported with the next connection.
        let _ = self.refresh(data_folder);
        let keys = self.next.iter().chain([&self.own]);
        keys.into_iter().any(|one| one.public().fingerprint() != *key)
    }

    /// Records that a server has admitted a key. If it is the next key, it is promoted.
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
    fn only_an_admitted_key_is_promoted() {
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
        // The next key changes while the second client logs in with the one it has loaded.
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
    fn a_promotion_by_another_client_is_noticed_and_a_locked_key_is_reported_once() {
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
