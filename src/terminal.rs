//! The terminal: a line editor above which others may print meanwhile, left as it was found.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Cmd, ColorMode, Config, Editor as LineEditor, ExternalPrinter, Helper, KeyEvent};

use crate::system::terminal::Modes;

/// What a person did at the prompt.
pub enum Typed {
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// Reads lines; what was typed before is there with the arrow keys, in memory only.
pub struct Editor {
    lines: LineEditor<Mask, MemHistory>,
    /// What the next line begins with: the last one, where that is to be mended.
    begun: String,
}

/// Shows stars for letters while a secret is typed.
struct Mask;

impl Helper for Mask {}

impl Validator for Mask {}

impl Completer for Mask {
    type Candidate = String;
}

impl Hinter for Mask {
    type Hint = String;
}

impl Highlighter for Mask {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        at_work();
        match HIDDEN.load(Ordering::Relaxed) {
            true => Cow::Owned("*".repeat(line.chars().count())),
            false => Cow::Borrowed(line),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        HIDDEN.load(Ordering::Relaxed)
    }
}

/// Whether what is typed is a secret.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// From now on what is typed is a secret, or no longer one.
pub fn hide(on: bool) {
    HIDDEN.store(on, Ordering::Relaxed);
}

/// Prints above what is being typed; when it is dropped, the editor draws no more.
pub struct Printer(Option<Box<dyn ExternalPrinter + Send>>);

/// What the thread that reads and draws is at.
struct Stage {
    reading: bool,
    /// The program ends: who draws next rests instead.
    ended: bool,
    resting: bool,
}

static STAGE: Mutex<Stage> = Mutex::new(Stage { reading: false, ended: false, resting: false });
static STAGE_CHANGED: Condvar = Condvar::new();

/// How long the end waits for an editor that writes to a terminal which may take nothing.
const PATIENCE: Duration = Duration::from_secs(1);

fn stage() -> MutexGuard<'static, Stage> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The editor begins to read or to draw: at the end of the program it gets no further.
fn at_work() {
    let mut stage = stage();
    stage.reading = true;
    if !stage.ended {
        return;
    }
    stage.resting = true;
    STAGE_CHANGED.notify_all();
    drop(stage);
    loop {
        thread::park();
    }
}

/// How the terminal was before the first editor.
static FOUND: Mutex<Option<Modes>> = Mutex::new(None);

/// An editor and its printer; none where stdin or stdout is no terminal.
pub fn open() -> Option<(Editor, Printer)> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return None;
    }
    *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Modes::now();
    // Stars are no colour: they are there wherever colours are not wanted.
    let config = Config::builder().color_mode(ColorMode::Forced).build();
    let mut editor = LineEditor::with_history(config, MemHistory::new()).ok()?;
    editor.set_helper(Some(Mask));
    // The editor would come back from the background to a terminal without its modes.
    editor.bind_sequence(KeyEvent::ctrl('Z'), Cmd::Noop);
    let printer = editor.create_external_printer().ok()?;
    Some((Editor { lines: editor, begun: String::new() }, Printer(Some(Box::new(printer)))))
}

/// Ends the editor's hold on the terminal, which a program that ends in the middle of a line would
/// leave without echo.
pub fn restore() {
    let found = FOUND.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(found) = found
        && found.are_changed()
        && found.set().is_ok()
    {
        // The editor had asked for bracketed paste, may just draw, and its prompt stands on this line.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(b"\x1b[?2026l\x1b[?2004l\r\n").and_then(|()| out.flush());
    }
}

/// Restores the terminal when dropped, a panic included.
pub struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

impl Editor {
    /// The next line, which is not remembered where it is a secret, and comes back where it is to be
    /// mended.
    pub fn read(&mut self, is_secret: fn(&str) -> bool, is_slip: fn(&str) -> bool) -> Typed {
        at_work();
        let begun = std::mem::take(&mut self.begun);
        let line = self.lines.readline_with_initial("> ", (&begun, ""));
        stage().reading = false;
        STAGE_CHANGED.notify_all();
        match line {
            Ok(line) => {
                let hidden = HIDDEN.load(Ordering::Relaxed);
                if !hidden && !is_secret(&line) {
                    // A history that is full or takes no duplicates is no error.
                    let _ = self.lines.add_history_entry(&line);
                }
                if !hidden && is_slip(&line) {
                    self.begun.clone_from(&line);
                }
                Typed::Line(line)
            }
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(_) => Typed::End,
        }
    }
}

impl Printer {
    /// False when the editor is gone. Waits for a terminal that does not take it.
    pub fn print(&mut self, line: &str) -> bool {
        self.0.as_mut().is_some_and(|printer| printer.print(format!("{line}\n")).is_ok())
    }
}

/// Goes up a line and down again: the screen stays as it is.
const NOTHING: &str = "\x1b[A\n";

/// Everything is printed, and the editor rests before its next prompt: it would draw over what the
/// program, and the shell after it, have to say.
impl Drop for Printer {
    fn drop(&mut self) {
        let Some(mut printer) = self.0.take() else { return };
        // An editor that has room for this one has begun with the line before.
        if stage().reading {
            let _ = printer.print(NOTHING.to_owned());
        }
        stage().ended = true;
        // Wakes an editor that waits for keys. One that rests already takes it no more.
        let wake = move || drop(printer.print(NOTHING.to_owned()));
        let _ = thread::Builder::new().name("wake".into()).spawn(wake);
        let at_rest = |stage: &mut Stage| stage.reading && !stage.resting;
        drop(STAGE_CHANGED.wait_timeout_while(stage(), PATIENCE, at_rest));
    }
}
