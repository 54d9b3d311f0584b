//! The one thread that owns the ledger's writing half: what waits is committed together, and what was
//! committed is delivered.

use std::time::Instant;

use super::hub::{Hub, Waiting};
use crate::ledger::Kept;

/// Something for the ledger's owner to do between two commits.
pub type Job = Box<dyn FnOnce(&mut Kept) + Send>;

/// Runs until the hub is told that nothing more will come.
pub fn run(hub: &Hub, mut ledger: Kept) {
    while let Some((waiting, jobs)) = hub.next_waiting() {
        write(hub, &mut ledger, waiting);
        jobs.into_iter().for_each(|job| job(&mut ledger));
    }
}

/// Commits what waits and lets everybody know.
pub fn write(hub: &Hub, ledger: &mut Kept, waiting: Vec<Waiting>) {
    if waiting.is_empty() {
        return;
    }
    let (records, lines) = waiting.into_iter().map(Waiting::split).unzip();
    let began = Instant::now();
    let (verdicts, fault) = ledger.commit(records);
    hub.figures().committed(began.elapsed(), fault.is_some());
    if let Some(fault) = fault {
        log::error!("lines are not stored: {fault}");
    }
    hub.decided(lines, verdicts);
}
