//! The terminal: modes, what it is asked to report, and signals.

use std::io::{self, Write};
use std::thread;

use ratatui::crossterm::event::Event;
use ratatui::crossterm::terminal::disable_raw_mode;
use rustix::process::{getpgid, getpgrp, getpid, getppid, getsid, kill_process};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use crate::system::signal::Signal;

/// The other screen, rows that end at the edge, pastes in brackets, and word of the focus.
pub const ENTER: &[u8] = b"\x1b[?1049h\x1b[2J\x1b[?7l\x1b[?2004h\x1b[?1004h";
/// An update that was begun; mouse, focus, pastes and rows as they were; cursor and screen back.
pub const LEAVE: &[u8] =
    b"\x1b[?2026l\x1b[?1006l\x1b[?1000l\x1b[?1004l\x1b[?2004l\x1b[?7h\x1b[0m\x1b[?25h\x1b[?1049l";
/// Presses and the wheel, with columns beyond 223.
const MOUSE: [&[u8]; 2] = [b"\x1b[?1006l\x1b[?1000l", b"\x1b[?1000h\x1b[?1006h"];

/// Whether the terminal can move its cursor.
pub fn is_able() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Whether the mouse is heard.
pub fn hear_mouse(out: &mut impl Write, on: bool) -> io::Result<()> {
    out.write_all(MOUSE[usize::from(on)])
}

/// Gives the terminal back from the full screen. Waits for no thread that writes to it.
pub fn give_back() {
    // A terminal that is gone needs nothing back.
    let _ = disable_raw_mode();
    let _ = rustix::io::write(io::stdout(), LEAVE);
}

/// What was typed, as it was meant.
pub fn meant(event: Event) -> Event {
    event
}

/// How a terminal was at a moment.
#[derive(Clone)]
pub struct Modes(Termios);

impl Modes {
    pub fn now() -> Option<Modes> {
        tcgetattr(io::stdin()).ok().map(Modes)
    }

    /// Whether lines are edited in another way since then.
    pub fn are_changed(&self) -> bool {
        tcgetattr(io::stdin()).is_ok_and(|now| now.local_modes != self.0.local_modes)
    }

    /// As it was.
    pub fn set(&self) -> io::Result<()> {
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &self.0)?)
    }
}

/// Tells each signal, on a thread of its own, until `tell` wants no more.
pub fn heed_signals(mut tell: impl FnMut(Signal) -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGTSTP, SIGCONT])?;
    let heed = move || {
        for signal in &mut signals {
            let signal = match signal {
                SIGINT => Signal::Interrupt,
                SIGTSTP => Signal::Suspend,
                SIGCONT => Signal::Continue,
                _ => Signal::End,
            };
            if !tell(signal) {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(heed).map(drop)
}

/// Whether a shell would bring the program back from the background: one with job control is in
/// this session and has put the program into a group.
pub fn may_stop() -> bool {
    let same_session = |shell| getsid(Some(shell)).ok() == getsid(None).ok();
    let own_group = |shell| getpgid(Some(shell)).ok() != Some(getpgrp());
    getppid().is_some_and(|shell| same_session(shell) && own_group(shell))
}

/// Stops the program. Another thread may stop first: SIGCONT tells when it is undone.
pub fn stop() -> io::Result<()> {
    Ok(kill_process(getpid(), rustix::process::Signal::STOP)?)
}
