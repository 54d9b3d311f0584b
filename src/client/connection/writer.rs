//! The connection's writing half.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::crypto::RecordType;
use crate::net::tunnel::TunnelWriter;

/// The writing half, while there is a connection.
#[derive(Clone, Default)]
pub struct Writer(Arc<Mutex<Option<TunnelWriter>>>);

impl Writer {
    pub fn set(&self, writer: TunnelWriter) {
        *self.lock() = Some(writer);
    }

    /// Sends a record, if there is a connection. One that does not take it ends: the reading half
    /// notices that and says so.
    pub fn send(&self, kind: RecordType, body: &[u8]) {
        if let Some(writer) = &mut *self.lock()
            && writer.send(kind, body).is_err()
        {
            writer.closer().cut();
        }
    }

    /// Cuts the connection, if there is one.
    pub fn cut(&self) {
        if let Some(writer) = &*self.lock() {
            writer.closer().cut();
        }
    }

    /// Says goodbye, if there is a connection.
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
