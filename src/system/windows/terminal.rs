//! The console. It has a screen that takes the same sequences as other terminals, while keys, the
//! mouse and the focus come as records of its own; what is pasted comes as if it was typed.

use std::fs::OpenOptions;
use std::io::{self, Write};

use ratatui::crossterm::ansi_support::supports_ansi;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{disable_raw_mode, is_raw_mode_enabled};

use crate::system::signal::Signal;

/// The other screen, and rows that end at the edge.
pub const ENTER: &[u8] = b"\x1b[?1049h\x1b[2J\x1b[?7l";
/// An update that was begun and rows as they were; cursor and screen back.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?7h\x1b[0m\x1b[?25h\x1b[?1049l";

/// Whether the terminal can move its cursor, which it is asked for.
pub fn is_able() -> bool {
    supports_ansi()
}

/// Whether the mouse is heard.
pub fn hear_mouse(out: &mut impl Write, on: bool) -> io::Result<()> {
    match on {
        true => execute!(out, EnableMouseCapture),
        // It was not heard before.
        false => execute!(out, DisableMouseCapture).or(Ok(())),
    }
}

/// Gives the console back from the full screen. Waits for no thread that writes to it.
pub fn give_back() {
    // A console that is gone needs nothing back. The mouse first: it puts back the modes that it
    // found.
    let _ = hear_mouse(&mut io::sink(), false);
    let _ = disable_raw_mode();
    let _ = OpenOptions::new().write(true).open("CONOUT$").and_then(|mut out| out.write(LEAVE));
}

/// What is typed at the console.
pub struct Keys;

impl Keys {
    pub fn open() -> Keys {
        Keys
    }

    /// Waits for the next thing that is typed.
    ///
    /// # Errors
    ///
    /// Fails where the console is gone.
    pub fn wait(&mut self) -> io::Result<Event> {
        event::read().map(meant)
    }
}

/// What was typed, as it was meant: AltGr is told as Ctrl and Alt, and what it makes is a
/// character.
fn meant(event: Event) -> Event {
    let alt_gr = KeyModifiers::CONTROL | KeyModifiers::ALT;
    match event {
        Event::Key(mut key)
            if key.modifiers.contains(alt_gr)
                && matches!(key.code, KeyCode::Char(c) if !c.is_ascii_alphanumeric()) =>
        {
            key.modifiers.remove(alt_gr);
            Event::Key(key)
        }
        other => other,
    }
}

/// How a console is while lines are read by it: the only way that it is left.
#[derive(Clone)]
pub struct Modes;

impl Modes {
    pub fn now() -> Option<Modes> {
        Some(Modes)
    }

    /// Whether an editor reads keys instead.
    pub fn are_changed(&self) -> bool {
        is_raw_mode_enabled().unwrap_or(false)
    }

    /// As it was.
    pub fn set(&self) -> io::Result<()> {
        disable_raw_mode()
    }
}

/// Tells each Ctrl-C that is no key, and that the window is closed or the person leaves.
pub fn heed_signals(mut tell: impl FnMut(Signal) -> bool + Send + 'static) -> io::Result<()> {
    let heed = move || {
        // The handler stays: who wants no more gets it all the same.
        let _ = tell(Signal::Interrupt);
    };
    ctrlc::set_handler(heed).map_err(io::Error::other)
}

/// Whether somebody would bring the program back from the background.
pub fn may_stop() -> bool {
    false
}

/// There is no background.
pub fn stop() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes all bytes to stdout.
///
/// # Errors
///
/// The output takes no more.
pub fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(bytes).and_then(|()| out.flush())
}
