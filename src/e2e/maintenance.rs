//! Hourly maintenance of device keys by this client's own clock, which no server can hinder: new
//! certificates each week, and deletion of private keys that no waiting message needs.

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

impl Maintenance {
    /// Time until the next run, in milliseconds.
    pub fn rest_ms(&self, now_ms: i64) -> u64 {
        let since_ms = self.done_ms.map_or(EVERY_MS, |then| now_ms.abs_diff(then));
        EVERY_MS.saturating_sub(since_ms)
    }

    /// Deletes expired device keys. While logged in, it also renews and publishes the current one.
    pub fn renew(
        &mut self,
        devices: &mut DeviceKeys,
        storage: &mut dyn Storage,
        account: &dyn Account,
        now_ms: i64,
    ) -> Vec<Output> {
        self.done_ms = Some(now_ms);
        let mut next = Vec::new();
        if let Err(error) = self.renew_stored(devices, storage, account, now_ms) {
            let text = format!("the keys of this device cannot be stored: {error}");
            next.push(Output::Trouble(text));
        }
        if let Some((certificate, _)) = devices.signing().filter(|_| self.is_in) {
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
        now_ms: i64,
    ) -> Result<(), StorageError> {
        let now_s = (now_ms / 1000).max(0) as u64;
        if !self.is_in {
            return devices.expire(storage, now_s);
        }
        devices.refresh(storage, account)?;
        devices.renew(storage, account, now_s)
    }
}
