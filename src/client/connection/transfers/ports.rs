//! The ports of the engine: the connection and the desktop.

use std::path::Path;

use crate::client::files::picture::{Decoded, NoPreview};
use crate::client::transfer::{Failure, Shown};
use crate::fault::code;

/// The connection, as the receiver of transfer records.
pub trait Outlet: Send {
    /// Returns whether another piece of a file may be sent. If not, `Job::Room` follows later.
    fn has_room(&self) -> bool;

    /// Sends records on the connection of this number, and drops those of an earlier one.
    fn send_transfers(&self, number: u64, bodies: Vec<Vec<u8>>);
}

/// Operations of the desktop on files.
pub trait Desk: Send + Sync {
    /// Returns a small copy of a picture that is sent, and the picture's size; `None` if it cannot
    /// be decoded. `chosen` is the file that the user has chosen, `sent` the same without its
    /// metadata.
    fn preview(&self, chosen: &Path, sent: &Path) -> Option<Decoded>;

    /// Decodes a picture that was fetched.
    ///
    /// # Errors
    /// It cannot be shown.
    fn view(&self, picture: &Path) -> Result<Shown, Failure>;

    /// Opens a fetched file.
    ///
    /// # Errors
    /// The reason why the file, which is saved, was not opened.
    fn open(&self, file: &Path) -> Result<(), String>;
}

/// The failure of a picture that is not shown.
pub fn not_shown(error: NoPreview) -> Failure {
    Failure::local("no_preview", error, code::OTHER)
}
