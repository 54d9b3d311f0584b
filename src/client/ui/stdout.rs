//! Stdout, written on a thread of its own, so that a blocked reader blocks nothing else. Unwritten
//! output holds the budget of the input that it was made from (`inbox.rs`).

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::client::inbox::Permit;

/// Time that a quitting client waits for a blocked reader.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);
/// Interval between checks whether the reader still makes progress.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A sink for complete lines.
pub trait Print: Send {
    fn print(&mut self, line: String);

    /// Sets the permit of the following lines.
    fn carries(&mut self, _permit: Option<Permit>) {}

    /// Ends the output. All lines are written afterwards, unless the user `quits` while the reader
    /// is blocked.
    fn finish(&mut self, _quits: bool) {}
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
    /// Count of written lines.
    written: Arc<AtomicU64>,
    all: Receiver<()>,
}

impl Stdout {
    /// A closed pipe ends the program, as with every filter.
    pub fn new() -> Stdout {
        let (lines, said) = mpsc::channel::<(String, Option<Permit>)>();
        let (end, all) = mpsc::channel();
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        let write = move || {
            let mut out = std::io::stdout();
            for (mut line, _permit) in said {
                line.push('\n');
                if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
                    std::process::exit(0);
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            // The waiting thread may have timed out.
            let _ = end.send(());
        };
        let spawned = thread::Builder::new().name("stdout".into()).spawn(write);
        spawned.expect("a client can start a thread");
        Stdout { lines: Some(lines), permit: None, written, all }
    }
}

impl Print for Stdout {
    fn print(&mut self, line: String) {
        if let Some(lines) = &self.lines {
            // Its thread ends only with the program.
            let _ = lines.send((line, self.permit.clone()));
        }
    }

    fn carries(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    fn finish(&mut self, quits: bool) {
        self.lines = None;
        let patience = if quits { QUIT_PATIENCE } else { LOOK_EVERY };
        loop {
            let before = self.written.load(Ordering::Relaxed);
            match self.all.recv_timeout(patience) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if quits && self.written.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}
