//! The server's log: one event a line, as text or JSON, without control characters, to stderr or to
//! a file that is rotated. While the operator has a console, log lines appear above the input line.
//! One thread writes; threads that log never wait for it.

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
use rustix::fs::{OFlags, fcntl_setfl, fstat};

use crate::clean;
use crate::config::{Config, LogFormat, LogRules};
use crate::fault::{Fault, code};
use crate::file::FileError;
use crate::home::Home;
use crate::sync::{Mutex, MutexGuard, Rank};
use crate::terminal::Printer;

struct Sink;

/// An entry of the log thread's queue.
enum Entry {
    Line {
        time: Timestamp,
        level: Level,
        text: String,
    },
    /// Switches to the console's printer.
    Console(Printer),
    /// Switches back to stderr. All earlier lines are written once the sender hangs up.
    Plain(SyncSender<()>),
}

/// The queue of the log thread, set by the first start.
static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();

/// Number of lines that did not fit in the queue and were not reported yet.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Start of the write in progress, in milliseconds since the start of the log and at least 1; 0
/// while the thread waits for lines.
static WRITING_SINCE_MS: AtomicU64 = AtomicU64::new(0);

/// The next format and file, which the thread takes before its next line.
static NEXT_SHAPE: Mutex<Option<Shape>> = Mutex::new(Rank::Log, None);

/// Whether users' addresses are logged.
static ADDRESSES: AtomicBool = AtomicBool::new(true);

/// Length of the queue. Further lines are dropped and counted, so that a stalled stderr or disk
/// stops no thread that logs.
const WAITING_MAX: usize = 10_000;

/// Time limit for queued lines at the end of the console or the server.
const PATIENCE: Duration = Duration::from_secs(2);

/// After this time for one line, the log counts as stalled.
const STALL_MS: u64 = 5_000;

#[derive(Default)]
struct Shape {
    format: LogFormat,
    file: Option<Rotating>,
}

/// A log file that is renamed when it is full: `pychat.log.1` is the newest renamed file.
struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: u32,
}

/// State of the log thread.
#[derive(Default)]
struct Writer {
    shape: Shape,
    console: Option<Printer>,
    /// Whether stderr is connected to journald, which reads a priority at the start of each line.
    to_journal: bool,
}

/// Starts the log: events up to `level`, and panics, go to stderr.
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

/// A log that a configuration wants, with its file open: taking it up cannot fail.
pub struct Prepared {
    shape: Shape,
    level: LevelFilter,
    addresses: bool,
}

/// Opens the log that the configuration wants; `level` is the command line's, which wins. A file's
/// name is taken from `home`.
///
/// # Errors
/// The file cannot be opened; the log stays as it was.
pub fn prepare(
    config: &Config,
    level: Option<LevelFilter>,
    home: &Home,
) -> anyhow::Result<Prepared> {
    let rules = &config.log;
    let open = |path: &PathBuf| {
        check_file(home, path)?;
        let path = home.dir().join(path);
        Ok::<_, anyhow::Error>(Rotating::open(path.clone(), rules).map_err(FileError::io(&path))?)
    };
    let file = rules.file.as_ref().map(open).transpose().context("cannot write the log")?;
    let shape = Shape { format: rules.format, file };
    Ok(Prepared { shape, level: level.unwrap_or(rules.level), addresses: config.log_ip })
}

/// Checks that the log goes to a file of its own.
///
/// # Errors
/// The home has other files there, which the log would damage.
pub fn check_file(home: &Home, path: &Path) -> Result<(), Fault> {
    if !home.has_own(path) {
        return Ok(());
    }
    let error = format!("the log cannot be written to {}: the file is the home's", path.display());
    let hint = "choose another file in config.json (log.file), such as data/pychat.log";
    Err(Fault::new(code::UNREADABLE, error, hint))
}

impl Prepared {
    /// The log is as prepared from now on.
    pub fn take_up(self) {
        ADDRESSES.store(self.addresses, Ordering::Relaxed);
        *next_shape() = Some(self.shape);
        log::set_max_level(self.level);
    }
}

/// Returns an address as the configuration allows it in the log.
pub fn address(address: impl std::fmt::Display) -> String {
    match ADDRESSES.load(Ordering::Relaxed) {
        true => address.to_string(),
        false => "somewhere".to_owned(),
    }
}

/// Prints further lines through the console's printer.
pub fn print_with(printer: Printer) {
    if let Some(queue) = QUEUE.get() {
        // If the queue is full, nobody reads the terminal either.
        let _ = queue.try_send(Entry::Console(printer));
    }
}

/// Prints further lines to stderr. Waits for queued lines, for two seconds at most.
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
    // Ends when the writer hangs up, or after the time limit.
    let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
}

/// Returns whether lines are written: no write has been in progress for more than five seconds.
pub fn is_read() -> bool {
    match WRITING_SINCE_MS.load(Ordering::Relaxed) {
        0 => true,
        since => now_ms().saturating_sub(since) < STALL_MS,
    }
}

/// Returns milliseconds since the start of the log, at least 1.
fn now_ms() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

fn next_shape() -> MutexGuard<'static, Option<Shape>> {
    NEXT_SHAPE.lock()
}

/// Returns whether stderr is connected to journald: `$JOURNAL_STREAM` names its device and inode.
/// The variable alone is not enough, because a child with a redirected stderr inherits it.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(about) = fstat(io::stderr()) else { return false };
    named == format!("{}:{}", about.st_dev, about.st_ino)
}

/// The priority of syslog (RFC 5424, table 2).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Runs the log thread, the only one that waits for a disk, a pipe or a terminal.
fn write_all(entries: &Receiver<Entry>) {
    let mut writer = Writer { to_journal: is_journal(), ..Writer::default() };
    for entry in entries {
        WRITING_SINCE_MS.store(now_ms(), Ordering::Relaxed);
        if let Some(shape) = next_shape().take() {
            writer.shape = shape;
        }
        match entry {
            Entry::Line { time, level, text } => writer.write(time, level, &text),
            Entry::Console(printer) => writer.console = Some(printer),
            // The caller waits for the end of the printer too.
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
    /// Writes a line to the file, or else to the console, or else to stderr.
    fn write(&mut self, time: Timestamp, level: Level, text: &str) {
        let (time, number) = (time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), priority(level));
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
        // A log that cannot be written does not stop the server.
        let _ = match (self.to_journal, self.shape.format) {
            (false, _) => writeln!(io::stderr().lock(), "{line}"),
            (true, LogFormat::Json) => writeln!(io::stderr().lock(), "<{number}>{line}"),
            // The journal records the time itself.
            (true, LogFormat::Text) => writeln!(io::stderr().lock(), "<{number}>{level} {text}"),
        };
    }
}

impl Rotating {
    fn open(path: PathBuf, rules: &LogRules) -> io::Result<Rotating> {
        let (file, bytes) = Self::append(&path)?;
        Ok(Rotating { path, file, bytes, bytes_max: rules.bytes_max, files_max: rules.files_max })
    }

    fn append(path: &Path) -> io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        // A pipe that nobody reads is an error, and not waited for.
        let file = options.custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
        fcntl_setfl(&file, OFlags::APPEND)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.is_full(line) {
            // Another program may have truncated it.
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
        // Another program may have renamed it.
        if self.path.exists() {
            for number in (1..self.files_max).rev() {
                // A missing number needs no renaming.
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
        // Another program has truncated it: there is room again, and nothing is renamed.
        fs::write(folder.path().join("log"), "").unwrap();
        log.write("six again").unwrap();
        assert_eq!(read("log"), "six again\n");
        assert_eq!(read("log.1"), "four four four four four\n");
        // Another program has renamed it: a new file is started, and renamed ones stay.
        fs::remove_file(folder.path().join("log")).unwrap();
        for line in ["seven seven", "eight eight eight"] {
            log.write(line).unwrap();
        }
        assert_eq!(read("log"), "eight eight eight\n");
        assert_eq!(read("log.1"), "seven seven\n");
        assert_eq!(read("log.2"), "four four four four four\n");
    }
}
