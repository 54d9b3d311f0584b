//! When the house is full: newcomers that speak pychat are told so, without a thread for each. All
//! others meet the same silence as ever.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::crypto::handshake::R0;
use crate::crypto::key_request::ASK;
use crate::net::tunnel::{BUSY, write_record};
use crate::server::stop::Stop;

/// Newcomers that wait for the word at once; who comes on top is closed.
const WAITING_MAX: usize = 256;
/// For this long a newcomer may take to say what it speaks.
const PATIENCE: Duration = Duration::from_secs(1);

/// Newcomers for whom there is no room.
#[derive(Default)]
pub struct Doorman {
    newcomers: Mutex<Vec<(TcpStream, Instant)>>,
    came: Condvar,
}

impl Doorman {
    /// Takes a newcomer that there is no room for.
    pub fn take(&self, stream: TcpStream) {
        let mut newcomers = self.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
        if newcomers.len() < WAITING_MAX && stream.set_nonblocking(true).is_ok() {
            newcomers.push((stream, Instant::now() + PATIENCE));
            self.came.notify_one();
        }
    }

    /// Tells newcomers until the server stops.
    pub fn attend(&self, stop: &Stop) {
        let mut waiting: Vec<(TcpStream, Instant)> = Vec::new();
        while !stop.is_told() {
            let mut newcomers = self.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.is_empty() && newcomers.is_empty() {
                let waited = self.came.wait_timeout(newcomers, Duration::from_millis(500));
                newcomers = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            waiting.append(&mut newcomers);
            drop(newcomers);
            let now = Instant::now();
            let ready = ready(&waiting);
            let mut still = Vec::new();
            for ((stream, deadline), ready) in waiting.into_iter().zip(ready) {
                if ready {
                    tell(stream);
                } else if now < deadline {
                    still.push((stream, deadline));
                }
            }
            waiting = still;
        }
    }
}

/// Which of the newcomers have said something; waits a little for the first.
fn ready(waiting: &[(TcpStream, Instant)]) -> Vec<bool> {
    let mut fds: Vec<_> =
        waiting.iter().map(|(stream, _)| PollFd::new(stream, PollFlags::IN)).collect();
    if fds.is_empty() {
        return Vec::new();
    }
    let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    match poll(&mut fds, Some(&pause)) {
        Ok(_) => fds.iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(_) => vec![false; waiting.len()],
    }
}

/// One read must hold the whole greeting: clients send it in one piece.
fn tell(mut stream: TcpStream) {
    let mut greeting = [0; 64];
    let Ok(bytes) = stream.read(&mut greeting) else { return };
    let pychat = |start: &[u8]| bytes > 2 && greeting[2..bytes].starts_with(start);
    if pychat(R0) || pychat(ASK) {
        // Who does not wait for the answer needs none.
        let _ = write_record(&stream, BUSY);
        let _ = stream.flush();
    }
}
