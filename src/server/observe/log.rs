//! The server's log: one event a line, as text or as JSON, without control characters, to stderr or
//! to a file that is rotated. While an operator types at the console, its lines stand above what is
//! typed. One thread writes; a thread that logs never waits for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::clean;
use crate::config::{Config, LogFormat, LogRules};
use crate::home::{FileError, Home};
use crate::sync::{Mutex, MutexGuard, Rank};
use crate::terminal::Printer;

struct Sink;

/// A line on its way to the log's thread.
enum Entry {
    Line {
        time: Timestamp,
        level: Level,
        text: String,
    },
    /// Lines go to the console's printer from here on.
    Console(Printer),
    /// Lines go to stderr again. Everything before is written once the sender hangs up.
    Plain(SyncSender<()>),
}

/// The way to the log's thread; the first start sets it.
static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();

/// Lines that did not fit into the queue and that nobody has been told of yet.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// What the log's thread is at: the time since when it has been writing one line, in milliseconds
/// since the start and at least 1; 0 while it waits for lines.
static WRITING_SINCE_MS: AtomicU64 = AtomicU64::new(0);

/// How lines look, and the file that they go to. The log's thread takes it up before the next line.
static NEXT_SHAPE: Mutex<Option<Shape>> = Mutex::new(Rank::Log, None);

/// Whether addresses of people are written.
static ADDRESSES: AtomicBool = AtomicBool::new(true);

/// Lines that wait for the log's thread. Further ones are dropped and counted, so that a stalled
/// stderr or disk stops nobody who logs.
const WAITING_MAX: usize = 10_000;

/// At the end of the console or the server, waiting lines get this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// One line that takes longer than this is a log that nobody reads.
const STALL_MS: u64 = 5_000;

#[derive(Default)]
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

/// What the log's thread owns.
#[derive(Default)]
struct Writer {
    shape: Shape,
    console: Option<Printer>,
}

/// Events up to `level` go to stderr from now on, panics of threads too.
///
/// # Errors
/// The operating system gives no thread.
pub fn start(level: LevelFilter) -> io::Result<()> {
    let (queue, entries) = sync_channel(WAITING_MAX);
    // A second start in one process keeps the first.
    if QUEUE.set(queue).is_ok() {
        now_ms();
        thread::Builder::new().name("log".into()).spawn(move || write_all(&entries))?;
        let _ = log::set_logger(&Sink);
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    }
    log::set_max_level(level);
    Ok(())
}

/// As the configuration wants it from now on; `level` is the command line's, which wins. A file's
/// name is taken from `home`.
///
/// # Errors
/// The file cannot be opened; the log stays as it was.
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
    *next_shape() = Some(Shape { format: rules.format, file });
    log::set_max_level(level.unwrap_or(rules.level));
    Ok(())
}

/// The same for all of the configuration's keys about the log.
///
/// # Errors
/// The file cannot be opened.
pub fn apply(config: &Config, level: Option<LevelFilter>, home: &Home) -> anyhow::Result<()> {
    show_addresses(config.log_ip);
    configure(&config.log, level, home.dir()).context("cannot write the log")
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

/// Lines go to the console's printer from now on.
pub fn print_with(printer: Printer) {
    if let Some(queue) = QUEUE.get() {
        // Where the queue is full nobody reads the terminal either.
        let _ = queue.try_send(Entry::Console(printer));
    }
}

/// Lines go to stderr again. Waits until those before are written, for two seconds at most.
pub fn print_plainly() {
    let (ending, ended) = sync_channel(0);
    let deadline = Instant::now() + PATIENCE;
    let mut entry = Entry::Plain(ending);
    let Some(queue) = QUEUE.get() else { return };
    while let Err(TrySendError::Full(again)) = queue.try_send(entry) {
        if Instant::now() >= deadline {
            return;
        }
        entry = again;
        thread::sleep(Duration::from_millis(5));
    }
    // It ends by hanging up, whether everything was printed or not.
    let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
}

/// Whether lines are written: none has been under way for more than five seconds.
pub fn is_read() -> bool {
    match WRITING_SINCE_MS.load(Ordering::Relaxed) {
        0 => true,
        since => now_ms().saturating_sub(since) < STALL_MS,
    }
}

/// Milliseconds since the log was started, at least 1.
fn now_ms() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

fn next_shape() -> MutexGuard<'static, Option<Shape>> {
    NEXT_SHAPE.lock()
}

/// The log's thread: the only one that waits for a disk, a pipe or a terminal to take a line.
fn write_all(entries: &Receiver<Entry>) {
    let mut writer = Writer::default();
    for entry in entries {
        WRITING_SINCE_MS.store(now_ms(), Ordering::Relaxed);
        if let Some(shape) = next_shape().take() {
            writer.shape = shape;
        }
        match entry {
            Entry::Line { time, level, text } => writer.write(time, level, &text),
            Entry::Console(printer) => writer.console = Some(printer),
            // The end of the printer is part of what is waited for.
            Entry::Plain(ending) => {
                writer.console = None;
                drop(ending);
            }
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let text =
                format!("{dropped} log lines were dropped: the log was not read fast enough");
            writer.write(Timestamp::now(), Level::Warn, &text);
        }
        WRITING_SINCE_MS.store(0, Ordering::Relaxed);
    }
}

impl Writer {
    /// Writes to the file, or else to the console, or else to stderr.
    fn write(&mut self, time: Timestamp, level: Level, text: &str) {
        let time = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let level = level.as_str().to_lowercase();
        let line = match self.shape.format {
            LogFormat::Text => format!("{time} {level} {text}"),
            LogFormat::Json => {
                serde_json::json!({"time": time, "level": level, "text": text}).to_string()
            }
        };
        if let Some(file) = &mut self.shape.file
            && file.write(&line).is_ok()
        {
            return;
        }
        if self.console.as_mut().is_some_and(|console| console.print(&line)) {
            return;
        }
        // A log that cannot be written is no reason to stop.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
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
        if self.is_full(line) {
            // Another program may have emptied it.
            self.bytes = self.file.metadata()?.len();
            if self.is_full(line) {
                self.rotate()?;
            }
        }
        self.bytes += line.len() as u64 + 1;
        self.file.write_all(format!("{line}\n").as_bytes())
    }

    fn is_full(&self, line: &str) -> bool {
        self.bytes > 0 && self.bytes + line.len() as u64 + 1 > self.bytes_max
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
        let text = clean::line(&record.args().to_string());
        let line = Entry::Line { time: Timestamp::now(), level: record.level(), text };
        if QUEUE.get().is_none_or(|queue| queue.try_send(line).is_err()) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
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
        // Another program has emptied it: there is room again, and nothing is renamed.
        fs::write(folder.path().join("log"), "").unwrap();
        log.write("six again").unwrap();
        assert_eq!(read("log"), "six again\n");
        assert_eq!(read("log.1"), "four four four four four\n");
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
