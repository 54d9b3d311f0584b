//! Figures in Prometheus' text format (0.0.4) by HTTP, for this computer only.

use std::fmt::{Display, Write as _};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::figures::COMMIT_BOUNDS_S;
use super::house::House;
use super::hub;

/// One question and its answer take no longer; the next waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a question.
const ASK_BYTES_MAX: usize = 4_096;
const PAUSE: Duration = Duration::from_millis(50);

/// Answers on a thread of its own; gives the address with the port that was taken for port 0.
pub fn serve(house: &Arc<House>, address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} for metrics"))?;
    let bound = listener.local_addr()?;
    let house = Arc::clone(house);
    super::spawn("metrics", move || {
        for stream in listener.incoming() {
            let answered = stream.and_then(|stream| answer(&house, stream));
            if let Err(error) = answered {
                log::debug!("metrics: {error}");
                // No descriptors left, say: a pause instead of spinning.
                house.stop().wait_for(PAUSE);
            }
        }
    })?;
    log::info!("metrics at http://{bound}/metrics");
    Ok(bound)
}

fn answer(house: &House, mut stream: TcpStream) -> io::Result<()> {
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
        Some(true) => ("200 OK", text(house)),
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

/// Reads a question: whether it is for the figures, or none where it is not whole.
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

/// All figures.
pub fn text(house: &House) -> String {
    let (hub, door) = (house.hub.stats(), house.door().stats());
    let figures = house.hub.figures();
    let mut page = Page(String::new());
    page.one("uptime_seconds", "gauge", "Since the start.", hub.uptime_ms as f64 / 1000.0);
    page.one("connections", "gauge", "Connections now, all of them.", door.connections);
    page.one(
        "connections_max",
        "gauge",
        "Connections that may have a thread.",
        door.connections_max,
    );
    let help = "Connections that have not shown a key.";
    page.one("unauthenticated", "gauge", help, door.unauthenticated);
    page.one("sessions", "gauge", "Connections that are logged in.", hub.sessions);
    page.one("people", "gauge", "People with a session.", hub.people);
    page.one("channels", "gauge", "Channels.", hub.channels);
    page.head("handshakes_total", "counter", "Newcomers by what became of them.");
    let results = [
        ("ok", door.logins),
        ("asked", door.asked),
        ("failed", door.failures),
        ("refused", door.refused),
        ("evicted", door.evicted),
        ("busy", door.busy),
    ];
    for (result, count) in results {
        page.row("handshakes_total", &format!("{{result=\"{result}\"}}"), count);
    }
    page.one("rsa_operations_total", "counter", "RSA private operations.", door.rsa);
    page.one("messages_total", "counter", "Lines that were stored.", hub.lines);
    let help = "Spans of lines and notices that a socket took at once.";
    page.one("deliveries_total", "counter", help, figures.deliveries());
    let help = "Bytes that wait for sockets that do not take them.";
    page.one("queue_bytes", "gauge", help, house.hub.queued_bytes());
    page.head("refusals_total", "counter", "Requests and logins refused, by code.");
    for (code, count) in figures.refusals() {
        page.row("refusals_total", &format!("{{reason=\"{}\"}}", hub::word(code)), count);
    }
    let commits = figures.commits();
    page.head("commit_seconds", "histogram", "Time of a synced commit.");
    for (bound, count) in COMMIT_BOUNDS_S.iter().zip(commits.within) {
        page.row("commit_seconds_bucket", &format!("{{le=\"{bound}\"}}"), count);
    }
    page.row("commit_seconds_bucket", "{le=\"+Inf\"}", commits.count);
    page.row("commit_seconds_sum", "", commits.sum_s);
    page.row("commit_seconds_count", "", commits.count);
    page.one(
        "storage_failing",
        "gauge",
        "1 while lines are not stored.",
        u8::from(figures.is_failing()),
    );
    page.0
}

struct Page(String);

impl Page {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.row(name, "", value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP pychat_{name} {help}\n# TYPE pychat_{name} {kind}");
    }

    fn row(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "pychat_{name}{labels} {value}");
    }
}
