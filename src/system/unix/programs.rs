//! Other programs, and the environment variables of the user.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Variable with the user's name.
pub const USER: &str = "USER";
/// Variable with the user's folder.
pub const HOME: &str = "HOME";
/// Default editor.
pub const EDITOR: &str = "vi";

/// Returns the command for an editor on a file. The editor may have arguments: `code --wait`.
pub fn edit(editor: &str, file: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {editor} \"$0\"")]).arg(file);
    command
}

/// Starts this program again in the same process with a variable set, unless it is set. Returns
/// only if that fails.
pub fn begin_again_with(name: &str, value: impl AsRef<OsStr>) {
    if std::env::var_os(name).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), own_name) = (std::env::current_exe(), arguments.next()) else { return };
    let mut command = Command::new(program);
    command.arg0(own_name.unwrap_or_default()).args(arguments).env(name, value);
    // On an error, the program continues without the variable.
    let _ = command.exec();
}
