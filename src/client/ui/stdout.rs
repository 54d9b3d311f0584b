//! Stdout, written on a thread of its own, so that a blocked reader blocks nothing else. Unwritten
//! output holds the budget of the input that it was made from (`inbox.rs`).

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::client::connection::inbox::{self, Permit};
use crate::client::model::Input;
use crate::print::err_if_read;
use crate::system::terminal::{wait_for_lost_reader, write_out};

/// Time that a quitting client waits for a blocked reader.
const QUIT_PATIENCE: Duration = Duration::from_millis(500);
/// Interval between checks whether the reader still makes progress.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A sink for complete lines.
pub trait Print: Send {
    fn print(&mut self, line: String);

    /// Sets the permit of the following lines.
    fn carries(&mut self, _permit: Option<Permit>) {}

    /// Ends the output. All lines are written afterwards, unless the user `quits` while the reader
    /// is blocked, or writing fails. Returns whether writing succeeded.
    fn finish(&mut self, _quits: bool) -> bool {
        true
    }
}

impl<F: FnMut(String) + Send> Print for F {
    fn print(&mut self, line: String) {
        self(line);
    }
}

pub struct Stdout {
    /// `None` after the end.
    lines: Option<Sender<(String, Option<Permit>)>>,
    permit: Option<Permit>,
    /// Count of lines that wait.
    waiting: Arc<AtomicUsize>,
    end: Receiver<io::Result<()>>,
}

impl Stdout {
    /// An error ends the program, also a closed pipe, as with every filter.
    pub fn new(inbox: inbox::Sender) -> Stdout {
        let (lines, said) = mpsc::channel::<(String, Option<Permit>)>();
        let (ends, end) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&waiting);
        let write = move || {
            for (mut line, _permit) in said {
                line.push('\n');
                if let Err(error) = write_out(line.as_bytes()) {
                    let _ = ends.send(Err(error));
                    // The runtime may already have ended.
                    let _ = inbox.send(Input::OutputLost);
                    return;
                }
                count.fetch_sub(1, Ordering::Relaxed);
            }
            // The waiting thread may have timed out.
            let _ = ends.send(Ok(()));
        };
        let spawned = thread::Builder::new().name("stdout".into()).spawn(write);
        spawned.expect("a client can start a thread");
        Stdout { lines: Some(lines), permit: None, waiting, end }
    }

    /// Ends the program as soon as nobody can read the output any more, and not only when the next
    /// line cannot be written.
    pub fn with_reader(self, inbox: inbox::Sender) -> Stdout {
        let watch = move || {
            if wait_for_lost_reader() {
                // The runtime may already have ended.
                let _ = inbox.send(Input::OutputLost);
            }
        };
        // Without the thread, the next line that cannot be written ends the program.
        let _ = thread::Builder::new().name("reader".into()).spawn(watch);
        self
    }

    /// Waits for the thread. Gives up once the user quits and nothing is read.
    fn wait(&self, quits: bool) -> Option<io::Result<()>> {
        let patience = if quits { QUIT_PATIENCE } else { LOOK_EVERY };
        loop {
            let before = self.waiting.load(Ordering::Relaxed);
            match self.end.recv_timeout(patience) {
                Ok(written) => return Some(written),
                // Its end was reported before.
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if quits && self.waiting.load(Ordering::Relaxed) == before {
                return None;
            }
        }
    }
}

impl Print for Stdout {
    fn print(&mut self, line: String) {
        if let Some(lines) = &self.lines {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // Its thread ends early only with an error, which ends the program.
            let _ = lines.send((line, self.permit.clone()));
        }
    }

    fn carries(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    fn finish(&mut self, quits: bool) -> bool {
        self.lines = None;
        match self.wait(quits) {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                if error.kind() != ErrorKind::BrokenPipe {
                    err_if_read(format!("error: stdout: {error}\n"));
                }
                false
            }
            None => {
                let lines = self.waiting.load(Ordering::Relaxed);
                let text = "lines of output were not written: the reader of stdout is blocked";
                err_if_read(format!("error: {lines} {text}\n"));
                true
            }
        }
    }
}
