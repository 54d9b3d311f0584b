//! Answers to queries that the hub has allowed: from the ledger's readers, the directory and the
//! operators' commands.

use std::sync::Arc;
use std::time::Duration;

use crate::chat::registry::{CountSpan, Query};
use crate::chat::{Event, Message, MessageCount, Refusal, SenderCount, Target, UserName};
use crate::crypto::RecordType;
use crate::ledger::{Counted, LedgerError, Older, Page, Reader, Work};
use crate::limits::{COUNTED_SENDERS_MAX, HISTORY_MESSAGES, REPLY_BYTES_MAX, SEARCH_MESSAGES};
use crate::server::context::Context;
use crate::server::delivery::send_queue::SendQueue;
use crate::server::operator::{self, Actor};
use crate::server::readers::ReadQueue;
use crate::wire::codec;

/// The result of a read.
type Found = Result<(Vec<Message>, bool), LedgerError>;

/// The messages of an answer.
struct Answer {
    messages: Vec<Message>,
    more: bool,
    /// Whether the search ended before it had read everything.
    partial: bool,
}

/// What the answers to a session's queries are made of.
pub struct Answers<'a> {
    pub context: &'a Arc<Context>,
    pub queue: &'a Arc<SendQueue>,
    pub user: &'a UserName,
}

impl Answers<'_> {
    /// Answers a query that the hub has allowed. `actor` is the user as an operator.
    pub fn answer<'a>(
        &self,
        query: Query,
        reference: Option<String>,
        actor: impl FnOnce() -> Actor<'a>,
    ) -> Result<(), Refusal> {
        let readers = &self.context.readers;
        match query {
            Query::History { to, conversation, before, messages, span, kind } => {
                let now_ms = jiff::Timestamp::now().as_millisecond();
                let since_ms = span.map(|span| now_ms.saturating_sub(span.as_ms()));
                let older = Older { before, since_ms, files: kind.is_some() };
                let page = self.page(messages.unwrap_or(HISTORY_MESSAGES));
                let found = self.read(&readers.history, move |reader, work| {
                    reader.history(&conversation, older, page, work)
                })?;
                self.send_found(Some(to.clone()), found, reference);
            }
            Query::Search { to, conversations, wanted } => {
                let page = self.page(SEARCH_MESSAGES);
                let found = self.read(&readers.search, move |reader, work| {
                    reader.search(&conversations, &wanted, page, work)
                })?;
                self.send_found(to.cloned(), found, reference);
            }
            Query::Count { spans } => self.count(spans, reference)?,
            // The session's transfers answer these.
            Query::Put { .. } | Query::Get { .. } | Query::Drop(_) | Query::Usage => {
                return Err(Refusal::NoFiles);
            }
            Query::Whois(name) => {
                self.context.hub.delivery.answer(self.queue, &self.whois(name, reference)?);
            }
            Query::Keys(names) => {
                let users = self.context.accounts.get();
                let events = self.context.directory.keys(&users, names, &reference)?;
                events.iter().for_each(|event| self.context.hub.delivery.answer(self.queue, event));
            }
            Query::Certify(certificate) => {
                let (users, server) = (self.context.accounts.get(), self.context.host_keys.get());
                let directory = &self.context.directory;
                directory.publish(&users, &server.founding(), &self.queue.key, certificate)?;
            }
            Query::Operate(words) => self.operate(&actor(), words, reference)?,
        }
        Ok(())
    }

    fn read(
        &self,
        read_queue: &ReadQueue,
        read: impl FnOnce(&dyn Reader, &Arc<Work>) -> Found + Send + 'static,
    ) -> Result<Answer, Refusal> {
        let ((messages, more), work) = self.read_paid(read_queue, read)?;
        let partial = work.is_partial();
        Ok(Answer { messages, more: more || partial, partial })
    }

    /// Runs a read on a reader's thread and charges its price, which is refunded if no reader is
    /// free.
    fn read_paid<T: Send + 'static>(
        &self,
        read_queue: &ReadQueue,
        read: impl FnOnce(&dyn Reader, &Arc<Work>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<(T, Arc<Work>), Refusal> {
        let hub = &self.context.hub;
        let cpu_max = Duration::from_millis(self.context.config.get().limits.search_ms_max);
        let slot = read_queue.slot(self.user).inspect_err(|_| hub.give_back(self.queue))?;
        let (found, work) = slot.read(self.queue, cpu_max, read)?;
        hub.charge(self.queue, work.spent());
        let found = found.map_err(|error| {
            log::error!("{error}");
            Refusal::Storage
        })?;
        Ok((found, work))
    }

    /// Counts the messages of others in these parts of conversations, each within its share of the
    /// work.
    fn count(&self, spans: Vec<CountSpan>, reference: Option<String>) -> Result<(), Refusal> {
        let requester = self.user.clone();
        let (conversations, _) =
            self.read_paid(&self.context.readers.history, move |reader, work| {
                let mut counts = Vec::with_capacity(spans.len());
                for (index, span) in spans.iter().enumerate() {
                    work.share(spans.len() - index);
                    let range = (span.after, span.upto);
                    let counted = reader.count(&span.conversation, range, &requester, work)?;
                    counts.push(message_count(span, counted, &requester));
                }
                Ok(counts)
            })?;
        self.context.hub.delivery.answer(self.queue, &Event::Count { conversations, reference });
        Ok(())
    }

    fn whois(&self, name: &UserName, reference: Option<String>) -> Result<Event, Refusal> {
        let name =
            self.context.accounts.find(name).ok_or_else(|| Refusal::NoSuchUser(name.clone()))?;
        let presence = self.context.hub.presence(&name, self.queue.id);
        let (devices, idle_ms, away, channels) = match presence {
            Some(found) => (found.devices, Some(found.idle_ms), found.away, found.channels),
            None => (Vec::new(), None, None, Vec::new()),
        };
        let fingerprints = self.context.accounts.fingerprints(&name);
        Ok(Event::Whois { name, fingerprints, devices, idle_ms, away, channels, reference })
    }

    /// Runs an operator's command from the chat.
    fn operate(
        &self,
        actor: &Actor,
        words: &[String],
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        let mut reply = operator::run_command(self.context, actor, words);
        clip(&mut reply.text, REPLY_BYTES_MAX);
        match (reply.ok, reply.misused) {
            (true, _) => {}
            (false, true) => return Err(Refusal::OperatorMisused(reply.text)),
            (false, false) => return Err(Refusal::Operator(reply.text)),
        }
        self.context
            .hub
            .delivery
            .answer(self.queue, &Event::Notice { text: reply.text, reference });
        Ok(())
    }

    /// Returns the bounds of one answer.
    fn page(&self, messages: usize) -> Page {
        let config = self.context.config.get();
        let limits = &config.limits;
        let messages_max = messages.clamp(1, limits.history_messages_max);
        Page { messages_max, bytes_max: limits.answers_bytes_max / 4 }
    }

    /// Sends messages of the ledger and the end of the answer.
    fn send_found(&self, to: Option<Target>, found: Answer, reference: Option<String>) {
        let Answer { messages, more, partial } = found;
        let count = messages.len();
        let mut body = Vec::new();
        for mut message in messages {
            // Distinguishes them from new messages.
            message.reference = Some(reference.clone().unwrap_or_default());
            codec::encode(&Event::Message(message), &mut body);
        }
        let end = Event::History { to, messages: count, more, partial, reference };
        codec::encode(&end, &mut body);
        self.context.hub.delivery.send(self.queue, RecordType::Json, &body);
    }
}

fn message_count(span: &CountSpan, counted: Counted, requester: &UserName) -> MessageCount {
    let Counted { by, partial } = counted;
    let messages = by.iter().map(|(_, messages)| messages).sum();
    let sender = |(name, messages)| SenderCount { name, messages };
    MessageCount {
        to: span.conversation.as_seen_by(requester),
        after: span.after,
        upto: span.upto,
        messages,
        by: by.into_iter().take(COUNTED_SENDERS_MAX).map(sender).collect(),
        partial,
    }
}

/// Cuts a text of several lines after a line, and appends how many lines were cut.
fn clip(text: &mut String, bytes_max: usize) {
    if text.len() <= bytes_max {
        return;
    }
    let most = text.floor_char_boundary(bytes_max);
    let end = text[..most].rfind('\n').unwrap_or(most);
    let omitted = text[end..].lines().filter(|line| !line.is_empty()).count();
    text.truncate(end);
    text.push_str(&format!("\n... and {omitted} more: pychat ctl shows all of them"));
}
