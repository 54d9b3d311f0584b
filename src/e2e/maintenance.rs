//! Hourly maintenance of device keys. A new certificate is made each week, if the clocks of client
//! and server agree. Private keys that no undelivered message needs are deleted, by the certain
//! time (`clock.rs`).

use super::device_keys::DeviceKeys;
use super::output::Output;
use super::storage::{Account, Storage, StorageError};
use crate::chat::{Command, Opaque};

/// Time between two runs.
const EVERY_MS: u64 = 60 * 60 * 1000;

#[derive(Default)]
pub struct Maintenance {
    /// Time of the last run.
    done_ms: Option<i64>,
    /// This connection is logged in.
    pub is_in: bool,
}

/// The times that decide what is made and deleted.
#[derive(Clone, Copy)]
pub struct Times {
    /// The clocks of the client and the server agree: certificates may be made.
    pub makes: bool,
    pub now_ms: i64,
    /// The certain time (`KnownTime`). Keys that were no longer needed by then are deleted.
    pub certain_ms: Option<i64>,
}

impl Maintenance {
    /// Time until the next run, in milliseconds.
    pub fn rest_ms(&self, now_ms: i64) -> u64 {
        let since_ms = self.done_ms.map_or(EVERY_MS, |then| now_ms.abs_diff(then));
        EVERY_MS.saturating_sub(since_ms)
    }

    /// The next run is due now.
    pub fn is_due(&mut self) {
        self.done_ms = None;
    }

    /// Deletes expired device keys. While logged in, it also renews and publishes the current one.
    pub fn renew(
        &mut self,
        devices: &mut DeviceKeys,
        storage: &mut dyn Storage,
        account: &dyn Account,
        times: Times,
    ) -> Vec<Output> {
        self.done_ms = Some(times.now_ms);
        let mut next = Vec::new();
        if let Err(error) = self.renew_stored(devices, storage, account, times) {
            let text = format!("the keys of this device cannot be stored: {error}");
            next.push(Output::Trouble(text));
        }
        let own = account.own().public().fingerprint();
        let current = devices.signing(&own, seconds(times.now_ms));
        if let Some((certificate, _)) = current.filter(|_| self.is_in && times.makes) {
            let certificate = Opaque::new(certificate.bytes()).expect("a certificate has bytes");
            next.push(Output::Send(Command::Certify { certificate }.into()));
        }
        next
    }

    fn renew_stored(
        &self,
        devices: &mut DeviceKeys,
        storage: &mut dyn Storage,
        account: &dyn Account,
        times: Times,
    ) -> Result<(), StorageError> {
        if let Some(certain_ms) = times.certain_ms {
            devices.expire(storage, seconds(certain_ms))?;
        }
        if !self.is_in {
            return Ok(());
        }
        devices.refresh(storage, account)?;
        if times.makes {
            devices.renew(storage, account, seconds(times.now_ms))?;
        }
        Ok(())
    }
}

fn seconds(ms: i64) -> u64 {
    (ms / 1000).max(0) as u64
}
