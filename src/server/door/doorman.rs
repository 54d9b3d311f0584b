//! When the house is full: newcomers that have an invite are told so, without a thread for each. All
//! others meet the same silence as ever.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits::RECORD_LOGIN_BYTES_MAX;
use crate::net::tunnel::{BUSY, write_record};
use crate::server::stop::Stop;

/// For this long a newcomer may take to say what it speaks.
const PATIENCE: Duration = Duration::from_secs(1);

/// Newcomers for whom there is no room.
pub struct Doorman {
    /// Who has come since the thread last looked.
    newcomers: Mutex<VecDeque<Newcomer>>,
    came: Condvar,
    /// Of those who have just come, and again of those whom the thread listens to.
    newcomers_max: usize,
}

/// A newcomer, and until when it is listened to.
type Newcomer = (TcpStream, Instant);

impl Doorman {
    /// With `places` for newcomers; each holds a descriptor.
    pub fn new(places: usize) -> Self {
        let newcomers_max = (places / 2).max(1);
        Doorman { newcomers: Mutex::default(), came: Condvar::new(), newcomers_max }
    }

    /// Takes a newcomer that there is no room for. Where there are too many, those who have been
    /// silent for longest are closed: who speaks pychat has said so at once.
    pub fn take(&self, stream: TcpStream) {
        if stream.set_nonblocking(true).is_ok() {
            let mut newcomers = self.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
            newcomers.push_back((stream, Instant::now() + PATIENCE));
            self.keep_newest(&mut newcomers);
            self.came.notify_one();
        }
    }

    /// Tells newcomers whose first record it `knows` until the server stops.
    pub fn attend(&self, stop: &Stop, knows: &dyn Fn(&[u8]) -> bool) {
        let mut waiting: VecDeque<Newcomer> = VecDeque::new();
        while !stop.is_told() {
            let mut newcomers = self.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.is_empty() && newcomers.is_empty() {
                let waited = self.came.wait_timeout(newcomers, Duration::from_millis(500));
                newcomers = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            waiting.append(&mut newcomers);
            self.keep_newest(&mut waiting);
            drop(newcomers);
            let now = Instant::now();
            let ready = ready(&waiting);
            let mut still = VecDeque::new();
            for ((stream, deadline), ready) in waiting.into_iter().zip(ready) {
                if ready {
                    tell(stream, knows);
                } else if now < deadline {
                    still.push_back((stream, deadline));
                }
            }
            waiting = still;
        }
    }

    fn keep_newest(&self, newcomers: &mut VecDeque<Newcomer>) {
        let too_many = newcomers.len().saturating_sub(self.newcomers_max);
        newcomers.drain(..too_many);
    }
}

/// Which of the newcomers have said something; waits a little for the first.
fn ready(waiting: &VecDeque<Newcomer>) -> Vec<bool> {
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
fn tell(mut stream: TcpStream, knows: &dyn Fn(&[u8]) -> bool) {
    let mut greeting = [0; RECORD_LOGIN_BYTES_MAX + 2];
    let Ok(bytes) = stream.read(&mut greeting) else { return };
    let Some((length, record)) = greeting[..bytes].split_first_chunk() else { return };
    if record.len() == usize::from(u16::from_be_bytes(*length)) && knows(record) {
        // Who does not wait for the answer needs none.
        let _ = write_record(&stream, BUSY);
        let _ = stream.flush();
    }
}
