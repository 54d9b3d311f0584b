//! Writing half of the connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::crypto::RecordType;
use crate::net::tunnel::TunnelWriter;

/// The writing half, while connected.
#[derive(Clone, Default)]
pub struct Writer(Arc<Mutex<Option<TunnelWriter>>>);

impl Writer {
    pub fn set(&self, writer: TunnelWriter) {
        *self.lock() = Some(writer);
    }

    /// Sends a record if connected. If that fails the connection is closed, which the reading half
    /// reports.
    pub fn send(&self, kind: RecordType, body: &[u8]) {
        if let Some(writer) = &mut *self.lock()
            && writer.send(kind, body).is_err()
        {
            writer.closer().cut();
        }
    }

    /// Cuts the connection, if any.
    pub fn cut(&self) {
        if let Some(writer) = &*self.lock() {
            writer.closer().cut();
        }
    }

    /// Says goodbye and closes, if connected.
    pub fn quit(&self) {
        if let Some(mut writer) = self.lock().take() {
            writer.close("quit");
        }
    }

    pub fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<TunnelWriter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
