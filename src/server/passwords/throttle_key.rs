//! What prompts and wrong guesses are counted by.

use crate::crypto::ticket::Digest;
use crate::server::admission::source::Source;

/// The source, or the ticket of a device that has one. A thief of the key has no ticket, and uses
/// up nothing of a device that has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThrottleKey {
    Source(Source),
    Ticket(Digest),
}
