//! How many people may be met. A server can invent them without end: then newcomers are not met,
//! and nobody who was met is forgotten, because whoever is met again is taken as the server tells
//! them. Pure.

use super::{Person, TrustStore, fold};
use crate::chat::UserName;
use crate::chat::look::Alike;
use crate::limits::MET_KEYS_MAX;

impl TrustStore {
    /// Whether a person whom the server has brought up is known, or may be met.
    pub fn may_meet(&self, name: &UserName) -> bool {
        let room = self.keys < MET_KEYS_MAX;
        match self.all.get(&fold(name)) {
            Some(person) => person.name.is_some() || person.wanted || room,
            None => !self.is_full(),
        }
    }

    /// Whom somebody looks like who was not met: a person who was, the person of this client, or a
    /// word by which this program names somebody.
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

    /// Whether nobody else is met by the server's word alone.
    pub fn is_full(&self) -> bool {
        self.keys.max(self.all.len()) >= MET_KEYS_MAX
    }

    /// Whether the server should be asked about somebody whom it has brought up.
    pub fn meet(&mut self, name: &UserName) -> bool {
        self.may_meet(name) && self.asks(name)
    }

    /// The same of somebody whom the person of this client wants to know.
    pub fn ask(&mut self, name: &UserName) -> bool {
        self.person(name).wanted = true;
        self.asks(name)
    }

    fn asks(&mut self, name: &UserName) -> bool {
        let person = self.person(name);
        person.listed.is_none() && !std::mem::replace(&mut person.asked, true)
    }

    /// The server's answers are forgotten when they are too many; whoever needs one asks again.
    pub(super) fn makes_room(&mut self, name: &UserName, keys: usize) {
        self.heard += keys;
        if self.heard > MET_KEYS_MAX {
            let told = fold(name);
            for (other, person) in &mut self.all {
                if *other != told && person.mine.is_none() {
                    // What was asked is answered still.
                    let asked = person.asked && person.listed.is_none();
                    person.unheard();
                    person.asked = asked;
                }
            }
            self.heard = keys;
        }
    }
}
