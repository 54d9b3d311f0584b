//! `--send-file` and `--get`: progress and errors on stderr, the path of a fetched file on stdout.

use std::io::{IsTerminal, Write};

use super::tui::wrap;
use super::{Mute, Ui, transfers};
use crate::chat::{Code, Event};
use crate::clean;
use crate::client::model::{Origin, Output, State};
use crate::client::transfer::{Progress, TransferState};
use crate::print::err;
use crate::terminal;

/// Columns of a terminal that does not state its size.
const COLUMNS: usize = 80;

pub struct OneFile {
    /// Stderr is a terminal, where one line is rewritten.
    rewrites: bool,
    /// The cursor is in that line.
    is_open: bool,
}

impl OneFile {
    pub fn new() -> OneFile {
        OneFile { rewrites: std::io::stderr().is_terminal(), is_open: false }
    }

    fn progress(&mut self, progress: &Progress) {
        match &progress.state {
            TransferState::Failed(failure) => {
                self.close();
                let origin = if failure.is_theirs { Origin::Server } else { Origin::Client };
                super::report(origin, &clean::line(&failure.hint));
            }
            TransferState::Saved(path) => {
                self.close();
                if !path.as_os_str().is_empty() {
                    let mut out = std::io::stdout().lock();
                    // A closed pipe does not make the file less whole.
                    let _ = out.write_all(path.as_os_str().as_encoded_bytes());
                    let _ = out.write_all(b"\n");
                }
            }
            TransferState::Sent | TransferState::Cancelled => self.close(),
            _ if self.rewrites => self.rewrite(progress),
            _ => {}
        }
    }

    fn rewrite(&mut self, progress: &Progress) {
        let rest = format!(" {} {}", transfers::bar(progress, 20), transfers::state(progress));
        // A line that a terminal wraps cannot be rewritten.
        let cells = terminal::cells(&std::io::stderr()).unwrap_or(COLUMNS) - 1;
        let name = clean::line(&transfers::name(progress));
        let name = wrap::clip(&name, cells.saturating_sub(rest.len()));
        let line = wrap::clip(&format!("{name}{}", clean::line(&rest)), cells);
        self.is_open = true;
        // A terminal that is gone ends the program by other means.
        let _ = write!(std::io::stderr(), "\r{line}\u{1b}[K");
    }

    /// Ends the line that is rewritten.
    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            err!("");
        }
    }
}

impl Ui for OneFile {
    fn show(&mut self, output: &Output) {
        match output {
            Output::Transfer(progress) => self.progress(progress),
            // The transfer continues once the server is back, or under new keys.
            Output::Event(_, Event::Goodbye { code: Code::Shutdown, .. }) => {}
            Output::Error(_)
            | Output::Misused(_)
            | Output::Hint(_)
            | Output::State(State::Silent { .. })
            | Output::Event(_, Event::Refused { .. } | Event::Goodbye { .. }) => {
                self.close();
                Mute.show(output);
            }
            Output::Violation { to, from, violation, .. } => {
                self.close();
                err!("error: {to}: {}", violation.describe(from));
            }
            Output::KeyChanged { text, .. } => {
                self.close();
                err!("note: {text}");
            }
            _ => {}
        }
    }

    fn end(&mut self, _code: u8) -> bool {
        self.close();
        true
    }
}
