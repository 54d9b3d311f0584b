//! Handling of server events.

use super::super::conversations::{Displayed, Own};
use super::super::storage::ignore_list::IgnoreList;
use super::action::{Action, error, notice};
use super::cleaned::cleaned;
use super::exchange::{Exchange, sync_point};
use super::membership::Stray;
use super::output::{Origin, Output, is_unsealed};
use super::refusals::{self, Refused};
use super::reply::Reply;
use super::sharing;
use crate::chat::{
    ChannelName, Code, Command, ConversationInfo, Event, Message, MessageCount, MsgId, Request,
    Retention, Seq, Target, UserName,
};
use crate::e2e::Violation;

/// The parts that an event of the server changes.
pub struct Incoming<'a> {
    pub exchange: &'a mut Exchange,
    pub ignore_list: &'a IgnoreList,
    pub reply: &'a mut Reply,
}

impl Incoming<'_> {
    pub fn event(&mut self, event: Event) -> Vec<Action> {
        let mut event = cleaned(event);
        if let Some(actions) = self.exchange.destination_answer(&event) {
            return actions;
        }
        match event {
            Event::Welcome { ref name, .. } => self.welcomed(&name.clone(), event),
            Event::Password { wrong, retry_ms } => self.exchange.ask_password(wrong, retry_ms),
            Event::Stored { id, to, seq } => {
                let mut actions = self.settle(id, to, seq);
                actions.extend(self.exchange.end_when_settled());
                actions
            }
            Event::Conversations { conversations } => self.learn_conversations(conversations),
            Event::Gap { to: Target::Channel(ref channel), .. }
                if !self.exchange.membership.is_in(&Target::Channel(channel.clone())) =>
            {
                self.exchange.membership.stray(Stray::Event, &channel.clone())
            }
            Event::Gap { ref to, to_seq, stored, .. } => {
                let divider = self.exchange.conversations.skip(to, to_seq, stored);
                let divider = divider.then(|| Action::Output(Output::Divider(to.clone())));
                let gap = Action::Output(Output::Event(Origin::Server, event));
                divider.into_iter().chain([gap]).collect()
            }
            Event::Read { ref to, seq } => {
                let left = self.exchange.conversations.read_elsewhere(to, seq);
                let (to, read) = (to.clone(), Output::Event(Origin::Server, event));
                [Action::Output(read)].into_iter().chain(self.count_unread(&to, left)).collect()
            }
            Event::Count { ref conversations, ref reference } => {
                match self.counted(reference.as_deref(), conversations) {
                    Some(actions) => actions,
                    None => vec![Action::Output(Output::Event(Origin::Server, event))],
                }
            }
            Event::Message(message) => self.message(message),
            Event::Refused { code, hint, id, retry_ms, reference } => {
                let refused = Refused { code, hint, id, retry_ms, reference };
                refusals::refused(self.exchange, refused, Origin::Server)
            }
            Event::Entered {
                ref channel, epoch, last, read, retention, ref mut reference, ..
            } => {
                match self.exchange.membership.entered(channel, reference.as_deref()) {
                    Ok(theirs) => *reference = theirs,
                    Err(stray) => return stray,
                }
                let channel = channel.clone();
                let to = Target::Channel(channel.clone());
                let told = ConversationInfo { to, epoch, last, read, retention };
                self.entered(&channel, &told, event)
            }
            Event::Parted { channel, reference } => self.exchange.membership.parted(
                channel,
                reference.as_deref(),
                &self.exchange.target,
            ),
            Event::Goodbye { code, retry_ms, .. } => {
                self.goodbye((code, retry_ms), event, Origin::Server)
            }
            Event::History { ref reference, more, .. } if self.exchange.tail.is_some() => {
                self.exchange.tail_pages(reference.as_deref(), more)
            }
            event => self.of_presence(event),
        }
    }

    /// Handles joins and parts.
    fn of_presence(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Joined { ref to, .. } | Event::Left { ref to, .. }
                if !self.exchange.membership.is_in(&Target::Channel(to.clone())) =>
            {
                Vec::new()
            }
            // A removal by an operator is shown even while joins and parts are hidden.
            Event::Joined { .. } | Event::Left { reason: None, .. } if self.ignore_list.quiet => {
                vec![Action::Output(Output::Presence(event))]
            }
            event => self.of_files(event),
        }
    }

    /// Handles events of files. Others are shown as they are.
    fn of_files(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::History { ref reference, .. } => {
                match self.exchange.transfers.found(reference.as_deref()) {
                    Some(actions) => self.then_ends(actions),
                    None => vec![Action::Output(Output::Event(Origin::Server, event))],
                }
            }
            event @ (Event::Upload { .. }
            | Event::Download { .. }
            | Event::Kept { .. }
            | Event::Stopped { .. }) => sharing::event(self.exchange, event),
            Event::Dropped { .. } | Event::Unknown => Vec::new(),
            event => vec![Action::Output(Output::Event(Origin::Server, event))],
        }
    }

    /// Completes the login: resumes every conversation and sends what was waiting.
    fn welcomed(&mut self, name: &UserName, event: Event) -> Vec<Action> {
        let old =
            if self.exchange.connection.was_in() { 0 } else { self.exchange.outgoing.refused() };
        if let Event::Welcome { files, .. } = &event {
            self.exchange.transfers.accepts(*files);
        }
        let mut actions = self.exchange.connection.logged_in(name);
        actions.push(Action::Output(Output::Event(Origin::Server, event)));
        if self.exchange.usage.resumes {
            let conversations = self.exchange.conversations.resume();
            actions.push(Action::Send(Command::Resume { conversations }.into()));
        }
        if let Some(question) = self.exchange.destination.question() {
            actions.push(Action::Send(question));
            return actions;
        }
        let positions = self.exchange.conversations.positions();
        let channels = self.exchange.membership.joined().clone().into_iter();
        let joins = channels.map(|channel| {
            let after = sync_point(&positions, &channel);
            Request::from(Command::Join { channel, after })
        });
        self.exchange.ending.awaits(self.exchange.outgoing.has_early());
        for request in joins.chain(self.exchange.outgoing.all_typed()) {
            actions.push(Action::Send(self.exchange.membership.requested(request)));
        }
        actions.extend(self.exchange.tail_begins());
        actions.extend(self.exchange.transfers.connected());
        if old > 0 {
            let what = if old == 1 { "a message was" } else { "messages were" };
            let text = format!("{what} refused in the last run: /retry or /cancel");
            actions.push(notice(text));
        }
        actions.extend(self.exchange.end_when_settled());
        actions
    }

    /// Takes the newest message and the read position of each conversation.
    fn learn_conversations(&mut self, conversations: Vec<ConversationInfo>) -> Vec<Action> {
        let mut actions = Vec::new();
        for conversation in conversations {
            if !self.exchange.membership.is_in(&conversation.to) {
                continue;
            }
            actions.extend(self.renumbered(&conversation));
            let (to, last, read) = (conversation.to.clone(), conversation.last, conversation.read);
            actions.push(Action::Output(Output::Conversation { to, last, read }));
            actions.extend(self.loss(&conversation));
            let unread = self.exchange.conversations.learn(&conversation);
            actions.extend(self.count_unread(&conversation.to, unread));
        }
        actions
    }

    /// Returns which seqs name other messages from now on. Called before `learn`.
    fn renumbered(&self, told: &ConversationInfo) -> Option<Action> {
        let after = self.exchange.conversations.void_after(&told.to, told.epoch, told.last)?;
        Some(Action::Output(Output::Renumbered { to: told.to.clone(), after }))
    }

    /// Returns the error about lost messages of a stored conversation. The engine reports those of
    /// sealed ones, and a conversation in memory only is expected to start again.
    fn loss(&self, told: &ConversationInfo) -> Option<Action> {
        let loss = self.exchange.conversations.loss(&told.to, told.epoch, told.last)?;
        let is_other = self
            .exchange
            .conversations
            .sync_point(&told.to)
            .is_some_and(|point| point.epoch != told.epoch);
        let is_silent = is_other && (told.to.is_sealed() || told.retention == Retention::Off);
        (!is_silent).then(|| error(loss))
    }

    /// Handles a local answer in the form of a server event.
    pub fn answer(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Refused { code, hint, id, retry_ms, reference } => {
                let refused = Refused { code, hint, id, retry_ms, reference };
                refusals::refused(self.exchange, refused, Origin::Client)
            }
            Event::Goodbye { code, retry_ms, .. } => {
                self.goodbye((code, retry_ms), event, Origin::Client)
            }
            Event::Message(message) => {
                if self.exchange.name() == Some(&message.from) {
                    let conversation = message.conversation(self.exchange.name());
                    let displayed = Displayed::InAnswer;
                    self.exchange.conversations.own(&conversation, &message, displayed);
                }
                if self.ignore_list.ignores(&message.from) {
                    return Vec::new();
                }
                vec![Action::Output(Output::Found(message))]
            }
            event => vec![Action::Output(Output::Event(Origin::Client, event))],
        }
    }

    fn then_ends(&mut self, mut actions: Vec<Action>) -> Vec<Action> {
        actions.extend(self.exchange.end_when_settled());
        actions
    }

    fn goodbye(
        &mut self,
        (code, retry_ms): (Code, Option<u64>),
        event: Event,
        origin: Origin,
    ) -> Vec<Action> {
        self.exchange.connection.goodbye(code, retry_ms);
        match code {
            Code::NotAdmitted => Vec::new(),
            _ => vec![Action::Output(Output::Event(origin, event))],
        }
    }

    /// Handles the entry of this session into a channel.
    fn entered(
        &mut self,
        channel: &ChannelName,
        told: &ConversationInfo,
        event: Event,
    ) -> Vec<Action> {
        let mut actions: Vec<_> = self.renumbered(told).into_iter().collect();
        let loss = self.loss(told);
        let unread = self.exchange.conversations.learn(told);
        let first = is_first(&event) && self.exchange.pins.is_first(channel);
        actions.push(Action::Output(Output::Event(Origin::Server, event)));
        actions.extend(loss);
        if !channel.is_lobby() {
            actions.extend(self.count_unread(&told.to, unread));
        }
        if first {
            let text = "you are the first here: if you expected others, check the PIN";
            actions.push(notice(text.into()));
        }
        actions
    }

    fn message(&mut self, message: Message) -> Vec<Action> {
        if let Target::Channel(channel) = &message.to
            && !self.exchange.membership.is_in(&message.to)
        {
            return self.exchange.membership.stray(Stray::Event, channel);
        }
        let ignored = self.ignore_list.ignores(&message.from);
        if self.exchange.tail.as_mut().is_some_and(|tail| tail.takes(&message, ignored)) {
            return Vec::new();
        }
        if self.exchange.transfers.takes(&message) {
            return Vec::new();
        }
        let asked = message.reference.is_some();
        // An unsigned message counts as nobody's own.
        let unsealed = is_unsealed(&message);
        let own = self.exchange.name() == Some(&message.from) && !unsealed;
        // The tombstone of a change that was itself changed.
        let says_nothing = unsealed && message.kind.is_edit() && message.body.is_empty();
        let mut actions = Vec::new();
        if asked && (says_nothing || ignored) {
            return actions;
        }
        if asked {
            if own {
                let conversation = message.conversation(self.exchange.name());
                self.exchange.conversations.own(&conversation, &message, Displayed::InAnswer);
            }
            return vec![Action::Output(Output::Message(message))];
        }
        if own {
            actions.extend(self.settle(message.id, message.to.clone(), message.seq));
        }
        let conversation = message.conversation(self.exchange.name());
        let arrival = self.exchange.conversations.arrive(&conversation, &message, own, ignored);
        let known = arrival.known || self.exchange.shown.contains(&message);
        if own {
            let displayed = if known { Displayed::Before } else { Displayed::Last };
            self.exchange.conversations.own(&conversation, &message, displayed);
        }
        if !known && !says_nothing && !ignored {
            self.exchange.shown.add(&message);
            if matches!(message.to, Target::User(_)) && !own && !unsealed {
                self.reply.wrote(&message.from);
            }
            if arrival.divider {
                actions.push(Action::Output(Output::Divider(conversation.clone())));
            }
            if self.exchange.usage.reads {
                self.exchange.conversations.read(&conversation, message.seq, true);
            }
            actions.push(Action::Output(Output::Message(message)));
        }
        actions.extend(self.exchange.end_when_settled());
        actions
    }

    /// Handles a message that violates the protocol, or follows missing ones.
    pub fn violated(&mut self, message: Message, violation: Violation) -> Vec<Action> {
        let to = message.conversation(self.exchange.name());
        if let Target::Channel(channel) = &to
            && !self.exchange.membership.is_in(&to)
        {
            return self.exchange.membership.stray(Stray::Event, channel);
        }
        let shown = Action::Output(Output::Violation {
            to: to.clone(),
            from: message.from.clone(),
            seq: message.seq,
            violation,
            is_answer: message.reference.is_some(),
        });
        if violation.is_shown() || message.reference.is_some() {
            return vec![shown];
        }
        // It acknowledges nothing. An own message that waits is sent again, which is answered.
        let own = self.exchange.name() == Some(&message.from);
        let known = self.exchange.conversations.arrive(&to, &message, own, false).known;
        (!known).then_some(shown).into_iter().collect()
    }

    /// Handles the acknowledgement of a message. If it was in the outbox, for this conversation, it
    /// is this client's.
    fn settle(&mut self, id: MsgId, to: Target, seq: Seq) -> Vec<Action> {
        let Some(settled) = self.exchange.outgoing.settle(id, &to, seq) else { return Vec::new() };
        if !settled.message.kind.is_change() {
            self.exchange.conversations.said(&to, Own { seq, id });
        }
        let mut actions = vec![Action::Drop(id), Action::Output(Output::Ack { id, to, seq })];
        actions.extend(self.exchange.transfers.announced(id, seq));
        let changes = settled.changes.into_iter();
        actions.extend(changes.flat_map(|change| self.exchange.post_change(change, Some(id))));
        actions
    }

    /// Counts the unread messages of a conversation, if there may be any.
    fn count_unread(&mut self, to: &Target, span: Option<(Seq, Seq)>) -> Option<Action> {
        let span = span.filter(|_| self.exchange.usage.resumes)?;
        self.exchange.unread.add(to.clone(), span);
        self.exchange.unread.request().map(Action::Send)
    }

    /// Handles the answer to such a request, or its refusal. `None`: it is about another one.
    fn counted(&mut self, reference: Option<&str>, counts: &[MessageCount]) -> Option<Vec<Action>> {
        let ignores = |name: &UserName| self.ignore_list.ignores(name);
        self.exchange.counted(reference, counts, ignores)
    }
}

/// Returns whether a channel has neither other members nor messages.
fn is_first(entered: &Event) -> bool {
    matches!(entered, Event::Entered { last: Seq(0), people, .. } if people.len() <= 1)
}
