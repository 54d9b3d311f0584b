//! An attached page: one thread reads its objects, and another writes those for it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::access::Access;
use super::commands::Commands;
use super::queue::{CLOSE_PATIENCE, Queue, close};
use super::slots::Slot;
use crate::limits::{PAGE_FRAME_BYTES_MAX, PAGE_HEAD_S};
use crate::net::link::is_timeout;
use crate::net::local::LocalStream;
use crate::wire::websocket::{MessageReader, Received, close_frame};

/// The first object of a page. Anybody on this computer can send one.
const ATTACH_BYTES_MAX: usize = 1 << 10;

/// Carries objects until the page or the client ends.
pub fn run(access: &Access, stream: LocalStream, slot: &Slot) {
    let mut source = stream.clone();
    source.set_deadline(Some(Instant::now() + Duration::from_secs(PAGE_HEAD_S)));
    let mut reader = MessageReader::of_texts(source, ATTACH_BYTES_MAX);
    let queue = match attach(access, &mut reader) {
        Ok(queue) => queue,
        Err(code) => return refuse(&stream, code),
    };
    slot.stays();
    reader.set_bytes_max(PAGE_FRAME_BYTES_MAX);
    reader.source_mut().set_deadline(None);
    let (out, written) = (Arc::clone(&queue), stream.clone());
    let writer = move || write(&out, &written);
    match thread::Builder::new().name("page".into()).spawn(writer) {
        Ok(_) => {
            let commands = Commands::new(Arc::clone(&access.core), Arc::clone(&queue));
            queue.is_over(read(&mut reader, &queue, commands));
        }
        Err(_) => {
            queue.is_over(close::LATER);
            stream.cut();
        }
    }
}

/// Waits for the first object, which has the token.
fn attach(access: &Access, reader: &mut MessageReader<LocalStream>) -> Result<Arc<Queue>, u16> {
    loop {
        match reader.read() {
            Ok(Received::Message) => break,
            Ok(Received::Ping) => {}
            Ok(Received::Close | Received::End) => return Err(close::NORMAL),
            Err(error) if is_timeout(&error) => return Err(close::NO_TOKEN),
            Err(_) => return Err(close::MALFORMED),
        }
    }
    let object: Value = serde_json::from_slice(reader.message()).unwrap_or_default();
    let token = object["token"].as_str().filter(|_| object["type"] == "attach");
    match access.token.is(token.unwrap_or_default()) {
        true => access.core.attach(),
        false => Err(close::WRONG_TOKEN),
    }
}

/// Handles objects until the page ends. Returns the reason.
fn read(reader: &mut MessageReader<LocalStream>, queue: &Queue, mut commands: Commands) -> u16 {
    loop {
        match reader.read() {
            Ok(Received::Message) => {}
            Ok(Received::Ping) => {
                queue.pong(reader.pong());
                continue;
            }
            Ok(Received::Close | Received::End) => return close::NORMAL,
            Err(_) => return close::MALFORMED,
        }
        let Ok(text) = std::str::from_utf8(reader.message()) else { return close::NOT_UTF8 };
        if commands.take(text).is_err() {
            return close::ENDS;
        }
    }
}

/// Writes what waits, until the page is closed.
fn write(queue: &Queue, stream: &LocalStream) {
    let mut frames = Vec::new();
    let code = loop {
        match queue.next(&mut frames) {
            Ok(()) => {}
            Err(code) => break code,
        }
        if stream.send(&frames, || queue.is_closing()).is_err() {
            // A frame is cut off: nothing can follow it.
            return stream.cut();
        }
    };
    // The page may be gone, or read nothing.
    let _ = stream.send(&close_frame(code), || true);
    stream.finish();
    // One thread reads at a time.
    match queue.ends_before(Instant::now() + CLOSE_PATIENCE) {
        true => stream.drain(CLOSE_PATIENCE),
        false => stream.cut(),
    }
}

/// Closes a page that is not attached.
fn refuse(stream: &LocalStream, code: u16) {
    let _ = stream.send(&close_frame(code), || true);
    stream.drain(CLOSE_PATIENCE);
}
