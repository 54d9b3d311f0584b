//! Listening socket: its backlog has room for all clients that reconnect at once, and `accept`
//! never waits.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::http::HttpStream;
use super::link::Link;
use super::tcp;

/// A listening socket.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// The server cannot listen on the address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct ListenError {
    pub address: SocketAddr,
    pub error: io::Error,
}

impl Listener {
    /// Binds the address; port 0 selects a free port. `backlog` bounds the connections that wait
    /// for `accept`. With the standard library's 128, clients of a full room that reconnect at once
    /// wait for TCP retransmissions.
    ///
    /// # Errors
    /// The address is in use, or is not an address of this computer.
    pub fn bind(address: SocketAddr, backlog: u32) -> Result<Listener, ListenError> {
        Listener::bind_one(address, backlog, false)
    }

    /// Binds all addresses. If there are several, each is for its own address family only: `[::]`
    /// then accepts no IPv4 connections, and can be bound beside `0.0.0.0`.
    ///
    /// # Errors
    /// As of `bind`, for the first of them that fails.
    pub fn bind_all(addresses: &[SocketAddr], backlog: u32) -> Result<Vec<Listener>, ListenError> {
        let apart = addresses.len() > 1;
        addresses.iter().map(|address| Listener::bind_one(*address, backlog, apart)).collect()
    }

    /// Binds an address. With `apart` it is for its own address family only.
    ///
    /// # Errors
    /// As of `bind`.
    pub fn bind_one(
        address: SocketAddr,
        backlog: u32,
        apart: bool,
    ) -> Result<Listener, ListenError> {
        let listen = || {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            if apart && address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.bind(&address.into())?;
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
            socket.set_nonblocking(true)?;
            let socket = TcpListener::from(socket);
            let address = socket.local_addr()?;
            Ok(Listener { socket, address })
        };
        listen().map_err(|error| ListenError { address, error })
    }

    /// Returns the bound address with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the next connection, whose source does not wait either; `None` if there is none.
    ///
    /// # Errors
    /// The system has no descriptor for it, say. A connection that is gone again is none.
    pub fn accept(&self) -> io::Result<Option<Link>> {
        Ok(self.next()?.map(|(stream, peer)| tcp::accepted(stream, peer)))
    }

    /// Returns the next connection for HTTP; `None` if there is none.
    ///
    /// # Errors
    /// As of `accept`.
    pub fn accept_http(&self) -> io::Result<Option<HttpStream>> {
        Ok(self.next()?.map(|(stream, peer)| HttpStream::new(stream, peer)))
    }

    /// Returns the next connection, which does not wait.
    fn next(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        match self.socket.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Some((stream, peer)))
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
