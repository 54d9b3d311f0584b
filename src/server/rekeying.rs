//! The server's own next key: taken up while the server runs, told to everybody, and the key before it put
//! away in time.

use super::house::House;
use crate::chat::{Event, Opaque};
use crate::home::{Decision, KeyStamp};

/// Watches the server's key.
pub struct Rekeying {
    seen: Option<KeyStamp>,
    /// What stood in the way of putting the former key away was told.
    told: bool,
}

impl Rekeying {
    pub fn new() -> Rekeying {
        Rekeying { seen: None, told: false }
    }

    pub fn look(&mut self, house: &House) {
        let now = house.home().server_key_stamp();
        if now.is_some() && now != self.seen {
            self.seen = now;
            house.take_up_keys();
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let over = |until_ms| until_ms <= now_ms;
        let keys = house.door().keys();
        if !self.told && keys.former.as_ref().is_some_and(|former| over(former.until_ms)) {
            self.told = house.retire_key(now_ms).is_err();
        }
    }
}

impl House {
    /// keys/ has another key: it holds from now on, and everybody is told whose successor it is.
    fn take_up_keys(&self) {
        let old = self.door().keys();
        let keys = match self.home().server_keys() {
            Ok(Some(keys)) => keys,
            Ok(None) => return,
            Err(error) => return log::error!("the server's key stays as it was: {error}"),
        };
        if !keys.follow(old.own.public()) {
            if keys.own.public() != old.own.public() {
                log::warn!(
                    "keys/server.pem follows no key that clients know: the next start takes it"
                );
            }
            return;
        }
        let print = keys.own.public().fingerprint();
        self.door().set_keys(keys);
        log::info!("the server's key is {print} now");
        if let Some(event) = self.successor() {
            self.hub.tell_all(&event);
        }
    }

    /// The former key's time is over.
    fn retire_key(&self, now_ms: i64) -> Result<(), ()> {
        let gone = self.home().retire_server_key(now_ms).and_then(|_| self.home().server_keys());
        match gone {
            Ok(Some(keys)) => {
                let print = keys.own.public().fingerprint().to_string();
                self.door().set_keys(keys);
                let reason = Some("the server's former key was put away");
                let (actor, action, target) = ("server", "retire key", print.as_str());
                self.record(&Decision { actor, action, target, reason, until_ms: None });
                Ok(())
            }
            Ok(None) => Err(()),
            Err(error) => {
                log::error!(
                    "the server's former key is accepted no more, and stays in keys/: {error}"
                );
                Err(())
            }
        }
    }

    /// What tells a client that knows the former key of the one that follows it.
    pub(super) fn successor(&self) -> Option<Event> {
        let keys = self.door().keys();
        let former = keys.former.as_ref()?;
        let opaque = |bytes: &[u8]| Opaque::new(bytes).expect("keys and signatures have bytes");
        let key = opaque(&keys.own.public().to_der());
        Some(Event::Successor { key, signatures: opaque(&former.succession.to_bytes()) })
    }
}
