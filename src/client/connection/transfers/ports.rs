//! What the engine needs of the connection and of the desktop.

use std::path::Path;

use crate::client::files::picture::{Decoded, NoPreview};
use crate::client::transfer::{Failure, Shown};
use crate::fault::code;

/// Where transfer records go.
pub trait Outlet: Send {
    /// Returns whether another piece of a file may be sent. `Job::Room` follows where it may not.
    fn has_room(&self) -> bool;

    /// Sends records on the connection of this number, and drops those of an earlier one.
    fn send_transfers(&self, number: u64, bodies: Vec<Vec<u8>>);
}

/// What the desktop does with files.
pub trait Desk: Send + Sync {
    /// Returns a picture that is sent, made small, and its size; `None` if it cannot be decoded.
    /// `chosen` is the file that the user has chosen, `sent` the same without its metadata.
    fn preview(&self, chosen: &Path, sent: &Path) -> Option<Decoded>;

    /// Decodes a picture that was fetched.
    ///
    /// # Errors
    /// It cannot be shown.
    fn view(&self, picture: &Path) -> Result<Shown, Failure>;

    /// Opens a fetched file.
    ///
    /// # Errors
    /// It is saved, and not opened, for this reason.
    fn open(&self, file: &Path) -> Result<(), String>;
}

/// The failure of a picture that is not shown.
pub fn not_shown(error: NoPreview) -> Failure {
    Failure::local("no_preview", error, code::OTHER)
}
