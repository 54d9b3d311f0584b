//! Where a session's sealed bytes go: a socket, or memory in tests.

use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;

/// The sending side of a connection. Nothing here waits.
pub trait Sink: Send + Sync {
    /// Takes as many bytes as fit now and says how many; `WouldBlock` where it is full.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Ends both directions, which wakes whoever reads.
    fn cut(&self);

    /// Where the peer is; none once it is gone.
    fn address(&self) -> Option<IpAddr>;

    /// Whether the peer has ended its side: it will ask nothing more, and reads no answer.
    fn is_deserted(&self) -> bool {
        false
    }

    /// What to poll until it takes more.
    fn fd(&self) -> BorrowedFd<'_>;
}

impl Sink for TcpStream {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(rustix::net::send(self, bytes, flags)?)
    }

    fn cut(&self) {
        // A socket that is gone already is what is wanted.
        let _ = self.shutdown(Shutdown::Both);
    }

    fn address(&self) -> Option<IpAddr> {
        self.peer_addr().ok().map(|peer| peer.ip())
    }

    fn is_deserted(&self) -> bool {
        let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut fds = [PollFd::new(self, ends)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) && fds[0].revents().intersects(ends)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}
