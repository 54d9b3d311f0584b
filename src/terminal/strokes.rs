//! Keys of a paste, and keys that arrive together with Esc, at the line editor's prompt. The editor
//! itself would read a paste to its end marker, Ctrl-C included. Here each key of a paste is
//! handled on its own, and a pause ends the paste.

use std::time::{Duration, Instant};

use rustyline::{
    Cmd, ConditionalEventHandler, Event, EventContext, KeyCode, KeyEvent, Modifiers, RepeatCount,
};

use crate::sync::{Mutex, Rank};

/// Terminals send a paste without a pause. A key after this pause was typed.
const PAUSE: Duration = Duration::from_secs(2);
/// The same pause for Ctrl-C.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(300);

/// Letters that the editor binds with Alt.
const ALT_KEYS: &str = "bcdfltuy<>-0123456789";

struct Paste {
    /// Time of the last pasted key; `None` outside a paste.
    last: Option<Instant>,
    /// The last key was a return; a newline after it belongs to it.
    is_return: bool,
}

static PASTE: Mutex<Paste> = Mutex::new(Rank::Paste, Paste { last: None, is_return: false });

/// Handles every key without a binding.
pub struct Strokes;

impl ConditionalEventHandler for Strokes {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        let key = event.get(0)?;
        pasted(key).or_else(|| behind_escape(key))
    }
}

/// Returns the effect of a key that is part of a paste.
pub fn pasted(key: &KeyEvent) -> Option<Cmd> {
    let mut paste = PASTE.lock();
    match key.0 {
        KeyCode::BracketedPasteStart => {
            *paste = Paste { last: Some(Instant::now()), is_return: false };
            return Some(Cmd::Noop);
        }
        KeyCode::BracketedPasteEnd => {
            paste.last = None;
            return Some(Cmd::Noop);
        }
        _ => {}
    }
    let pause = if *key == KeyEvent::ctrl('C') { INTERRUPT_PAUSE } else { PAUSE };
    if paste.last?.elapsed() >= pause {
        paste.last = None;
        return None;
    }
    paste.last = Some(Instant::now());
    let was_return = std::mem::replace(&mut paste.is_return, key.0 == KeyCode::Enter);
    let newline = *key == KeyEvent::ctrl('J');
    match key {
        KeyEvent(KeyCode::Char(_), Modifiers::NONE) => None,
        KeyEvent(KeyCode::Tab, _) => Some(Cmd::Insert(1, "\t".into())),
        KeyEvent(KeyCode::Enter, _) => Some(Cmd::Insert(1, "\n".into())),
        _ if newline && !was_return => Some(Cmd::Insert(1, "\n".into())),
        _ => Some(Cmd::Noop),
    }
}

/// Treats Alt with an unbound letter as Esc, which has no effect, followed by the letter.
fn behind_escape(key: &KeyEvent) -> Option<Cmd> {
    match key {
        KeyEvent(KeyCode::Char(c), Modifiers::ALT)
            if !c.is_control() && !ALT_KEYS.contains(c.to_ascii_lowercase()) =>
        {
            // The editor's self-insert would insert the previous character again.
            Some(Cmd::Insert(1, c.to_string()))
        }
        _ => None,
    }
}
