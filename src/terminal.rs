//! A line editor that lets other threads print above the input line, and restores the terminal at
//! its end.

mod strokes;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::{History, MemHistory, SearchDirection, SearchResult};
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ColorMode, ConditionalEventHandler, Config, Context, Editor as LineEditor, Event,
    EventContext, EventHandler, ExternalPrinter, Helper, KeyEvent, RepeatCount, Result,
};

use strokes::Strokes;

use crate::chat::Target;
use crate::sync::{Condvar, Mutex, MutexGuard, Rank};
use crate::system::terminal::{self, Modes};

/// An input at the prompt.
pub enum Typed {
    /// A line, and the conversation that was selected when the user started to type it, or when the
    /// line was entered that it was made from.
    Line(String, Option<Target>),
    /// A line that needs a second Enter before it is sent.
    Asked(String),
    /// A line that was a secret from its first character on.
    Secret(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// Rules for lines, by their text, and two of them also by the line that was accepted before.
pub struct Rules {
    /// The line is not added to the history.
    pub is_secret: fn(&str, &str) -> bool,
    /// The line returns to the prompt for correction.
    pub is_mistyped: fn(&str) -> bool,
    /// The line returns to the prompt, and is accepted when Enter is pressed again.
    pub is_asked: fn(&str, &str) -> bool,
    /// The start of the word before the cursor, and its completions.
    pub complete: Complete,
}

type Complete = fn(&str) -> (usize, Vec<String>);

const NO_COMPLETIONS: Complete = |_| (0, Vec::new());

/// Accepts each line.
impl Default for Rules {
    fn default() -> Rules {
        let (is_secret, is_asked) = (|_: &str, _: &str| false, |_: &str, _: &str| false);
        Rules { is_secret, is_mistyped: |_| false, is_asked, complete: NO_COMPLETIONS }
    }
}

/// Reads lines. Earlier lines are available with the arrow keys, in memory only.
pub struct Editor {
    lines: LineEditor<Mask, Remembered>,
    /// The initial text of the next line: the last one if it has to be corrected or confirmed.
    begun: String,
    /// The conversation of that line.
    begun_within: Option<Target>,
    /// The last line that was accepted and not empty.
    before: String,
}

/// Shows stars for the characters of a secret, and completes words of other lines.
struct Mask(Complete);

impl Helper for Mask {}

impl Validator for Mask {}

impl Completer for Mask {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        let complete = if is_secret_line() { NO_COMPLETIONS } else { self.0 };
        Ok(complete(&line[..at]))
    }
}

impl Hinter for Mask {
    type Hint = String;
}

impl Highlighter for Mask {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        at_work();
        watch(line);
        match is_secret_line() {
            true => Cow::Owned("*".repeat(line.chars().count())),
            false => Cow::Borrowed(line),
        }
    }

    fn highlight_char(&self, line: &str, _: usize, _: CmdKind) -> bool {
        watch(line);
        is_secret_line()
    }
}

/// Whether the next line is a secret. Does not affect a line that is partly typed.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// Sets whether the next line is a secret.
pub fn hide(on: bool) {
    aims(|aims| aims.hides_next = false);
    HIDDEN.store(on, Ordering::Relaxed);
}

/// Hides the next line after Enter was pressed on an empty one.
pub fn hide_after_enter() {
    hide(false);
    aims(|aims| aims.hides_next = true);
}

/// Returns whether the line at the prompt is a secret, or will be one.
fn is_secret_line() -> bool {
    aims(|aims| aims.secret).unwrap_or_else(|| HIDDEN.load(Ordering::Relaxed))
}

/// The selected conversation, and the origin of the line at the prompt.
#[derive(Default)]
struct Aims {
    now: Option<Target>,
    /// The conversation that was selected when the line was started.
    begun: Option<Target>,
    /// The conversation of the last cut text, and of the last cut text of a sealed conversation.
    cut: Option<Target>,
    cut_sealed: Option<Target>,
    /// Whether the last cut text was part of a secret.
    cut_secret: bool,
    /// Whether the line at the prompt is a secret, which its first character decides.
    secret: Option<bool>,
    /// Whether Enter on an empty line starts a secret.
    hides_next: bool,
    /// Length of the line at the last key, in bytes.
    bytes: usize,
}

static AIMS: Mutex<Option<Aims>> = Mutex::new(Rank::Prompt, None);

fn aims<T>(with: impl FnOnce(&mut Aims) -> T) -> T {
    with(AIMS.lock().get_or_insert_default())
}

/// Selects a conversation for further lines; a partly typed line keeps the former one.
pub fn aim(target: Target) {
    aims(|aims| aims.now = Some(target));
}

/// Processes the line after each key.
fn watch(line: &str) {
    aims(|aims| {
        if line.len() < aims.bytes {
            aims.cut.clone_from(&aims.begun);
            aims.cut_secret = aims.secret == Some(true);
            if aims.begun.as_ref().is_some_and(Target::is_sealed) {
                aims.cut_sealed.clone_from(&aims.begun);
            }
        }
        aims.bytes = line.len();
        if line.is_empty() {
            (aims.begun, aims.secret) = (None, None);
            return;
        }
        let secret = *aims.secret.get_or_insert_with(|| HIDDEN.load(Ordering::Relaxed));
        if aims.begun.is_none() && !secret {
            // A secret belongs to no conversation.
            aims.begun.clone_from(&aims.now);
        }
    });
}

/// Sets the origin of the text at the prompt.
fn made_within(within: Option<&Target>) {
    if within.is_some_and(Target::is_sealed) {
        aims(|aims| aims.begun = within.cloned());
    }
}

/// Pastes cut text with its origin: no text of a message into a secret, and no text of a secret
/// into a message.
struct Yanks;

impl ConditionalEventHandler for Yanks {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        if let Some(pasted) = event.get(0).and_then(strokes::pasted) {
            return Some(pasted);
        }
        if is_secret_line() || aims(|aims| aims.cut_secret) {
            return Some(Cmd::Noop);
        }
        let newest = event.get(0) == Some(&KeyEvent::ctrl('Y'));
        let cut = aims(|aims| if newest { aims.cut.clone() } else { aims.cut_sealed.clone() });
        made_within(cut.as_ref());
        None
    }
}

/// Suspends the program. The editor itself would return to a terminal without its modes, because
/// it does not wait until the program has stopped.
struct Suspends;

impl ConditionalEventHandler for Suspends {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        let modes = Modes::now().filter(|_| terminal::may_stop());
        let Some(modes) = modes else { return Some(Cmd::Noop) };
        restore();
        let stopped = terminal::stop_until_continued();
        // A terminal that is gone ends the editor with its next read.
        if modes.set().is_ok() && stopped.is_ok() {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(b"\x1b[?2004h").and_then(|()| out.flush());
        }
        Some(Cmd::Repaint)
    }
}

/// Earlier lines, with their conversations.
#[derive(Default)]
struct Remembered {
    lines: MemHistory,
    within: HashMap<String, Target>,
}

impl Remembered {
    /// Shows an earlier line, which is no secret.
    fn comes<'h>(&self, found: Option<SearchResult<'h>>) -> Option<SearchResult<'h>> {
        let found = found.filter(|_| !is_secret_line());
        if let Some(found) = &found {
            aims(|aims| aims.begun = None);
            made_within(self.within.get(&*found.entry));
        }
        found
    }
}

impl History for Remembered {
    fn get(&self, index: usize, way: SearchDirection) -> Result<Option<SearchResult<'_>>> {
        Ok(self.comes(self.lines.get(index, way)?))
    }

    fn search(
        &self,
        text: &str,
        start: usize,
        way: SearchDirection,
    ) -> Result<Option<SearchResult<'_>>> {
        Ok(self.comes(self.lines.search(text, start, way)?))
    }

    fn starts_with(
        &self,
        text: &str,
        start: usize,
        way: SearchDirection,
    ) -> Result<Option<SearchResult<'_>>> {
        Ok(self.comes(self.lines.starts_with(text, start, way)?))
    }

    fn add(&mut self, line: &str) -> Result<bool> {
        self.lines.add(line)
    }

    fn add_owned(&mut self, line: String) -> Result<bool> {
        self.lines.add_owned(line)
    }

    fn len(&self) -> usize {
        self.lines.len()
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn set_max_len(&mut self, len: usize) -> Result<()> {
        self.lines.set_max_len(len)
    }

    fn ignore_dups(&mut self, yes: bool) -> Result<()> {
        self.lines.ignore_dups(yes)
    }

    fn ignore_space(&mut self, yes: bool) {
        self.lines.ignore_space(yes);
    }

    fn save(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn append(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn load(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        self.within.clear();
        self.lines.clear()
    }
}

/// Returns the width of a terminal in columns; `None` if the output is none.
pub fn cells(out: &impl IsTerminal) -> Option<usize> {
    let size = out.is_terminal().then(ratatui::crossterm::terminal::size)?;
    size.ok().map(|(columns, _)| columns.into()).filter(|columns| *columns > 0)
}

/// Prints above the input line. Stops the editor when it is dropped.
pub struct Printer(Option<Box<dyn ExternalPrinter + Send>>);

/// State of the thread that reads and draws.
struct Stage {
    reading: bool,
    /// The program ends: the thread must not draw any more.
    ended: bool,
    resting: bool,
}

static STAGE: Mutex<Stage> =
    Mutex::new(Rank::Editor, Stage { reading: false, ended: false, resting: false });
static STAGE_CHANGED: Condvar = Condvar::new();

/// Time that the end waits for an editor that writes to a terminal which may not accept output.
const PATIENCE: Duration = Duration::from_secs(1);

fn stage() -> MutexGuard<'static, Stage> {
    STAGE.lock()
}

/// Called by the editor before it reads or draws: blocks at the end of the program.
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

/// The modes of the terminal before the first editor.
static FOUND: Mutex<Option<Modes>> = Mutex::new(Rank::TerminalModes, None);

/// Returns an editor and its printer; `None` if stdin or stdout is no terminal.
pub fn open() -> Option<(Editor, Printer)> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return None;
    }
    *FOUND.lock() = Modes::now();
    // Stars are no colour: they are also shown without colours.
    let config = Config::builder().color_mode(ColorMode::Forced).build();
    let mut editor = LineEditor::with_history(config, Remembered::default()).ok()?;
    editor.set_helper(Some(Mask(NO_COMPLETIONS)));
    let suspends = EventHandler::Conditional(Box::new(Suspends));
    editor.bind_sequence(KeyEvent::ctrl('Z'), suspends);
    for yank in [KeyEvent::ctrl('Y'), KeyEvent::alt('y')] {
        editor.bind_sequence(yank, EventHandler::Conditional(Box::new(Yanks)));
    }
    editor.bind_sequence(Event::Any, EventHandler::Conditional(Box::new(Strokes)));
    let printer = editor.create_external_printer().ok()?;
    let (begun, before) = (String::new(), String::new());
    let editor = Editor { lines: editor, begun, begun_within: None, before };
    Some((editor, Printer(Some(Box::new(printer)))))
}

/// Restores the terminal. A program that ends during input would leave it without echo.
pub fn restore() {
    let found = FOUND.lock().clone();
    if let Some(found) = found
        && found.are_changed()
        && found.set().is_ok()
    {
        // The editor has enabled bracketed paste, may be drawing, and its prompt is on this line.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(b"\x1b[?2026l\x1b[?2004l\r\n").and_then(|()| out.flush());
    }
}

/// Restores the terminal when dropped, also after a panic.
pub struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

impl Editor {
    /// Returns the next line.
    pub fn read(&mut self, rules: &Rules) -> Typed {
        at_work();
        if let Some(mask) = self.lines.helper_mut() {
            mask.0 = rules.complete;
        }
        let begun = std::mem::take(&mut self.begun);
        made_within(self.begun_within.take().as_ref());
        // The prompt appears once the terminal does not echo.
        let prompt = if HIDDEN.load(Ordering::Relaxed) { "password: " } else { "> " };
        let line = self.lines.readline_with_initial(prompt, (&begun, ""));
        stage().reading = false;
        STAGE_CHANGED.notify_all();
        let secret = is_secret_line();
        let within = aims(|aims| {
            (aims.bytes, aims.secret) = (0, None);
            aims.begun.take().or_else(|| aims.now.clone())
        });
        match line {
            Ok(line) if secret => {
                // Further input is a message again, unless another secret is requested.
                if !line.is_empty() {
                    HIDDEN.store(false, Ordering::Relaxed);
                }
                Typed::Secret(line)
            }
            Ok(line) => {
                if line.is_empty() && aims(|aims| std::mem::take(&mut aims.hides_next)) {
                    HIDDEN.store(true, Ordering::Relaxed);
                }
                if !(rules.is_secret)(&self.before, &line) {
                    self.remember(&line, within.clone());
                }
                let asked = (rules.is_asked)(&self.before, &line) && line != begun;
                if asked || (rules.is_mistyped)(&line) {
                    self.begun.clone_from(&line);
                    self.begun_within.clone_from(&within);
                }
                if asked {
                    return Typed::Asked(line);
                }
                if !line.trim().is_empty() {
                    self.before.clone_from(&line);
                }
                Typed::Line(line, within)
            }
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(_) => Typed::End,
        }
    }

    /// The last line that was accepted and not empty.
    pub fn before(&self) -> &str {
        &self.before
    }

    fn remember(&mut self, line: &str, within: Option<Target>) {
        // A full history, or a repeated line, is no error.
        let _ = self.lines.add_history_entry(line);
        let remembered = &mut self.lines.history_mut().within;
        match within.filter(Target::is_sealed) {
            Some(within) => drop(remembered.insert(line.to_owned(), within)),
            None => drop(remembered.remove(line)),
        }
    }
}

impl Printer {
    /// Prints a line. Returns false if the editor is gone. Waits for a terminal that does not
    /// accept output.
    pub fn print(&mut self, line: &str) -> bool {
        self.0.as_mut().is_some_and(|printer| printer.print(format!("{line}\n")).is_ok())
    }
}

/// Moves up and down one line, so that the screen does not change.
const NOTHING: &str = "\x1b[A\n";

/// Prints everything that is queued, and stops the editor before its next prompt, which would
/// overwrite later output of the program and the shell.
impl Drop for Printer {
    fn drop(&mut self) {
        let Some(mut printer) = self.0.take() else { return };
        // An editor that accepts this line has started with the one before.
        if stage().reading {
            let _ = printer.print(NOTHING.to_owned());
        }
        stage().ended = true;
        // Wakes an editor that waits for keys. One that has stopped does not accept it.
        let wake = move || drop(printer.print(NOTHING.to_owned()));
        let _ = thread::Builder::new().name("wake".into()).spawn(wake);
        let at_rest = |stage: &mut Stage| stage.reading && !stage.resting;
        drop(STAGE_CHANGED.wait_timeout_while(stage(), PATIENCE, at_rest));
    }
}
