//! The server's own next key: taken up while the server runs, told to everybody, and the key before it put
//! away in time.

use std::sync::Arc;

use crate::chat::{Event, Opaque};
use crate::home::{Decision, Home, KeyStamp, ServerKeys};
use crate::server::hub::Hub;
use crate::server::records::Records;
use crate::sync::Snapshot;

/// Watches the server's key.
pub struct HostKey {
    home: Home,
    keys: Arc<Snapshot<ServerKeys>>,
    hub: Arc<Hub>,
    records: Arc<Records>,
    seen: Option<KeyStamp>,
    /// What stood in the way of putting the former key away was logged.
    logged: bool,
}

impl HostKey {
    pub fn new(
        home: Home,
        keys: Arc<Snapshot<ServerKeys>>,
        hub: Arc<Hub>,
        records: Arc<Records>,
    ) -> HostKey {
        HostKey { home, keys, hub, records, seen: None, logged: false }
    }

    /// Looks whether the key was changed, and whether the former one's time is over.
    pub fn look(&mut self) {
        let now = self.home.server_key_stamp();
        if now.is_some() && now != self.seen {
            self.seen = now;
            self.take_up();
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let over = |until_ms| until_ms <= now_ms;
        let keys = self.keys.get();
        if !self.logged && keys.former.as_ref().is_some_and(|former| over(former.until_ms)) {
            self.logged = self.retire(now_ms).is_err();
        }
    }

    /// keys/ has another key: it holds from now on, and everybody is told whose successor it is.
    fn take_up(&self) {
        let old = self.keys.get();
        let keys = match self.home.server_keys() {
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
        self.keys.set(keys);
        log::info!("the server's key is {print} now");
        if let Some(event) = successor(&self.keys.get()) {
            self.hub.tell_all(&event);
        }
    }

    /// The former key's time is over.
    fn retire(&self, now_ms: i64) -> Result<(), ()> {
        let gone = self.home.retire_server_key(now_ms).and_then(|_| self.home.server_keys());
        match gone {
            Ok(Some(keys)) => {
                let print = keys.own.public().fingerprint().to_string();
                self.keys.set(keys);
                let reason = Some("the server's former key was put away");
                let (actor, action, target) = ("server", "retire key", print.as_str());
                self.records.record(&Decision { actor, action, target, reason, until_ms: None });
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
}

/// What tells a client that knows the former key of the one that follows it.
pub fn successor(keys: &ServerKeys) -> Option<Event> {
    let former = keys.former.as_ref()?;
    let opaque = |bytes: &[u8]| Opaque::new(bytes).expect("keys and signatures have bytes");
    let key = opaque(&keys.own.public().to_der());
    Some(Event::Successor { key, signatures: opaque(&former.succession.to_bytes()) })
}
