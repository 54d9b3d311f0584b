//! Stdout on a thread of its own: where nobody reads it, everything else goes on. What is not
//! written yet holds the budget of what it was made from (`inbox.rs`).

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::client::inbox::Permit;

/// Whoever quits waits so long for a reader that takes nothing.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);
/// Whether the reader still takes something is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Where finished lines go.
pub trait Print: Send {
    fn print(&mut self, line: String);

    /// Lines from now on come of what has this permit.
    fn carries(&mut self, _permit: Option<Permit>) {}

    /// Nothing more comes. All is written after this, unless somebody `quits` and nobody reads.
    fn finish(&mut self, _quits: bool) {}
}

impl<F: FnMut(String) + Send> Print for F {
    fn print(&mut self, line: String) {
        self(line);
    }
}

pub struct Stdout {
    /// None at the end.
    lines: Option<Sender<(String, Option<Permit>)>>,
    permit: Option<Permit>,
    /// Lines that are written.
    written: Arc<AtomicU64>,
    all: Receiver<()>,
}

impl Stdout {
    /// A closed pipe ends the program as it ends every filter.
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
            // Whoever waited may have lost patience.
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
            // Its thread ends with the program.
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
