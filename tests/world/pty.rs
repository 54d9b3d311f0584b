//! A person's terminal: a shell runs the program, and an emulator sees what a person would see.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtyPair, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use vt100::{Callbacks, Screen};

use super::DEADLINE;

/// With job control, runs the program, prints its exit status, and reads one more line as a shell
/// would.
const SHELL: &str =
    r#"set -m; trap : INT; "$@"; echo "[ended $?]"; IFS= read -r line; echo "[read $line]""#;

/// The same, for a program that goes to the background once and is brought back.
const SHELL_WITH_FG: &str = r#"set -m; trap : INT; "$@"; echo "[stopped $?]"; IFS= read -r line;
    fg > /dev/null; echo "[ended $?]"; IFS= read -r line; echo "[read $line]""#;

const SIZE: PtySize = PtySize { rows: 40, cols: 100, pixel_width: 0, pixel_height: 0 };

pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

/// Around what a program wants to be shown at once (synchronized output).
const UPDATE: (&[u8], &[u8]) = (b"\x1b[?2026h", b"\x1b[?2026l");

struct Seen {
    bytes: Vec<u8>,
    /// The beginning of an update whose end has not come.
    held: Vec<u8>,
    emulator: vt100::Parser<Acts>,
}

impl Seen {
    /// Shows what has come, and an update only as a whole.
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.held.extend_from_slice(bytes);
        let rest = self.held.split_off(whole(&self.held));
        self.emulator.process(&std::mem::replace(&mut self.held, rest));
    }
}

/// How many of these bytes are in no update that is under way.
fn whole(bytes: &[u8]) -> usize {
    let last = |mark: &[u8]| bytes.windows(mark.len()).rposition(|part| part == mark);
    let (begin, end) = UPDATE;
    match (last(begin), last(end)) {
        (Some(begun), ended) if ended < Some(begun) => begun,
        _ => {
            let cut = (1..begin.len()).rev().find(|cut| bytes.ends_with(&begin[..*cut]));
            bytes.len() - cut.unwrap_or(0)
        }
    }
}

/// What a program does to a terminal beyond its text.
#[derive(Default)]
struct Acts(Vec<String>);

impl Callbacks for Acts {
    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        self.0.push(format!("title {}", String::from_utf8_lossy(title)));
    }

    fn set_window_icon_name(&mut self, _: &mut Screen, name: &[u8]) {
        self.0.push(format!("icon {}", String::from_utf8_lossy(name)));
    }

    fn copy_to_clipboard(&mut self, _: &mut Screen, _: &[u8], data: &[u8]) {
        self.0.push(format!("clipboard {}", String::from_utf8_lossy(data)));
    }

    fn unhandled_osc(&mut self, _: &mut Screen, params: &[&[u8]]) {
        self.0.push(format!("osc {params:?}"));
    }

    fn audible_bell(&mut self, _: &mut Screen) {
        self.0.push("bell".into());
    }
}

/// Runs a command on a terminal whose output nobody reads. Without the pair, the terminal would be
/// closed.
pub fn unread(command: &Command) -> (Box<dyn Child + Send + Sync>, PtyPair) {
    let pair = native_pty_system().openpty(SIZE).unwrap();
    let mut builder = CommandBuilder::new(command.get_program());
    builder.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => builder.env(name, value),
            None => builder.env_remove(name),
        }
    }
    builder.env("TERM", "xterm-256color");
    (pair.slave.spawn_command(builder).unwrap(), pair)
}

impl Terminal {
    /// Runs a command as somebody would who typed it into a shell.
    pub fn run(command: &Command) -> Terminal {
        Terminal::run_by(SHELL, command)
    }

    /// By a shell that brings the program back with a line, after it was stopped.
    pub fn run_with_fg(command: &Command) -> Terminal {
        Terminal::run_by(SHELL_WITH_FG, command)
    }

    fn run_by(script: &str, command: &Command) -> Terminal {
        let pair = native_pty_system().openpty(SIZE).unwrap();
        let mut shell = CommandBuilder::new("sh");
        shell.args(["-c", script, "sh"]);
        shell.arg(command.get_program());
        shell.args(command.get_args());
        shell.env("TERM", "xterm-256color");
        // What the terminal of whoever runs the tests can do.
        for name in
            ["COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "VTE_VERSION", "TMUX", "STY"]
        {
            shell.env_remove(name);
        }
        shell.env_remove("KONSOLE_VERSION");
        shell.env_remove("WT_SESSION");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            }
        }
        let child = pair.slave.spawn_command(shell).unwrap();
        let emulator = vt100::Parser::new_with_callbacks(SIZE.rows, SIZE.cols, 0, Acts::default());
        let seen = Seen { bytes: Vec::new(), held: Vec::new(), emulator };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let mut screen = pair.master.try_clone_reader().unwrap();
        let follow = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = screen.read(&mut buffer) {
                follow.0.lock().unwrap().take(&buffer[..bytes]);
                follow.1.notify_all();
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Terminal { child, master: pair.master, keys, seen }
    }

    /// Presses keys: `\r` is Enter.
    pub fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The window gets another size.
    pub fn resize(&self, cols: u16, rows: u16) {
        let mut seen = self.seen.0.lock().unwrap();
        seen.emulator.screen_mut().set_size(rows, cols);
        self.master.resize(PtySize { rows, cols, ..SIZE }).unwrap();
    }

    /// The rows of the screen, as wide as it is.
    pub fn rows(&self) -> Vec<String> {
        let seen = self.seen.0.lock().unwrap();
        let screen = seen.emulator.screen();
        screen.rows(0, screen.size().1).collect()
    }

    /// Each cell: what stands in it, and how.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let seen = self.seen.0.lock().unwrap();
        let screen = seen.emulator.screen();
        let (rows, columns) = screen.size();
        let look = |cell: &vt100::Cell| {
            let text = if cell.has_contents() { cell.contents() } else { " " };
            let looks = (cell.fgcolor(), cell.bgcolor(), cell.bold(), cell.dim(), cell.inverse());
            format!("{text:?} {looks:?}")
        };
        let cell = |row, column| look(screen.cell(row, column).expect("it is on the screen"));
        (0..rows).map(|row| (0..columns).map(|column| cell(row, column)).collect()).collect()
    }

    pub fn mouse_mode(&self) -> vt100::MouseProtocolMode {
        self.seen.0.lock().unwrap().emulator.screen().mouse_protocol_mode()
    }

    /// The sequences that were written to the terminal while the full screen had it, each without
    /// its parameters: `[H`, `[?h`, `]0`, `P`.
    pub fn sequences(&self) -> BTreeSet<String> {
        let bytes = self.bytes();
        let screen = bytes.split("\u{1b}[?1049h").nth(1).unwrap();
        let screen = screen.split("\u{1b}[?1049l").next().unwrap();
        let mut sequences: BTreeSet<String> =
            screen.chars().filter(|c| c.is_control() && *c != '\u{1b}').map(String::from).collect();
        for after in screen.split('\u{1b}').skip(1) {
            let parameter = |c: char| c.is_ascii_digit() || c == ';';
            let head: String = after.chars().filter(|c| !parameter(*c)).take(2).collect();
            let private = after.starts_with("[?");
            let last = after.chars().skip(2).find(|c| private && !parameter(*c));
            sequences.extend([head].into_iter().map(|head| match last {
                Some(last) => format!("{head}{last}"),
                None => head,
            }));
        }
        sequences
    }

    /// Waits until the screen as a whole is what `wanted` says.
    #[track_caller]
    pub fn shows_all(&self, wanted: impl Fn(&[String]) -> bool) {
        let until = Instant::now() + DEADLINE;
        loop {
            let rows = self.rows();
            if wanted(&rows) {
                return;
            }
            assert!(Instant::now() < until, "the screen never showed it, but\n{rows:#?}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits until nothing that is typed is shown.
    #[track_caller]
    pub fn hides(&self) {
        let until = Instant::now() + DEADLINE;
        let echo = rustix::termios::LocalModes::ECHO.bits();
        while self.master.get_termios().unwrap().local_flags.bits() & echo != 0 {
            assert!(Instant::now() < until, "what is typed is shown\n{}", self.screen());
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits until a row of the screen is what `wanted` says.
    #[track_caller]
    pub fn shows_row(&self, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            let rows = seen.emulator.screen().contents();
            if let Some(row) = rows.lines().find(|row| wanted(row)) {
                return row.to_owned();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the screen never showed it, but\n{rows}");
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    #[track_caller]
    pub fn shows(&self, text: &str) -> String {
        self.shows_row(|row| row.contains(text))
    }

    pub fn screen(&self) -> String {
        self.seen.0.lock().unwrap().emulator.screen().contents()
    }

    /// The row and column of the cursor, and that row's text.
    pub fn cursor(&self) -> (u16, u16, String) {
        let seen = self.seen.0.lock().unwrap();
        let screen = seen.emulator.screen();
        let (row, column) = screen.cursor_position();
        let text = screen.rows(0, SIZE.cols).nth(row.into()).unwrap();
        (row, column, text)
    }

    /// Waits until the cursor stands in this column of a row that begins so.
    #[track_caller]
    pub fn rests(&self, column: u16, row: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let (_, at, text) = self.cursor();
            if at == column && text.starts_with(row) {
                return;
            }
            assert!(Instant::now() < until, "the cursor is at {at} of {text:?}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Everything that was written to the terminal.
    pub fn bytes(&self) -> String {
        String::from_utf8_lossy(&self.seen.0.lock().unwrap().bytes).into_owned()
    }

    /// What was done to the terminal beyond its text.
    pub fn acts(&self) -> Vec<String> {
        self.seen.0.lock().unwrap().emulator.callbacks().0.clone()
    }

    /// The program that the shell runs.
    #[track_caller]
    pub fn program(&self) -> Pid {
        let shell = self.child.process_id().unwrap();
        let children = format!("/proc/{shell}/task/{shell}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let program = children.split_whitespace().next().expect("the shell runs something");
        Pid::from_raw(program.parse().unwrap()).unwrap()
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.program(), signal).unwrap();
    }

    /// Waits for the program's end, with this exit code.
    #[track_caller]
    pub fn ends_with(&self, code: i32) {
        let line = self.shows("[ended ");
        assert!(line.contains(&format!("[ended {code}]")), "{line}\n{}", self.screen());
    }

    /// Nothing of what a full screen asks of a terminal is left.
    #[track_caller]
    pub fn is_given_back(&self) {
        let seen = self.seen.0.lock().unwrap();
        let screen = seen.emulator.screen();
        assert!(!screen.alternate_screen(), "the other screen is still there");
        assert!(!screen.hide_cursor(), "the cursor is hidden");
        assert!(!screen.bracketed_paste(), "pastes still come in brackets");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        let bytes = String::from_utf8_lossy(&seen.bytes);
        let last = |mode: &str| bytes.rfind(&format!("\u{1b}[?{mode}"));
        assert!(last("1004h") <= last("1004l"), "the focus is still reported");
        assert!(last("2026h") <= last("2026l"), "an update was begun and not ended");
    }

    /// After the program's end the next one has a terminal that echoes and reads lines.
    #[track_caller]
    pub fn is_usable(&mut self) {
        self.shows_row(|row| row.starts_with("[ended "));
        self.is_given_back();
        self.types("all well\r");
        self.shows_row(|row| row == "all well");
        self.shows_row(|row| row == "[read all well]");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
