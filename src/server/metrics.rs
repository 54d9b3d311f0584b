//! Metrics of a running server, for Prometheus and `pychat ctl metrics`.

use super::context::Context;
use super::hub;
use super::observe::counters::COMMIT_BOUNDS_S;
use super::observe::prometheus::Page;

/// Renders all metrics.
pub fn text(context: &Context) -> String {
    let (hub, admission) = (context.hub.stats(), context.admission.stats());
    let counters = context.hub.counters();
    let mut page = Page::default();
    page.one("uptime_seconds", "gauge", "Since the start.", hub.uptime_ms as f64 / 1000.0);
    page.one("connections", "gauge", "Open connections.", admission.connections);
    page.one(
        "connections_max",
        "gauge",
        "The most connections with a thread.",
        admission.connections_max,
    );
    let help = "Connections that have not proven a key.";
    page.one("unauthenticated", "gauge", help, admission.unauthenticated);
    page.one("sessions", "gauge", "Logged-in connections.", hub.sessions);
    page.one("people", "gauge", "People with a session.", hub.people);
    page.one("channels", "gauge", "Channels.", hub.channels);
    page.head("handshakes_total", "counter", "Handshakes by result.");
    let results = [
        ("ok", admission.logins),
        ("asked", admission.asked),
        ("failed", admission.failures),
        ("refused", admission.refused),
        ("evicted", admission.evicted),
        ("busy", admission.busy),
    ];
    for (result, count) in results {
        page.row("handshakes_total", &format!("{{result=\"{result}\"}}"), count);
    }
    page.one("rsa_operations_total", "counter", "RSA private operations.", admission.rsa);
    let help = "Logins by a session ticket, without an RSA operation.";
    page.one("resumed_logins_total", "counter", help, admission.resumed);
    let files = context.files.as_ref().map(|files| files.totals()).unwrap_or_default();
    page.one("files", "gauge", "Encrypted files, at the last sweep.", files.files);
    page.one("file_bytes", "gauge", "Bytes of them.", files.bytes);
    page.one("messages_total", "counter", "Stored messages.", hub.messages);
    let help = "Writes of messages and notices to sockets.";
    page.one("deliveries_total", "counter", help, counters.deliveries());
    let help = "Bytes queued for sockets that are not writable.";
    page.one("queue_bytes", "gauge", help, context.hub.queued_bytes());
    page.head("refusals_total", "counter", "Requests and logins refused, by code.");
    for (code, count) in counters.refusals() {
        page.row("refusals_total", &format!("{{reason=\"{}\"}}", hub::word(code)), count);
    }
    let commits = counters.commits();
    page.head("commit_seconds", "histogram", "Time of a synced commit.");
    for (bound, count) in COMMIT_BOUNDS_S.iter().zip(commits.within) {
        page.row("commit_seconds_bucket", &format!("{{le=\"{bound}\"}}"), count);
    }
    page.row("commit_seconds_bucket", "{le=\"+Inf\"}", commits.count);
    page.row("commit_seconds_sum", "", commits.sum_s);
    page.row("commit_seconds_count", "", commits.count);
    let disk = context.hub.disk();
    page.one("disk_free_bytes", "gauge", "Free space on the disk.", disk.free_bytes());
    let help = "1 while new messages are refused because the disk is almost full.";
    page.one("disk_low", "gauge", help, u8::from(disk.is_low()));
    page.one(
        "storage_failing",
        "gauge",
        "1 while messages cannot be stored.",
        u8::from(counters.is_failing()),
    );
    page.into_text()
}
