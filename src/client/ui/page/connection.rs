//! One connection of a browser, on a thread of its own: one request and its answer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::access::Access;
use super::core::Core;
use super::routes::{Route, Wrong, route};
use super::session;
use super::slots::Slot;
use crate::limits::PAGE_HEAD_S;
use crate::net::local::LocalStream;
use crate::page::Asset;
use crate::system::files;
use crate::wire::http;

/// Bytes of one read or write.
const PART_BYTES: usize = 64 << 10;
/// How long a browser may take to read an answer and to close.
const LINGER: Duration = Duration::from_secs(2);
/// How long a page may pause while it hands over a file.
const BODY_PAUSE: Duration = Duration::from_secs(30);

/// Headers of all answers. A page runs scripts of this client alone, and talks to it alone.
const HEADERS: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; \
    worker-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Connection: close\r\n";

/// A request whose head is whole, and the bytes after it.
struct Asked {
    head: Vec<u8>,
    rest: Vec<u8>,
}

/// Answers a connection.
pub fn serve(access: &Access, mut stream: LocalStream, slot: &Slot) {
    let core = &access.core;
    stream.set_deadline(Some(Instant::now() + Duration::from_secs(PAGE_HEAD_S)));
    let asked = match read_head(&mut stream) {
        Ok(Some(asked)) => asked,
        Ok(None) => return stream.cut(),
        Err(wrong) => return refuse(&stream, wrong),
    };
    let routed = route(&asked.head, &access.names, &access.token).and_then(|route| match route {
        // A browser sends nothing after such a request before it has the answer.
        Route::Hand { .. } => Ok(route),
        _ if asked.rest.is_empty() => Ok(route),
        _ => Err(Wrong::Malformed),
    });
    let served = match routed {
        Ok(Route::Core { accept }) => {
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            match stream.send(head.as_bytes(), || true) {
                Ok(()) => return session::run(access, stream, slot),
                Err(_) => return stream.cut(),
            }
        }
        Ok(Route::Asset { asset, is_there, is_head }) => {
            send_asset(&stream, asset, is_there, is_head);
            Ok(())
        }
        Ok(Route::Hand { name, bytes }) => {
            slot.stays();
            take_file(core, &mut stream, (&name, bytes), asked.rest)
        }
        Ok(Route::Fetch(id)) => {
            slot.stays();
            core.fetched(id).ok_or(Wrong::Path).and_then(|path| send_file(&stream, &path))
        }
        Err(wrong) => Err(wrong),
    };
    match served {
        Ok(()) => stream.drain(LINGER),
        Err(wrong) => refuse(&stream, wrong),
    }
}

/// Reads until the head is whole; `None` if the browser is gone or too slow.
fn read_head(stream: &mut LocalStream) -> Result<Option<Asked>, Wrong> {
    let (mut received, mut searched) = (Vec::new(), 0);
    let mut part = [0; 2_048];
    loop {
        let bytes = match stream.read(&mut part) {
            Ok(0) => return Ok(None),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(None),
        };
        received.extend_from_slice(&part[..bytes]);
        if let Some(end) = http::head_bytes(&received, searched)? {
            let rest = received.split_off(end);
            return Ok(Some(Asked { head: received, rest }));
        }
        searched = received.len();
    }
}

/// Sends a head, and a body unless only the head is wanted. A browser that is gone needs none.
fn send(stream: &LocalStream, status: &str, headers: &str, body: &[u8], is_head: bool) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{HEADERS}{headers}Content-Length: {length}\r\n\r\n");
    let body = if is_head { &[] } else { body };
    let until = Instant::now() + LINGER;
    let _ = stream.send(&[head.as_bytes(), body].concat(), || Instant::now() > until);
}

fn refuse(stream: &LocalStream, wrong: Wrong) {
    let (status, text) = wrong.told();
    let headers = format!(
        "{}Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n",
        wrong.headers()
    );
    send(stream, status, &headers, format!("{text}\n").as_bytes(), false);
    stream.drain(LINGER);
}

fn send_asset(stream: &LocalStream, asset: &Asset, is_there: bool, is_head: bool) {
    let caching = format!("Cache-Control: no-cache\r\nETag: {}\r\n", asset.tag());
    match is_there {
        true => {
            let head = format!("HTTP/1.1 304 Not Modified\r\n{HEADERS}{caching}\r\n");
            let _ = stream.send(head.as_bytes(), || true);
        }
        false => {
            let headers = format!("{caching}Content-Type: {}\r\n", asset.content_type());
            send(stream, "200 OK", &headers, asset.bytes, is_head);
        }
    }
}

/// Takes a file from the page. The answer has its path.
fn take_file(
    core: &Core,
    stream: &mut LocalStream,
    (name, bytes): (&str, u64),
    rest: Vec<u8>,
) -> Result<(), Wrong> {
    if core.file_bytes_max().is_none_or(|most| bytes > most) {
        return Err(Wrong::TooLarge);
    }
    let (number, mut file, path) = core.spool.begin(name)?;
    match write_body(stream, &mut file, rest, bytes) {
        Ok(()) => core.spool.arrived(number),
        Err(wrong) => {
            core.spool.vanishes(number);
            return Err(wrong);
        }
    }
    let body = json!({"path": path.to_string_lossy()}).to_string();
    let headers = "Content-Type: application/json\r\nCache-Control: no-store\r\n";
    send(stream, "200 OK", headers, body.as_bytes(), false);
    Ok(())
}

fn write_body(
    stream: &mut LocalStream,
    file: &mut File,
    rest: Vec<u8>,
    bytes: u64,
) -> Result<(), Wrong> {
    let mut left = bytes.checked_sub(rest.len() as u64).ok_or(Wrong::Malformed)?;
    file.write_all(&rest).map_err(|_| Wrong::Disk)?;
    let mut part = vec![0; PART_BYTES];
    while left > 0 {
        stream.set_deadline(Some(Instant::now() + BODY_PAUSE));
        let most = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = match stream.read(&mut part[..most]) {
            Ok(0) => return Err(Wrong::Malformed),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(Wrong::Malformed),
        };
        file.write_all(&part[..bytes]).map_err(|_| Wrong::Disk)?;
        left -= bytes as u64;
    }
    Ok(())
}

/// Sends the bytes of a fetched file, whatever they are: a browser renders none of them.
fn send_file(stream: &LocalStream, path: &std::path::Path) -> Result<(), Wrong> {
    let mut file = files::open_to_read(path).map_err(|_| Wrong::Path)?;
    let about = file.metadata().ok().filter(|about| about.is_file()).ok_or(Wrong::Path)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\n{HEADERS}Content-Type: application/octet-stream\r\n\
         Content-Disposition: attachment\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
        about.len()
    );
    let mut left = about.len();
    let mut part = head.into_bytes();
    loop {
        let until = Instant::now() + BODY_PAUSE;
        if stream.send(&part, || Instant::now() > until).is_err() || left == 0 {
            return Ok(());
        }
        part.resize(PART_BYTES, 0);
        let read = file.read(&mut part).map_err(|_| ()).unwrap_or(0);
        part.truncate(read.min(usize::try_from(left).unwrap_or(usize::MAX)));
        left -= part.len() as u64;
        if part.is_empty() {
            // The file has changed: the browser sees that the answer is cut off.
            stream.cut();
            return Ok(());
        }
    }
}
