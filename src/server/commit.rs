//! The commit thread, which owns the ledger's writing half: it commits all waiting records together
//! and delivers the messages among them.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hub::{GivenMessage, Hub, Queued, QueuedMessage, Waiting};
use crate::ledger::{Outcome, OwnFeed, Record, SplitLedger, StoredMessage};

/// Time for the index of words at the end. It is shorter than the time that a stop leaves to the
/// commit thread in any case.
const INDEXING_MAX: Duration = Duration::from_millis(400);

/// Drops what waits for the ledger where the commit thread ends, also in a panic: an operator would
/// wait for it until the server has stopped.
struct Ends<'a>(&'a Hub);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.ledger.abandon_jobs();
    }
}

/// Runs until the hub is closed.
pub fn run(hub: &Hub, mut ledger: SplitLedger) {
    let _ends = Ends(hub);
    let mut waiting = Queued::default();
    while hub.ledger.next_waiting(&mut waiting) {
        work(hub, &mut ledger, &mut waiting);
    }
    hub.ledger.abandon_jobs();
    index_rest(&mut ledger);
}

/// Indexes the last messages before the server stops, for a short time. The next start indexes the
/// rest.
fn index_rest(ledger: &mut SplitLedger) {
    let until = Instant::now() + INDEXING_MAX;
    while Instant::now() < until {
        match ledger.index_some() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return log::warn!("the last messages are indexed at the next start: {error}");
            }
        }
    }
}

/// Records that are committed together, and the message of each record that is one.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    messages: Vec<Option<GivenMessage>>,
    /// Where each message's fields for members are.
    fields: Vec<Range<usize>>,
}

/// Commits all that waits; jobs run in between, in order.
pub fn work(hub: &Hub, ledger: &mut SplitLedger, waiting: &mut Queued) {
    let entries = waiting.entries.len();
    let mut batch = Batch {
        records: Vec::with_capacity(entries),
        messages: Vec::with_capacity(entries),
        fields: Vec::with_capacity(entries),
    };
    for one in waiting.entries.drain(..) {
        match one {
            Waiting::Message(QueuedMessage { sent, fields, queue }) => {
                // Allocated and freed on this thread, without contention with others.
                let sent = Arc::new(sent);
                batch.records.push(Record::Message(Arc::clone(&sent)));
                batch.messages.push(Some(GivenMessage { sent, queue }));
                batch.fields.push(fields);
            }
            Waiting::Record(record) => {
                batch.records.push(record);
                batch.messages.push(None);
                batch.fields.push(0..0);
            }
            Waiting::Job(job) => {
                write(hub, ledger, std::mem::take(&mut batch), &waiting.fields);
                job(ledger);
                hub.counters().took_turn();
            }
        }
    }
    write(hub, ledger, batch, &waiting.fields);
    waiting.clear();
}

/// Commits a batch and lets everybody know: what is stored comes back by the feed, before the
/// senders go on.
fn write(hub: &Hub, ledger: &mut SplitLedger, batch: Batch, all_fields: &[u8]) {
    let Batch { records, messages, fields } = batch;
    if records.is_empty() {
        return;
    }
    ledger.refuse_new(hub.disk().is_low());
    let began = Instant::now();
    let (outcomes, fault) = ledger.commit(records);
    let has_message = messages.iter().any(Option::is_some);
    hub.counters().committed(began.elapsed(), fault.is_some(), has_message);
    hub.counters().took_turn();
    if let Some(fault) = fault {
        log::error!("messages are not stored: {fault}");
    }
    let (mut feed, mut stored) = (OwnFeed::default(), 0);
    for ((message, fields), outcome) in messages.iter().zip(fields).zip(&outcomes) {
        let (Some(message), Outcome::Stored(seq)) = (message, outcome) else { continue };
        stored += 1;
        let (sent, fields) = (Arc::clone(&message.sent), Some(&all_fields[fields]));
        feed.push(StoredMessage { seq: *seq, sent, fields });
    }
    hub.counters().stored_some(stored);
    hub.ledger.committed(&mut feed, messages, outcomes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::registry::{Epochs, Registry, Rules};
    use crate::chat::{Body, Epoch, Kind, MsgId, Retention, Seq};
    use crate::config::Config;
    use crate::ledger::{Memory, Page, Reader, SentMessage};
    use crate::server::delivery::flusher::Flusher;

    #[test]
    fn a_job_runs_between_the_records_before_and_after_it() {
        let config = Config::default();
        let memory = Memory::new(Epoch(1), (1 << 20, 1 << 30), 60);
        let (mut ledger, reader) = SplitLedger::new(None, memory, config.retentions());
        let registry = Registry::new(
            Rules {
                limits: config.limits.clone(),
                retention: Box::new(|_| Retention::Off),
                configured: Box::new(|_| false),
                forgets: Box::new(|_| false),
            },
            Epochs { persistent: Epoch(1), ephemeral: Epoch(2), next: Epoch(3) },
            Seq(0),
        );
        let (flusher, _ear) = Flusher::new().unwrap();
        let hub = Hub::new(registry, &config.limits, flusher);
        let tea: crate::chat::Conversation = "#tea".parse().unwrap();
        let say = |id: u8| {
            let message = SentMessage {
                conversation: tea.clone(),
                from: "alice".parse().unwrap(),
                device: "main".parse().unwrap(),
                id: MsgId([id; 16]),
                time_ms: 1_000,
                kind: Kind::Say,
                body: Body::Text(format!("message {id}")),
            };
            Waiting::Record(Record::message(message))
        };
        let forget = {
            let tea = tea.clone();
            Waiting::Job(Box::new(move |ledger: &mut SplitLedger| ledger.forget(&tea).unwrap()))
        };
        let entries = vec![say(1), say(2), forget, say(3)];
        work(&hub, &mut ledger, &mut Queued { entries, fields: Vec::new() });
        assert_eq!(hub.counters().turns(), 3, "two commits and a job are progress");
        let page = Page { messages_max: 10, bytes_max: 1 << 20 };
        let messages = reader.read(&tea, Seq(0), Seq(10), page).unwrap();
        let messages: Vec<_> =
            messages.iter().map(|message| (message.seq, message.body.text())).collect();
        assert_eq!(messages, [(Seq(1), "message 3")]);
    }
}
