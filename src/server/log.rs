//! The server's log: one event a line on stderr, without control characters. While an operator
//! types at the console, its lines stand above what is typed.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};

use crate::clean;
use crate::terminal::Printer;

struct Stderr;

/// The way to the console's printer, and word of its end.
static CONSOLE: Mutex<Option<(SyncSender<String>, Receiver<()>)>> = Mutex::new(None);

/// Lines that wait for the console's terminal; more than these are lost, and nobody waits.
const WAITING_MAX: usize = 1_000;

/// What waits for the console is given this long when the console ends.
const PATIENCE: Duration = Duration::from_millis(500);

/// Events up to `level` go to stderr from now on.
pub fn start(level: LevelFilter) {
    // A second start in one process keeps the first.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(level);
}

/// Whether addresses of people are written.
static ADDRESSES: AtomicBool = AtomicBool::new(true);

pub fn show_addresses(show: bool) {
    ADDRESSES.store(show, Ordering::Relaxed);
}

/// An address as the log may have it.
pub fn address(address: impl std::fmt::Display) -> String {
    match ADDRESSES.load(Ordering::Relaxed) {
        true => address.to_string(),
        false => "somewhere".to_owned(),
    }
}

/// Lines go to the console's printer from now on, on a thread of its own: whoever logs never waits
/// for a terminal.
pub fn print_with(mut printer: Printer) {
    let (lines, waiting) = sync_channel::<String>(WAITING_MAX);
    let (ending, ended) = sync_channel(0);
    let print = move || {
        let _ending: SyncSender<()> = ending;
        for line in waiting {
            if !printer.print(&line) {
                eprintln!("{line}");
            }
        }
    };
    if thread::Builder::new().name("log".into()).spawn(print).is_ok() {
        *console() = Some((lines, ended));
    }
}

/// Lines go to stderr again; those that wait are printed first.
pub fn print_plainly() {
    let ended = console().take().map(|(_, ended)| ended);
    if let Some(ended) = ended {
        // It ends by hanging up, whether everything was printed or not.
        let _ = ended.recv_timeout(PATIENCE);
    }
}

fn console() -> std::sync::MutexGuard<'static, Option<(SyncSender<String>, Receiver<()>)>> {
    CONSOLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("pychat")
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
            let level = record.level().as_str().to_lowercase();
            let line = format!("{time} {level} {}", clean::line(&record.args().to_string()));
            if let Some((console, _)) = &*console() {
                let _ = console.try_send(line);
                return;
            }
            // A log that nobody can read is no reason to stop.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }

    fn flush(&self) {}
}
