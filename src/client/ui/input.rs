//! Input of a user interface; each source is read on a thread of its own.

use std::io::{BufRead, IsTerminal, Read};
use std::thread;
use std::time::Duration;

use super::complete::{self, Known};
use super::json;
use super::stdout::Print;
use crate::chat::SecretText;
use crate::client::connection::inbox::Sender;
use crate::client::mistyped;
use crate::client::model::Input;
use crate::client::slash::{self, SlashCommand};
use crate::file::without_mark;
use crate::terminal::{self, Rules, Typed};

/// Longer lines are refused unread. Servers accept far less, and memory holds far more.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Lines of stdin, as they are. A text that was meant as a command is sent where a person has typed
/// it twice.
pub fn lines(inbox: Sender) {
    let person = std::io::stdin().is_terminal();
    let (mut asked, mut before) = (None, String::new());
    read(inbox, move |line| match mistyped::mistyped(&before, &line) {
        Some(_) if person && asked.take().as_ref() == Some(&line) => {
            before.clone_from(&line);
            Input::Line(line)
        }
        Some(command) if person => {
            asked = Some(line);
            Input::Trouble(mistyped::question(command))
        }
        Some(command) => Input::Ask(Err(format!(
            "a line looks like /{command}, mistyped or over several lines: it was not sent; --send says \
             a text as it is"
        ))),
        None => {
            asked = None;
            before.clone_from(&line);
            Input::Line(line)
        }
    });
}

/// Reads objects of stdin (docs/json.md).
pub fn objects(inbox: Sender) {
    read(inbox, |line| json::read(&line));
}

/// Sends the given text, or every line of stdin; a leading slash is part of the text.
pub fn lines_to_send(text: Option<&str>, inbox: Sender) {
    let Some(text) = text else {
        return read(inbox, |line| Input::Line(literal(line)));
    };
    // The caller holds the receiver.
    let _ = inbox.send(Input::Line(literal(text.to_owned())));
    let _ = inbox.send(Input::InputEnd);
}

/// Makes a line a text, whatever it begins with.
fn literal(line: String) -> String {
    match line.starts_with('/') {
        true => format!("/{line}"),
        false => line,
    }
}

fn read(inbox: Sender, mut make: impl FnMut(String) -> Input + Send + 'static) {
    spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let (mut line, mut is_first) = (Vec::new(), true);
        loop {
            line.clear();
            let mut bounded = (&mut stdin).take(LINE_BYTES_MAX as u64);
            match bounded.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let whole = line.len() < LINE_BYTES_MAX || line.ends_with(b"\n");
            if !whole && stdin.skip_until(b'\n').is_err() {
                break;
            }
            while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                line.pop();
            }
            let refused = |why: &str| Input::Ask(Err(format!("{why}: nothing of it was sent")));
            // Some programs, such as PowerShell, write a mark before the first line.
            let mut text = std::str::from_utf8(&line);
            if std::mem::take(&mut is_first) {
                text = text.map(without_mark);
            }
            let input = match text {
                _ if !whole => refused("a line is longer than a megabyte"),
                Ok("") => continue,
                Ok(text) => make(text.to_owned()),
                Err(_) => refused("a line is not UTF-8"),
            };
            let sent = inbox.send_sized(input, line.len(), Duration::MAX, || {});
            if sent.is_err() {
                return;
            }
        }
        // The runtime may already have ended.
        let _ = inbox.send(Input::InputEnd);
    });
}

/// What the line editor does with what is typed.
const RULES: Rules = Rules {
    is_secret: mistyped::is_secret,
    is_mistyped: slash::is_mistyped,
    is_asked: |before, line| mistyped::question_of(before, line).is_some(),
    complete: |before| {
        let known = Known { people: &[], channels: &[], paths: complete::paths };
        complete::candidates(before, &known)
    },
};

/// Starts a line editor on a terminal, which keeps half-typed text while output appears above it.
/// Returns `None` if the terminal has none.
pub fn editor(inbox: &Sender) -> Option<Box<dyn Print>> {
    let (mut editor, mut printer) = terminal::open()?;
    let inbox = inbox.clone();
    spawn(move || {
        loop {
            // The reader stops before the program ends, so that the terminal is restored.
            let (input, end) = match editor.read(&RULES) {
                // Several pasted lines are a text, whatever they begin with.
                Typed::Line(line, within) => {
                    let several = line.contains('\n');
                    let exit =
                        matches!(slash::read(&line), slash::Typed::Command(SlashCommand::Exit(_)));
                    let line = if several { literal(line) } else { line };
                    let input = match within {
                        Some(within) => Input::Composed { within, line },
                        None => Input::Line(line),
                    };
                    (input, exit && !several)
                }
                Typed::Secret(secret) => {
                    let exit = secret == "/exit";
                    (Input::Secret(SecretText::new(secret)), exit)
                }
                Typed::Asked(line) => {
                    let question = mistyped::question_of(editor.before(), &line);
                    (Input::Trouble(question.unwrap_or_default()), false)
                }
                Typed::Interrupt => (Input::Interrupt, true),
                Typed::End => (Input::Line("/exit".into()), true),
            };
            if inbox.send(input).is_err() || end {
                return;
            }
        }
    });
    Some(Box::new(move |line: String| {
        // If the terminal is gone the editor has ended, which ends the program.
        let _ = printer.print(&line);
    }))
}

fn spawn(job: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name("input".into()).spawn(job).expect("a client can start a thread");
}
