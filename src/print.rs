//! Where commands print: results on stdout, what is said beside them on stderr. A reader that has
//! seen enough (`| head -1`) stops nothing, and only the exit code shows it. A full disk is an
//! error.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A line on stdout, written like `println!`.
macro_rules! out {
    ($($text:tt)+) => { $crate::print::result(format_args!("{}\n", format_args!($($text)+))) };
}

/// A line on stderr, written like `eprintln!`.
macro_rules! err {
    ($($text:tt)+) => { $crate::print::aside(format_args!("{}\n", format_args!($($text)+))) };
}

pub(crate) use {err, out};

/// The reader of stdout is gone before it has read all.
static CUT: AtomicBool = AtomicBool::new(false);

/// Prints a result as it is.
pub fn result(text: impl fmt::Display) -> io::Result<()> {
    match write(io::stdout().lock(), text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            CUT.store(true, Ordering::Relaxed);
            Ok(())
        }
        written => written,
    }
}

/// Returns whether a result was cut off. The job goes on; only its exit code shows it.
pub fn is_cut() -> bool {
    CUT.load(Ordering::Relaxed)
}

/// Prints to stdout for programs that wait for it; nothing depends on it.
pub fn signal(text: impl fmt::Display) {
    let _ = write(io::stdout().lock(), text);
}

/// Prints to stderr as it is: a question, or what is worth knowing. Where nobody reads it, it is
/// not missed.
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
        // Nobody waits any more.
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(ERR_PATIENCE);
    }
}
