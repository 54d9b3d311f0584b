//! The server's log: one event a line, as text or as JSON, without control characters, to stderr or
//! to a file that is rotated. While an operator types at the console, its lines stand above what is
//! typed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};

use crate::clean;
use crate::config::{LogFormat, LogRules};
use crate::keyring::FileError;
use crate::print::err;
use crate::terminal::Printer;

struct Sink;

/// The way to the console's printer, and word of its end.
static CONSOLE: Mutex<Option<(SyncSender<String>, Receiver<()>)>> = Mutex::new(None);

/// How lines look, and the file that they go to.
static SHAPE: Mutex<Shape> = Mutex::new(Shape { format: LogFormat::Text, file: None });

/// Whether addresses of people are written.
static ADDRESSES: AtomicBool = AtomicBool::new(true);

/// Lines that wait for the console's terminal; more than these are lost, and nobody waits.
const WAITING_MAX: usize = 1_000;

/// What waits for the console is given this long when the console ends.
const PATIENCE: Duration = Duration::from_secs(2);

struct Shape {
    format: LogFormat,
    file: Option<Rotating>,
}

/// A file that is moved aside when it is full: `pychat.log.1` is the newest of the old ones.
struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: u32,
}

/// Events up to `level` go to stderr from now on.
pub fn start(level: LevelFilter) {
    // A second start in one process keeps the first.
    let _ = log::set_logger(&Sink);
    log::set_max_level(level);
}

/// As the configuration wants it from now on; `level` is the command line's, which wins. A file's name
/// is taken from `home`.
pub fn configure(
    rules: &LogRules,
    level: Option<LevelFilter>,
    home: &Path,
) -> Result<(), FileError> {
    let file = match &rules.file {
        Some(path) => {
            let path = home.join(path);
            Some(Rotating::open(path.clone(), rules).map_err(FileError::io(&path))?)
        }
        None => None,
    };
    *shape() = Shape { format: rules.format, file };
    log::set_max_level(level.unwrap_or(rules.level));
    Ok(())
}

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
                err!("{line}");
            }
        }
        // Its end is part of what is waited for.
        drop(printer);
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

fn shape() -> std::sync::MutexGuard<'static, Shape> {
    SHAPE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rotating {
    fn open(path: PathBuf, rules: &LogRules) -> io::Result<Rotating> {
        let (file, bytes) = Self::append(&path)?;
        Ok(Rotating { path, file, bytes, bytes_max: rules.bytes_max, files_max: rules.files_max })
    }

    fn append(path: &Path) -> io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 + 1 > self.bytes_max {
            self.rotate()?;
        }
        self.bytes += line.len() as u64 + 1;
        self.file.write_all(format!("{line}\n").as_bytes())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let old = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        // Somebody else may have moved it aside.
        if self.path.exists() {
            for number in (1..self.files_max).rev() {
                // One that is not there needs no moving.
                let _ = fs::rename(old(number), old(number + 1));
            }
            match self.files_max {
                0 => fs::remove_file(&self.path)?,
                _ => fs::rename(&self.path, old(1))?,
            }
        }
        (self.file, self.bytes) = Self::append(&self.path)?;
        Ok(())
    }
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("pychat")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let level = record.level().as_str().to_lowercase();
        let text = clean::line(&record.args().to_string());
        let mut shape = shape();
        let line = match shape.format {
            LogFormat::Text => format!("{time} {level} {text}"),
            LogFormat::Json => {
                serde_json::json!({"time": time, "level": level, "text": text}).to_string()
            }
        };
        if let Some(file) = &mut shape.file
            && file.write(&line).is_ok()
        {
            return;
        }
        drop(shape);
        if let Some((console, _)) = &*console() {
            let _ = console.try_send(line);
            return;
        }
        // A log that nobody can read is no reason to stop.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_moved_aside_and_few_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let rules = LogRules { bytes_max: 20, files_max: 2, ..LogRules::default() };
        let mut log = Rotating::open(path.clone(), &rules).unwrap();
        for line in ["one one one", "two two two", "three", "four four four four four", "five"] {
            log.write(line).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("log"), "five\n");
        assert_eq!(read("log.1"), "four four four four four\n");
        assert_eq!(read("log.2"), "two two two\nthree\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        drop(log);
        let mut log = Rotating::open(path, &rules).unwrap();
        log.write("six").unwrap();
        assert_eq!(read("log"), "five\nsix\n", "a start goes on");
        // Somebody else has moved it aside: a full one begins anew, and what is kept stays.
        fs::remove_file(folder.path().join("log")).unwrap();
        for line in ["seven seven", "eight eight eight"] {
            log.write(line).unwrap();
        }
        assert_eq!(read("log"), "eight eight eight\n");
        assert_eq!(read("log.1"), "seven seven\n");
        assert_eq!(read("log.2"), "four four four four four\n");
    }
}
