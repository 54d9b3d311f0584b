//! Outgoing traffic: messages until they are stored, changes of messages that are not stored yet,
//! and requests that wait for the first connection.

use super::super::outbox::{Outbox, Stage};
use super::action::{Action, error, notice};
use super::output::Output;
use crate::chat::{Body, Command, Kind, MsgId, NewMessage, Request, Seq, Target};

/// Minimum delay before messages refused for their rate are sent again.
const AGAIN_MS: u64 = 1_000;
/// Messages that are sent again at once; a server that refused them accepts two a second.
const AGAIN_MESSAGES: usize = 3;

/// A change of an own message.
pub enum Change {
    Edit(String),
    Delete,
}

/// A change of a message whose seq is not known yet.
struct WaitingChange {
    /// The message that it changes.
    behind: MsgId,
    to: Target,
    id: MsgId,
    change: Change,
}

impl OnDisk {
    fn forget(&mut self, id: MsgId) {
        self.untold.retain(|(one, _)| *one != id);
        self.in_memory.retain(|(one, _)| *one != id);
    }
}

impl Change {
    pub fn of(self, to: Target, id: MsgId, of: Seq) -> NewMessage {
        let (kind, body) = match self {
            Change::Edit(text) => (Kind::Edit { of }, Body::Text(text)),
            Change::Delete => (Kind::Delete { of }, Body::default()),
        };
        NewMessage { to, id, kind, body }
    }
}

/// An own message that the server has stored.
pub struct Settled {
    pub message: NewMessage,
    /// Changes that waited for its seq.
    pub changes: Vec<NewMessage>,
}

pub struct Outgoing {
    outbox: Outbox,
    /// Changes of messages that are not stored yet.
    changes: Vec<WaitingChange>,
    /// Requests typed before the first connection, each after a count of messages.
    early: Vec<(usize, Request)>,
    disk: OnDisk,
}

/// Which of the messages are on disk.
#[derive(Default)]
struct OnDisk {
    /// The outbox has changes that the user counts on.
    is_behind: bool,
    /// The last sync has failed.
    fails: bool,
    /// Waiting messages that were not reported to the user.
    untold: Vec<(MsgId, Target)>,
    /// Waiting messages that the user knows to be in memory only.
    in_memory: Vec<(MsgId, Target)>,
}

impl Outgoing {
    pub fn new(outbox: Outbox) -> Outgoing {
        Outgoing { outbox, changes: Vec::new(), early: Vec::new(), disk: OnDisk::default() }
    }

    /// Count of messages that are not stored.
    pub fn messages(&self) -> usize {
        self.outbox.len()
    }

    /// Returns whether a message is in the outbox.
    pub fn holds(&self, id: MsgId) -> bool {
        self.outbox.holds(id)
    }

    /// Returns whether a message is neither stored nor refused.
    pub fn is_pending(&self, id: MsgId) -> bool {
        self.outbox.is_pending(id)
    }

    /// Count of messages that wait for a connection.
    pub fn waiting(&self) -> usize {
        if self.outbox.is_settled() { 0 } else { self.outbox.len() }
    }

    /// Count of messages that were refused in an earlier run.
    pub fn refused(&self) -> usize {
        self.outbox.refused()
    }

    /// Returns whether nothing waits for an acknowledgement or a connection.
    pub fn is_settled(&self) -> bool {
        self.outbox.is_settled() && self.changes.is_empty() && self.early.is_empty()
    }

    /// Returns whether every message is stored or refused.
    pub fn is_stored(&self) -> bool {
        self.outbox.is_settled()
    }

    /// Sends a message, or queues it while offline.
    pub fn post(&mut self, message: NewMessage, is_up: bool) -> Vec<Action> {
        let (id, to) = (message.id, message.to.clone());
        let mut actions =
            vec![Action::Keep(message.clone()), Action::Output(Output::Outgoing(message.clone()))];
        let stage = match is_up {
            // An earlier message is still waiting.
            true if self.outbox.is_held() => Stage::Later,
            true => Stage::Sent,
            false => Stage::Waiting,
        };
        match stage {
            Stage::Sent => actions.push(Action::Send(Command::Say(message.clone()).into())),
            // Reported to the user once it is on disk.
            _ => {
                self.disk.untold.push((id, to));
                self.disk.is_behind = true;
            }
        }
        self.outbox.add(message, stage);
        actions
    }

    /// Count of messages whose user waits for a sync; `None` if no sync is due.
    pub fn unsynced(&self) -> Option<usize> {
        self.disk.is_behind.then_some(self.disk.untold.len())
    }

    /// Returns whether messages may be in memory only.
    pub fn fails_to_store(&self) -> bool {
        self.disk.fails
    }

    /// Handles the outcome of a sync: reports the messages that wait to the user.
    pub fn synced(&mut self, is_stored: bool) -> Vec<Action> {
        self.disk.is_behind = false;
        self.disk.fails = !is_stored;
        let told = std::mem::take(&mut self.disk.untold);
        let pending = |(id, to): &(MsgId, Target)| {
            Action::Output(Output::Pending { id: *id, to: to.clone(), stored: is_stored })
        };
        let mut actions: Vec<_> = told.iter().map(pending).collect();
        if !is_stored {
            self.disk.in_memory.extend(told);
            return actions;
        }
        let saved = std::mem::take(&mut self.disk.in_memory);
        if !saved.is_empty() {
            actions.push(notice("all unsent messages are now on disk".into()));
        }
        actions.extend(saved.into_iter().map(|(id, to)| Action::Output(Output::Saved { id, to })));
        actions
    }

    /// Queues a request for the first connection.
    pub fn early(&mut self, request: Request) {
        self.early.push((self.outbox.len(), request));
    }

    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Returns what was typed while offline, in order.
    pub fn all_typed(&mut self) -> Vec<Request> {
        let mut early = std::mem::take(&mut self.early).into_iter().peekable();
        let mut typed = Vec::new();
        for (before, line) in self.outbox.send_all().into_iter().enumerate() {
            let due = |one: &(usize, Request)| one.0 <= before;
            typed.extend(std::iter::from_fn(|| early.next_if(due)).map(|(_, request)| request));
            typed.push(Command::Say(line).into());
        }
        typed.extend(early.map(|(_, request)| request));
        typed
    }

    pub fn disconnected(&mut self) {
        self.outbox.disconnected();
        self.disk.is_behind |= !self.outbox.is_empty();
    }

    /// Records an acknowledgement; `None` for a message of another client, or of another
    /// conversation.
    pub fn settle(&mut self, id: MsgId, to: &Target, seq: Seq) -> Option<Settled> {
        let message = self.outbox.settle(id, to)?;
        self.disk.forget(id);
        let changes = std::mem::take(&mut self.changes).into_iter();
        let (due, others): (Vec<_>, _) = changes.partition(|waiting| waiting.behind == id);
        self.changes = others;
        let due = due.into_iter().map(|waiting| waiting.change.of(waiting.to, waiting.id, seq));
        Some(Settled { message, changes: due.collect() })
    }

    /// Records a rate refusal. Returns whether the message now waits.
    pub fn postpone(&mut self, id: MsgId) -> bool {
        self.outbox.postpone(id)
    }

    /// Sends again after the delay that the server asked for.
    pub fn again(&mut self) -> Vec<Action> {
        let again = self.outbox.again(AGAIN_MESSAGES).into_iter();
        let mut actions: Vec<_> =
            again.map(|message| Action::Send(Command::Say(message).into())).collect();
        actions.extend(self.outbox.is_held().then_some(Action::Wait(AGAIN_MS)));
        actions
    }

    /// Records a refusal. The message waits for the user or is dropped; `None` for a message of
    /// another client.
    pub fn refuse(&mut self, id: MsgId, waits: bool) -> Option<Vec<Action>> {
        if !self.outbox.refuse(id) {
            return None;
        }
        let mut actions: Vec<_> = self.drop_changes(id).into_iter().collect();
        actions.push(match waits {
            true => Action::Refused(id),
            // The program was notified.
            false => {
                self.outbox.drop(id);
                self.disk.forget(id);
                Action::Drop(id)
            }
        });
        Some(actions)
    }

    /// Sends refused messages again.
    pub fn retry(&mut self) -> Vec<Action> {
        let again = self.outbox.retry();
        if again.is_empty() {
            return vec![notice("nothing was refused".into())];
        }
        let send = |message: NewMessage| {
            let shown = Action::Output(Output::Outgoing(message.clone()));
            [Action::Retry(message.id), shown, Action::Send(Command::Say(message).into())]
        };
        again.into_iter().flat_map(send).collect()
    }

    /// Drops messages that are certainly not stored.
    pub fn cancel(&mut self) -> Vec<Action> {
        let dropped = self.outbox.cancel();
        dropped.iter().for_each(|id| self.disk.forget(*id));
        self.disk.is_behind |= !dropped.is_empty();
        let count = dropped.len();
        let drop = |id| [Action::Drop(id), Action::Output(Output::Dropped(id))];
        let mut actions: Vec<Action> = dropped.iter().copied().flat_map(drop).collect();
        actions.extend(dropped.into_iter().filter_map(|id| self.drop_changes(id)));
        let in_doubt = self.outbox.in_doubt();
        actions.push(notice(match count {
            0 if in_doubt > 0 => {
                "messages already sent may be stored: wait for the answer".to_owned()
            }
            0 => "no message is waiting".to_owned(),
            1 => "one message was dropped".to_owned(),
            count => format!("{count} messages were dropped"),
        }));
        actions
    }

    /// Applies a change to the last message in a conversation if it is not stored yet; otherwise
    /// returns it.
    pub fn change_last(&mut self, to: &Target, id: MsgId, change: Change) -> Option<Change> {
        match self.outbox.last_said(to) {
            Some(behind) => {
                self.changes.push(WaitingChange { behind, to: to.clone(), id, change });
                None
            }
            None => Some(change),
        }
    }

    /// Drops the changes of a message that is not stored.
    fn drop_changes(&mut self, line: MsgId) -> Option<Action> {
        let before = self.changes.len();
        self.changes.retain(|waiting| waiting.behind != line);
        let dropped = self.changes.len() < before;
        dropped.then(|| error("the message is not stored: there is nothing to change".into()))
    }
}
