//! Admission of connections. Unauthenticated connections cost no thread: one loop reads them until
//! R2 is complete. A single deadline covers the whole login, and every fault is answered by closing
//! silently. With too many connections, the oldest silent ones are closed.

pub mod accepting;
pub mod capacity;
mod connection;
mod control;
pub mod entrance;
mod login;
mod login_threads;
mod penalties;
mod recent_logins;
pub mod semaphore;
pub mod source;
pub mod table;
mod unauthenticated;
mod unregistered;

use std::sync::Arc;

use super::stop::Stop;
use crate::net::listener::Listener;
pub use control::Admission;
use entrance::Arrivals;
pub use login::{KeyHolder, Serve, Stay};
pub use penalties::Offence;
pub use recent_logins::{RecentLogins, day_of, today};
use unauthenticated::Unauthenticated;
pub use unregistered::{Applicant, Unregistered};

/// Where new connections come from.
pub struct Ways {
    /// One for each address.
    pub listeners: Vec<Listener>,
    /// Hops that the web port has opened.
    pub arrivals: Arrivals,
}

/// Accepts connections until the server stops; each login is served on its own thread.
pub fn run(admission: &Arc<Admission>, ways: &Ways, stop: &Stop, serve: &Serve) {
    Unauthenticated::new(admission, serve).run(ways, stop);
}
