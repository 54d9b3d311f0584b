//! Writing half of the connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::crypto::RecordType;
use crate::net::tunnel::TunnelWriter;

/// The writing half, while connected.
#[derive(Clone, Default)]
pub struct Writer {
    half: Arc<Mutex<Option<TunnelWriter>>>,
    /// Time of the first request since the server was heard.
    sent: Arc<Mutex<Option<Instant>>>,
}

impl Writer {
    pub fn set(&self, writer: TunnelWriter) {
        *self.lock() = Some(writer);
        self.is_answered();
    }

    /// Time of the first request since the server was heard.
    pub fn sent(&self) -> Option<Instant> {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the server was heard.
    pub fn is_answered(&self) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sends a record if connected. If that fails the connection is closed, which the reading half
    /// reports.
    pub fn send(&self, kind: RecordType, body: &[u8]) {
        if kind == RecordType::Json {
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.get_or_insert_with(Instant::now);
        }
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
        self.half.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
