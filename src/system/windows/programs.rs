//! Other programs, and what the system calls the person.

use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Where the person's name is.
pub const USER: &str = "USERNAME";
/// Where the person's folder is.
pub const HOME: &str = "USERPROFILE";
/// The editor of who has named none.
pub const EDITOR: &str = "notepad";

/// Runs an editor on a file; its name may be more than one word: `code --wait`.
pub fn edit(editor: &str, file: &Path) -> Command {
    let mut command = Command::new("cmd");
    // It takes off the outer pair of quotes, and no path has one in it.
    command.raw_arg(format!("/D /S /C \"{editor} \"{}\"\"", file.display()));
    command
}
