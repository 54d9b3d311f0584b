//! Decodes a terminal's input: keys, pastes, mouse and focus. Pure: bytes and elapsed time in,
//! events out.

mod sequences;

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

const ESCAPE: u8 = 0x1b;
const CTRL_C: u8 = 0x03;
const PASTE_END: &[u8] = b"\x1b[201~";
/// The beginning of the answer to [`GRAPHICS_QUERY`](crate::system::GRAPHICS_QUERY).
const GRAPHICS: &[u8] = b"\x1b_Gi=31;";
const STRING_END: &[u8] = b"\x1b\\";
/// Bound on such an answer.
const ANSWER_BYTES_MAX: usize = 256;

/// A sequence that is incomplete after this pause is Esc, followed by typed keys.
const SEQUENCE_PAUSE: Duration = Duration::from_millis(50);
/// Terminals send a paste without a pause; after this one, the end of the paste is missing.
const PASTE_PAUSE: Duration = Duration::from_millis(700);
/// Bound on a paste; the rest is dropped. No message is as long.
const PASTE_BYTES_MAX: usize = 256 << 10;
/// Maximum bytes of one read that were typed: a sequence, or a few keys of fast typing.
const TYPED_AT_ONCE: u128 = 12;
/// Milliseconds per character: nobody types a longer text faster.
const TYPED_EVERY_MS: u128 = 25;
/// Longer input after a paste without an end was not typed: it is the rest of the paste.
const TYPED_BYTES_MAX: usize = 64;

/// The result of decoding the next bytes.
enum Step {
    /// An event of this many bytes; `None` if they have no meaning.
    Event(Option<Event>, usize),
    PasteBegins(usize),
    /// The terminal has kitty's graphics protocol.
    Graphics(usize),
    /// The sequence is incomplete.
    More,
}

/// The state of a paste.
enum Paste {
    No,
    Begun(Vec<u8>),
    /// A paste that arrived without marks, and ends with a pause.
    Unmarked(Vec<u8>),
    /// A pause has ended it; its end may still arrive.
    Overdue,
}

/// Decodes bytes to events.
pub struct Decoder {
    /// Bytes of an incomplete sequence and after it.
    bytes: Vec<u8>,
    paste: Paste,
    events: VecDeque<Event>,
    has_graphics: bool,
    /// The terminal may send pastes without marks.
    unmarked: bool,
    /// The beginning of an answer about graphics that a pause has cut off: its rest comes with the
    /// next bytes.
    cut: Option<Vec<u8>>,
}

impl Decoder {
    pub fn new() -> Decoder {
        let (bytes, events) = (Vec::new(), VecDeque::new());
        let (paste, unmarked) = (Paste::No, false);
        Decoder { bytes, paste, events, has_graphics: false, unmarked, cut: None }
    }

    /// Detects pastes by their speed too: the terminal is not known to mark them.
    pub fn with_unmarked_pastes(self) -> Decoder {
        Decoder { unmarked: true, ..self }
    }

    /// Returns once whether the terminal has answered that it has kitty's graphics protocol.
    pub fn takes_graphics(&mut self) -> bool {
        std::mem::take(&mut self.has_graphics)
    }

    pub fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the time to wait for the rest of a sequence or paste.
    pub fn patience(&self) -> Option<Duration> {
        match self.paste {
            Paste::Begun(_) => Some(PASTE_PAUSE),
            Paste::Unmarked(_) => Some(SEQUENCE_PAUSE),
            _ if !self.bytes.is_empty() => Some(SEQUENCE_PAUSE),
            _ => None,
        }
    }

    /// Adds the bytes of one read, which have arrived within this time.
    pub fn takes(&mut self, mut bytes: &[u8], within: Duration) {
        if let Paste::Unmarked(text) = &mut self.paste {
            return add(text, bytes);
        }
        let is_idle = self.bytes.is_empty() && matches!(self.paste, Paste::No);
        if self.unmarked && is_idle && is_pasted(bytes, within) {
            self.paste = Paste::Unmarked(bytes.to_vec());
            return;
        }
        if let Some(begun) = self.cut.take()
            && let Some(end) = find(bytes, STRING_END).filter(|end| *end < ANSWER_BYTES_MAX)
        {
            self.has_graphics |= [&begun, &bytes[..end]].concat() == b"OK";
            bytes = &bytes[end + STRING_END.len()..];
        }
        if matches!(self.paste, Paste::Overdue) {
            let late = bytes.len() > TYPED_BYTES_MAX || find(bytes, PASTE_END).is_some();
            self.paste = if late { Paste::Begun(Vec::new()) } else { Paste::No };
        }
        self.bytes.extend_from_slice(bytes);
        self.decode(false);
    }

    /// Handles a pause as long as `patience`.
    pub fn lapses(&mut self) {
        match std::mem::replace(&mut self.paste, Paste::Overdue) {
            Paste::Begun(mut text) => {
                text.append(&mut self.bytes);
                let keys = text.iter().rev().take_while(|byte| **byte == CTRL_C).count();
                match keys {
                    0 => self.pastes(&text),
                    // Ctrl-C cancels the paste.
                    _ => self.events.extend((0..keys).map(|_| control(CTRL_C))),
                }
            }
            Paste::Unmarked(text) => {
                self.paste = Paste::No;
                self.pastes(&text);
            }
            before => {
                self.paste = before;
                self.cut = self.bytes.strip_prefix(GRAPHICS).map(<[u8]>::to_vec);
                self.decode(true);
            }
        }
    }

    fn pastes(&mut self, text: &[u8]) {
        self.events.push_back(Event::Paste(String::from_utf8_lossy(text).into_owned()));
    }

    /// Decodes complete sequences; with `all`, no more bytes will arrive.
    fn decode(&mut self, all: bool) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let used = match &mut self.paste {
                Paste::Begun(text) => match find(rest, PASTE_END) {
                    Some(end) => {
                        add(text, &rest[..end]);
                        let text = std::mem::take(text);
                        self.paste = Paste::No;
                        self.pastes(&text);
                        end + PASTE_END.len()
                    }
                    None => {
                        let begun = (0..PASTE_END.len()).rev();
                        let begun = begun.into_iter().find(|n| rest.ends_with(&PASTE_END[..*n]));
                        let whole = rest.len() - begun.unwrap_or(0);
                        add(text, &rest[..whole]);
                        rest = &rest[whole..];
                        break;
                    }
                },
                _ => match step(rest, all) {
                    Step::Event(event, used) => {
                        self.events.extend(event);
                        used
                    }
                    Step::PasteBegins(used) => {
                        self.paste = Paste::Begun(Vec::new());
                        used
                    }
                    Step::Graphics(used) => {
                        self.has_graphics = true;
                        used
                    }
                    Step::More => break,
                },
            };
            rest = &rest[used..];
        }
        let used = bytes.len() - rest.len();
        bytes.drain(..used);
        self.bytes = bytes;
    }
}

/// Returns whether bytes that arrived within this time are rows of text, and more than anybody
/// types in this time.
fn is_pasted(bytes: &[u8], within: Duration) -> bool {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let is_text = |byte: &u8| is_break(byte) || *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
    let text = bytes.iter().rposition(|byte| !is_break(byte));
    let goes_on = text.is_some_and(|end| bytes[..end].iter().any(is_break));
    let typed = TYPED_AT_ONCE + within.as_millis() / TYPED_EVERY_MS;
    goes_on && bytes.len() as u128 > typed && bytes.iter().all(is_text)
}

fn add(text: &mut Vec<u8>, more: &[u8]) {
    let room = PASTE_BYTES_MAX.saturating_sub(text.len());
    text.extend_from_slice(&more[..more.len().min(room)]);
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn step(bytes: &[u8], all: bool) -> Step {
    if bytes[0] != ESCAPE {
        return character(bytes, all);
    }
    let escape = Step::Event(Some(key(KeyCode::Esc, KeyModifiers::NONE)), 1);
    match bytes.get(1) {
        None | Some(&ESCAPE) if all || bytes.len() > 1 => escape,
        None => Step::More,
        Some(b'[' | b'O') => match sequences::read(bytes) {
            // Not a sequence: the characters were typed after Esc.
            None => with_alt(bytes, all),
            Some(Step::More) if all => with_alt(bytes, all),
            Some(step) => step,
        },
        Some(b'_') => graphics(bytes, all),
        Some(_) => with_alt(bytes, all),
    }
}

/// Decodes the answer of a terminal about kitty's graphics protocol. Alt-_ begins like it.
fn graphics(bytes: &[u8], all: bool) -> Step {
    let begun = bytes.len().min(GRAPHICS.len());
    if bytes[..begun] != GRAPHICS[..begun] {
        return with_alt(bytes, all);
    }
    match find(bytes, STRING_END) {
        Some(end) if bytes[begun..end] == *b"OK" => Step::Graphics(end + STRING_END.len()),
        Some(end) => Step::Event(None, end + STRING_END.len()),
        None if bytes.len() > ANSWER_BYTES_MAX => Step::Event(None, bytes.len()),
        None if !all => Step::More,
        None if begun < GRAPHICS.len() => with_alt(bytes, all),
        // It is incomplete, and nothing that a person types.
        None => Step::Event(None, bytes.len()),
    }
}

/// Decodes a key that arrived together with Esc as a key with Alt.
fn with_alt(bytes: &[u8], all: bool) -> Step {
    match character(&bytes[1..], all) {
        Step::Event(Some(Event::Key(mut key)), used) => {
            key.modifiers |= KeyModifiers::ALT;
            Step::Event(Some(Event::Key(key)), used + 1)
        }
        Step::Event(event, used) => Step::Event(event, used + 1),
        step => step,
    }
}

fn character(bytes: &[u8], all: bool) -> Step {
    let whole = match bytes[0] {
        0..=0x1f | 0x7f => return Step::Event(Some(control(bytes[0])), 1),
        0x20..=0x7e => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Step::Event(None, 1),
    };
    let first = &bytes[..whole.min(bytes.len())];
    match std::str::from_utf8(first) {
        Ok(text) => {
            let c = text.chars().next().expect("there is a byte");
            let shift = if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
            Step::Event(Some(key(KeyCode::Char(c), shift)), whole)
        }
        Err(error) if error.error_len().is_none() && !all => Step::More,
        Err(_) => Step::Event(None, 1),
    }
}

fn control(byte: u8) -> Event {
    let ctrl = |c: u8| key(KeyCode::Char(c.into()), KeyModifiers::CONTROL);
    match byte {
        b'\r' => key(KeyCode::Enter, KeyModifiers::NONE),
        b'\t' => key(KeyCode::Tab, KeyModifiers::NONE),
        0x7f => key(KeyCode::Backspace, KeyModifiers::NONE),
        0 => ctrl(b' '),
        1..=0x1a => ctrl(byte - 1 + b'a'),
        // The characters that terminals send for Ctrl with a digit.
        _ => ctrl(byte - 0x1c + b'4'),
    }
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
    Event::Key(KeyEvent::new(code, modifiers))
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
