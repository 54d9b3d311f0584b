//! Effects of slash commands.

use std::path::PathBuf;

use super::super::conversations::Own;
use super::super::slash::{self, Setting, SlashCommand, ToOpen, Typed, Whom};
use super::super::storage::ignore_list::{IgnoreList, Toggled};
use super::super::transfer::{Place, Then, ToGet, ToSend, Wish};
use super::action::{Action, error, notice};
use super::exchange::Exchange;
use super::links::Links;
use super::membership::new_channel;
use super::outgoing::Change;
use super::output::Output;
use super::password::Giver;
use super::reply::Reply;
use super::sharing;
use crate::chat::{
    ChannelName, Command, HistoryKind, Kind, MsgId, Request, Seq, Target, TimeSpan, UserName,
};
use crate::limits::IGNORED_MAX;

/// The answer to `/nick`.
const NICK: &str = "names are bound to keys: the operator registers them";

/// Messages in the answer to `/files`.
const FILES_LISTED: usize = 50;

/// The parts that a typed line changes.
pub struct Slashes<'a> {
    pub exchange: &'a mut Exchange,
    pub ignore_list: &'a mut IgnoreList,
    pub reply: &'a mut Reply,
    pub timestamps: &'a mut bool,
    pub links: &'a mut Links,
}

impl Slashes<'_> {
    /// Runs a slash command of a program. Other text is an error: a program sends it by `say`.
    pub fn program(&mut self, line: &str, chance: [u8; 16]) -> Vec<Action> {
        let problem = match slash::read(line) {
            Typed::Command(SlashCommand::Log(_)) => {
                "a program cannot use /log: it has to write files itself".to_owned()
            }
            Typed::Command(SlashCommand::Open(ToOpen::Address { .. })) => {
                "a program cannot use /open for addresses: it has to open them itself".to_owned()
            }
            slash::Typed::Command(_) => return self.line(line, chance),
            slash::Typed::Misused(misuse) => misuse.problem,
            slash::Typed::Unknown(problem) => problem,
            slash::Typed::Text(_) => "this is a text, not a command: send it with say".to_owned(),
        };
        self.exchange.ending.fails();
        vec![Action::Output(Output::Misused(problem))]
    }

    pub fn line(&mut self, line: &str, chance: [u8; 16]) -> Vec<Action> {
        let moved = self.reply.typed();
        match slash::read(line) {
            Typed::Command(SlashCommand::Reply(_)) if moved => {
                let name = self.reply.to().into_iter().map(UserName::as_str).collect::<String>();
                vec![error(format!(
                    "{name} has written in the meantime: nothing was sent. /reply again goes to \
                     {name}, /pm NAME TEXT to a user of your choice"
                ))]
            }
            Typed::Text(text) if text.trim().is_empty() => Vec::new(),
            Typed::Text(text) => {
                self.exchange.say(self.exchange.target.clone(), text, Kind::Say, chance)
            }
            Typed::Unknown(problem) => vec![error(problem)],
            Typed::Misused(misuse) => vec![error(misuse.problem)],
            Typed::Command(command) => self.command(command, chance),
        }
    }

    fn command(&mut self, command: SlashCommand, chance: [u8; 16]) -> Vec<Action> {
        match command {
            SlashCommand::Help(on) => vec![notice(slash::help(on))],
            SlashCommand::Join(names) => self.join(names),
            SlashCommand::JoinWithPin { channel, pin } => {
                let join = |channel| self.exchange.pins.join(channel, pin.0);
                new_channel(channel).map_or_else(|problem| vec![error(problem)], join)
            }
            SlashCommand::Create { channel } => {
                let create = |channel| self.exchange.pins.create(channel);
                new_channel(channel).map_or_else(|problem| vec![error(problem)], create)
            }
            SlashCommand::PartHere => self.part_here(),
            SlashCommand::Part(names) => self.part(names),
            SlashCommand::Pm { to, text } => {
                self.exchange.say(Target::User(to), text, Kind::Say, chance)
            }
            SlashCommand::Query(whom) => self.query(whom),
            SlashCommand::Reply(text) => self.answer(text, chance),
            SlashCommand::Me(text) => {
                self.exchange.say(self.exchange.target.clone(), text, Kind::Me, chance)
            }
            SlashCommand::Edit { seq, text } => {
                self.change(seq, Change::Edit(text.to_owned()), chance)
            }
            SlashCommand::Delete(seq) => self.change(seq, Change::Delete, chance),
            SlashCommand::Topic { channel, text } => self.topic(channel, text),
            SlashCommand::List(name) => self.list(name),
            SlashCommand::Channels => self.exchange.ask(Command::Channels),
            SlashCommand::Whois(name) => self.exchange.ask(Command::Whois { name }),
            SlashCommand::Fingerprint { name, confirms } => self.fingerprint(name, confirms),
            SlashCommand::History { messages, span } => self.history(messages, span),
            SlashCommand::Search(text) => self.search(text),
            SlashCommand::Away(text) => self.away(Some(text.unwrap_or("away"))),
            SlashCommand::Back => self.away(None),
            SlashCommand::Ignore(name) => self.ignore(name),
            SlashCommand::Quiet => self.quiet(),
            SlashCommand::Retry => self.retry(),
            SlashCommand::Cancel(None) => self.cancel(),
            SlashCommand::Cancel(Some(id)) => sharing::cancel(self.exchange, id),
            SlashCommand::Send { keeps, path, to, caption } => {
                self.send_file((keeps, path, caption), to, chance)
            }
            SlashCommand::Files(of) => self.files(of),
            SlashCommand::Get { seq, place } => self.get(seq, place, Then::Keep, chance),
            SlashCommand::Open(wanted) => self.open(wanted, chance),
            SlashCommand::Log(wish) => vec![Action::Log(self.exchange.target.clone(), wish)],
            SlashCommand::View(seq) => self.get(seq, Place::Profile, Then::View, chance),
            SlashCommand::Transfers => self.exchange.transfers.list(),
            SlashCommand::Reconnect if self.exchange.connection.is_up() => vec![Action::Cut],
            SlashCommand::Reconnect => self.exchange.connection.dial(),
            SlashCommand::Timestamp => {
                *self.timestamps = !*self.timestamps;
                vec![Action::Output(Output::Timestamps(*self.timestamps))]
            }
            SlashCommand::Clear => vec![Action::Output(Output::Clear)],
            SlashCommand::Set(Setting::Show) => vec![Action::SetSearch(None)],
            SlashCommand::Set(Setting::Search(on)) => vec![Action::SetSearch(on)],
            SlashCommand::Set(Setting::Screen(_)) | SlashCommand::Screen(_) => {
                vec![error("this command needs the full screen".into())]
            }
            SlashCommand::Nick => vec![error(NICK.into())],
            SlashCommand::Exit(text) => self.exit(text, chance),
            SlashCommand::Operate { command, operands } => {
                let words = [command.usage.name].into_iter().chain(operands.split_whitespace());
                self.exchange.ask(Command::Operate { words: words.map(str::to_owned).collect() })
            }
        }
    }

    /// Exits. With a text, sends it to the open conversation first, and exits once the message is
    /// stored or refused, or the connection is lost. Without a connection the message would be sent
    /// much later, so it is not sent.
    fn exit(&mut self, text: Option<&str>, chance: [u8; 16]) -> Vec<Action> {
        let mut actions = match text {
            Some(text) if self.exchange.connection.is_up() => {
                let text = format!("leaves: {text}");
                let target = self.exchange.target.clone();
                let mut actions = self.exchange.say(target, &text, Kind::Me, chance);
                self.exchange.ending.leave_after(MsgId(chance));
                actions.extend(self.exchange.end_when_settled());
                return actions;
            }
            Some(_) => vec![error("there is no connection: the message was not sent".into())],
            None => Vec::new(),
        };
        actions.extend(self.exchange.exit());
        actions
    }

    /// Answers the last private message.
    fn answer(&mut self, text: &str, chance: [u8; 16]) -> Vec<Action> {
        match self.reply.to().cloned() {
            Some(name) => self.exchange.say(Target::User(name), text, Kind::Say, chance),
            None => vec![error("you have received no private message yet".into())],
        }
    }

    /// The conversation that a command names, or the open one.
    fn whom(&self, whom: Option<Whom>) -> Result<Target, String> {
        match whom {
            None => Ok(self.exchange.target.clone()),
            Some(Whom::User(name)) => Ok(Target::User(name)),
            Some(Whom::Channel(name)) => {
                self.exchange.membership.channel(name).map(Target::Channel)
            }
        }
    }

    fn get(&mut self, seq: Seq, place: Place, then: Then, chance: [u8; 16]) -> Vec<Action> {
        let get = ToGet { from: self.exchange.target.clone(), seq, place, then };
        sharing::wish(self.exchange, Wish::Get(get), true, None, chance)
    }

    /// Opens an address of this conversation at the second request, or fetches and opens a file.
    fn open(&mut self, wanted: ToOpen, chance: [u8; 16]) -> Vec<Action> {
        let here = &self.exchange.target;
        let found = match wanted {
            ToOpen::Address { back } => self.links.last(here, back),
            // A program may only fetch the file.
            ToOpen::Message(_) if self.exchange.usage.secrets == Giver::Program => None,
            ToOpen::Message(seq) => self.links.of(here, seq),
        };
        match (found.map(str::to_owned), wanted) {
            (Some(address), _) => {
                let confirmed = self.links.is_confirmed(&address);
                vec![Action::OpenAddress { address, confirmed }]
            }
            (None, ToOpen::Message(seq)) => self.get(seq, Place::Downloads, Then::Open, chance),
            (None, ToOpen::Address { .. }) => {
                vec![error(format!("no message shown in {here} has such an address"))]
            }
        }
    }

    fn send_file(
        &mut self,
        (keeps_metadata, path, caption): (bool, PathBuf, Option<&str>),
        to: Option<Whom>,
        chance: [u8; 16],
    ) -> Vec<Action> {
        let to = match self.whom(to) {
            Ok(to) => to,
            Err(problem) => return vec![error(problem)],
        };
        let send = ToSend { path, to, caption: caption.map(str::to_owned), keeps_metadata };
        sharing::wish(self.exchange, Wish::Send(send), true, None, chance)
    }

    /// Lists the files of a conversation, and the room that the own ones take.
    fn files(&mut self, of: Option<Whom>) -> Vec<Action> {
        let to = match self.whom(of) {
            Ok(to) => to,
            Err(problem) => return vec![error(problem)],
        };
        if !self.exchange.connection.is_up() {
            return vec![error("there is no connection".into())];
        }
        let messages = Some(FILES_LISTED);
        let kind = Some(HistoryKind::File);
        let command = Command::History { to: to.clone(), before: None, messages, span: None, kind };
        let reference = Some(self.exchange.transfers.lists(to));
        let mut actions = self.exchange.ask(Request::new(command, reference));
        actions.extend(self.exchange.ask(Command::Usage));
        actions
    }

    /// Drops unsent messages, also those that announce files.
    fn cancel(&mut self) -> Vec<Action> {
        let mut actions = self.exchange.outgoing.cancel();
        let dropped: Vec<MsgId> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Drop(id) => Some(*id),
                _ => None,
            })
            .collect();
        actions.extend(dropped.into_iter().flat_map(|id| self.exchange.transfers.dropped(id)));
        actions
    }

    fn part_here(&mut self) -> Vec<Action> {
        match self.exchange.target.clone() {
            Target::Channel(channel) => self.exchange.leave(channel, None),
            Target::User(_) => self.exchange.aim(Target::Channel(ChannelName::lobby())),
        }
    }

    /// Changes the target of typed text.
    fn query(&mut self, whom: Whom) -> Vec<Action> {
        match self.whom(Some(whom)) {
            Ok(target) => self.exchange.aim(target),
            Err(problem) => vec![error(problem)],
        }
    }

    fn search(&mut self, text: &str) -> Vec<Action> {
        let (text, reference) = (text.to_owned(), Some("search".into()));
        // A search in a sealed conversation stays on this computer.
        let to = Some(self.exchange.target.clone()).filter(Target::is_sealed);
        self.exchange.ask(Request::new(Command::Search { text, to }, reference))
    }

    /// Sets or clears the away text.
    fn away(&mut self, text: Option<&str>) -> Vec<Action> {
        let mut actions = self.exchange.ask(Command::Away { text: text.map(str::to_owned) });
        actions.push(notice(match text {
            Some(_) => "you are marked as away: /back ends that".into(),
            None => "you are no longer marked as away".into(),
        }));
        actions
    }

    fn quiet(&mut self) -> Vec<Action> {
        self.ignore_list.quiet = !self.ignore_list.quiet;
        let state = if self.ignore_list.quiet { "hidden" } else { "shown" };
        let told = notice(format!("joins and parts are {state}"));
        vec![Action::Ignore(self.ignore_list.clone()), told]
    }

    /// Changes an own message; without a number the last one here.
    fn change(&mut self, seq: Option<Seq>, change: Change, chance: [u8; 16]) -> Vec<Action> {
        let (to, id) = (self.exchange.target.clone(), MsgId(chance));
        if let Some(problem) = self.exchange.membership.is_gone(&to) {
            return vec![error(problem)];
        }
        let change = match seq {
            Some(_) => Some(change),
            None => self.exchange.outgoing.change_last(&to, id, change),
        };
        let Some(change) = change else { return Vec::new() };
        let last_own = self.exchange.conversations.last_own(&to);
        match (seq, last_own) {
            (Some(of), _) => self.exchange.post(change.of(to, id, of)),
            (None, Some(Own { seq: of, id: chosen })) => {
                self.exchange.post_change(change.of(to, id, of), Some(chosen))
            }
            (None, None) => vec![error(format!("you have not sent any message to {to} yet"))],
        }
    }

    fn history(&mut self, messages: Option<usize>, span: Option<TimeSpan>) -> Vec<Action> {
        let (to, reference) = (self.exchange.target.clone(), Some("history".into()));
        self.exchange.ask(Request::new(
            Command::History { to, before: None, messages, span, kind: None },
            reference,
        ))
    }

    /// Runs `/join CHANNEL[,CHANNEL]`.
    fn join(&mut self, operands: &str) -> Vec<Action> {
        let names = operands.split(',').map(str::trim).filter(|name| !name.is_empty());
        let meant: Vec<_> = names.map(|name| self.exchange.membership.to_join(name)).collect();
        let mut actions = Vec::new();
        for meant in meant {
            match meant {
                Ok((channel, other)) => {
                    actions.extend(other.map(|own| {
                        notice(format!(
                            "this is the open {channel}, which the operator can read; the one whose \
                             PIN you know is {own}"
                        ))
                    }));
                    actions.extend(self.exchange.enter_again(channel));
                }
                Err(problem) => actions.push(error(problem)),
            }
        }
        if actions.is_empty() { vec![error("which channel?".into())] } else { actions }
    }

    /// Runs `/part CHANNEL[,CHANNEL]`.
    fn part(&mut self, operands: &str) -> Vec<Action> {
        let names = operands.split(',').filter(|name| !name.is_empty());
        let mut actions = Vec::new();
        for name in names {
            match self.exchange.membership.channel(name.trim()) {
                Ok(channel) => actions.extend(self.exchange.leave(channel, None)),
                Err(problem) => actions.push(error(problem)),
            }
        }
        if actions.is_empty() { vec![error("which channel?".into())] } else { actions }
    }

    fn fingerprint(&mut self, name: UserName, confirms: bool) -> Vec<Action> {
        if !self.exchange.connection.is_up() {
            return vec![error("there is no connection".into())];
        }
        self.exchange.ending.awaits(true);
        vec![Action::LookUp { name, confirms }]
    }

    /// Shows or sets the topic of the open or the named channel. Without one that the user is in,
    /// nothing is sent.
    fn topic(&mut self, channel: Option<&str>, text: Option<&str>) -> Vec<Action> {
        let channel = match (channel, &self.exchange.target) {
            (Some(name), _) => self.exchange.membership.channel(name),
            (None, Target::Channel(channel)) => Ok(channel.clone()),
            (None, Target::User(_)) => Err(format!(
                "{} has no topic, and nothing was sent. Name the channel: /topic #CHANNEL TEXT",
                self.exchange.target
            )),
        };
        let channel = match channel {
            Ok(channel) => channel,
            Err(problem) => return vec![error(problem)],
        };
        let to = Target::Channel(channel.clone());
        if text.is_some() && !self.exchange.membership.is_in(&to) {
            let text =
                format!("you are not in {channel}: nothing was sent. /join {channel} enters it");
            return vec![error(text)];
        }
        if let Some(problem) = self.exchange.membership.is_gone(&to).filter(|_| text.is_some()) {
            return vec![error(problem)];
        }
        self.exchange.ask(Command::Topic { channel, text: text.map(str::to_owned) })
    }

    /// Lists the members of a channel; of the lobby if the target is a private conversation.
    fn list(&mut self, name: Option<&str>) -> Vec<Action> {
        let channel = match (name, &self.exchange.target) {
            (Some(name), _) => self.exchange.membership.channel(name),
            (None, Target::Channel(channel)) => Ok(channel.clone()),
            (None, Target::User(_)) => Ok(ChannelName::lobby()),
        };
        match channel {
            Ok(channel) => self.exchange.ask(Command::People { channel }),
            Err(problem) => vec![error(problem)],
        }
    }

    fn ignore(&mut self, name: Option<UserName>) -> Vec<Action> {
        let Some(name) = name else {
            let names: Vec<_> = self.ignore_list.ignored.iter().map(ToString::to_string).collect();
            let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
            return vec![notice(format!("ignored: {names}"))];
        };
        let text = match self.ignore_list.toggle(name.clone()) {
            Toggled::Ignored => format!("{name} is ignored: /ignore {name} again shows them"),
            Toggled::Shown => format!("{name} is shown again"),
            Toggled::Full => {
                return vec![error(format!(
                    "{name} is not ignored, because {IGNORED_MAX} people are: /ignore lists them, and \
                     /ignore NAME removes one of them"
                ))];
            }
        };
        vec![Action::Ignore(self.ignore_list.clone()), notice(text)]
    }

    fn retry(&mut self) -> Vec<Action> {
        if !self.exchange.connection.is_up() {
            return vec![error("there is no connection: messages are sent once it is back".into())];
        }
        self.exchange.outgoing.retry()
    }
}
