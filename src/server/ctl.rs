//! `pychat ctl`: the operator's words through a Unix socket (0600) in the home's data folder. One
//! line of JSON in, `{"words":["kick","bob"]}`, one line of JSON out.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub use super::operator::Reply;
use crate::fault::{Fault, code};
use crate::keyring::Home;

/// Who carries out the operator's words.
pub type Handler = Arc<dyn Fn(&[String]) -> Reply + Send + Sync>;

/// Bytes of one request or answer.
const LINE_BYTES_MAX: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);
/// These take their time with years of history.
const LONG_WORDS: [&str; 2] = ["retention", "erase"];
const LONG_PATIENCE: Duration = Duration::from_secs(600);
/// After a failure (no descriptors left, say) a pause instead of spinning.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    words: Vec<String>,
}

/// The socket's file, removed when dropped.
pub struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // What is gone already needs no removing.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens to operators. The home is locked, so a socket that is there is one that was left behind.
pub fn serve(home: &Home, handler: Handler) -> anyhow::Result<Socket> {
    let path = home.ctl_socket();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path)
        .with_context(|| format!("cannot listen on {}", path.display()))?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))?;
    let attend = move || {
        for stream in listener.incoming() {
            // Each on a thread of its own: a long sweep must not hold up a question of health.
            let begun = stream.and_then(|stream| {
                let handler = Arc::clone(&handler);
                let serve = move || {
                    if let Err(error) = attend(&stream, &handler) {
                        log::debug!("ctl: {error}");
                    }
                };
                thread::Builder::new().name("ctl".into()).spawn(serve)
            });
            if let Err(error) = begun {
                log::debug!("ctl: {error}");
                thread::sleep(PAUSE);
            }
        }
    };
    thread::Builder::new().name("ctl".into()).spawn(attend).context("cannot start ctl")?;
    Ok(Socket(path))
}

fn attend(stream: &UnixStream, handler: &Handler) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => handler(&request.words),
        Err(error) => Reply {
            ok: false,
            text: format!("malformed request: {error}"),
            data: serde_json::Value::Null,
        },
    };
    let mut answer = serde_json::to_vec(&reply)?;
    answer.push(b'\n');
    let mut stream = stream;
    stream.write_all(&answer)
}

/// Says `words` to the server of a home and prints its answer.
pub fn request(home: &Home, words: &[String], json: bool) -> anyhow::Result<ExitCode> {
    let reply = ask(home, words).map_err(|_| {
        let error = format!("no server runs in {}", home.dir().display());
        let hint = "pychat server starts it; --home DIR names another home";
        Fault::new(code::UNREACHABLE, error, hint)
    })?;
    if json {
        println!("{}", serde_json::to_string(&reply)?);
    } else if reply.ok {
        println!("{}", reply.text);
    } else {
        return Err(Fault::plain(code::OTHER, reply.text).into());
    }
    Ok(if reply.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says `words` to the server of a home.
pub fn ask(home: &Home, words: &[String]) -> anyhow::Result<Reply> {
    let mut stream = UnixStream::connect(home.ctl_socket())?;
    let word = words.first().map_or("", |word| word.trim_start_matches('/'));
    let patience = if LONG_WORDS.contains(&word) { LONG_PATIENCE } else { PATIENCE };
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(&Request { words: words.to_vec() })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut answer)?;
    serde_json::from_str(&answer).context("the server's answer is no answer")
}
