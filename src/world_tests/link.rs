//! A connection in memory, which fills up and breaks.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use crate::server::delivery::sink::Sink;

/// The way to a client: holds a bounded number of bytes, as a socket does.
pub struct Link {
    pub state: Mutex<LinkState>,
}

pub struct LinkState {
    pub bytes: VecDeque<u8>,
    pub room: usize,
    pub cut: bool,
}

impl Link {
    pub fn with<T>(&self, change: impl FnOnce(&mut LinkState) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub fn is_cut(&self) -> bool {
        self.with(|state| state.cut)
    }
}

impl Sink for Link {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|state| {
            if state.cut {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let taken = bytes.len().min(state.room - state.bytes.len());
            if taken == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state.bytes.extend(&bytes[..taken]);
            Ok(taken)
        })
    }

    fn cut(&self) {
        self.with(|state| state.cut = true);
    }

    fn address(&self) -> Option<IpAddr> {
        None
    }

    fn fd(&self) -> BorrowedFd<'_> {
        unimplemented!("nobody polls memory")
    }
}

/// What has arrived at a client.
#[derive(Default)]
pub struct Arrived(pub VecDeque<u8>);

impl Read for Arrived {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}
