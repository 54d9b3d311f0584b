//! Listening: a backlog for a whole house that comes home at once, and an accept that can be ended.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

/// A socket that newcomers arrive at.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct ListenError {
    pub address: SocketAddr,
    pub error: io::Error,
}

impl Listener {
    /// Port 0 takes any free one. `backlog` bounds who waits for `accept` (std's own 128 makes a
    /// crowd that returns wait for its retransmissions).
    pub fn bind(address: SocketAddr, backlog: u32) -> Result<Listener, ListenError> {
        let listen = || {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
            socket.set_nonblocking(true)?;
            let socket = TcpListener::from(socket);
            let address = socket.local_addr()?;
            Ok(Listener { socket, address })
        };
        listen().map_err(|error| ListenError { address, error })
    }

    /// Where it listens, with the port that was taken for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next newcomer; none when nobody came within `patience`.
    pub fn accept(&self, patience: Duration) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        if poll(&mut fds, Some(&patience))? == 0 {
            return Ok(None);
        }
        match self.socket.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(false)?;
                Ok(Some((stream, peer)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
