//! From a place's tail to the members' sockets. Nothing here knows the hub: the two threads ask it
//! through `Places`.

pub mod backfill;
pub mod flusher;
pub mod send_queue;
pub mod sink;
pub mod tail;

use std::sync::Arc;

use crate::chat::{Place, SessionId, UserName};
use backfill::Backfill;
use flusher::Flusher;
use send_queue::{PlaceId, SendQueue};

/// The hub, as the threads of delivery see it.
pub trait Places: Send + Sync {
    fn flusher(&self) -> &Flusher;

    fn backfill(&self) -> &Backfill;

    /// Lets a session's cursors catch up with the tails of all its places.
    fn catch_up(&self, queue: &Arc<SendQueue>);

    /// Goes on delivering a place that a sender has delivered for long enough.
    fn go_on(&self, place: PlaceId);

    fn user_of(&self, id: SessionId) -> Option<UserName>;

    fn place_of(&self, id: PlaceId) -> Option<Place>;

    /// Tells one reader of a place anew who is there.
    fn tell_people(&self, queue: &Arc<SendQueue>, place: &Place);
}
