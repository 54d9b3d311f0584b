//! Other programs, and what the system calls the person.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
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

/// This program from its beginning, in the same process, with a variable set; does nothing where
/// the variable is there already. Comes back only where that is not possible.
pub fn begin_again_with(name: &str, value: impl AsRef<OsStr>) {
    if std::env::var_os(name).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), own_name) = (std::env::current_exe(), arguments.next()) else { return };
    let mut command = Command::new(program);
    command.arg0(own_name.unwrap_or_default()).args(arguments).env(name, value);
    // Whatever is wrong with it, this program goes on as it is.
    let _ = command.exec();
}
