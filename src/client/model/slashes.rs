//! What a typed line does.

use super::super::slash::{self, Setting, SlashCommand, Typed, Whom};
use super::*;
use crate::chat::TimeSpan;

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
            Typed::Command(SlashCommand::Reply(_)) if moved => {
                let name = self.reply_to.iter().map(UserName::as_str).collect::<String>();
                vec![error(format!(
                    "{name} has written meanwhile: nothing was sent. /reply again goes to {name}, \
                     /pm NAME TEXT to whom you name"
                ))]
            }
            Typed::Text(text) if text.trim().is_empty() => Vec::new(),
            Typed::Text(text) => self.say(self.target.clone(), text, Kind::Say, chance),
            Typed::Unknown(problem) => vec![error(problem)],
            Typed::Misused(misuse) => vec![error(misuse.problem)],
            Typed::Command(command) => self.command(command, chance),
        }
    }

    fn command(&mut self, command: SlashCommand, chance: [u8; 16]) -> Vec<Action> {
        match command {
            SlashCommand::Help(on) => vec![notice(slash::help(on))],
            SlashCommand::Join(names) => self.join_typed(names),
            SlashCommand::JoinWithPin { channel, pin } => self.join_with_pin(channel, pin.0),
            SlashCommand::Create { channel } => self.create(channel),
            SlashCommand::PartHere => self.part_here(),
            SlashCommand::Part(names) => self.each_channel(names, Model::part),
            SlashCommand::Pm { to, text } => self.say(Target::User(to), text, Kind::Say, chance),
            SlashCommand::Query(whom) => self.query(whom),
            SlashCommand::Reply(text) => match self.reply_to.clone() {
                Some(name) => self.say(Target::User(name), text, Kind::Say, chance),
                None => vec![error("nobody has written to you yet".into())],
            },
            SlashCommand::Me(text) => self.say(self.target.clone(), text, Kind::Me, chance),
            SlashCommand::Edit(text) => self.change(None, Change::Edit(text.to_owned()), chance),
            SlashCommand::Delete(seq) => self.change(seq, Change::Delete, chance),
            SlashCommand::Topic(text) => self.in_channel("", |channel| {
                let text = text.map(str::to_owned);
                Command::Topic { channel, text, reference: None }
            }),
            SlashCommand::List(name) => self.in_channel(name.unwrap_or_default(), |channel| {
                Command::People { channel, reference: None }
            }),
            SlashCommand::Channels => self.ask(Command::Channels { reference: None }),
            SlashCommand::Whois(name) => self.ask(Command::Whois { name, reference: None }),
            SlashCommand::Fingerprint { name, confirms } => self.fingerprint(name, confirms),
            SlashCommand::History { lines, span } => self.history(lines, span),
            SlashCommand::Search(text) => self.search(text),
            SlashCommand::Away(text) => self.away(Some(text.unwrap_or("away"))),
            SlashCommand::Back => self.away(None),
            SlashCommand::Ignore(name) => self.ignore(name),
            SlashCommand::Quiet => self.quiet(),
            SlashCommand::Retry => self.retry(),
            SlashCommand::Cancel => self.cancel(),
            SlashCommand::Reconnect if self.connected => vec![Action::Cut],
            SlashCommand::Reconnect => self.dial(),
            SlashCommand::Timestamp => {
                self.timestamps = !self.timestamps;
                vec![Action::Show(Show::Timestamps(self.timestamps))]
            }
            SlashCommand::Clear => vec![Action::Show(Show::Clear)],
            SlashCommand::Set(Setting::Show) => vec![Action::SetSearch(None)],
            SlashCommand::Set(Setting::Search(on)) => vec![Action::SetSearch(on)],
            SlashCommand::Set(Setting::Screen(_)) | SlashCommand::Screen(_) => {
                vec![error("this is for the full screen".into())]
            }
            SlashCommand::Nick => {
                vec![error("names are bound to keys: the operator registers them".into())]
            }
            SlashCommand::Exit => self.exit(),
            SlashCommand::Operate { command, operands } => {
                let operands = operands.split_whitespace();
                let words = [command.usage.name].into_iter().chain(operands);
                let words = words.map(str::to_owned).collect();
                self.ask(Command::Operate { words, reference: None })
            }
        }
    }

    fn part_here(&mut self) -> Vec<Action> {
        match self.target.clone() {
            Target::Channel(channel) => self.part(channel),
            Target::User(_) => self.aim(Target::Channel(ChannelName::lobby())),
        }
    }

    /// What is typed goes there from now on.
    fn query(&mut self, whom: Whom) -> Vec<Action> {
        let target = match whom {
            Whom::User(name) => Ok(Target::User(name)),
            Whom::Channel(name) => self.channel(name).map(Target::Channel),
        };
        match target {
            Ok(target) => self.aim(target),
            Err(problem) => vec![error(problem)],
        }
    }

    fn search(&mut self, text: &str) -> Vec<Action> {
        let (text, reference) = (text.to_owned(), Some("search".into()));
        // What is looked for among lines that the server cannot read is not told to it.
        let to = Some(self.target.clone()).filter(Target::is_sealed);
        self.ask(Command::Search { text, to, reference })
    }

    /// Away with a text, or back.
    fn away(&mut self, text: Option<&str>) -> Vec<Action> {
        let mut actions = self.ask(Command::Away { text: text.map(str::to_owned) });
        actions.push(notice(match text {
            Some(_) => "you are away: /back says that you are back".into(),
            None => "you are back".into(),
        }));
        actions
    }

    fn quiet(&mut self) -> Vec<Action> {
        self.manners.quiet = !self.manners.quiet;
        let state = if self.manners.quiet { "hidden" } else { "shown" };
        let told = notice(format!("who comes and goes is {state}"));
        vec![Action::Behave(self.manners.clone()), told]
    }

    /// Changes a line of one's own: the last one here, where none is named.
    fn change(&mut self, seq: Option<Seq>, change: Change, chance: [u8; 16]) -> Vec<Action> {
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

    fn history(&mut self, lines: Option<usize>, span: Option<TimeSpan>) -> Vec<Action> {
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

    fn ignore(&mut self, name: Option<UserName>) -> Vec<Action> {
        let Some(name) = name else {
            let names: Vec<_> = self.manners.ignored.iter().map(ToString::to_string).collect();
            let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
            return vec![notice(format!("ignored: {names}"))];
        };
        let text = match self.manners.toggle(name.clone()) {
            true => format!("{name} is ignored: /ignore {name} again shows them"),
            false => format!("{name} is shown again"),
        };
        vec![Action::Behave(self.manners.clone()), notice(text)]
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
