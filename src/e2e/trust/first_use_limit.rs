//! Limit on pinned users. A server can invent users without end; beyond the limit new ones are not
//! pinned. Pinned users are never dropped, because the next key that the server lists would then be
//! accepted for them. Pure.

use super::{Person, TrustStore, fold};
use crate::chat::UserName;
use crate::chat::look::Alike;
use crate::limits::MET_KEYS_MAX;

impl TrustStore {
    /// Returns whether a user mentioned by the server is pinned, or may be.
    pub fn may_pin(&self, name: &UserName) -> bool {
        let room = self.keys < MET_KEYS_MAX;
        match self.all.get(&fold(name)) {
            Some(person) => person.name.is_some() || person.wanted || room,
            None => !self.is_full(),
        }
    }

    /// Returns what an unpinned name looks like: a pinned user, the local user, or a word that this
    /// program uses for a person.
    pub fn alike(&self, name: &UserName) -> Option<Alike> {
        let person = self.all.get(&fold(name));
        let is_known = |person: &Person| person.name.is_some() || person.mine.is_some();
        let alike = self.looks.alike(name).filter(|_| !person.is_some_and(is_known))?;
        let is_other = |other: &UserName| fold(other) != fold(name);
        match &alike {
            Alike::Person(other) => is_other(other).then_some(alike),
            Alike::Word(_) => Some(alike),
        }
    }

    /// Returns whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.keys.max(self.all.len()) >= MET_KEYS_MAX
    }

    /// Returns whether to request the keys of a user whom the server has mentioned.
    pub fn wants_mentioned(&mut self, name: &UserName) -> bool {
        self.may_pin(name) && self.wants(name)
    }

    /// Returns whether to request the keys of a user whom the local user has named.
    pub fn wants_named(&mut self, name: &UserName) -> bool {
        self.person(name).wanted = true;
        self.wants(name)
    }

    fn wants(&mut self, name: &UserName) -> bool {
        let person = self.person(name);
        person.listed.is_none() && !std::mem::replace(&mut person.asked, true)
    }

    /// Drops the server's key lists when there are too many; they are requested again on demand.
    pub(super) fn make_room(&mut self, name: &UserName, keys: usize) {
        self.listed_keys += keys;
        if self.listed_keys > MET_KEYS_MAX {
            let folded = fold(name);
            for (other, person) in &mut self.all {
                if *other != folded && person.mine.is_none() {
                    // An open request still gets its answer.
                    let asked = person.asked && person.listed.is_none();
                    person.drop_listing();
                    person.asked = asked;
                }
            }
            self.listed_keys = keys;
        }
    }
}
