//! Listening: a backlog for all clients that come back at once, and an accept that never waits.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::link::Link;
use super::tcp;

/// A socket that connections arrive at.
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

    /// The next connection, whose source does not wait either; none where none has arrived.
    ///
    /// # Errors
    /// The system has no descriptor for it, say. A connection that is gone again is none.
    pub fn accept(&self) -> io::Result<Option<Link>> {
        match self.socket.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Some(tcp::accepted(stream, peer)))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted => Ok(None),
                _ => Err(error),
            },
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
