//! What is typed, in the person's own editor.

use std::io::{Read, Write};

use crate::clean;
use crate::system::programs;

/// An edited text that is longer is no message of any server.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// Lets `$VISUAL` or `$EDITOR` change a text; the file (0600) is gone afterwards, unless it is what
/// cannot be taken.
pub fn edit(text: &str) -> Result<String, String> {
    let named = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor =
        named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| programs::EDITOR.to_owned());
    let fault = |error: std::io::Error| format!("the text cannot be edited: {error}");
    let mut file = tempfile::Builder::new().suffix(".txt").tempfile().map_err(fault)?;
    file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(fault)?;
    match programs::edit(&editor, file.path()).status() {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("{editor}: {status}: the text is as it was")),
        Err(error) => return Err(format!("{editor}: {error}")),
    }
    // Many editors put another file in its place.
    let mut edited = Vec::new();
    let opened = std::fs::File::open(file.path()).map_err(fault)?;
    opened.take(TEXT_BYTES_MAX + 1).read_to_end(&mut edited).map_err(fault)?;
    let trouble = match String::from_utf8(edited) {
        Ok(text) if text.len() as u64 <= TEXT_BYTES_MAX => {
            return Ok(clean::text(text.trim_end_matches(['\r', '\n'])));
        }
        Ok(_) => format!("it is longer than {} KiB", TEXT_BYTES_MAX >> 10),
        Err(_) => "it is no UTF-8".to_owned(),
    };
    // It may be a long work.
    let path = file.into_temp_path().keep().map_err(|error| fault(error.error))?;
    Err(format!("{trouble}, and lies in {}: the text is as it was", path.display()))
}
