//! Output of commands: results on stdout, other texts on stderr. A closed pipe (`| head -1`) stops
//! no command and shows only in the exit code. A full disk is an error.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Prints a line to stdout, as `println!` does.
macro_rules! out {
    ($($text:tt)+) => { $crate::print::result(format_args!("{}\n", format_args!($($text)+))) };
}

/// Prints a line to stderr, as `eprintln!` does.
macro_rules! err {
    ($($text:tt)+) => { $crate::print::aside(format_args!("{}\n", format_args!($($text)+))) };
}

pub(crate) use {err, out};

/// Whether the reader of stdout has closed it early.
static CUT: AtomicBool = AtomicBool::new(false);

/// A result that could not be printed. What a command does is done before it prints the result.
#[derive(Debug, thiserror::Error)]
#[error("stdout: {0}")]
pub struct OutputError(io::Error);

/// Prints a result.
///
/// # Errors
/// Stdout accepts nothing, as on a full disk.
pub fn result(text: impl fmt::Display) -> Result<(), OutputError> {
    match write(io::stdout().lock(), text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            CUT.store(true, Ordering::Relaxed);
            Ok(())
        }
        written => written.map_err(OutputError),
    }
}

/// Returns whether a result was cut off. The job continues; only its exit code shows it.
pub fn is_cut() -> bool {
    CUT.load(Ordering::Relaxed)
}

/// Prints a line to stdout for programs that wait for it; errors are ignored.
pub fn signal(text: impl fmt::Display) {
    let _ = write(io::stdout().lock(), text);
}

/// Prints a question or a remark to stderr; errors are ignored.
pub fn aside(text: impl fmt::Display) {
    let _ = write(io::stderr().lock(), text);
}

fn write(mut to: impl Write, text: impl fmt::Display) -> io::Result<()> {
    write!(to, "{text}").and_then(|()| to.flush())
}

/// Time that the end waits for stderr.
const ERR_PATIENCE: Duration = Duration::from_millis(500);

/// Prints to stderr at the end of a program, unless that is a full pipe that nobody reads.
pub fn err_if_read(text: String) {
    let (done, is_done) = mpsc::channel();
    let write = move || {
        aside(text);
        // The caller may have given up.
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(ERR_PATIENCE);
    }
}
