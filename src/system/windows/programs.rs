//! Other programs, and the environment variables of the user.

use std::io;
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Variable with the user's name.
pub const USER: &str = "USERNAME";
/// Variable with the user's folder.
pub const HOME: &str = "USERPROFILE";
/// Program that opens a file on the desktop.
pub const OPENER: &str = "explorer";
/// Default editor.
pub const EDITOR: &str = "notepad";

/// Returns whether programs can open windows.
pub fn has_desktop() -> bool {
    true
}

/// Returns the command for an editor on a file. The editor may have arguments: `code --wait`.
pub fn edit(editor: &str, file: &Path) -> Command {
    let mut command = Command::new("cmd");
    // The shell removes the outer quotes; a path cannot contain one.
    command.raw_arg(format!("/D /S /C \"{editor} \"{}\"\"", file.display()));
    command
}

/// Windows has no such bounds for a process that sets them itself.
pub fn confine(_: u64, _: u64) -> io::Result<()> {
    Ok(())
}
