//! Other programs, and what the system calls the person.

use std::path::Path;
use std::process::Command;

/// Where the person's name is.
pub const USER: &str = "USER";
/// Where the person's folder is.
pub const HOME: &str = "HOME";
/// The editor of who has named none.
pub const EDITOR: &str = "vi";

/// Runs an editor on a file; its name may be more than one word: `code --wait`.
pub fn edit(editor: &str, file: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {editor} \"$0\"")]).arg(file);
    command
}
