//! What the server tells.

use super::*;
use crate::clean;

impl Model {
    pub(super) fn event(&mut self, event: Event) -> Vec<Action> {
        let event = cleaned(event);
        match event {
            Event::Welcome { ref name, .. } => {
                let back = self.attempts > 0 && self.name.is_some();
                let old = if self.name.is_none() { self.outbox.refused() } else { 0 };
                (self.connected, self.goodbye) = (true, None);
                self.suspects = false;
                self.name = Some(name.clone());
                let mut actions =
                    vec![Action::Show(Show::State(State::Connected { name: name.clone() }))];
                if back {
                    actions.push(Action::Show(Show::Back));
                }
                actions.push(Action::Show(Show::Event(event)));
                if self.usage.resumes {
                    let places = self.places.resume();
                    actions.push(Action::Send(Command::Resume { places }));
                }
                let marks = self.places.positions();
                let joined = self.joined.iter().cloned();
                actions.extend(joined.map(|channel| Action::Send(join(&marks, channel))));
                self.open = !self.early.is_empty();
                actions.extend(self.all_typed().into_iter().map(Action::Send));
                if old > 0 {
                    let what = if old == 1 { "a line" } else { "lines" };
                    let text = format!("{what} of last time had been refused: /retry or /cancel");
                    actions.push(notice(text));
                }
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Password { wrong, retry_ms } => self.ask_password(wrong, retry_ms),
            Event::Stored { id, to, seq } => {
                let mut actions = self.settle(id, to, seq);
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Places { places } => {
                let mut actions = Vec::new();
                for place in places {
                    let (to, last, read) = (place.to.clone(), place.last, place.read);
                    actions.push(Action::Show(Show::Place { to, last, read }));
                    let lines = self.places.learn(&place.to, place.log, place.last, place.read);
                    actions.extend(self.unread(place.to, lines));
                }
                actions
            }
            Event::Gap { ref to, to_seq, .. } => {
                self.places.skip(to, to_seq);
                vec![Action::Show(Show::Event(event))]
            }
            Event::Read { ref to, seq } => {
                self.places.read(to, seq, false);
                vec![Action::Show(Show::Event(event))]
            }
            Event::Message(message) => self.message(message),
            Event::Refused {
                code: Code::Rate,
                id: Some(id),
                retry_ms: Some(wait_ms),
                ref hint,
                ..
            } if self.usage.retries && self.outbox.postpone(id) => {
                let text = format!("{hint}; it is sent then");
                vec![notice(text), Action::Wait(wait_ms)]
            }
            // It stays among the lines on their way: the next connection settles it.
            Event::Refused { code: Code::InDoubt, .. } if !self.usage.once => {
                vec![Action::Show(Show::Event(event))]
            }
            Event::Refused { id, .. } => {
                let mut actions = vec![Action::Show(Show::Event(event))];
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
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Entered { ref channel, log, last, read, .. } => {
                let lobby = channel.is_lobby();
                let place = Target::Channel(channel.clone());
                let lines = self.places.learn(&place, log, last, read);
                let new = !lobby && self.joined.insert(channel.clone());
                let target = Target::Channel(channel.clone());
                let inside = self.opened.remove(channel);
                let first = inside.as_ref().is_some_and(|it| !it.made) && is_first(&event);
                let mut actions = vec![Action::Show(Show::Event(event))];
                if new {
                    actions.extend(self.aim(target));
                }
                actions.extend(inside.and_then(|inside| inside.words).map(pins::shown));
                if first {
                    let text = "you are the first here: if others should be, check the PIN";
                    actions.push(notice(text.into()));
                }
                if !lobby {
                    actions.extend(self.unread(place, lines));
                }
                actions
            }
            Event::Parted { ref channel, .. } => {
                self.joined.remove(channel);
                let here = self.target == Target::Channel(channel.clone());
                let mut actions = vec![Action::Show(Show::Event(event))];
                if here {
                    actions.extend(self.aim(Target::Channel(ChannelName::lobby())));
                }
                actions
            }
            // That somebody was put out is more than coming and going.
            Event::Joined { .. } | Event::Left { reason: None, .. } if self.manners.quiet => {
                vec![Action::Show(Show::Presence(event))]
            }
            Event::Goodbye { code, ref reason, retry_ms } => {
                self.goodbye = Some((code, retry_ms));
                match code {
                    Code::NotAdmitted => Vec::new(),
                    _ => vec![error(reason.clone())],
                }
            }
            Event::Unknown => Vec::new(),
            event => vec![Action::Show(Show::Event(event))],
        }
    }

    /// What was typed without a connection, in the order in which it was.
    fn all_typed(&mut self) -> Vec<Command> {
        let mut early = std::mem::take(&mut self.early).into_iter().peekable();
        let mut typed = Vec::new();
        for (before, line) in self.outbox.send_all().into_iter().enumerate() {
            let due = |one: &(usize, Command)| one.0 <= before;
            typed.extend(std::iter::from_fn(|| early.next_if(due)).map(|(_, command)| command));
            typed.push(line);
        }
        typed.extend(early.map(|(_, command)| command));
        typed
    }

    /// The server wants a password: the one that was right before, or the next line.
    fn ask_password(&mut self, wrong: bool, retry_ms: Option<u64>) -> Vec<Action> {
        if wrong {
            self.password = None;
        }
        if let Some(password) = self.password.clone() {
            let again_ms = std::mem::replace(&mut self.gave, true).then_some(AGAIN_MS);
            let Some(retry_ms) = retry_ms.or(again_ms) else {
                return vec![Action::Send(Command::Password { password })];
            };
            self.later = true;
            return vec![Action::Wait(retry_ms)];
        }
        if self.usage.once || !self.usage.resumes {
            let text = "the server asks for a password: use pychat client, or --json for scripts";
            return vec![error(text.into()), Action::Close, Action::Quit(5)];
        }
        self.asked = true;
        vec![
            Action::Show(Show::Hidden(true)),
            Action::Show(Show::Event(Event::Password { wrong, retry_ms })),
        ]
    }

    /// The time that the server wanted has passed.
    pub(super) fn waited(&mut self) -> Vec<Action> {
        let later = std::mem::take(&mut self.later);
        if self.connected {
            let again = self.outbox.again(AGAIN_LINES).into_iter().map(Action::Send);
            let mut actions: Vec<_> = again.collect();
            actions.extend(self.outbox.is_held().then_some(Action::Wait(AGAIN_MS)));
            return actions;
        }
        let password = self.password.clone().filter(|_| later);
        password.map(|password| Action::Send(Command::Password { password })).into_iter().collect()
    }

    /// A line that is a password.
    pub(super) fn give_password(&mut self, password: Hidden) -> Vec<Action> {
        if !self.asked {
            return vec![error("no password is asked for".into())];
        }
        if password.reveal() == "/exit" {
            return self.exit();
        }
        (self.asked, self.gave) = (false, true);
        self.password = Some(password.clone());
        vec![Action::Show(Show::Hidden(false)), Action::Send(Command::Password { password })]
    }

    fn message(&mut self, message: Message) -> Vec<Action> {
        let asked = message.reference.is_some();
        let own = self.name.as_ref() == Some(&message.from);
        let mut actions = Vec::new();
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
        if !known && !self.manners.ignores(&message.from) {
            self.shown.push_back(message.id);
            if self.shown.len() > SHOWN_MAX {
                self.shown.pop_front();
            }
            if matches!(message.to, Target::User(_)) && !own {
                self.reply_to = Some(message.from.clone());
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
        if let Command::Say { target: None, .. } = line {
            self.places.said(&to, seq);
        }
        let mut actions = vec![Action::Drop(id), Action::Show(Show::Ack { id, to, seq })];
        actions.extend(self.change_stored(id, seq));
        actions
    }

    fn unread(&self, to: Target, lines: u64) -> Option<Action> {
        let new = lines > 0 && self.usage.resumes && self.places.mark(&to).is_some();
        new.then_some(Action::Show(Show::Unread { to, lines }))
    }
}

/// Whether nobody else is in a channel, and nobody has said anything in it.
fn is_first(entered: &Event) -> bool {
    matches!(entered, Event::Entered { last: Seq(0), people, .. } if people.len() <= 1)
}

/// Every text that a server sends is made safe to show, whatever face shows it.
fn cleaned(mut event: Event) -> Event {
    let line = |text: &mut Option<String>| {
        if let Some(text) = text {
            *text = clean::line(text);
        }
    };
    match &mut event {
        Event::Message(message) => message.text = clean::text(&message.text),
        Event::Welcome { motd, version, .. } => {
            line(motd);
            *version = clean::line(version);
        }
        Event::Entered { topic, .. } => line(topic),
        Event::Topic { text, .. } => line(text),
        Event::Left { reason, .. } => line(reason),
        Event::Channels { channels, .. } => {
            channels.iter_mut().for_each(|row| line(&mut row.topic));
        }
        Event::Whois { away, fingerprints, .. } => {
            line(away);
            fingerprints.iter_mut().for_each(|print| *print = clean::line(print));
        }
        Event::Refused { hint: text, .. } | Event::Goodbye { reason: text, .. } => {
            *text = clean::line(text)
        }
        Event::Notice { text, .. } => *text = clean::text(text),
        _ => {}
    }
    event
}
