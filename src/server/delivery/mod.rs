//! From a conversation's tail to the members' sockets. Nothing here knows the hub: each of the two
//! threads says what it asks of it (`flusher::Deliver`, `backfill::Replays`).

pub mod backfill;
pub mod flusher;
mod records;
pub mod send_queue;
pub mod tail;
