//! Terminal modes, reports and signals.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::terminal::disable_raw_mode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{getpgid, getpgrp, getpid, getppid, getsid, kill_process};
use rustix::termios::{OptionalActions, QueueSelector, Termios};
use rustix::termios::{tcflush, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use super::keys::Decoder;
use crate::system::graphics::Heard;
use crate::system::signal::Signal;

/// Time between checks whether the program was continued, in which it is stopped.
const CONTINUED_EVERY: Duration = Duration::from_millis(5);
/// Maximum bytes of a read.
const READ_BYTES_MAX: usize = 4_096;

/// Enables the alternate screen, no line wrap, bracketed paste and focus reports.
pub const ENTER: &[u8] = b"\x1b[?1049h\x1b[2J\x1b[?7l\x1b[?2004h\x1b[?1004h";
/// Ends an update and disables all reports; restores line wrap, cursor and screen.
pub const LEAVE: &[u8] =
    b"\x1b[?2026l\x1b[?1006l\x1b[?1000l\x1b[?1004l\x1b[?2004l\x1b[?7h\x1b[0m\x1b[?25h\x1b[?1049l";
/// Button presses and the wheel, with columns beyond 223.
const MOUSE: [&[u8]; 2] = [b"\x1b[?1006l\x1b[?1000l", b"\x1b[?1000h\x1b[?1006h"];

/// Returns whether the terminal can move its cursor.
pub fn is_able() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Discards what was typed at the terminal and not read yet. Other input stays.
pub fn discard_typed() {
    // It fails where stdin is no terminal.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}

/// Variable that is set where the output goes to the journal of systemd, by a socket.
const JOURNAL: &str = "JOURNAL_STREAM";

/// Returns whether stdout is a terminal, or a pipe or a socket to another program, and not a file
/// or a log.
pub fn is_private_output() -> bool {
    let kind = rustix::fs::fstat(io::stdout()).map(|about| FileType::from_raw_mode(about.st_mode));
    match kind {
        Ok(FileType::Fifo) => true,
        Ok(FileType::Socket) => std::env::var_os(JOURNAL).is_none(),
        _ => io::stdout().is_terminal(),
    }
}

/// Enables or disables mouse reports.
pub fn hear_mouse(out: &mut impl Write, on: bool) -> io::Result<()> {
    out.write_all(MOUSE[usize::from(on)])
}

/// Restores the terminal after a full-screen program, after the bytes `first`. Does not wait for a
/// thread that writes to it.
pub fn give_back(first: &[u8]) {
    // A terminal that is gone needs no restoring.
    let _ = disable_raw_mode();
    let _ = rustix::io::write(io::stdout(), &[first, LEAVE].concat());
}

/// Writes all bytes to stdout, also if another program has made it non-blocking. Holds no lock, for
/// which the end of the program would wait.
///
/// # Errors
///
/// The output takes no more.
pub fn write_out(mut bytes: &[u8]) -> io::Result<()> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(&stdout, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut ready = [PollFd::new(&stdout, PollFlags::OUT)];
                match poll(&mut ready, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until nobody can read stdout any more, because its other end is closed. Returns false if
/// the system cannot report this.
pub fn wait_for_lost_reader() -> bool {
    let stdout = io::stdout();
    loop {
        let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut ends, None) {
            Ok(_) | Err(Errno::INTR) if ends[0].revents().is_empty() => {}
            Ok(_) => return !ends[0].revents().contains(PollFlags::NVAL),
            Err(_) => return false,
        }
    }
}

/// Keyboard input of the terminal in raw mode.
pub struct Keys {
    decoder: Decoder,
    read: Box<[u8; READ_BYTES_MAX]>,
    /// When the last read ended.
    last: Instant,
}

/// Terminals that are known to mark pastes, by the beginning of `TERM`.
const MARKS_PASTES: [&str; 13] = [
    "xterm",
    "tmux",
    "rxvt",
    "foot",
    "alacritty",
    "kitty",
    "wezterm",
    "contour",
    "ghostty",
    "vte",
    "konsole",
    "st-",
    "iterm",
];

/// Returns whether the terminal is known to mark pastes, by `TERM` and `TMUX`.
fn marks_pastes() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    // The variable of tmux is also set where an old configuration names its terminal `screen`.
    std::env::var_os("TMUX").is_some() || MARKS_PASTES.iter().any(|name| term.starts_with(name))
}

impl Keys {
    pub fn open() -> Keys {
        let decoder = match marks_pastes() {
            true => Decoder::new(),
            false => Decoder::new().with_unmarked_pastes(),
        };
        Keys { decoder, read: Box::new([0; READ_BYTES_MAX]), last: Instant::now() }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    ///
    /// Fails where the terminal is gone.
    pub fn wait(&mut self) -> io::Result<Heard> {
        loop {
            if let Some(event) = self.decoder.next() {
                return Ok(Heard::Event(event));
            }
            if self.decoder.takes_graphics() {
                return Ok(Heard::Graphics);
            }
            let stdin = io::stdin();
            // Input that is available already was typed since the last read. Other input arrives at
            // once.
            let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
            let is_there =
                poll(&mut ready, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
            let within = if is_there { self.last.elapsed() } else { Duration::ZERO };
            if let Some(patience) = self.decoder.patience() {
                let patience = patience.try_into().map_err(io::Error::other)?;
                let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
                match poll(&mut ready, Some(&patience)) {
                    Ok(0) => {
                        self.decoder.lapses();
                        continue;
                    }
                    Ok(_) => {}
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            match rustix::io::read(&stdin, &mut self.read[..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => {
                    self.last = Instant::now();
                    self.decoder.takes(&self.read[..bytes], within);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Modes of a terminal.
#[derive(Clone)]
pub struct Modes(Termios);

impl Modes {
    pub fn now() -> Option<Modes> {
        tcgetattr(io::stdin()).ok().map(Modes)
    }

    /// Returns whether the line modes have changed since then.
    pub fn are_changed(&self) -> bool {
        tcgetattr(io::stdin()).is_ok_and(|now| now.local_modes != self.0.local_modes)
    }

    /// Sets these modes.
    pub fn set(&self) -> io::Result<()> {
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &self.0)?)
    }
}

/// Passes each signal to `tell` on a thread, until it returns false.
pub fn heed_signals(mut tell: impl FnMut(Signal) -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGTSTP, SIGCONT, SIGWINCH])?;
    let heed = move || {
        for signal in &mut signals {
            let signal = match signal {
                SIGINT => Signal::Interrupt,
                SIGTSTP => Signal::Suspend,
                SIGCONT => Signal::Continue,
                SIGWINCH => Signal::Resize,
                _ => Signal::End,
            };
            if !tell(signal) {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(heed).map(drop)
}

/// Returns whether a shell can continue the program after suspension: a shell with job control is
/// in this session and has put the program into a process group.
pub fn may_stop() -> bool {
    let same_session = |shell| getsid(Some(shell)).ok() == getsid(None).ok();
    let own_group = |shell| getpgid(Some(shell)).ok() != Some(getpgrp());
    getppid().is_some_and(|shell| same_session(shell) && own_group(shell))
}

/// Suspends the process, and returns once a shell has continued it.
///
/// # Errors
///
/// The system refuses the handler or the signal.
pub fn stop_until_continued() -> io::Result<()> {
    let continued = Arc::new(AtomicBool::new(false));
    let handler = signal_hook::flag::register(SIGCONT, Arc::clone(&continued))?;
    let stopped = stop();
    // The signal may stop another thread first.
    while stopped.is_ok() && !continued.load(Ordering::Relaxed) {
        thread::sleep(CONTINUED_EVERY);
    }
    signal_hook::low_level::unregister(handler);
    stopped
}

/// Suspends the process. SIGCONT reports its continuation, also if another thread has suspended it.
pub fn stop() -> io::Result<()> {
    Ok(kill_process(getpid(), rustix::process::Signal::STOP)?)
}
