//! Bounds the connections of pages. For one more, the oldest without a token is cut: another
//! account on this computer can open connections, and cannot keep the user out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits::PAGE_CONNECTIONS_MAX;
use crate::net::local::LocalStream;
use crate::sync::{Mutex, MutexGuard, Rank};

#[derive(Clone)]
pub struct Slots(Arc<Mutex<Table>>);

impl Default for Slots {
    fn default() -> Slots {
        Slots(Arc::new(Mutex::new(Rank::PageSlots, Table::default())))
    }
}

#[derive(Default)]
struct Table {
    number: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    stream: LocalStream,
    stays: bool,
}

/// The place of one connection.
pub struct Slot {
    slots: Slots,
    number: u64,
}

impl Slots {
    /// Takes in a connection; `None` if there is no room.
    pub fn enter(&self, stream: &LocalStream) -> Option<Slot> {
        let mut table = self.lock();
        if table.open.len() >= PAGE_CONNECTIONS_MAX {
            let oldest = table.open.iter().find(|(_, open)| !open.stays).map(|(number, _)| *number);
            let evicted = oldest.and_then(|oldest| table.open.remove(&oldest))?;
            evicted.stream.cut();
        }
        table.number += 1;
        let number = table.number;
        table.open.insert(number, Open { stream: stream.clone(), stays: false });
        drop(table);
        Some(Slot { slots: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock()
    }
}

impl Slot {
    /// The connection has shown the token.
    pub fn stays(&self) {
        if let Some(open) = self.slots.lock().open.get_mut(&self.number) {
            open.stays = true;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().open.remove(&self.number);
    }
}
