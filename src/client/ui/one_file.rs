//! `--send-file` and `--get`: progress and errors on stderr, the path of a fetched file on stdout.

use std::io::{IsTerminal, Write};

use super::{Mute, Ui, transfers};
use crate::chat::{Code, Event};
use crate::clean;
use crate::client::model::{Origin, Output};
use crate::client::transfer::{Progress, TransferState};
use crate::print::err;

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
        let bar = transfers::bar(progress, 20);
        let line = format!("{} {bar} {}", transfers::name(progress), transfers::state(progress));
        self.is_open = true;
        // A terminal that is gone ends the program by other means.
        let _ = write!(std::io::stderr(), "\r{}\u{1b}[K", clean::line(&line));
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
            Output::Error(_) | Output::Misused(_) | Output::Hint(_) | Output::Event(..) => {
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
            output => Mute.show(output),
        }
    }

    fn end(&mut self, _code: u8) -> bool {
        self.close();
        true
    }
}
