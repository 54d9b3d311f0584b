//! What a typed line does.

use super::super::slash::{self, Typed};
use super::*;

/// What becomes of a message of one's own.
pub(super) enum Change {
    Edit(String),
    Delete,
}

/// A change of a message whose seq is not known yet.
pub(super) struct WaitingChange {
    /// The message that it changes.
    behind: MsgId,
    to: Target,
    id: MsgId,
    change: Change,
}

impl Change {
    fn of(self, to: Target, id: MsgId, of: Seq) -> NewMessage {
        let (kind, body) = match self {
            Change::Edit(text) => (Kind::Edit { of }, Body::Text(text)),
            Change::Delete => (Kind::Delete { of }, Body::default()),
        };
        NewMessage { to, id, kind, body }
    }
}

impl Model {
    pub(super) fn line(&mut self, line: &str, chance: [u8; 16]) -> Vec<Action> {
        let moved = std::mem::take(&mut self.reply_moved);
        match slash::read(line) {
            Typed::Command("reply", _) if moved => {
                let name = self.reply_to.iter().map(UserName::as_str).collect::<String>();
                vec![error(format!(
                    "{name} has written meanwhile: nothing was sent. /reply again goes to {name}, \
                     /pm NAME TEXT to whom you name"
                ))]
            }
            Typed::Text(text) if text.trim().is_empty() => Vec::new(),
            Typed::Text(text) => self.say(self.target.clone(), text, Kind::Say, chance),
            Typed::Unknown(problem) => vec![error(problem)],
            Typed::Operate(words) => self.ask(Command::Operate { words, reference: None }),
            Typed::Command(name, operands) => self.command(name, operands, chance),
        }
    }

    fn command(&mut self, name: &str, operands: &str, chance: [u8; 16]) -> Vec<Action> {
        match name {
            "help" => vec![notice(slash::help(operands))],
            "join" => self.join_typed(operands),
            "create" => self.create(operands),
            "fingerprint" => self.fingerprint(operands),
            "part" if operands.is_empty() => match self.target.clone() {
                Target::Channel(channel) => self.part(channel),
                Target::User(_) => self.aim(Target::Channel(ChannelName::lobby())),
            },
            "part" => self.each_channel(operands, Model::part),
            "pm" => match operands.split_once(char::is_whitespace) {
                Some((name, text)) => match name.trim_start_matches('@').parse() {
                    Ok(name) => self.say(Target::User(name), text.trim(), Kind::Say, chance),
                    Err(problem) => vec![error(format!("{name}: {problem}"))],
                },
                None => vec![error("to whom, and what? /pm NAME TEXT".into())],
            },
            "query" => match self.target(operands) {
                Ok(target) => self.aim(target),
                Err(problem) => vec![error(problem)],
            },
            "reply" => match self.reply_to.clone() {
                Some(name) => self.say(Target::User(name), operands, Kind::Say, chance),
                None => vec![error("nobody has written to you yet".into())],
            },
            "me" => self.say(self.target.clone(), operands, Kind::Me, chance),
            "topic" => self.in_channel("", |channel| {
                let text = Some(operands.to_owned()).filter(|text| !text.is_empty());
                Command::Topic { channel, text, reference: None }
            }),
            "list" => {
                self.in_channel(operands, |channel| Command::People { channel, reference: None })
            }
            "channels" => self.ask(Command::Channels { reference: None }),
            "whois" => match operands.trim_start_matches('@').parse() {
                Ok(name) => self.ask(Command::Whois { name, reference: None }),
                Err(problem) => vec![error(format!("whois {operands}: {problem}"))],
            },
            "history" => self.history(operands),
            "search" => {
                let (text, reference) = (operands.to_owned(), Some("search".into()));
                // What is looked for among lines that the server cannot read is not told to it.
                let to = Some(self.target.clone()).filter(Target::is_sealed);
                self.ask(Command::Search { text, to, reference })
            }
            "edit" => self.change(None, Change::Edit(operands.to_owned()), chance),
            "delete" => match operands {
                "" => self.change(None, Change::Delete, chance),
                seq => match seq.parse() {
                    Ok(seq) => self.change(Some(seq), Change::Delete, chance),
                    Err(problem) => vec![error(format!("/delete {seq}: {problem}"))],
                },
            },
            "cancel" => self.cancel(),
            "away" => {
                let text = if operands.is_empty() { "away" } else { operands };
                let mut actions = self.ask(Command::Away { text: Some(text.to_owned()) });
                actions.push(notice("you are away: /back says that you are back".into()));
                actions
            }
            "back" => {
                let mut actions = self.ask(Command::Away { text: None });
                actions.push(notice("you are back".into()));
                actions
            }
            "ignore" => self.ignore(operands),
            "quiet" => {
                self.manners.quiet = !self.manners.quiet;
                let state = if self.manners.quiet { "hidden" } else { "shown" };
                let told = notice(format!("who comes and goes is {state}"));
                vec![Action::Behave(self.manners.clone()), told]
            }
            "retry" => self.retry(),
            "reconnect" if self.connected => vec![Action::Cut],
            "reconnect" => self.dial(),
            "timestamp" => {
                self.timestamps = !self.timestamps;
                vec![Action::Show(Show::Timestamps(self.timestamps))]
            }
            "clear" => vec![Action::Show(Show::Clear)],
            "set" => self.set(operands),
            "theme" | "notify" | "colors" => {
                vec![error(format!("/{name} is for the full screen"))]
            }
            "nick" => vec![error("names are bound to keys: the operator registers them".into())],
            "exit" => self.exit(),
            other => unreachable!("/{other} is in the table and not here"),
        }
    }

    /// `/set`, `/set search on`: what holds for every face.
    fn set(&mut self, operands: &str) -> Vec<Action> {
        let (key, value) = operands.split_once(char::is_whitespace).unwrap_or((operands, ""));
        match (key, value.trim()) {
            ("" | "search", "") => vec![Action::SetSearch(None)],
            ("search", "on") => vec![Action::SetSearch(Some(true))],
            ("search", "off") => vec![Action::SetSearch(Some(false))],
            ("search", other) => vec![error(format!("/set search: on or off, not {other:?}"))],
            (key, _) if slash::SETTINGS.iter().any(|(known, _)| *known == key) => {
                vec![error(format!("/set {key} is for the full screen"))]
            }
            (key, _) => vec![error(format!("there is no {key:?}: /help set names what there is"))],
        }
    }

    /// Changes a line of one's own: the last one here, where none is named.
    fn change(&mut self, seq: Option<Seq>, change: Change, chance: [u8; 16]) -> Vec<Action> {
        if matches!(&change, Change::Edit(text) if text.is_empty()) {
            return vec![error("what should it say? /edit TEXT".into())];
        }
        let (to, id) = (self.target.clone(), MsgId(chance));
        if let Some(problem) = self.is_gone(&to) {
            return vec![error(problem)];
        }
        let behind = if seq.is_none() { self.outbox.last_said(&to) } else { None };
        let of = seq.or_else(|| self.places.last_own(&to));
        match (behind, of) {
            (Some(behind), _) => {
                self.changes.push(WaitingChange { behind, to, id, change });
                Vec::new()
            }
            (None, Some(of)) => self.post(change.of(to, id, of)),
            (None, None) => vec![error(format!("you have said nothing in {to} yet"))],
        }
    }

    /// A line is stored, and what changes it may follow.
    pub(super) fn change_stored(&mut self, line: MsgId, seq: Seq) -> Vec<Action> {
        let changes = std::mem::take(&mut self.changes).into_iter();
        let (due, others): (Vec<_>, _) = changes.partition(|waiting| waiting.behind == line);
        self.changes = others;
        let due = due.into_iter().map(|waiting| waiting.change.of(waiting.to, waiting.id, seq));
        due.flat_map(|change| self.post(change)).collect()
    }

    /// A line is not stored: what should change it is dropped.
    pub(super) fn drop_changes(&mut self, line: MsgId) -> Option<Action> {
        let before = self.changes.len();
        self.changes.retain(|waiting| waiting.behind != line);
        let dropped = self.changes.len() < before;
        dropped.then(|| error("the line is not stored: there is nothing to change".into()))
    }

    /// `/history`, `/history 50`, `/history 2d`.
    fn history(&mut self, operands: &str) -> Vec<Action> {
        let (lines, span) = match operands {
            "" => (None, None),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => match number.parse() {
                Ok(lines @ 1..) => (Some(lines), None),
                _ => return vec![error("how many lines? /history COUNT".into())],
            },
            span => match span.parse() {
                Ok(span) => (Some(usize::MAX), Some(span)),
                Err(problem) => return vec![error(format!("/history {span}: {problem}"))],
            },
        };
        let (to, reference) = (self.target.clone(), Some("history".into()));
        self.ask(Command::History { to, before: None, lines, span, reference })
    }

    /// Drops lines that are certainly not stored.
    fn cancel(&mut self) -> Vec<Action> {
        let dropped = self.outbox.cancel();
        let count = dropped.len();
        let drop = |id| [Action::Drop(id), Action::Show(Show::Dropped(id))];
        let mut actions: Vec<Action> = dropped.iter().copied().flat_map(drop).collect();
        actions.extend(dropped.into_iter().filter_map(|id| self.drop_changes(id)));
        let in_doubt = self.outbox.in_doubt();
        actions.push(notice(match count {
            0 if in_doubt > 0 => "what was sent may be stored already: wait for it".to_owned(),
            0 => "nothing waits to be sent".to_owned(),
            1 => "one line was dropped".to_owned(),
            count => format!("{count} lines were dropped"),
        }));
        actions
    }

    fn each_channel(
        &mut self,
        operands: &str,
        each: impl Fn(&mut Model, ChannelName) -> Vec<Action>,
    ) -> Vec<Action> {
        let names = operands.split(',').filter(|name| !name.is_empty());
        let mut actions = Vec::new();
        for name in names {
            match self.channel(name.trim()) {
                Ok(channel) => actions.extend(each(self, channel)),
                Err(problem) => actions.push(error(problem)),
            }
        }
        if actions.is_empty() { vec![error("which channel?".into())] } else { actions }
    }

    /// Leaves a channel: without a connection it is not entered again. What is typed from now on goes to
    /// the lobby.
    fn part(&mut self, channel: ChannelName) -> Vec<Action> {
        self.leave(channel, None)
    }

    pub(super) fn leave(&mut self, channel: ChannelName, reference: Option<String>) -> Vec<Action> {
        let here = self.target == Target::Channel(channel.clone()) && !channel.is_lobby();
        let mut actions = match self.connected || channel.is_lobby() {
            true => self.ask(Command::Part { channel, reference }),
            false => self.part_offline(channel),
        };
        if here {
            actions.extend(self.aim(Target::Channel(ChannelName::lobby())));
        }
        actions
    }

    fn part_offline(&mut self, channel: ChannelName) -> Vec<Action> {
        self.has_left(&channel);
        let forget = channel.has_pin().then(|| Action::Forget(channel.clone()));
        let event = Event::Parted { channel, reference: None };
        let mut actions = vec![Action::Show(Show::Event(Origin::Client, event))];
        actions.extend(forget);
        actions
    }

    fn in_channel(&mut self, name: &str, ask: impl Fn(ChannelName) -> Command) -> Vec<Action> {
        let place = match (name, &self.target) {
            ("", Target::Channel(channel)) => Ok(channel.clone()),
            ("", Target::User(_)) => Ok(ChannelName::lobby()),
            (name, _) => self.channel(name),
        };
        match place {
            Ok(channel) => self.ask(ask(channel)),
            Err(problem) => vec![error(problem)],
        }
    }

    fn ignore(&mut self, name: &str) -> Vec<Action> {
        if name.is_empty() {
            let names: Vec<_> = self.manners.ignored.iter().map(ToString::to_string).collect();
            let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
            return vec![notice(format!("ignored: {names}"))];
        }
        match name.trim_start_matches('@').parse::<UserName>() {
            Ok(name) => {
                let text = match self.manners.toggle(name.clone()) {
                    true => format!("{name} is ignored: /ignore {name} again shows them"),
                    false => format!("{name} is shown again"),
                };
                vec![Action::Behave(self.manners.clone()), notice(text)]
            }
            Err(problem) => vec![error(format!("{name}: {problem}"))],
        }
    }

    fn retry(&mut self) -> Vec<Action> {
        if !self.connected {
            return vec![error(
                "there is no connection: lines are sent as soon as there is".into(),
            )];
        }
        let again = self.outbox.retry();
        if again.is_empty() {
            return vec![notice("everything was sent".into())];
        }
        let send = |message: NewMessage| {
            let shown = Action::Show(Show::Outgoing(message.clone()));
            [Action::Retry(message.id), shown, Action::Send(Command::Say(message))]
        };
        again.into_iter().flat_map(send).collect()
    }
}
