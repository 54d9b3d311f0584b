//! The console. Its screen takes the same sequences as other terminals; keys, mouse and focus
//! arrive as records, and pasted text as if it was typed.

use std::fs::OpenOptions;
use std::io::{self, Write};

use ratatui::crossterm::ansi_support::supports_ansi;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{disable_raw_mode, is_raw_mode_enabled};

use crate::system::graphics::Heard;
use crate::system::signal::Signal;

/// Enables the alternate screen and disables line wrap.
pub const ENTER: &[u8] = b"\x1b[?1049h\x1b[2J\x1b[?7l";
/// Ends an update; restores line wrap, cursor and screen.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?7h\x1b[0m\x1b[?25h\x1b[?1049l";

/// Returns whether the terminal can move its cursor.
pub fn is_able() -> bool {
    supports_ansi()
}

/// Returns whether stdout is a terminal or a pipe, as far as Windows tells: there are no logs.
pub fn is_private_output() -> bool {
    true
}

/// Does nothing: the questions for which typed text is discarded are the server's.
pub fn discard_typed() {}

/// Enables or disables mouse reports.
pub fn hear_mouse(out: &mut impl Write, on: bool) -> io::Result<()> {
    match on {
        true => execute!(out, EnableMouseCapture),
        // They were not enabled before.
        false => execute!(out, DisableMouseCapture).or(Ok(())),
    }
}

/// Restores the console after a full-screen program, after the bytes `first`. Does not wait for a
/// thread that writes to it.
pub fn give_back(first: &[u8]) {
    // A console that is gone needs no restoring. The mouse is first, because it restores the modes
    // that it has found.
    let _ = hear_mouse(&mut io::sink(), false);
    let _ = disable_raw_mode();
    let last = [first, LEAVE].concat();
    let _ = OpenOptions::new().write(true).open("CONOUT$").and_then(|mut out| out.write(&last));
}

/// Keyboard input of the console.
pub struct Keys;

impl Keys {
    pub fn open() -> Keys {
        Keys
    }

    /// Waits for the next event.
    ///
    /// # Errors
    ///
    /// Fails where the console is gone.
    pub fn wait(&mut self) -> io::Result<Heard> {
        event::read().map(meant).map(Heard::Event)
    }
}

/// Corrects AltGr, which is reported as Ctrl and Alt although it makes a character.
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

/// The modes of a console that reads lines, which is the only state in which it is left.
#[derive(Clone)]
pub struct Modes;

impl Modes {
    pub fn now() -> Option<Modes> {
        Some(Modes)
    }

    /// Returns whether an editor reads keys instead.
    pub fn are_changed(&self) -> bool {
        is_raw_mode_enabled().unwrap_or(false)
    }

    /// Sets these modes.
    pub fn set(&self) -> io::Result<()> {
        disable_raw_mode()
    }
}

/// Passes each Ctrl-C that is not a key, and the end of the window or session, to `tell`.
pub fn heed_signals(mut tell: impl FnMut(Signal) -> bool + Send + 'static) -> io::Result<()> {
    let heed = move || {
        // The handler cannot be removed.
        let _ = tell(Signal::Interrupt);
    };
    ctrlc::set_handler(heed).map_err(io::Error::other)
}

/// Returns whether a shell could continue the program after suspension.
pub fn may_stop() -> bool {
    false
}

/// There is no suspension.
pub fn stop_until_continued() -> io::Result<()> {
    stop()
}

/// Fails, because this system has no suspension.
pub fn stop() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns false: this system cannot report that.
pub fn wait_for_lost_reader() -> bool {
    false
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
