//! The server's log: one event a line on stderr, without control characters.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

use crate::clean;

struct Stderr;

/// Events up to `level` go to stderr from now on.
pub fn start(level: LevelFilter) {
    // A second start in one process keeps the first.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(level);
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("pychat")
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
            let level = record.level().as_str().to_lowercase();
            let text = clean::line(&record.args().to_string());
            // A log that nobody can read is no reason to stop.
            let _ = writeln!(std::io::stderr().lock(), "{time} {level} {text}");
        }
    }

    fn flush(&self) {}
}
