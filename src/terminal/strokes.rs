//! Keys at the prompt that are not what they seem: those of a paste, and one that came together
//! with Esc. The editor reads a paste to its end, and takes Ctrl-C for a part of it. Here the keys
//! of a paste are seen one by one, and a pause ends it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustyline::{
    Cmd, ConditionalEventHandler, Event, EventContext, KeyCode, KeyEvent, Modifiers, RepeatCount,
};

/// A terminal sends a paste without a pause. After this one a key was typed.
const PAUSE: Duration = Duration::from_secs(2);
/// The same for Ctrl-C.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(300);

/// What Alt does with a letter of its own in the editor.
const ALT_KEYS: &str = "bcdfltuy<>-0123456789";

struct Paste {
    /// When its last key came; none while nothing is pasted.
    last: Option<Instant>,
    /// That was a return, and a newline behind it is the same one.
    is_return: bool,
}

static PASTE: Mutex<Paste> = Mutex::new(Paste { last: None, is_return: false });

/// Reads every key that has no handler of its own.
pub struct Strokes;

impl ConditionalEventHandler for Strokes {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        let key = event.get(0)?;
        pasted(key).or_else(|| behind_escape(key))
    }
}

/// What a key does instead of what it does where it was typed, because it is a part of a paste.
pub fn pasted(key: &KeyEvent) -> Option<Cmd> {
    let mut paste = PASTE.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Alt with a letter that does nothing is Esc, which does nothing either, and the letter.
fn behind_escape(key: &KeyEvent) -> Option<Cmd> {
    match key {
        KeyEvent(KeyCode::Char(c), Modifiers::ALT)
            if !c.is_control() && !ALT_KEYS.contains(c.to_ascii_lowercase()) =>
        {
            // The command that inserts a character would insert the last one again.
            Some(Cmd::Insert(1, c.to_string()))
        }
        _ => None,
    }
}
