//! The server's side of records over WebSocket: each record is a binary message
//! (docs/protocol.md, "WebSocket").

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::link::{Link, Patience, RecordSink, RecordSource};
use super::tcp::{Socket, TcpSink};
use super::tls::Tls;
use crate::limits::RECORD_LOGIN_BYTES_MAX;
use crate::wire::websocket::{CLOSE_FRAME, MessageReader, Received, head};

/// The stream that carries the frames.
pub(super) enum Pipe {
    Plain(TcpSink),
    Tls(Arc<Tls>),
}

/// The received bytes of a pipe.
struct Input {
    socket: Socket,
    tls: Option<Arc<Tls>>,
}

impl Pipe {
    pub fn plain(stream: &Arc<TcpStream>) -> Pipe {
        Pipe::Plain(TcpSink::new(Arc::clone(stream)))
    }

    /// The sink of the frames: ciphertext, if the pipe has TLS.
    fn tcp(&self) -> &TcpSink {
        match self {
            Pipe::Plain(tcp) => tcp,
            Pipe::Tls(tls) => tls.sink(),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<bool> {
        match self {
            Pipe::Plain(tcp) => tcp.send(bytes),
            Pipe::Tls(tls) => tls.send(bytes),
        }
    }

    /// Sends a few bytes between two records, unless records wait for the socket.
    fn send_aside(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Pipe::Plain(tcp) => tcp.send_aside(bytes),
            Pipe::Tls(tls) if tls.sink().unsent_bytes() == 0 => tls.send(bytes).map(drop),
            Pipe::Tls(_) => Ok(()),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            Some(tls) => tls.read(&mut self.socket, buffer),
            None => self.socket.read(buffer),
        }
    }
}

/// Returns the link over a connection whose upgrade request was answered. Its source is still
/// non-blocking.
pub(super) fn link(stream: Arc<TcpStream>, pipe: Pipe, peer: SocketAddr) -> Link {
    let socket = Socket::new(stream, Patience::None);
    let tls = match &pipe {
        Pipe::Plain(_) => None,
        Pipe::Tls(tls) => Some(Arc::clone(tls)),
    };
    let reader = MessageReader::new(Input { socket, tls }, RECORD_LOGIN_BYTES_MAX);
    let sink = Arc::new(WebSocketSink { pipe, has_closed: AtomicBool::new(false) });
    let source = Box::new(WebSocketSource { reader, sink: Arc::clone(&sink) });
    Link { source, sink, peer }
}

/// The reading half. It answers pings and the close.
struct WebSocketSource {
    reader: MessageReader<Input>,
    sink: Arc<WebSocketSink>,
}

/// The writing half.
struct WebSocketSink {
    pipe: Pipe,
    /// Whether the last frame was sent.
    has_closed: AtomicBool,
}

impl RecordSource for WebSocketSource {
    fn read(&mut self) -> io::Result<Option<&mut [u8]>> {
        self.reader.source_mut().socket.begin();
        loop {
            match self.reader.read()? {
                Received::Message => break,
                // A peer that does not read gets no pong.
                Received::Ping => self.sink.pipe.send_aside(self.reader.pong())?,
                Received::Close => {
                    self.sink.close();
                    return Ok(None);
                }
                Received::End => return Ok(None),
            }
        }
        Ok(Some(self.reader.message()))
    }

    fn has_record(&self) -> bool {
        self.reader.has_message()
    }

    fn set_record_bytes_max(&mut self, bytes_max: usize) {
        self.reader.set_bytes_max(bytes_max);
    }

    fn set_patience(&mut self, patience: Patience) -> io::Result<()> {
        self.reader.source_mut().socket.set_patience(patience)
    }
}

impl WebSocketSink {
    /// Sends the last frame. A peer that is gone or does not read needs none.
    fn close(&self) {
        if !self.has_closed.swap(true, Ordering::Relaxed) {
            let _ = self.pipe.send_aside(&CLOSE_FRAME);
        }
    }
}

impl RecordSink for WebSocketSink {
    fn frame(&self, record_bytes: usize, out: &mut Vec<u8>) {
        head(record_bytes, out);
    }

    fn send(&self, framed: &[u8]) -> io::Result<bool> {
        self.pipe.send(framed)
    }

    fn flush(&self) -> io::Result<bool> {
        self.pipe.tcp().flush()
    }

    fn unsent_bytes(&self) -> usize {
        self.pipe.tcp().unsent_bytes()
    }

    fn finish(&self) {
        self.close();
        if let Pipe::Tls(tls) = &self.pipe {
            tls.close();
        }
        self.pipe.tcp().finish();
    }

    fn cut(&self) {
        self.pipe.tcp().cut();
    }

    fn is_deserted(&self) -> bool {
        self.pipe.tcp().is_deserted()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.tcp().fd()
    }
}
