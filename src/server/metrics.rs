//! The numbers of a running server, as Prometheus and `pychat ctl metrics` read them.

use super::context::Context;
use super::hub;
use super::observe::counters::COMMIT_BOUNDS_S;
use super::observe::prometheus::Page;

/// All figures.
pub fn text(context: &Context) -> String {
    let (hub, admission) = (context.hub.stats(), context.admission.stats());
    let counters = context.hub.counters();
    let mut page = Page::default();
    page.one("uptime_seconds", "gauge", "Since the start.", hub.uptime_ms as f64 / 1000.0);
    page.one("connections", "gauge", "Connections now, all of them.", admission.connections);
    page.one(
        "connections_max",
        "gauge",
        "Connections that may have a thread.",
        admission.connections_max,
    );
    let help = "Connections that have not shown a key.";
    page.one("unauthenticated", "gauge", help, admission.unauthenticated);
    page.one("sessions", "gauge", "Connections that are logged in.", hub.sessions);
    page.one("people", "gauge", "People with a session.", hub.people);
    page.one("channels", "gauge", "Channels.", hub.channels);
    page.head("handshakes_total", "counter", "Newcomers by what became of them.");
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
    page.one("messages_total", "counter", "Lines that were stored.", hub.lines);
    let help = "Spans of lines and notices that a socket took at once.";
    page.one("deliveries_total", "counter", help, counters.deliveries());
    let help = "Bytes that wait for sockets that do not take them.";
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
    page.one(
        "storage_failing",
        "gauge",
        "1 while lines are not stored.",
        u8::from(counters.is_failing()),
    );
    page.into_text()
}
