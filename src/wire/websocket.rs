//! WebSocket (RFC 6455), as a server. A hop carries records as binary messages (docs/protocol.md,
//! "WebSocket"), and the page of a client carries JSON as texts (docs/web.md).

use std::io::{self, Read};
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::limits::RECORD_FRAMES_MAX;

/// Size of the buffer of an idle reader.
const BUFFER_BYTES: usize = 2_048;
/// Size of the buffer while long messages arrive: it takes several in one read. It shrinks after a
/// short message and after a silence.
const BUSY_BYTES: usize = 64 << 10;
/// Payload of a control frame, in bytes.
const CONTROL_BYTES_MAX: usize = 125;
/// Longest payload whose length has two bytes.
const SHORT_BYTES_MAX: usize = 0xffff;
const TOO_LONG: &str = "message too long";

/// Bytes of a client's key.
const KEY_BYTES: usize = 16;
/// The GUID of RFC 6455, which the handshake appends to the key before it hashes it.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// This frame ends its message.
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// A server's last frame: the normal end (1000).
pub const CLOSE_FRAME: [u8; 4] = close_frame(1000);

/// A server's last frame, with the reason as a status code.
pub const fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [FIN | CLOSE, 2, high, low]
}

/// Returns the value of `Sec-WebSocket-Accept` for a key; `None` if the key is invalid.
pub fn accept_key(key: &str) -> Option<String> {
    STANDARD.decode(key).ok().filter(|bytes| bytes.len() == KEY_BYTES)?;
    Some(STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
}

/// The result of one `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A complete message, which `message` returns.
    Message,
    /// A ping. The caller sends `pong` in answer.
    Ping,
    Close,
    /// The end of the stream, between two messages.
    End,
}

/// Reads a client's messages through one buffer that grows with the received bytes, never by a
/// declared length. Fragments are joined in place.
pub struct MessageReader<R> {
    source: R,
    /// The opcode of its messages.
    opcode: u8,
    buffer: Vec<u8>,
    /// The payload so far, unmasked. It ends before `raw` begins.
    message: Range<usize>,
    /// Bytes that are not read yet.
    raw: Range<usize>,
    /// Whether the rest of the message is missing.
    is_open: bool,
    /// Frames since the last message.
    frames: usize,
    pong: Vec<u8>,
    bytes_max: usize,
    /// Bytes of the last message; 0 after a silence.
    last_bytes: usize,
}

/// The head of a frame.
struct Frame {
    is_last: bool,
    opcode: u8,
    mask: [u8; 4],
    head_bytes: usize,
    payload_bytes: usize,
}

impl<R: Read> MessageReader<R> {
    /// Reads binary messages. Those above `bytes_max` are an `InvalidData` error.
    pub fn new(source: R, bytes_max: usize) -> Self {
        MessageReader::of(source, BINARY, bytes_max)
    }

    /// The same for texts, whose encoding the caller checks.
    pub fn of_texts(source: R, bytes_max: usize) -> Self {
        MessageReader::of(source, TEXT, bytes_max)
    }

    fn of(source: R, opcode: u8, bytes_max: usize) -> Self {
        MessageReader {
            source,
            opcode,
            buffer: vec![0; BUFFER_BYTES],
            message: 0..0,
            raw: 0..0,
            is_open: false,
            frames: 0,
            pong: Vec::new(),
            bytes_max,
            last_bytes: 0,
        }
    }

    /// Allows longer messages after the login.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    pub fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// The message of the last `read`, to be decrypted in place.
    pub fn message(&mut self) -> &mut [u8] {
        &mut self.buffer[self.message.clone()]
    }

    /// The frame that answers the last ping.
    pub fn pong(&self) -> &[u8] {
        &self.pong
    }

    /// Returns whether the next `read` gives a message without waiting, or an error.
    pub fn has_message(&self) -> bool {
        let mut raw = &self.buffer[self.raw.clone()];
        loop {
            let frame = match Frame::read(raw, self.opcode, self.bytes_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => return false,
                Err(_) => return true,
            };
            let Some(rest) = raw.get(frame.bytes()..) else { return false };
            match frame.opcode {
                CLOSE => return false,
                TEXT | BINARY | CONTINUATION if frame.is_last => return true,
                _ => raw = rest,
            }
        }
    }

    /// Reads the next message, ping or close. After `WouldBlock` or `TimedOut`, the call can be
    /// repeated without loss.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends inside a message; `InvalidData` for a frame that this
    /// protocol does not allow; any error of the source.
    pub fn read(&mut self) -> io::Result<Received> {
        if !self.is_open {
            self.message = self.raw.start..self.raw.start;
        }
        loop {
            let raw = &self.buffer[self.raw.clone()];
            if let Some(frame) = Frame::read(raw, self.opcode, self.bytes_max)? {
                self.check(&frame)?;
                if raw.len() >= frame.bytes() {
                    if let Some(event) = self.take(&frame) {
                        return Ok(event);
                    }
                    continue;
                }
            }
            self.make_room();
            match self.source.read(&mut self.buffer[self.raw.end..]) {
                Ok(0) if self.raw.is_empty() && !self.is_open => return Ok(Received::End),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => self.raw.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.last_bytes = 0;
                    return Err(error);
                }
            }
        }
    }

    /// Checks the order, the size and the number of frames of a message.
    fn check(&self, frame: &Frame) -> io::Result<()> {
        let is_in_turn = match frame.opcode {
            TEXT | BINARY => !self.is_open,
            CONTINUATION => self.is_open,
            _ => return self.check_count(),
        };
        if !is_in_turn {
            return Err(invalid("a fragment out of turn"));
        }
        if self.message.len() + frame.payload_bytes > self.bytes_max {
            return Err(invalid(TOO_LONG));
        }
        self.check_count()
    }

    fn check_count(&self) -> io::Result<()> {
        if self.frames < RECORD_FRAMES_MAX { Ok(()) } else { Err(invalid("too many frames")) }
    }

    /// Consumes a complete frame.
    fn take(&mut self, frame: &Frame) -> Option<Received> {
        self.frames += 1;
        let begin = self.raw.start + frame.head_bytes;
        let payload = begin..begin + frame.payload_bytes;
        self.raw.start = payload.end;
        unmask(&mut self.buffer[payload.clone()], frame.mask);
        match frame.opcode {
            CLOSE => return Some(Received::Close),
            PING => {
                self.pong.clear();
                self.pong.extend_from_slice(&[FIN | PONG, frame.payload_bytes as u8]);
                self.pong.extend_from_slice(&self.buffer[payload]);
                return Some(Received::Ping);
            }
            PONG => return None,
            _ => {}
        }
        if self.is_open {
            self.buffer.copy_within(payload, self.message.end);
            self.message.end += frame.payload_bytes;
        } else {
            self.message = payload;
        }
        self.is_open = !frame.is_last;
        if self.is_open {
            return None;
        }
        self.frames = 0;
        self.last_bytes = self.message.len();
        Some(Received::Message)
    }

    /// Moves the needed bytes to the front. Doubles the buffer if they fill it, or long messages
    /// have filled it.
    fn make_room(&mut self) {
        let is_busy = self.last_bytes > BUFFER_BYTES;
        if !self.is_open {
            self.message = self.raw.start..self.raw.start;
        }
        if self.message.is_empty() && self.raw.is_empty() {
            (self.message, self.raw) = (0..0, 0..0);
            if self.buffer.len() > 4 * BUFFER_BYTES && !is_busy {
                self.buffer.truncate(BUFFER_BYTES);
                self.buffer.shrink_to_fit();
            }
        }
        if self.raw.end == self.buffer.len() {
            let (gathered, raw) = (self.message.len(), self.raw.len());
            self.buffer.copy_within(self.message.clone(), 0);
            self.buffer.copy_within(self.raw.clone(), gathered);
            (self.message, self.raw) = (0..gathered, gathered..gathered + raw);
            if self.raw.end == self.buffer.len() || (is_busy && self.buffer.len() < BUSY_BYTES) {
                self.buffer.resize(2 * self.buffer.len(), 0);
            }
        }
    }
}

impl Frame {
    /// Parses the head of a frame; `None` if it has not arrived completely. `data` is the opcode of
    /// messages.
    fn read(raw: &[u8], data: u8, bytes_max: usize) -> io::Result<Option<Frame>> {
        let [first, second, rest @ ..] = raw else { return Ok(None) };
        let (opcode, is_last) = (first & 0x0f, first & FIN != 0);
        let is_control = matches!(opcode, CLOSE | PING | PONG);
        if !is_control && opcode != data && opcode != CONTINUATION {
            return Err(invalid("neither a message of the expected type nor a control frame"));
        }
        if first & 0x70 != 0 || second & MASKED == 0 {
            return Err(invalid("a frame with an extension, or without a mask"));
        }
        let short = usize::from(second & !MASKED);
        if is_control && (!is_last || short > CONTROL_BYTES_MAX) {
            return Err(invalid("a control frame in parts, or too long"));
        }
        let Some((payload_bytes, rest)) = payload_bytes(short, rest, bytes_max)? else {
            return Ok(None);
        };
        if !is_control && payload_bytes > bytes_max {
            return Err(invalid(TOO_LONG));
        }
        let head_bytes = raw.len() - rest.len() + 4;
        let mask = rest.first_chunk::<4>().copied();
        Ok(mask.map(|mask| Frame { is_last, opcode, mask, head_bytes, payload_bytes }))
    }

    fn bytes(&self) -> usize {
        self.head_bytes + self.payload_bytes
    }
}

/// The length of a payload, and the bytes after it; `None` if it has not arrived completely.
fn payload_bytes(
    short: usize,
    rest: &[u8],
    bytes_max: usize,
) -> io::Result<Option<(usize, &[u8])>> {
    let (bytes, least, rest) = match (short, rest) {
        (0..=CONTROL_BYTES_MAX, _) => return Ok(Some((short, rest))),
        (126, [high, low, rest @ ..]) => {
            (u64::from(u16::from_be_bytes([*high, *low])), CONTROL_BYTES_MAX as u64, rest)
        }
        (126, _) => return Ok(None),
        _ if bytes_max <= SHORT_BYTES_MAX => return Err(invalid(TOO_LONG)),
        _ => match rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), SHORT_BYTES_MAX as u64, rest),
            None => return Ok(None),
        },
    };
    if bytes <= least {
        return Err(invalid("a length in more bytes than it needs"));
    }
    let bytes =
        usize::try_from(bytes).ok().filter(|bytes| *bytes <= bytes_max.max(SHORT_BYTES_MAX));
    bytes.map(|bytes| Some((bytes, rest))).ok_or_else(|| invalid(TOO_LONG))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for part in payload.chunks_mut(4) {
        part.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Appends the head of a record of this size, from a server.
pub fn head(record_bytes: usize, out: &mut Vec<u8>) {
    debug_assert!(record_bytes <= SHORT_BYTES_MAX, "a record has at most 65535 bytes");
    head_of(BINARY, record_bytes, out);
}

/// Appends the head of a text of this size, from a server.
pub fn text_head(text_bytes: usize, out: &mut Vec<u8>) {
    head_of(TEXT, text_bytes, out);
}

fn head_of(opcode: u8, bytes: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(short), _) if bytes <= CONTROL_BYTES_MAX => out.push(short),
        (_, Ok(short)) => {
            out.push(126);
            out.extend_from_slice(&short.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
