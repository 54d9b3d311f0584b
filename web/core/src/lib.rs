//! The client (`pychat::client::core`) for the Worker of a page (`web/page/core.js`): one buffer in,
//! a list of outputs out, and three functions of the browser. The only unsafe code of pychat.
#![cfg(target_family = "wasm")]

mod browser;
mod outputs;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pychat::client::core::{Core, Start};
use pychat::crypto::{Fingerprint, Identity, PublicKey};
use pychat::system::{disk, set_clock};
use serde::Deserialize;

use browser::Browser;
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

/// Starts the client with the configuration in the buffer. The times are the time of day and that
/// since the Worker began, in milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn start(now_ms: f64, since_ms: f64) {
    browser::report_panics();
    set_clock(now_ms as i64, since_ms as u64);
    STATE.with_borrow_mut(|state| {
        let config = std::mem::take(&mut state.buffer);
        match opened(&config) {
            Ok(core) => state.core = Some(core),
            Err(problem) => state.outputs.push(Kind::Error, problem.into_bytes()),
        }
        state.run();
    });
}

/// Handles what has happened; its bytes are in the buffer. Without an event the time is handled.
#[unsafe(no_mangle)]
pub extern "C" fn input(event: u32, now_ms: f64, since_ms: f64) {
    set_clock(now_ms as i64, since_ms as u64);
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
            _ => {}
        }
        state.run();
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

impl State {
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
        identity: Identity::held(public, Box::new(Browser)),
        name: config.name.parse().map_err(|error| text(&error))?,
        host: config.host,
        port: config.port,
        pinned,
    };
    Core::open(start).map_err(|error| text(&error))
}
