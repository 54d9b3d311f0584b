//! Notifications to systemd for a service of `Type=notify`: ready, stopping, and regularly healthy
//! (sd_notify(3): lines in a datagram to $NOTIFY_SOCKET).

#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(not(target_os = "android"))]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use crate::server::stop::{Stop, spawn};

/// Sends a notification. Does nothing if systemd did not start this process.
pub fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    // An abstract socket begins with @.
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let told = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = told {
        log::warn!("systemd cannot be told: {error}");
    }
}

/// If a watchdog is configured, notifies it twice per interval while the server is healthy; systemd
/// restarts a server that is not. `health` returns the fault.
pub fn watch(
    stop: &Arc<Stop>,
    health: impl Fn() -> Result<(), String> + Send + 'static,
) -> anyhow::Result<()> {
    let own =
        std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let time_us = std::env::var("WATCHDOG_USEC").ok().and_then(|time| time.parse::<u64>().ok());
    let Some(time_us) = time_us.filter(|time_us| own && *time_us > 0) else { return Ok(()) };
    let stop = Arc::clone(stop);
    spawn("watchdog", move || {
        while !stop.wait_for(Duration::from_micros(time_us / 2)) {
            match health() {
                Ok(()) => notify("WATCHDOG=1"),
                Err(problem) => log::error!("{problem}"),
            }
        }
    })?;
    Ok(())
}
