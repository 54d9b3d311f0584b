//! Other programs, and the environment variables of the user.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Variable with the user's name.
pub const USER: &str = "USER";
/// Variable with the user's folder.
pub const HOME: &str = "HOME";
/// Program that opens a file on the desktop.
pub const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
/// Variables of a desktop: Wayland's and X's.
const DISPLAYS: [&str; 2] = ["WAYLAND_DISPLAY", "DISPLAY"];
/// Default editor.
pub const EDITOR: &str = "vi";

/// Returns whether programs can open windows.
pub fn has_desktop() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match cfg!(target_os = "macos") {
        true => !is_set("SSH_CONNECTION"),
        false => DISPLAYS.into_iter().any(is_set),
    }
}

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

/// Bounds what this process can do from now on: its memory, and its time on a processor. It can
/// open no further file, write none, start no process, and leaves no core dump.
pub fn confine(memory_bytes: u64, cpu_s: u64) -> io::Result<()> {
    let limits = [
        (Resource::As, memory_bytes),
        (Resource::Cpu, cpu_s),
        (Resource::Fsize, 0),
        (Resource::Nofile, 0),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}
