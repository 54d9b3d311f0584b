//! `pychat users waiting`: unregistered keys, which the operator may register.

use std::fmt::Write;

use serde_json::{Value, json};

use super::reply::{Reply, unread, with};
use crate::chat::TimeSpan;
use crate::chat::rate::Stamp;
use crate::home::{Users, similar};
use crate::invite::key_line;
use crate::server::admission::Unregistered;
use crate::server::context::Context;

pub fn waiting(context: &Context) -> Reply {
    // A user who was just registered does not wait.
    if let Err(error) = context.accounts.reload() {
        return unread(&error);
    }
    let users = context.accounts.get();
    let (mut keys, now) = context.admission.unregistered();
    keys.retain(|one| {
        let is_banned = context.access.is_banned(one.applicant.whom());
        users.by_key(&one.applicant.key).is_none() && !is_banned
    });
    keys.sort_by_key(|one| std::cmp::Reverse(one.first));
    if keys.is_empty() {
        let text = "no key waits: a client that the server has not admitted appears here";
        return with(text.to_owned(), json!([]));
    }
    let shows_addresses = context.config.get().log_ip;
    let mut text = String::new();
    let mut rows = Vec::new();
    for one in &keys {
        let _ = writeln!(text, "{}", row(one, now, shows_addresses));
        let notes = notes(one, &users, &keys);
        notes.iter().for_each(|note| text.push_str(&format!("    {note}\n")));
        rows.push(object(one, now, shows_addresses, &notes));
    }
    text.push_str("compare the code with what the person reads to you, then:\n");
    text.push_str("    pychat users add --waiting CODE");
    with(text, rows.into())
}

fn row(one: &Unregistered, now: Stamp, shows_addresses: bool) -> String {
    let applicant = &one.applicant;
    let span = |from| {
        let s = now.ms_since(from) / 1_000;
        TimeSpan::from_s(s).map_or("0s".to_owned(), |span| span.to_string())
    };
    let code = applicant.key.fingerprint().spoken();
    let (first, last) = (span(one.first), span(one.last));
    // Two lines: with an IPv6 address, one does not fit into 80 columns.
    let mut row = format!("{:<20} {code}\n    since {first}, last {last} ago", applicant.name);
    if shows_addresses {
        let _ = write!(row, ", from {}", applicant.address.to_canonical());
    }
    row
}

/// Returns what the operator has to know before the key is registered.
fn notes(one: &Unregistered, users: &Users, all: &[Unregistered]) -> Vec<String> {
    let (key, name) = (&one.applicant.key, &one.applicant.name);
    let mut notes = Vec::new();
    if let Some(known) = users.find(name) {
        notes.push(format!(
            "{known} is registered: --device DEVICE adds the key as a further device, --replace \
             puts it in place of a lost key"
        ));
    } else if let Err(reason) = users.check(key, name) {
        notes.push(format!("cannot be registered under this name: {reason}"));
    } else if let Some(other) = users.similar_to(name) {
        notes.push(similar(name, other));
    }
    let same = all.iter().filter(|other| other.applicant.name == *name).count();
    if same > 1 {
        notes.push(format!("{same} keys claim the name {name}: only the code tells them apart"));
    }
    notes
}

fn object(one: &Unregistered, now: Stamp, shows_addresses: bool, notes: &[String]) -> Value {
    let applicant = &one.applicant;
    let print = applicant.key.fingerprint();
    let address = shows_addresses.then(|| applicant.address.to_canonical().to_string());
    json!({
        "name": applicant.name, "device": applicant.device, "code": print.spoken(),
        "fingerprint": print.to_string(), "first_s": now.ms_since(one.first) / 1_000,
        "last_s": now.ms_since(one.last) / 1_000, "address": address, "notes": notes,
        "line": key_line(&applicant.name, &applicant.key),
    })
}
