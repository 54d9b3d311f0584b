//! The client (`pychat::client::core`) for the Worker of a page (`web/page/core.js`): one buffer in,
//! a list of outputs out, and functions of the browser. The only unsafe code of pychat.
#![cfg(target_family = "wasm")]

mod browser;
mod outputs;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pychat::client::core::{Core, Start, Wrong};
use pychat::client::files::picture::{Decoded, Picture};
use pychat::client::transfer::TransferId;
use pychat::crypto::pin_channel::{Pin, PinChannel};
use pychat::crypto::{Fingerprint, Identity, KeyError, PublicKey};
use pychat::system::{disk, set_clock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use browser::{Blobs, Browser};
use outputs::{Kind, Outputs};

/// The folder of the profile among the files in memory.
const FOLDER: &str = "/profile";

#[derive(Default)]
struct State {
    /// The input of the Worker.
    buffer: Vec<u8>,
    core: Option<Core>,
    outputs: Outputs,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// A file that the page hands over.
#[derive(Deserialize)]
struct Handed {
    name: String,
    bytes: u64,
    /// Width and height of the picture that the browser has decoded.
    #[serde(default)]
    original: [u32; 2],
    /// Those of the small picture whose pixels follow this object.
    #[serde(default)]
    small: [u32; 2],
}

/// The configuration of the client.
#[derive(Deserialize)]
struct Config {
    name: String,
    host: String,
    port: u16,
    /// Fingerprint of the server's key, as in an invite.
    fingerprint: String,
    /// SPKI DER of the user's key, as base64.
    public: String,
}

/// The events, by number.
const OBJECT: u32 = 1;
const OPENED: u32 = 2;
const RECORD: u32 = 3;
const CLOSED: u32 = 4;
const ATTACH: u32 = 5;
const END: u32 = 6;
const DERIVED: u32 = 7;

/// Bytes of a server's fingerprint, and of the secret of a channel's key.
const SECRET_BYTES: usize = 32;

/// Returns the address of a buffer of so many bytes, which the next call reads.
#[unsafe(no_mangle)]
pub extern "C" fn space(bytes: usize) -> *mut u8 {
    STATE.with_borrow_mut(|state| {
        state.buffer.clear();
        state.buffer.resize(bytes, 0);
        state.buffer.as_mut_ptr()
    })
}

/// Adds a stored file: its path, of so many bytes, and its content are in the buffer.
#[unsafe(no_mangle)]
pub extern "C" fn load(path_bytes: usize) {
    STATE.with_borrow_mut(|state| {
        let buffer = std::mem::take(&mut state.buffer);
        let (path, bytes) = buffer.split_at(path_bytes.min(buffer.len()));
        disk::load(PathBuf::from(String::from_utf8_lossy(path).into_owned()), bytes.to_vec());
    });
}

/// Adds a file of this size whose upload may continue: its path is in the buffer. Returns the
/// number under which the Worker has its bytes.
#[unsafe(no_mangle)]
pub extern "C" fn chosen(bytes: f64) -> u32 {
    STATE.with_borrow_mut(|state| {
        let path = std::mem::take(&mut state.buffer);
        disk::put(PathBuf::from(String::from_utf8_lossy(&path).into_owned()), bytes as u64)
    })
}

/// Derives the secret of a channel's key. The buffer has the bytes after the number of a `Derive`
/// output. The next output is the secret; it is empty if the buffer is malformed.
#[unsafe(no_mangle)]
pub extern "C" fn derive() {
    STATE.with_borrow_mut(|state| {
        let buffer = Zeroizing::new(std::mem::take(&mut state.buffer));
        let root = derived(&buffer).unwrap_or_default();
        state.outputs.first(Kind::Key, root);
    });
}

/// Starts the client with the configuration in the buffer. The times are the time of day and that
/// since the Worker began, in milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn start(now_ms: f64, since_ms: f64) {
    browser::report_panics();
    disk::set_outside(Box::new(Blobs));
    set_clock(now_ms as i64, micros(since_ms));
    STATE.with_borrow_mut(|state| {
        let config = std::mem::take(&mut state.buffer);
        match opened(&config) {
            Ok(core) => state.core = Some(core),
            Err(problem) => state.outputs.push(Kind::Error, problem.into_bytes()),
        }
        state.run();
    });
}

/// Handles what has happened; its bytes are in the buffer. Without an event, handles the time and
/// continues long work.
#[unsafe(no_mangle)]
pub extern "C" fn input(event: u32, now_ms: f64, since_ms: f64) {
    set_clock(now_ms as i64, micros(since_ms));
    STATE.with_borrow_mut(|state| {
        let bytes = std::mem::take(&mut state.buffer);
        let Some(core) = &mut state.core else { return };
        match event {
            OBJECT => core.object(&String::from_utf8_lossy(&bytes)),
            OPENED => core.opened(),
            RECORD => core.record(bytes),
            CLOSED => core.closed(),
            ATTACH => core.attach(),
            END => core.end(),
            DERIVED => {
                let bytes = Zeroizing::new(bytes);
                if let Some((number, root)) = bytes.split_first_chunk() {
                    let root = root.try_into().ok().map(Zeroizing::new);
                    core.derived(u32::from_le_bytes(*number), root);
                }
            }
            _ => core.continue_work(),
        }
        state.run();
    });
}

/// Accepts a file from the page. The buffer has its description, of `description_bytes`, and the
/// pixels of its preview. Returns the number under which the Worker has its bytes, or 0 for a
/// refusal. The next output is its path or the refusal. An empty refusal asks the page to try again
/// later.
#[unsafe(no_mangle)]
pub extern "C" fn hand(description_bytes: usize) -> u32 {
    STATE.with_borrow_mut(|state| {
        let buffer = std::mem::take(&mut state.buffer);
        let (description, pixels) = buffer.split_at(description_bytes.min(buffer.len()));
        match state.hand(description, pixels) {
            Ok((number, path)) => {
                state.outputs.first(Kind::Path, path.to_string_lossy().into_owned().into_bytes());
                number
            }
            Err(problem) => {
                state.outputs.first(Kind::Refused, problem.into_bytes());
                0
            }
        }
    })
}

/// Returns the number under which the Worker has the bytes of a fetched file; 0 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn fetched(transfer: u32) -> u32 {
    STATE.with_borrow(|state| {
        let path = state.core.as_ref().and_then(|core| core.fetched(TransferId(transfer)));
        path.and_then(|path| disk::outside(&path)).unwrap_or(0)
    })
}

/// Removes a fetched file, which the page has saved.
#[unsafe(no_mangle)]
pub extern "C" fn saved(transfer: u32) {
    STATE.with_borrow(|state| {
        let path = state.core.as_ref().and_then(|core| core.fetched(TransferId(transfer)));
        // It may have been removed already.
        path.into_iter().for_each(|path| drop(disk::remove_file(path)));
    });
}

/// Decrypts a key file and encrypts it with another passphrase. The buffer has the old passphrase,
/// the new one and the PEM. An empty passphrase means none. The next output is a JSON object.
#[unsafe(no_mangle)]
pub extern "C" fn rekey(old_bytes: usize, new_bytes: usize) {
    STATE.with_borrow_mut(|state| {
        let buffer = Zeroizing::new(std::mem::take(&mut state.buffer));
        let answer = match rewritten(&buffer, old_bytes, new_bytes) {
            Ok(keys) => serde_json::to_vec(&keys),
            Err(problem) => serde_json::to_vec(&Problem { problem }),
        };
        state.outputs.first(Kind::Key, answer.expect("texts are plain JSON"));
    });
}

/// Takes the next output. Returns its kind, 0 if there is none; `output` and `output_bytes` are its
/// content.
#[unsafe(no_mangle)]
pub extern "C" fn next() -> u32 {
    STATE.with_borrow_mut(|state| state.outputs.advance())
}

#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    STATE.with_borrow(|state| state.outputs.current().as_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn output_bytes() -> usize {
    STATE.with_borrow(|state| state.outputs.current().len())
}

/// A key file, and the SPKI DER of its public key as base64.
#[derive(Serialize)]
struct KeyFile {
    pem: Zeroizing<String>,
    public: String,
}

/// Why a key file cannot be opened.
#[derive(Serialize)]
struct Problem {
    problem: &'static str,
}

fn rewritten(buffer: &[u8], old: usize, new: usize) -> Result<KeyFile, &'static str> {
    let malformed = "the file is not a pychat key";
    let text = std::str::from_utf8(buffer).map_err(|_| malformed)?;
    let (old, rest) = text.split_at_checked(old).ok_or(malformed)?;
    let (new, pem) = rest.split_at_checked(new).ok_or(malformed)?;
    let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let identity = Identity::from_pem(pem, some(old)).map_err(|error| match error {
        KeyError::Locked => "the key has a passphrase",
        KeyError::Passphrase => "the passphrase is wrong",
        _ => malformed,
    })?;
    let public = STANDARD.encode(identity.public().to_der());
    Ok(KeyFile { pem: identity.to_pem(some(new)), public })
}

fn derived(buffer: &[u8]) -> Option<Vec<u8>> {
    let (server, rest) = buffer.split_first_chunk::<SECRET_BYTES>()?;
    let (letters, rest) = rest.split_first_chunk()?;
    let (letters, pin) = rest.split_at_checked(u32::from_le_bytes(*letters) as usize)?;
    let (letters, pin) = (std::str::from_utf8(letters).ok()?, std::str::from_utf8(pin).ok()?);
    let key = PinChannel::derive(&Pin::new(pin), &Fingerprint(*server), letters);
    Some(key.root().to_vec())
}

/// A time of the Worker, in microseconds.
fn micros(since_ms: f64) -> u64 {
    (since_ms * 1_000.0) as u64
}

impl State {
    fn hand(&mut self, description: &[u8], pixels: &[u8]) -> Result<(u32, PathBuf), String> {
        let core = self.core.as_mut().ok_or("the client is not running")?;
        let handed: Handed =
            serde_json::from_slice(description).map_err(|error| error.to_string())?;
        let taken = core.hand(&handed.name, handed.bytes);
        let text = |wrong: Wrong| if wrong == Wrong::Busy { "" } else { wrong.told().1 };
        let (place, path) = taken.map_err(|wrong| text(wrong).to_owned())?;
        let number = disk::put(path.clone(), handed.bytes);
        let [width, height] = handed.small;
        let picture = Picture::new(width, height, pixels.to_vec());
        let original = handed.original;
        core.handed(place, &path, picture.map(|picture| Decoded { picture, original }));
        Ok((number, path))
    }

    /// Runs the core and collects its outputs. Files are first: they are stored before a send.
    fn run(&mut self) {
        let Some(core) = &mut self.core else { return };
        let due = core.run();
        let done = core.take();
        disk::take_changes().into_iter().for_each(|change| self.outputs.file(change));
        done.into_iter().for_each(|output| self.outputs.done(output));
        self.outputs.due(due);
    }
}

fn opened(config: &[u8]) -> Result<Core, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let config: Config = serde_json::from_slice(config).map_err(|error| text(&error))?;
    let public = STANDARD.decode(&config.public).map_err(|error| text(&error))?;
    let public = PublicKey::from_der(&public).map_err(|error| text(&error))?;
    let pinned = Fingerprint::from_url(&config.fingerprint).ok_or("no fingerprint")?;
    let start = Start {
        folder: Path::new(FOLDER),
        outside: Path::new(disk::OUTSIDE),
        identity: Identity::held(public, Box::new(Browser)),
        name: config.name.parse().map_err(|error| text(&error))?,
        host: config.host,
        port: config.port,
        pinned,
    };
    Core::open(start).map_err(|error| text(&error))
}
