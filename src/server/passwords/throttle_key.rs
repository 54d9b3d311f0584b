//! The key by which prompts and wrong passwords are counted.

use crate::crypto::ticket::Digest;
use crate::server::admission::source::Source;

/// The source, or the ticket of a device that has one. A thief of the key has no ticket, and so
/// cannot use up the budget of a device with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThrottleKey {
    Source(Source),
    Ticket(Digest),
}
