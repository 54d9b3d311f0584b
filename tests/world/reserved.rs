//! Ports that nobody else is given while no server listens there.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of this computer that refuses connections until a server listens there. The socket does
/// not listen, so that a server may take its address beside it, and the system gives the port to
/// nobody who asks for a free one.
pub struct ReservedPort(Socket);

impl ReservedPort {
    pub fn new() -> ReservedPort {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        ReservedPort(socket)
    }

    pub fn address(&self) -> String {
        self.0.local_addr().unwrap().as_socket().unwrap().to_string()
    }
}
