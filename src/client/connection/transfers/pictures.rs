//! Pictures and other files on this desktop.

use std::path::Path;
use std::sync::Arc;

use super::desktop;
use super::ports::{Desk, not_shown};
use crate::client::files::decode::{Decoder, NoPreview};
use crate::client::files::picture::Decoded;
use crate::client::files::thumb;
use crate::client::transfer::{Failure, Shown};
use crate::system::files;

/// Width and height of what is shown: more than the cells of a large terminal.
const SIDE_MAX: u32 = 480;

/// Decodes pictures in a process of its own.
pub struct Desktop;

impl Desk for Desktop {
    fn preview(&self, _chosen: &Path, sent: &Path) -> Option<Decoded> {
        let program = std::env::current_exe().ok()?;
        let picture = files::open_to_read(sent).ok()?;
        let side = thumb::SIDE_MAX;
        Decoder::new(program).decode(picture, side, side).ok()
    }

    fn view(&self, picture: &Path) -> Result<Shown, Failure> {
        let program = std::env::current_exe().map_err(|_| not_shown(NoPreview::NotStarted))?;
        let file = files::open_to_read(picture).map_err(Failure::disk)?;
        let decoded = Decoder::new(program).decode(file, SIDE_MAX, SIDE_MAX);
        Ok(Shown(Arc::new(decoded.map_err(not_shown)?.picture)))
    }

    fn open(&self, file: &Path) -> Result<(), String> {
        desktop::open(file)
    }
}
