//! `pychat ctl`: commands of the operator through a Unix socket (0600) in the home's data folder,
//! and of readers through another one (0660). A request is one line of JSON,
//! `{"words":["kick","bob"]}`, and so is its answer.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub use super::reply::Reply;
use super::reply::{CONFIRMED, failed, misused};
use crate::chat::operator_commands::{self, Name, OperatorCommand};
use crate::fault::{Fault, code};
use crate::home::Home;
use crate::print::out;

/// Runs the operator's commands.
pub type Handler = Arc<dyn Fn(&[String]) -> Reply + Send + Sync>;

const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the longest answer: a list of ten thousand users, as text and as data.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Time limit for reading a request, and for sending its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time limit of commands that may take minutes.
const LONG_PATIENCE: Duration = Duration::from_secs(600);
/// Largest number of concurrent requests of readers. Each has a thread. Further ones are refused.
const READERS_MAX: usize = 32;
/// Pause after a failed accept, for example without free descriptors.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    words: Vec<String>,
}

/// The file of the socket, removed when dropped.
pub struct Socket {
    path: PathBuf,
    /// The device and inode of the file. While the socket listens, no other file has them.
    file: (u64, u64),
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have removed the file, and another server may listen on the path.
        if file_at(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns the device and inode of a file.
fn file_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|about| (about.dev(), about.ino()))
}

/// Listens to operators. The home is locked, so that an existing socket is left over from an
/// earlier server.
///
/// # Errors
/// The socket cannot be made, or a thread cannot be started.
pub fn serve(home: &Home, handler: Handler) -> anyhow::Result<Socket> {
    open(home.ctl_socket(), Permissions::from_mode(0o600), usize::MAX, handler)
}

/// Listens to readers. The group of the socket is that of a folder with the setgid bit.
///
/// # Errors
/// The path has a file of another kind, another server listens there, the socket cannot be made, or
/// a thread cannot be started.
pub fn serve_readers(home: &Home, path: &Path, handler: Handler) -> anyhow::Result<Socket> {
    check_readers(home, path)?;
    let whole = home.dir().join(path);
    // The server of this home has ended, but the path may be that of another home, too.
    if UnixStream::connect(&whole).is_ok() {
        let error =
            format!("read_socket cannot be {}: another server listens there", whole.display());
        let hint = "give each server a read_socket of its own";
        return Err(Fault::new(code::UNREADABLE, error, hint).into());
    }
    open(whole, Permissions::from_mode(0o660), READERS_MAX, handler)
}

/// Checks that the socket for readers replaces no file.
///
/// # Errors
/// The path belongs to the home, or to a file that is no socket.
pub fn check_readers(home: &Home, path: &Path) -> Result<(), Fault> {
    let whole = home.dir().join(path);
    let found = fs::symlink_metadata(&whole);
    let is_other = found.is_ok_and(|about| !about.file_type().is_socket());
    if !is_other && !home.has_own(path) {
        return Ok(());
    }
    let error =
        format!("read_socket cannot be {}: the path belongs to another file", whole.display());
    let hint = "name a path in a folder of its own, such as /run/pychat-read/ctl.sock";
    Err(Fault::new(code::UNREADABLE, error, hint))
}

/// Listens on a path. `requests_max` requests are answered at the same time; others are refused.
fn open(
    path: PathBuf,
    mode: Permissions,
    requests_max: usize,
    handler: Handler,
) -> anyhow::Result<Socket> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path)
        .with_context(|| format!("cannot listen on {}", path.display()))?;
    fs::set_permissions(&path, mode)
        .with_context(|| format!("cannot protect {}", path.display()))?;
    let file = file_at(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let requests = Arc::new(AtomicUsize::new(0));
    let accept = move || {
        for stream in listener.incoming() {
            // Each request has a thread, so that a long sweep does not delay a health check.
            let begun = stream.and_then(|stream| {
                let Some(turn) = Turn::take(&requests, requests_max) else {
                    return refuse(&stream);
                };
                let handler = Arc::clone(&handler);
                let serve = move || {
                    // The closure owns the turn until the answer is sent.
                    let _turn = turn;
                    if let Err(error) = answer(&stream, &handler) {
                        log::debug!("ctl: {error}");
                    }
                };
                thread::Builder::new().name("ctl".into()).spawn(serve).map(drop)
            });
            if let Err(error) = begun {
                log::debug!("ctl: {error}");
                thread::sleep(PAUSE);
            }
        }
    };
    thread::Builder::new().name("ctl".into()).spawn(accept).context("cannot start ctl")?;
    Ok(Socket { path, file })
}

/// One of the concurrent requests of a socket.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    /// Returns a turn; `None` if `requests_max` requests are in progress.
    fn take(requests: &Arc<AtomicUsize>, requests_max: usize) -> Option<Turn> {
        let before = requests.fetch_add(1, Ordering::Relaxed);
        let turn = Turn(Arc::clone(requests));
        // A surplus turn is dropped here, and no longer counted.
        (before < requests_max).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Refuses a request without reading it or waiting: the answer fits into the empty buffer of the
/// socket. A closed connection is no error.
fn refuse(mut stream: &UnixStream) -> io::Result<()> {
    log::debug!("ctl: request refused: {READERS_MAX} requests are in progress");
    let reply = failed("too many requests at the same time", "try again in a moment");
    stream.set_nonblocking(true)?;
    let _ = stream.write_all(&line_of(&reply)?);
    Ok(())
}

fn line_of(reply: &Reply) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(line)
}

fn answer(stream: &UnixStream, handler: &Handler) -> io::Result<()> {
    let reply = match read(Timed::new(stream, PATIENCE))? {
        Ok(words) => handler(&words),
        Err(error) => misused(&format!("malformed request: {error}")),
    };
    Timed::new(stream, PATIENCE).write_all(&line_of(&reply)?)
}

/// A connection with one time limit for all reads and writes: with a limit for each, a client that
/// sends a byte now and then would occupy its thread forever.
struct Timed<'a> {
    stream: &'a UnixStream,
    end: Instant,
}

impl Timed<'_> {
    fn new(stream: &UnixStream, patience: Duration) -> Timed<'_> {
        Timed { stream, end: Instant::now() + patience }
    }

    /// Returns the time that is left.
    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Reads a request.
pub fn read(stream: impl Read) -> io::Result<serde_json::Result<Vec<String>>> {
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    Ok(serde_json::from_str::<Request>(&line).map(|request| request.words))
}

/// Sends `words` to a server and prints its answer. `agrees` asks the operator to confirm a
/// command, and returns `None` if there is no terminal.
///
/// # Errors
/// No server runs there, it does not answer, or it refuses the command.
pub fn request(
    place: &Place,
    words: &[String],
    json: bool,
    agrees: impl FnOnce(&str) -> anyhow::Result<Option<bool>>,
) -> anyhow::Result<ExitCode> {
    let run = |words: &[String]| {
        ask_at(place, words)?.ok_or_else(|| {
            let error = format!("no server runs {}", place.shown);
            let hint = "pychat server starts it; --home DIR names another home";
            Fault::new(code::UNREACHABLE, error, hint)
        })
    };
    let mut reply = run(words)?;
    if let Some(question) = reply.question.as_ref().filter(|_| !json) {
        match agrees(question)? {
            Some(true) => reply = run(&[words, &[CONFIRMED.to_owned()]].concat())?,
            Some(false) => return Err(Fault::plain(code::OTHER, "nothing was done").into()),
            None => {}
        }
    }
    if json {
        out!("{}", serde_json::to_string(&reply)?)?;
    } else if reply.ok {
        out!("{}", reply.text)?;
    } else if reply.misused {
        let hint = "pychat ctl --help lists the words and what follows them";
        return Err(Fault::new(code::USAGE, reply.text, hint).into());
    } else {
        let hint = reply.hint.unwrap_or_else(|| next(words).to_owned());
        return Err(Fault::new(code::OTHER, reply.text, hint).into());
    }
    Ok(match reply.ok {
        true => ExitCode::SUCCESS,
        false if reply.misused => code::USAGE.into(),
        false => ExitCode::FAILURE,
    })
}

/// Returns the words with the confirmation at their end, if their command asks for one.
pub fn confirmed(mut words: Vec<String>) -> Vec<String> {
    if called(&words).is_some_and(OperatorCommand::may_ask) {
        words.push(CONFIRMED.to_owned());
    }
    words
}

/// Returns the command that the words call.
fn called(words: &[String]) -> Option<&'static OperatorCommand> {
    let word = words.first().map_or("", |word| word.trim_start_matches('/'));
    operator_commands::find(&word.to_lowercase())
}

/// Returns the hint after a failed command.
fn next(words: &[String]) -> &'static str {
    match called(words).map(|command| command.name) {
        Some(Name::Kick | Name::Ban | Name::Mute | Name::Op | Name::Deop) => {
            "pychat ctl users shows who is registered, and who is connected"
        }
        Some(Name::Unban | Name::Unmute) => "pychat ctl banlist lists bans and mutes",
        Some(Name::Reload) => "pychat check lists all faults of this home",
        _ => "the server's log has the details",
    }
}

/// The socket of a server.
pub struct Place {
    socket: PathBuf,
    /// The server's home or the socket, for errors.
    shown: String,
}

impl Place {
    /// The socket of a home, for its operator.
    pub fn of(home: &Home) -> Place {
        Place { socket: home.ctl_socket(), shown: format!("in {}", home.dir().display()) }
    }

    /// A socket for readers.
    pub fn at(socket: PathBuf) -> Place {
        Place { shown: format!("at {}", socket.display()), socket }
    }
}

/// Sends `words` to the server of a home; none where no server runs.
///
/// # Errors
/// The server does not answer, or the account may not use the socket.
pub fn ask(home: &Home, words: &[String]) -> Result<Option<Reply>, Fault> {
    ask_at(&Place::of(home), words)
}

fn ask_at(place: &Place, words: &[String]) -> Result<Option<Reply>, Fault> {
    let slow = called(words).is_some_and(OperatorCommand::is_slow);
    ask_within(place, words, if slow { LONG_PATIENCE } else { PATIENCE })
}

fn ask_within(place: &Place, words: &[String], patience: Duration) -> Result<Option<Reply>, Fault> {
    let fault = |error: io::Error| trouble(place, &error, patience);
    let mut stream = match UnixStream::connect(&place.socket) {
        Ok(stream) => stream,
        // A killed server leaves its socket behind.
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(fault(error)),
    };
    stream.set_read_timeout(Some(patience)).map_err(fault)?;
    stream.set_write_timeout(Some(patience)).map_err(fault)?;
    let mut line = serde_json::to_vec(&Request { words: words.to_vec() })
        .expect("words are written as JSON whatever they are");
    line.push(b'\n');
    if line.len() as u64 > REQUEST_BYTES_MAX {
        let error = format!("a request has at most {} KiB", REQUEST_BYTES_MAX >> 10);
        return Err(Fault::new(code::USAGE, error, "say it in fewer words"));
    }
    match stream.write_all(&line) {
        // A server that refuses a request does not read it, but has sent its answer.
        Err(error)
            if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
        sent => sent.map_err(fault)?,
    }
    let mut answer = Vec::new();
    let mut limited = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    limited.read_until(b'\n', &mut answer).map_err(fault)?;
    if answer.last() != Some(&b'\n') {
        return Err(match answer.len() as u64 >= ANSWER_BYTES_MAX {
            true => {
                let error = format!("the answer is longer than {} MiB", ANSWER_BYTES_MAX >> 20);
                Fault::new(code::OTHER, error, "it was carried out; ask for less of it")
            }
            false => fault(ErrorKind::UnexpectedEof.into()),
        });
    }
    serde_json::from_slice(&answer).map(Some).map_err(|error| {
        let hint = "are this program and the server of the same version?";
        Fault::new(code::OTHER, format!("the server's answer is no answer: {error}"), hint)
    })
}

/// Returns the fault for an error of the connection to a server.
fn trouble(place: &Place, error: &io::Error, patience: Duration) -> Fault {
    let Place { socket, shown } = place;
    match error.kind() {
        ErrorKind::PermissionDenied => Fault::new(
            code::UNREADABLE,
            format!("{} is not for this account", socket.display()),
            "run it as the account that the server runs under, or as root",
        ),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Fault::new(
            code::UNREACHABLE,
            format!("the server {shown} did not answer within {} s", patience.as_secs()),
            "it may still carry it out; its log says what it does",
        ),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            Fault::new(
                code::UNREACHABLE,
                format!("the server {shown} ended before it answered"),
                "its log says why; pychat server starts it again",
            )
        }
        _ => Fault::plain(code::OTHER, format!("{}: {error}", socket.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::yes;
    use super::*;

    /// Returns the fault if the server handles a request in this way, within this time.
    fn fault_of(within_s: u64, server: impl FnOnce(UnixStream) + Send + 'static) -> Fault {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        home.make_folders().unwrap();
        let listener = UnixListener::bind(home.ctl_socket()).unwrap();
        let serving = thread::spawn(move || server(listener.accept().unwrap().0));
        let fault = ask_within(&Place::of(&home), &["stats".into()], Duration::from_secs(within_s))
            .unwrap_err();
        serving.join().unwrap();
        fault
    }

    #[test]
    fn each_failure_has_its_own_words_and_code() {
        let silent = |stream: UnixStream| {
            // Until the other side gives up.
            let _ = io::copy(&mut &stream, &mut io::sink());
        };
        let ends = |stream: UnixStream| drop(BufReader::new(stream).read_line(&mut String::new()));
        let endless = |mut stream: UnixStream| while stream.write_all(&[b'x'; 1 << 16]).is_ok() {};
        let garbage = |mut stream: UnixStream| stream.write_all(b"tea\n").unwrap();
        for (fault, words, code) in [
            (fault_of(1, silent), "did not answer within 1 s", code::UNREACHABLE),
            (fault_of(60, ends), "ended before it answered", code::UNREACHABLE),
            (fault_of(60, endless), "the answer is longer than 16 MiB", code::OTHER),
            (fault_of(60, garbage), "is no answer", code::OTHER),
        ] {
            assert!(fault.error.contains(words), "{words}: {fault}");
            assert!(fault.hint.is_some() && fault.code == code, "{fault}");
        }
        let denied = ErrorKind::PermissionDenied.into();
        let fault = trouble(&Place::of(&Home::new("/srv/chat")), &denied, PATIENCE);
        assert!(fault.error.contains("ctl.sock is not for this account"), "{fault}");
        assert_eq!(fault.code, code::UNREADABLE);
    }

    /// Listens to readers on a socket in a folder, and answers each with the same text.
    fn readers(home: &Home, folder: &Path, text: &'static str) -> anyhow::Result<Socket> {
        let handler: Handler = Arc::new(move |_: &[String]| yes(text));
        serve_readers(home, &folder.join("read.sock"), handler)
    }

    #[test]
    fn a_surplus_of_readers_is_refused_until_one_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        let _socket = readers(&home, folder.path(), "tea").unwrap();
        let path = folder.path().join("read.sock");
        let place = Place::at(path.clone());
        let ask = || ask_at(&place, &["stats".into()]).unwrap().unwrap();
        let held = || UnixStream::connect(&path).unwrap();
        let mut held: Vec<_> = (0..READERS_MAX).map(|_| held()).collect();
        for _ in 0..3 {
            let reply = ask();
            assert!(!reply.ok && reply.text.contains("too many requests"), "{}", reply.text);
            assert!(reply.hint.is_some());
        }
        held.pop();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut reply = ask();
        while !reply.ok && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
            reply = ask();
        }
        assert_eq!(reply.text, "tea");
    }

    #[test]
    fn a_request_that_arrives_byte_by_byte_has_one_time_limit() {
        let (stream, mut other) = UnixStream::pair().unwrap();
        let sending = thread::spawn(move || {
            for _ in 0..1_000 {
                if other.write_all(b" ").is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let error = read(Timed::new(&stream, Duration::from_millis(100))).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        drop(stream);
        sending.join().unwrap();
    }

    #[test]
    fn a_socket_of_another_running_server_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| Home::new(folder.path().join(name)));
        let path = folder.path().join("read.sock");
        let answers = || ask_at(&Place::at(path.clone()), &["stats".into()]).unwrap();
        let first = readers(&one, folder.path(), "tea").unwrap();
        let refused = readers(&other, folder.path(), "coffee").err().unwrap();
        assert!(refused.to_string().contains("another server listens there"), "{refused}");
        assert_eq!(answers().unwrap().text, "tea");
        // Another server now listens on the path: the end of the first one leaves its socket.
        fs::remove_file(&path).unwrap();
        let second = readers(&other, folder.path(), "coffee").unwrap();
        drop(first);
        assert_eq!(answers().unwrap().text, "coffee");
        drop(second);
        assert!(!path.exists(), "the control");
    }

    #[test]
    fn no_server_is_no_failure_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        assert!(ask(&home, &["stats".into()]).unwrap().is_none());
        home.make_folders().unwrap();
        drop(UnixListener::bind(home.ctl_socket()).unwrap());
        assert!(ask(&home, &["stats".into()]).unwrap().is_none());
        let fault = {
            let _listener = {
                fs::remove_file(home.ctl_socket()).unwrap();
                UnixListener::bind(home.ctl_socket()).unwrap()
            };
            ask(&home, &["x".repeat(REQUEST_BYTES_MAX as usize)]).unwrap_err()
        };
        assert_eq!(fault.code, code::USAGE);
    }
}
