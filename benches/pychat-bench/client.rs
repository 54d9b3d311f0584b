//! What the load needs of a member, whatever protocol it speaks.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Socket, Type};

use crate::process::Process;

/// One member's end of a connection.
pub trait Client: Send {
    fn stream(&self) -> &TcpStream;

    /// Says lines in a room, in as few records as the protocol allows.
    fn say(&mut self, room: &str, texts: &[String]);

    /// Hands what has come to `take`, in pieces that never cut a line.
    fn receive(&mut self, take: &mut dyn FnMut(&[u8]));
}

/// A server under load.
pub trait Subject: Sync {
    fn process(&self) -> &Process;

    /// A new member, in `room`.
    fn enter(&self, number: usize, room: &str) -> Box<dyn Client>;
}

/// Reads what has come and never waits.
pub struct WhatIsThere(pub Arc<TcpStream>);

impl Read for WhatIsThere {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0, buffer, RecvFlags::DONTWAIT)?.0)
    }
}

/// A connection from one of some loopback addresses: each has ports for a few thousand.
pub fn connect(address: &str, number: usize) -> TcpStream {
    const PER_ADDRESS: usize = 2_000;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let host = 2 + number / PER_ADDRESS;
    let from: SocketAddr = format!("127.0.0.{host}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    let to: SocketAddr = address.parse().unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.into()
}
