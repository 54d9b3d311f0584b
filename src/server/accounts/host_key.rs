//! Rotation of the server's own key: a new key is loaded while the server runs and announced, and
//! the former key expires.

use std::sync::Arc;

use crate::chat::{Event, Opaque};
use crate::home::{Decision, Home, KeyStamp, ServerKeys};
use crate::server::clock_guard::ClockGuard;
use crate::server::hub::Hub;
use crate::server::records::Records;
use crate::sync::Snapshot;

/// Watches the server's key files.
pub struct HostKey {
    home: Home,
    keys: Arc<Snapshot<ServerKeys>>,
    hub: Arc<Hub>,
    records: Arc<Records>,
    seen: Option<KeyStamp>,
    /// An error while retiring the former key was logged.
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

    /// Checks whether the key files changed, and whether the former key has expired. Calls
    /// `on_change` when the server has a new key, before this is announced.
    pub fn look(&mut self, clock: &ClockGuard, on_change: impl FnOnce()) {
        let now = self.home.server_key_stamp();
        if now.is_some() && now != self.seen {
            self.seen = now;
            self.take_up(on_change);
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let over = |until_ms| until_ms <= now_ms;
        let keys = self.keys.get();
        let is_over = keys.former.as_ref().is_some_and(|former| over(former.until_ms));
        // A clock that is wrong for a moment does not retire a key.
        if !self.logged && is_over && clock.is_trusted() {
            self.logged = self.retire(now_ms).is_err();
        }
    }

    /// Switches to a new key in keys/ and announces it as the successor.
    fn take_up(&self, on_change: impl FnOnce()) {
        let old = self.keys.get();
        let keys = match self.home.server_keys() {
            Ok(Some(keys)) => keys,
            Ok(None) => return,
            Err(error) => return log::error!("the server's key is unchanged: {error}"),
        };
        if !keys.follow(old.own.public()) {
            if keys.own.public() != old.own.public() {
                log::warn!(
                    "keys/server.pem is not a successor of the current key: it is used from the next start"
                );
            }
            return;
        }
        let print = keys.own.public().fingerprint();
        self.keys.set(keys);
        on_change();
        log::info!("the server's key is {print} now");
        if let Some(event) = successor(&self.keys.get()) {
            self.hub.broadcast(&event);
        }
    }

    /// Retires the former key.
    fn retire(&self, now_ms: i64) -> Result<(), ()> {
        let gone = self.home.retire_server_key(now_ms).and_then(|_| self.home.server_keys());
        match gone {
            Ok(Some(keys)) => {
                let print = keys.own.public().fingerprint().to_string();
                self.keys.set(keys);
                let reason = Some("the server's former key was retired");
                let (actor, action, target) = ("server", "retire key", print.as_str());
                self.records.record(&Decision { actor, action, target, reason, until_ms: None });
                Ok(())
            }
            Ok(None) => Err(()),
            Err(error) => {
                log::error!(
                    "the server's former key is no longer accepted, but stays in keys/: {error}"
                );
                Err(())
            }
        }
    }
}

/// Returns the event that introduces the key to clients that know the former one.
pub fn successor(keys: &ServerKeys) -> Option<Event> {
    let former = keys.former.as_ref()?;
    let opaque = |bytes: &[u8]| Opaque::new(bytes).expect("keys and signatures have bytes");
    let key = opaque(&keys.own.public().to_der());
    Some(Event::Successor { key, signatures: opaque(&former.succession.to_bytes()) })
}
