//! The server's side of records over WebSocket: each record is a binary message
//! (docs/protocol.md, "WebSocket").

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::link::{Link, Patience, RecordSink, RecordSource};
use super::tcp::{Socket, TcpSink};
use crate::limits::RECORD_LOGIN_BYTES_MAX;
use crate::wire::websocket::{CLOSE_FRAME, MessageReader, Received, head};

/// Returns the link over a connection whose upgrade request was answered. Its source is still
/// non-blocking.
pub fn link(stream: Arc<TcpStream>, peer: SocketAddr) -> Link {
    let socket = Socket::new(Arc::clone(&stream), Patience::None);
    let reader = MessageReader::new(socket, RECORD_LOGIN_BYTES_MAX);
    let sink =
        Arc::new(WebSocketSink { tcp: TcpSink::new(stream), has_closed: AtomicBool::new(false) });
    let source = Box::new(WebSocketSource { reader, sink: Arc::clone(&sink) });
    Link { source, sink, peer }
}

/// The reading half. It answers pings and the close.
struct WebSocketSource {
    reader: MessageReader<Socket>,
    sink: Arc<WebSocketSink>,
}

/// The writing half.
struct WebSocketSink {
    tcp: TcpSink,
    /// Whether the last frame was sent.
    has_closed: AtomicBool,
}

impl RecordSource for WebSocketSource {
    fn read(&mut self) -> io::Result<Option<&mut [u8]>> {
        self.reader.source_mut().begin();
        loop {
            match self.reader.read()? {
                Received::Message => break,
                // A peer that does not read gets no pong.
                Received::Ping => self.sink.tcp.send_aside(self.reader.pong())?,
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
        self.reader.source_mut().set_patience(patience)
    }
}

impl WebSocketSink {
    /// Sends the last frame. A peer that is gone or does not read needs none.
    fn close(&self) {
        if !self.has_closed.swap(true, Ordering::Relaxed) {
            let _ = self.tcp.send_aside(&CLOSE_FRAME);
        }
    }
}

impl RecordSink for WebSocketSink {
    fn frame(&self, record_bytes: usize, out: &mut Vec<u8>) {
        head(record_bytes, out);
    }

    fn send(&self, framed: &[u8]) -> io::Result<bool> {
        self.tcp.send(framed)
    }

    fn flush(&self) -> io::Result<bool> {
        self.tcp.flush()
    }

    fn unsent_bytes(&self) -> usize {
        self.tcp.unsent_bytes()
    }

    fn finish(&self) {
        self.close();
        self.tcp.finish();
    }

    fn cut(&self) {
        self.tcp.cut();
    }

    fn is_deserted(&self) -> bool {
        self.tcp.is_deserted()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.tcp.fd()
    }
}
