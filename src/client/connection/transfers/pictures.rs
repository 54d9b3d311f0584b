//! Pictures that are fetched to be shown.

use std::path::Path;
use std::sync::Arc;

use crate::client::files::decode::{Decoder, NoPreview};
use crate::client::transfer::{Failure, Shown};
use crate::fault::code;
use crate::system::files;

/// Width and height of what is shown: more than the cells of a large terminal.
const SIDE_MAX: u32 = 480;

/// Decodes a picture in a process of its own.
pub fn decoded(path: &Path) -> Result<Shown, Failure> {
    let program = std::env::current_exe().map_err(|_| failure(NoPreview::NotStarted))?;
    let file = files::open_to_read(path).map_err(Failure::disk)?;
    let decoded = Decoder::new(program).decode(file, SIDE_MAX, SIDE_MAX).map_err(failure)?;
    Ok(Shown(Arc::new(decoded.picture)))
}

pub fn failure(error: NoPreview) -> Failure {
    Failure::local("no_preview", error, code::OTHER)
}
