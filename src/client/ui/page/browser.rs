//! Opens the user's browser.

use std::process::{Command, Stdio};
use std::thread;

use super::spool::Spool;
use crate::system::programs;

/// Opens an address, which has a secret, where there is a desktop. The browser is given a file that
/// leads there: other accounts can read the arguments of programs.
pub fn open(spool: &Spool, address: &str) -> Result<(), String> {
    if !programs::has_desktop() {
        return Ok(());
    }
    let file = spool.redirect(address).map_err(|error| error.to_string())?;
    let mut command = Command::new(programs::OPENER);
    command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child =
        command.spawn().map_err(|error| format!("{} cannot start: {error}", programs::OPENER))?;
    // It may run as long as the browser that it starts.
    let wait = move || drop(child.wait());
    let _ = thread::Builder::new().name("desktop".into()).spawn(wait);
    Ok(())
}
