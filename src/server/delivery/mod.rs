//! Delivery: from a conversation's tail to the members' sockets. Nothing here depends on the hub;
//! each thread defines what it needs from it (`flusher::Deliver`, `backfill::Replays`).

pub mod backfill;
pub mod bell;
pub mod flusher;
mod records;
pub mod send_queue;
pub mod tail;
#[cfg(test)]
mod transfer_tests;
