//! What the server tells.

use super::*;
use crate::chat::{Body, PlaceInfo};
use crate::clean;

impl Model {
    pub(super) fn event(&mut self, event: Event) -> Vec<Action> {
        let event = cleaned(event);
        match event {
            Event::Welcome { .. } => self.welcomed(event),
            Event::Password { wrong, retry_ms } => self.ask_password(wrong, retry_ms),
            Event::Stored { id, to, seq } => {
                let mut actions = self.settle(id, to, seq);
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Places { places } => self.places_told(places),
            Event::Gap { to: Target::Channel(ref channel), .. }
                if !self.is_in(&Target::Channel(channel.clone())) =>
            {
                self.stray(rooms::Stray::Told, &channel.clone())
            }
            Event::Gap { ref to, to_seq, .. } => {
                self.places.skip(to, to_seq);
                vec![Action::Show(Show::Event(Origin::Server, event))]
            }
            Event::Read { ref to, seq } => {
                self.places.read(to, seq, false);
                vec![Action::Show(Show::Event(Origin::Server, event))]
            }
            Event::Message(message) => self.message(message),
            Event::Refused { .. } => self.refusal(event, Origin::Server),
            Event::Entered { .. } => self.entered(event),
            Event::Parted { channel, reference } => self.parted(channel, reference.as_deref()),
            Event::Joined { ref to, .. } | Event::Left { ref to, .. }
                if !self.is_in(&Target::Channel(to.clone())) =>
            {
                Vec::new()
            }
            // That somebody was put out is more than coming and going.
            Event::Joined { .. } | Event::Left { reason: None, .. } if self.manners.quiet => {
                vec![Action::Show(Show::Presence(event))]
            }
            Event::Goodbye { .. } => self.goodbye(event, Origin::Server),
            Event::Unknown => Vec::new(),
            event => vec![Action::Show(Show::Event(Origin::Server, event))],
        }
    }

    /// The login is complete: takes up every place, and sends what waited for it.
    fn welcomed(&mut self, event: Event) -> Vec<Action> {
        let Event::Welcome { ref name, .. } = event else { return Vec::new() };
        let back = self.attempts > 0 && self.name.is_some();
        let old = if self.name.is_none() { self.outbox.refused() } else { 0 };
        (self.connected, self.goodbye) = (true, None);
        self.suspects = false;
        self.name = Some(name.clone());
        let mut actions = vec![Action::Show(Show::State(State::Connected { name: name.clone() }))];
        if back {
            actions.push(Action::Show(Show::Back));
        }
        actions.push(Action::Show(Show::Event(Origin::Server, event)));
        if self.usage.resumes {
            let places = self.places.resume();
            actions.push(Action::Send(Command::Resume { places }));
        }
        let marks = self.places.positions();
        for channel in self.joined.clone() {
            let join = self.requested(join(&marks, channel));
            actions.push(Action::Send(join));
        }
        self.open = !self.early.is_empty();
        for command in self.all_typed() {
            let command = self.requested(command);
            actions.push(Action::Send(command));
        }
        if old > 0 {
            let what = if old == 1 { "a line" } else { "lines" };
            let text = format!("{what} of last time had been refused: /retry or /cancel");
            actions.push(notice(text));
        }
        actions.extend(self.end_when_settled());
        actions
    }

    /// The newest message and the read position of each place of this person.
    fn places_told(&mut self, places: Vec<PlaceInfo>) -> Vec<Action> {
        let mut actions = Vec::new();
        for place in places {
            if !self.is_in(&place.to) {
                continue;
            }
            let (to, last, read) = (place.to.clone(), place.last, place.read);
            actions.push(Action::Show(Show::Place { to, last, read }));
            let lines = self.places.learn(&place.to, place.log, place.last, place.read);
            actions.extend(self.unread(place.to, lines));
        }
        actions
    }

    /// An answer of this client's own, in the form of the server's.
    pub(super) fn answer(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Refused { .. } => self.refusal(event, Origin::Client),
            Event::Goodbye { .. } => self.goodbye(event, Origin::Client),
            Event::Message(message) => {
                if self.name.as_ref() == Some(&message.from) {
                    let place = Places::of_line(&message, self.name.as_ref());
                    self.places.own(&place, &message);
                }
                vec![Action::Show(Show::Found(message))]
            }
            event => vec![Action::Show(Show::Event(Origin::Client, event))],
        }
    }

    fn refusal(&mut self, mut event: Event, origin: Origin) -> Vec<Action> {
        let Event::Refused { code, id, retry_ms, ref mut reference, .. } = event else {
            return Vec::new();
        };
        match (code, id, retry_ms) {
            (Code::Rate, Some(id), Some(wait_ms))
                if self.usage.retries && self.outbox.postpone(id) =>
            {
                let text = format!("too fast: wait {} s; it is sent then", wait_ms.div_ceil(1000));
                return vec![notice(text), Action::Wait(wait_ms)];
            }
            // It stays among the lines on their way: the next connection settles it.
            (Code::InDoubt, ..) if !self.usage.once => {
                return vec![Action::Show(Show::Event(origin, event))];
            }
            _ => {}
        }
        let wish = self.requests.refused(reference.as_deref());
        if let Some(wish) = &wish {
            reference.clone_from(&wish.theirs);
        }
        let mut actions = vec![Action::Show(Show::Event(origin, event))];
        if let Some(id) = id.filter(|id| self.outbox.refuse(*id)) {
            self.refused = true;
            actions.extend(self.drop_changes(id));
            actions.push(match self.usage.retries {
                true => Action::Refused(id),
                // A program knows it now.
                false => {
                    self.outbox.settle(id);
                    Action::Drop(id)
                }
            });
        }
        actions.extend(wish.into_iter().flat_map(|wish| self.wish_refused(wish, code)));
        actions.extend(self.end_when_settled());
        actions
    }

    fn goodbye(&mut self, event: Event, origin: Origin) -> Vec<Action> {
        let Event::Goodbye { code, retry_ms, .. } = event else { return Vec::new() };
        self.goodbye = Some((code, retry_ms));
        match code {
            Code::NotAdmitted => Vec::new(),
            _ => vec![Action::Show(Show::Event(origin, event))],
        }
    }

    /// What was typed without a connection, in the order in which it was.
    fn all_typed(&mut self) -> Vec<Command> {
        let mut early = std::mem::take(&mut self.early).into_iter().peekable();
        let mut typed = Vec::new();
        for (before, line) in self.outbox.send_all().into_iter().enumerate() {
            let due = |one: &(usize, Command)| one.0 <= before;
            typed.extend(std::iter::from_fn(|| early.next_if(due)).map(|(_, command)| command));
            typed.push(Command::Say(line));
        }
        typed.extend(early.map(|(_, command)| command));
        typed
    }

    /// The time that the server wanted has passed.
    pub(super) fn waited(&mut self) -> Vec<Action> {
        if self.connected {
            let again = self.outbox.again(AGAIN_LINES).into_iter();
            let mut actions: Vec<_> =
                again.map(|message| Action::Send(Command::Say(message))).collect();
            actions.extend(self.outbox.is_held().then_some(Action::Wait(AGAIN_MS)));
            return actions;
        }
        self.password_later()
    }

    fn message(&mut self, message: Message) -> Vec<Action> {
        if let Target::Channel(channel) = &message.to
            && !self.is_in(&message.to)
            && message.reference.is_none()
        {
            return self.stray(rooms::Stray::Told, channel);
        }
        let asked = message.reference.is_some();
        // What nobody has signed is nobody's own.
        let unsealed = is_unsealed(&message);
        let own = self.name.as_ref() == Some(&message.from) && !unsealed;
        // What is left of a change that was itself changed.
        let says_nothing = unsealed && message.kind.is_edit() && message.body.is_empty();
        let mut actions = Vec::new();
        if asked && says_nothing {
            return actions;
        }
        if asked {
            if own {
                let place = Places::of_line(&message, self.name.as_ref());
                self.places.own(&place, &message);
            }
            return vec![Action::Show(Show::Message(message))];
        }
        if own {
            actions.extend(self.settle(message.id, message.to.clone(), message.seq));
        }
        let place = Places::of_line(&message, self.name.as_ref());
        let arrival = self.places.arrive(&place, &message, own);
        let known = arrival.known || self.shown.contains(&message.id);
        if !known && !says_nothing && !self.manners.ignores(&message.from) {
            self.shown.push_back(message.id);
            if self.shown.len() > SHOWN_MAX {
                self.shown.pop_front();
            }
            if matches!(message.to, Target::User(_)) && !own && !unsealed {
                self.answers_go_to(&message.from);
            }
            if arrival.divider {
                actions.push(Action::Show(Show::Divider(place.clone())));
            }
            if self.usage.reads {
                self.places.read(&place, message.seq, true);
            }
            actions.push(Action::Show(Show::Message(message)));
        }
        actions.extend(self.end_when_settled());
        actions
    }

    /// A line that is not what it should be, or before which others are missing.
    pub(super) fn flawed(&mut self, message: Message, flaw: Flaw) -> Vec<Action> {
        let to = Places::of_line(&message, self.name.as_ref());
        if let Target::Channel(channel) = &to
            && !self.is_in(&to)
        {
            return self.stray(rooms::Stray::Told, channel);
        }
        let shown = Action::Show(Show::Flaw {
            to: to.clone(),
            from: message.from.clone(),
            seq: message.seq,
            flaw,
        });
        if flaw.is_shown() || message.reference.is_some() {
            return vec![shown];
        }
        let own = self.name.as_ref() == Some(&message.from);
        let known = self.places.arrive(&to, &message, own).known;
        let mut actions = Vec::new();
        if own {
            actions.extend(self.settle(message.id, message.to, message.seq));
        }
        actions.extend((!known).then_some(shown));
        actions.extend(self.end_when_settled());
        actions
    }

    /// The server has stored a line, of this client where it was in the outbox.
    fn settle(&mut self, id: MsgId, to: Target, seq: Seq) -> Vec<Action> {
        let Some(line) = self.outbox.settle(id) else { return Vec::new() };
        if !line.kind.is_change() {
            self.places.said(&to, seq);
        }
        let mut actions = vec![Action::Drop(id), Action::Show(Show::Ack { id, to, seq })];
        actions.extend(self.change_stored(id, seq));
        actions
    }

    /// `/reply` goes to whoever has written last.
    fn answers_go_to(&mut self, name: &UserName) {
        self.reply_moved |= self.reply_to.as_ref().is_some_and(|before| before != name);
        self.reply_to = Some(name.clone());
    }

    pub(super) fn unread(&self, to: Target, lines: u64) -> Option<Action> {
        let new = lines > 0 && self.usage.resumes && self.places.mark(&to).is_some();
        new.then_some(Action::Show(Show::Unread { to, lines }))
    }
}

/// Every text that a server sends is made safe to show, whatever face shows it.
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
        // A channel with a PIN has none.
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

/// One line of the server's, in which nothing looks like the sign of a sealed place.
fn unlocked(text: &str) -> String {
    without_locks(&clean::line(text)).trim().to_owned()
}

fn without_locks(text: &str) -> String {
    text.chars().filter(|c| !is_lock(*c)).collect()
}

/// Locks, keys and shields.
fn is_lock(c: char) -> bool {
    matches!(
        c,
        '\u{1f50f}'
            ..='\u{1f513}' | '\u{1f5dd}' | '\u{1f6e1}' | '\u{26bf}' | '\u{26e8}' | '\u{1f6c5}'
    )
}
