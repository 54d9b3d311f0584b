//! Editing of the typed text in the user's editor.

use std::io::{Read, Write};

use crate::clean;
use crate::system::programs;

/// Bound on the edited text, above every server's limit.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// Runs `$VISUAL` or `$EDITOR` on a text. The file (0600) is removed afterwards, unless its text
/// cannot be used.
pub fn edit(text: &str) -> Result<String, String> {
    let named = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor =
        named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| programs::EDITOR.to_owned());
    let fault = |error: std::io::Error| format!("the text cannot be edited: {error}");
    let mut file = tempfile::Builder::new().suffix(".txt").tempfile().map_err(fault)?;
    file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(fault)?;
    match programs::edit(&editor, file.path()).status() {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("{editor}: {status}: the text was not changed")),
        Err(error) => return Err(format!("{editor}: {error}")),
    }
    // Many editors replace the file.
    let mut edited = Vec::new();
    let opened = std::fs::File::open(file.path()).map_err(fault)?;
    opened.take(TEXT_BYTES_MAX + 1).read_to_end(&mut edited).map_err(fault)?;
    let trouble = match String::from_utf8(edited) {
        Ok(text) if text.len() as u64 <= TEXT_BYTES_MAX => {
            return Ok(clean::text(text.trim_end_matches(['\r', '\n'])));
        }
        Ok(_) => format!("it is longer than {} KiB", TEXT_BYTES_MAX >> 10),
        Err(_) => "it is not UTF-8".to_owned(),
    };
    // The text may be long work, so the file is kept.
    let path = file.into_temp_path().keep().map_err(|error| fault(error.error))?;
    Err(format!("{trouble}, and is kept in {}: the text was not changed", path.display()))
}
