//! Hands a fetched file to the desktop.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::system::programs;

/// Extensions of files that show or play something, and do not run: what is not listed is not
/// opened.
const SHOWN: &[&str] = &[
    "jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "heic", "avif", "jxl", "mp3", "ogg",
    "oga", "opus", "flac", "wav", "m4a", "mp4", "m4v", "mkv", "webm", "mov", "avi", "pdf", "txt",
    "md", "csv", "log", "epub", "odt", "ods", "odp",
];

/// Opens a file with the program that the desktop has for it. The path is one argument, and no
/// shell reads it.
pub fn open(path: &Path) -> Result<(), String> {
    let shown = path.display();
    if !is_shown(path) {
        return Err(format!(
            "{shown} is saved, but not opened: its type is not on the list of safe types"
        ));
    }
    let path = std::path::absolute(path).map_err(|error| format!("{shown}: {error}"))?;
    let mut command = Command::new(programs::OPENER);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(mut child) => {
            // It may run as long as the program that it starts.
            let wait = move || drop(child.wait());
            let _ = std::thread::Builder::new().name("desktop".into()).spawn(wait);
            Ok(())
        }
        Err(error) => {
            Err(format!("{shown} is saved, and {} cannot start: {error}", programs::OPENER))
        }
    }
}

fn is_shown(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| SHOWN.contains(&extension.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_run_is_not_opened() {
        for name in ["a.jpg", "A.PDF", "b.tar.txt"] {
            assert!(is_shown(Path::new(name)), "{name}");
        }
        let names =
            ["a.desktop", "a.sh", "a.exe", "a.html", "a.svg", "a.jpg.lnk", "a", "jpg", ".jpg"];
        for name in names {
            assert!(!is_shown(Path::new(name)), "{name}");
            assert!(open(Path::new(name)).unwrap_err().contains("not opened"));
        }
    }
}
