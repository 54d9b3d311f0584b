//! The password file of an unattended client. Other users of the computer can read a command line
//! and an environment.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::chat::SecretText;
use crate::clean;
use crate::fault::{Fault, code};
use crate::limits::PASSWORD_BYTES_MAX;
use crate::system::files;

/// Reads the first line of the file, which may also be a pipe (`/dev/fd/3`).
///
/// # Errors
/// The file cannot be read, other users can read it, or its first line is no password.
pub fn read(path: &Path) -> Result<SecretText, Fault> {
    let shown = clean::line(&path.display().to_string());
    let fault =
        |error: &str, hint: &str| Fault::new(code::UNREADABLE, format!("{shown}: {error}"), hint);
    let format = "the first line of the file must be the password";
    let io = |error: std::io::Error| fault(&error.to_string(), format);
    if files::exposed(path).map_err(io)?.is_some() {
        return Err(fault("other users can read it", &format!("chmod 600 {shown}")));
    }
    // With room for a byte order mark and the line ending.
    let most = PASSWORD_BYTES_MAX as u64 + 5;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most as usize + 1));
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(io)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err(fault("it contains no password", format)),
        Ok(_) if line.len() > PASSWORD_BYTES_MAX => {
            let error = format!("a password has at most {PASSWORD_BYTES_MAX} bytes");
            Err(fault(&error, format))
        }
        Ok(password) => Ok(SecretText::new(password.to_owned())),
        Err(_) => Err(fault("it is not UTF-8", format)),
    }
}
