//! Prometheus' text format (0.0.4) by HTTP, for this computer only.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::net::http::Http;
use crate::server::stop::{Stop, spawn};

const PATH: &str = "/metrics";
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the text on a thread. Returns the address with the real port.
pub fn serve<F>(address: SocketAddr, stop: &Arc<Stop>, text: F) -> anyhow::Result<SocketAddr>
where
    F: Fn() -> String + Send + 'static,
{
    let http =
        Http::bind(address).with_context(|| format!("cannot listen on {address} for metrics"))?;
    let bound = http.address()?;
    let stop = Arc::clone(stop);
    spawn("metrics", move || {
        loop {
            if let Err(error) = http.answer_next(PATH, TYPE, &text) {
                log::debug!("metrics: {error}");
                // Pauses after an error, for example without free descriptors.
                stop.wait_for(PAUSE);
            }
        }
    })?;
    log::info!("metrics at http://{bound}/metrics");
    Ok(bound)
}

/// A page of metrics.
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
