//! Where commands print: results on stdout, what is said beside them on stderr. A reader that has
//! seen enough (`| head -1`) is no error and stops nothing; a disk that is full is one.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// A line on stdout, written like `println!`.
macro_rules! out {
    ($($text:tt)+) => { $crate::print::result(format_args!("{}\n", format_args!($($text)+))) };
}

/// A line on stderr, written like `eprintln!`.
macro_rules! err {
    ($($text:tt)+) => { $crate::print::aside(format_args!("{}\n", format_args!($($text)+))) };
}

pub(crate) use {err, out};

/// Prints a result as it is.
pub fn result(text: impl fmt::Display) -> io::Result<()> {
    write(io::stdout().lock(), text)
}

/// Prints to stderr as it is: a question, or what is worth knowing. Where nobody reads it, it is
/// not missed.
pub fn aside(text: impl fmt::Display) {
    let _ = write(io::stderr().lock(), text);
}

fn write(mut to: impl Write, text: impl fmt::Display) -> io::Result<()> {
    match write!(to, "{text}").and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
