//! The operator's console at the server's terminal.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;
use std::thread;

use super::super::observe::log;
use super::super::stop::Stop;
use super::ctl::Handler;
use crate::chat::operator_commands::{self, Name};
use crate::print::err;
use crate::terminal::{self, Rules, Typed};

/// Reads the operator's commands if stdin is a terminal. The server continues after the end of
/// input.
pub fn run(handler: Handler, stop: Arc<Stop>) {
    if !std::io::stdin().is_terminal() {
        return;
    }
    let console = thread::Builder::new().name("console".into());
    let started = match terminal::open() {
        Some((editor, printer)) => {
            // A log file stays in use.
            if std::io::stderr().is_terminal() {
                log::print_with(printer);
            }
            console.spawn(move || edit(editor, &handler, &stop))
        }
        None => console.spawn(move || listen(&handler)),
    };
    if let Err(error) = started {
        ::log::warn!("no console: {error}");
    }
}

fn edit(mut editor: terminal::Editor, handler: &Handler, stop: &Stop) {
    // A stop ends the reading first, so that the terminal is restored.
    while !stop.is_requested() {
        match editor.read(&Rules::default()) {
            Typed::Line(line, _) if !run_line(&line, handler) => break,
            // The console asks for no secret and no confirmation.
            Typed::Line(_, _) | Typed::Secret(_) | Typed::Asked(_) => {}
            Typed::Interrupt => {
                // As without an editor: the first Ctrl-C stops the server, the second ends it at
                // once.
                let own = rustix::process::getpid();
                let _ = rustix::process::kill_process(own, rustix::process::Signal::INT);
                break;
            }
            Typed::End => break,
        }
    }
    log::print_plainly();
}

fn listen(handler: &Handler) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if !run_line(&line, handler) {
            return;
        }
    }
}

/// Runs one line. Returns false if the operator leaves the console.
fn run_line(line: &str, handler: &Handler) -> bool {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let Some(word) = words.first() else { return true };
    err!("{}", handler(&words).text);
    let called = operator_commands::find(&word.trim_start_matches('/').to_lowercase());
    !called.is_some_and(|command| command.name == Name::Exit)
}
