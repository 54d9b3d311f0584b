//! Prometheus' text format (0.0.4) by HTTP, for this computer only.

use std::fmt::{Display, Write as _};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::server::stop::{Stop, spawn};

/// One question and its answer take no longer; the next waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a question.
const ASK_BYTES_MAX: usize = 4_096;
const PAUSE: Duration = Duration::from_millis(50);

/// Answers on a thread of its own; gives the address with the port that was taken for port 0.
pub fn serve<F>(address: SocketAddr, stop: &Arc<Stop>, text: F) -> anyhow::Result<SocketAddr>
where
    F: Fn() -> String + Send + 'static,
{
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} for metrics"))?;
    let bound = listener.local_addr()?;
    let stop = Arc::clone(stop);
    spawn("metrics", move || {
        for stream in listener.incoming() {
            let answered = stream.and_then(|stream| answer(&text, stream));
            if let Err(error) = answered {
                log::debug!("metrics: {error}");
                // No descriptors left, say: a pause instead of spinning.
                stop.wait_for(PAUSE);
            }
        }
    })?;
    log::info!("metrics at http://{bound}/metrics");
    Ok(bound)
}

fn answer(text: &dyn Fn() -> String, mut stream: TcpStream) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let wanted = is_wanted(|part| {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        stream.read(part)
    })?;
    let (status, body) = match wanted {
        Some(true) => ("200 OK", text()),
        Some(false) => ("404 Not Found", "GET /metrics\n".to_owned()),
        None => return Ok(()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Reads a question: whether it is for the metrics, or none where it is not whole.
pub fn is_wanted(mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<Option<bool>> {
    let (mut ask, mut part) = (Vec::new(), [0; 512]);
    while !ask.windows(4).any(|end| end == b"\r\n\r\n") {
        if ask.len() > ASK_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match read(&mut part)? {
            0 => return Ok(None),
            bytes => ask.extend_from_slice(&part[..bytes]),
        }
    }
    Ok(Some(ask.starts_with(b"GET /metrics ")))
}

/// A page of numbers.
#[derive(Default)]
pub struct Page(String);

impl Page {
    pub fn into_text(self) -> String {
        self.0
    }

    pub fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.row(name, "", value);
    }

    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP pychat_{name} {help}\n# TYPE pychat_{name} {kind}");
    }

    pub fn row(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "pychat_{name}{labels} {value}");
    }
}
