//! Handling of server events.

use super::super::storage::ignore_list::IgnoreList;
use super::action::{Action, error, notice};
use super::exchange::{Exchange, mark};
use super::membership::Stray;
use super::output::{Origin, Output, is_unsealed};
use super::reply::Reply;
use super::requests::Wish;
use super::tail::Tail;
use crate::chat::{
    Body, Code, Command, ConversationInfo, Event, LineCount, Message, MsgId, Request, Retention,
    Seq, Target, UserName,
};
use crate::clean;
use crate::e2e::Violation;
use crate::fault::code;

/// The parts that an event of the server changes.
pub struct Incoming<'a> {
    pub exchange: &'a mut Exchange,
    pub ignore_list: &'a IgnoreList,
    pub reply: &'a mut Reply,
}

impl Incoming<'_> {
    pub fn event(&mut self, event: Event) -> Vec<Action> {
        let event = cleaned(event);
        if let Some(actions) = self.exchange.destination_answer(&event) {
            return actions;
        }
        match event {
            Event::Welcome { .. } => self.welcomed(event),
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
                self.exchange.membership.stray(Stray::Told, &channel.clone())
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
            Event::Refused { .. } => self.refusal(event, Origin::Server),
            Event::Entered { .. } => self.entered(event),
            Event::Parted { channel, reference } => self.exchange.membership.parted(
                channel,
                reference.as_deref(),
                &self.exchange.target,
            ),
            Event::Joined { ref to, .. } | Event::Left { ref to, .. }
                if !self.exchange.membership.is_in(&Target::Channel(to.clone())) =>
            {
                Vec::new()
            }
            // A removal by an operator is shown even while joins and parts are hidden.
            Event::Joined { .. } | Event::Left { reason: None, .. } if self.ignore_list.quiet => {
                vec![Action::Output(Output::Presence(event))]
            }
            Event::History { ref reference, more, .. } if self.exchange.tail.is_some() => {
                self.exchange.tail_pages(reference.as_deref(), more)
            }
            Event::Goodbye { .. } => self.goodbye(event, Origin::Server),
            Event::Unknown => Vec::new(),
            event => vec![Action::Output(Output::Event(Origin::Server, event))],
        }
    }

    /// Completes the login: resumes every conversation and sends what was waiting.
    fn welcomed(&mut self, event: Event) -> Vec<Action> {
        let Event::Welcome { ref name, .. } = event else { return Vec::new() };
        let old =
            if self.exchange.connection.was_in() { 0 } else { self.exchange.outgoing.refused() };
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
        let marks = self.exchange.conversations.positions();
        let channels = self.exchange.membership.joined().clone().into_iter();
        let joins = channels.map(|channel| {
            let after = mark(&marks, &channel);
            Request::from(Command::Join { channel, after })
        });
        self.exchange.ending.awaits(self.exchange.outgoing.has_early());
        for request in joins.chain(self.exchange.outgoing.all_typed()) {
            actions.push(Action::Send(self.exchange.membership.requested(request)));
        }
        actions.extend(self.exchange.tail_begins());
        if old > 0 {
            let what = if old == 1 { "a line" } else { "lines" };
            let text = format!("{what} from the last run were refused: /retry or /cancel");
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
            let (to, last, read) = (conversation.to.clone(), conversation.last, conversation.read);
            actions.push(Action::Output(Output::Conversation { to, last, read }));
            actions.extend(self.loss(&conversation));
            let unread = self.exchange.conversations.learn(&conversation);
            actions.extend(self.count_unread(&conversation.to, unread));
        }
        actions
    }

    /// Returns the error about lost messages of a stored conversation. The engine reports those of
    /// sealed ones, and a conversation in memory only is expected to start again.
    fn loss(&self, told: &ConversationInfo) -> Option<Action> {
        let loss = self.exchange.conversations.loss(&told.to, told.log, told.last)?;
        let is_other =
            self.exchange.conversations.mark(&told.to).is_some_and(|mark| mark.log != told.log);
        let is_silent = is_other && (told.to.is_sealed() || told.retention == Retention::Off);
        (!is_silent).then(|| error(loss))
    }

    /// Handles a local answer in the form of a server event.
    pub fn answer(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Refused { .. } => self.refusal(event, Origin::Client),
            Event::Goodbye { .. } => self.goodbye(event, Origin::Client),
            Event::Message(message) => {
                if self.exchange.name() == Some(&message.from) {
                    let conversation = message.conversation(self.exchange.name());
                    self.exchange.conversations.own(&conversation, &message);
                }
                if self.ignore_list.ignores(&message.from) {
                    return Vec::new();
                }
                vec![Action::Output(Output::Found(message))]
            }
            event => vec![Action::Output(Output::Event(Origin::Client, event))],
        }
    }

    fn refusal(&mut self, mut event: Event, origin: Origin) -> Vec<Action> {
        let Event::Refused { code, id, retry_ms, ref mut reference, .. } = event else {
            return Vec::new();
        };
        match (code, id, retry_ms) {
            (Code::Rate, Some(id), Some(wait_ms))
                if self.exchange.usage.retries && self.exchange.outgoing.postpone(id) =>
            {
                let text = format!("too fast: wait {} s; it is then sent", wait_ms.div_ceil(1000));
                return vec![notice(text), Action::Wait(wait_ms)];
            }
            // The message stays in the outbox; the next connection settles it.
            (Code::InDoubt, ..) if !self.exchange.usage.once => {
                return vec![Action::Output(Output::Event(origin, event))];
            }
            _ => {}
        }
        if let Some(actions) = self.counted(reference.as_deref(), &[]) {
            return actions;
        }
        let is_refused = |tail: &Tail| tail.is_refused(reference.as_deref());
        if self.exchange.tail.as_ref().is_some_and(is_refused) {
            let shown = Action::Output(Output::Event(origin, event));
            return vec![shown, Action::Close, Action::Quit(code::NOT_ACKNOWLEDGED)];
        }
        let wish = self.exchange.membership.refused(reference.as_deref());
        if let Some(wish) = &wish {
            reference.clone_from(&wish.theirs);
        }
        let mut actions = vec![Action::Output(Output::Event(origin, event))];
        let retries = self.exchange.usage.retries;
        if let Some(refused) = id.and_then(|id| self.exchange.outgoing.refuse(id, retries)) {
            self.exchange.ending.fails();
            actions.extend(refused);
        }
        if let Some(wish) = wish {
            if wish.wish == Wish::Enter && !self.exchange.membership.is_inside(&wish.channel) {
                self.exchange.pins.forget(&wish.channel);
            }
            actions.extend(self.exchange.membership.wish_refused(
                wish,
                code,
                &self.exchange.target,
            ));
        }
        actions.extend(self.exchange.end_when_settled());
        actions
    }

    fn goodbye(&mut self, event: Event, origin: Origin) -> Vec<Action> {
        let Event::Goodbye { code, retry_ms, .. } = event else { return Vec::new() };
        self.exchange.connection.goodbye(code, retry_ms);
        match code {
            Code::NotAdmitted => Vec::new(),
            _ => vec![Action::Output(Output::Event(origin, event))],
        }
    }

    /// Handles the entry of this session into a channel.
    fn entered(&mut self, mut event: Event) -> Vec<Action> {
        let first = is_first(&event);
        let Event::Entered { channel, log, last, read, retention, reference, .. } = &mut event
        else {
            return Vec::new();
        };
        let channel = channel.clone();
        match self.exchange.membership.entered(&channel, reference.as_deref()) {
            Ok(theirs) => *reference = theirs,
            Err(stray) => return stray,
        }
        let conversation = Target::Channel(channel.clone());
        let (to, log, last) = (conversation.clone(), *log, *last);
        let told = ConversationInfo { to, log, last, read: *read, retention: *retention };
        let loss = self.loss(&told);
        let unread = self.exchange.conversations.learn(&told);
        let first = first && self.exchange.pins.is_first(&channel);
        let mut actions = vec![Action::Output(Output::Event(Origin::Server, event))];
        actions.extend(loss);
        if !channel.is_lobby() {
            actions.extend(self.count_unread(&conversation, unread));
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
            return self.exchange.membership.stray(Stray::Told, channel);
        }
        if self.exchange.tail.as_mut().is_some_and(|tail| tail.takes(&message)) {
            return Vec::new();
        }
        let asked = message.reference.is_some();
        // An unsigned message counts as nobody's own.
        let unsealed = is_unsealed(&message);
        let own = self.exchange.name() == Some(&message.from) && !unsealed;
        // The tombstone of a change that was itself changed.
        let says_nothing = unsealed && message.kind.is_edit() && message.body.is_empty();
        let mut actions = Vec::new();
        let ignored = self.ignore_list.ignores(&message.from);
        if asked && (says_nothing || ignored) {
            return actions;
        }
        if asked {
            if own {
                let conversation = message.conversation(self.exchange.name());
                self.exchange.conversations.own(&conversation, &message);
            }
            return vec![Action::Output(Output::Message(message))];
        }
        if own {
            actions.extend(self.settle(message.id, message.to.clone(), message.seq));
        }
        let conversation = message.conversation(self.exchange.name());
        let arrival = self.exchange.conversations.arrive(&conversation, &message, own, ignored);
        let known = arrival.known || self.exchange.shown.contains(message.id);
        if !known && !says_nothing && !ignored {
            self.exchange.shown.add(message.id);
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
            return self.exchange.membership.stray(Stray::Told, channel);
        }
        let shown = Action::Output(Output::Violation {
            to: to.clone(),
            from: message.from.clone(),
            seq: message.seq,
            violation,
        });
        if violation.is_shown() || message.reference.is_some() {
            return vec![shown];
        }
        let own = self.exchange.name() == Some(&message.from);
        let known = self.exchange.conversations.arrive(&to, &message, own, false).known;
        let mut actions = Vec::new();
        if own {
            actions.extend(self.settle(message.id, message.to, message.seq));
        }
        actions.extend((!known).then_some(shown));
        actions.extend(self.exchange.end_when_settled());
        actions
    }

    /// Handles the acknowledgement of a message. If it was in the outbox it is this client's.
    fn settle(&mut self, id: MsgId, to: Target, seq: Seq) -> Vec<Action> {
        let Some(settled) = self.exchange.outgoing.settle(id, seq) else { return Vec::new() };
        if !settled.message.kind.is_change() {
            self.exchange.conversations.said(&to, seq);
        }
        let mut actions = vec![Action::Drop(id), Action::Output(Output::Ack { id, to, seq })];
        actions.extend(settled.changes.into_iter().flat_map(|change| self.exchange.post(change)));
        actions
    }

    /// Counts the unread messages of a conversation, if there may be any.
    fn count_unread(&mut self, to: &Target, span: Option<(Seq, Seq)>) -> Option<Action> {
        let span = span.filter(|_| self.exchange.usage.resumes)?;
        self.exchange.unread.add(to.clone(), span);
        self.exchange.unread.request().map(Action::Send)
    }

    /// Handles the answer to such a request, or its refusal. `None`: it is about another one.
    fn counted(&mut self, reference: Option<&str>, counts: &[LineCount]) -> Option<Vec<Action>> {
        let ignores = |name: &UserName| self.ignore_list.ignores(name);
        let unread = self.exchange.unread.counted(reference, counts, ignores)?;
        let next = self.exchange.unread.request().map(Action::Send);
        Some(unread.into_iter().map(Action::Output).chain(next).collect())
    }
}

/// Returns whether a channel has neither other members nor messages.
fn is_first(entered: &Event) -> bool {
    matches!(entered, Event::Entered { last: Seq(0), people, .. } if people.len() <= 1)
}

/// Makes all texts of a server safe to show, for every user interface.
fn cleaned(mut event: Event) -> Event {
    let line = |text: &mut Option<String>| {
        *text = text.take().map(|text| unlocked(&text)).filter(|text| !text.is_empty());
    };
    match &mut event {
        Event::Message(message) => {
            if let Body::Text(text) = &mut message.body {
                *text = clean::text(text);
            }
        }
        Event::Welcome { motd, version, .. } => {
            line(motd);
            *version = clean::line(version);
        }
        // A PIN channel has no topic.
        Event::Entered { channel, topic, .. } if channel.has_pin() => *topic = None,
        Event::Topic { to, text, .. } if to.has_pin() => *text = None,
        Event::Entered { topic, .. } => line(topic),
        Event::Topic { text, .. } => line(text),
        Event::Left { reason, .. } => line(reason),
        Event::Channels { channels, .. } => {
            channels.iter_mut().for_each(|row| line(&mut row.topic));
        }
        Event::Whois { away, fingerprints, .. } => {
            line(away);
            fingerprints.iter_mut().for_each(|print| *print = unlocked(print));
        }
        Event::Refused { hint: text, .. } | Event::Goodbye { reason: text, .. } => {
            *text = unlocked(text);
        }
        Event::Notice { text, .. } => *text = without_locks(&clean::text(text)),
        _ => {}
    }
    event
}

/// Makes a server text one line, without the signs that mark sealed conversations.
fn unlocked(text: &str) -> String {
    without_locks(&clean::line(text)).trim().to_owned()
}

fn without_locks(text: &str) -> String {
    // Some fonts have locks among their own symbols.
    text.chars().filter(|c| !is_lock(*c) && !clean::is_private(*c)).collect()
}

/// Locks, keys and shields.
fn is_lock(c: char) -> bool {
    matches!(
        c,
        '\u{1f50f}'
            ..='\u{1f513}' | '\u{1f5dd}' | '\u{1f6e1}' | '\u{26bf}' | '\u{26e8}' | '\u{1f6c5}'
    )
}
