//! What the client knows and decides: pure, from what happens to what is to be done.

use std::collections::{BTreeSet, VecDeque};

use super::slash::{self, Typed};
use crate::chat::{ChannelName, Code, Command, Event, Kind, Message, MsgId, Seq, Target, UserName};
use crate::clean;

/// What happens to the client.
#[derive(Debug)]
pub enum Happening {
    /// A line was typed.
    Line(String),
    /// A program asks for something; as text where it is no command.
    Ask(Result<Command, String>),
    /// The server told something.
    Event(Event),
    /// The connection ended, or could not be made.
    Lost(Loss),
    /// It is time to dial again.
    Wake,
    /// No more input will come.
    InputEnd,
    /// The person wants out (Ctrl-C).
    Interrupt,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    Cut,
    Unreachable(String),
    /// The server holds another key than the pinned one.
    WrongServer,
    Version(String),
    Busy,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Action {
    Show(Show),
    Send(Command),
    /// Dial after this many milliseconds.
    Dial(u64),
    /// Close the connection; the person meant it.
    Close,
    /// End the program with this exit code.
    Quit(u8),
}

/// What a face shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Show {
    State(State),
    Message(Message),
    Ack {
        id: MsgId,
        to: Target,
        seq: Seq,
    },
    Event(Event),
    Notice(String),
    Error(String),
    /// The place that typed text goes to.
    Target(Target),
    Timestamps(bool),
    Clear,
    Bye(String),
}

/// The connection as a person sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Connecting,
    Connected { name: UserName },
    Offline { retry_ms: u64 },
    NotAdmitted { retry_ms: u64 },
    Refused { code: Code },
}

/// Ids of shown messages that are remembered.
const SHOWN_MAX: usize = 4_096;
/// Backoff: full jitter below a bound that doubles from the first to the last.
const BACKOFF_MS: (u64, u64) = (500, 30_000);
/// Who waits to be admitted asks this often: soon at first, then calmly.
const POLL_MS: (u64, u64) = (2_000, 15_000);

/// How this client is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Somebody is there: go on trying.
    Live,
    /// `--send`: every failure ends it.
    Once,
}

pub struct Model {
    usage: Use,
    name: Option<UserName>,
    target: Target,
    joined: BTreeSet<ChannelName>,
    reply_to: Option<UserName>,
    /// Not sent yet: there was no connection.
    waiting: Vec<Command>,
    /// Sent and not acknowledged.
    pending: Vec<Command>,
    /// Sent to a connection that was cut before the acknowledgement.
    unsent: Vec<Command>,
    shown: VecDeque<MsgId>,
    ignored: BTreeSet<UserName>,
    quiet: bool,
    timestamps: bool,
    attempts: u32,
    connected: bool,
    ending: bool,
    /// The last goodbye, which decides what a lost connection means.
    goodbye: Option<(Code, Option<u64>)>,
    refused: bool,
}

impl Model {
    pub fn new(usage: Use, target: Target, joined: BTreeSet<ChannelName>) -> Self {
        Model {
            usage,
            name: None,
            target,
            joined,
            reply_to: None,
            waiting: Vec::new(),
            pending: Vec::new(),
            unsent: Vec::new(),
            shown: VecDeque::new(),
            ignored: BTreeSet::new(),
            quiet: false,
            timestamps: true,
            attempts: 0,
            connected: false,
            ending: false,
            goodbye: None,
            refused: false,
        }
    }

    /// What follows from what happened. `chance` is 16 random bytes: a message's id, or jitter.
    pub fn update(&mut self, happening: Happening, chance: [u8; 16]) -> Vec<Action> {
        match happening {
            Happening::Line(line) => self.line(&line, chance),
            Happening::Ask(Ok(Command::Quit)) => self.exit(),
            Happening::Ask(Ok(command)) => self.ask(command),
            Happening::Ask(Err(problem)) => {
                self.refused = true;
                vec![error(problem)]
            }
            Happening::Event(event) => self.event(event),
            Happening::Lost(loss) => self.lost(loss, chance),
            Happening::Wake => vec![Action::Show(Show::State(State::Connecting)), Action::Dial(0)],
            Happening::InputEnd => {
                self.ending = true;
                self.end_when_settled()
            }
            Happening::Interrupt => vec![Action::Close, Action::Quit(130)],
        }
    }

    pub fn name(&self) -> Option<&UserName> {
        self.name.as_ref()
    }

    fn line(&mut self, line: &str, chance: [u8; 16]) -> Vec<Action> {
        match slash::read(line) {
            Typed::Text(text) if text.trim().is_empty() => Vec::new(),
            Typed::Text(text) => self.say(self.target.clone(), text, Kind::Say, chance),
            Typed::Unknown(problem) => vec![error(problem)],
            Typed::Command(name, operands) => self.command(name, operands, chance),
        }
    }

    fn command(&mut self, name: &str, operands: &str, chance: [u8; 16]) -> Vec<Action> {
        match name {
            "help" => vec![notice(slash::help(operands))],
            "join" => {
                self.each_channel(operands, |channel| Command::Join { channel, reference: None })
            }
            "part" if operands.is_empty() => match self.target.clone() {
                Target::Channel(channel) => self.ask(Command::Part { channel, reference: None }),
                Target::User(_) => self.aim(Target::Channel(ChannelName::lobby())),
            },
            "part" => {
                self.each_channel(operands, |channel| Command::Part { channel, reference: None })
            }
            "pm" => match operands.split_once(char::is_whitespace) {
                Some((name, text)) => match name.trim_start_matches('@').parse() {
                    Ok(name) => self.say(Target::User(name), text.trim(), Kind::Say, chance),
                    Err(problem) => vec![error(format!("{name}: {problem}"))],
                },
                None => vec![error("to whom, and what? /pm NAME TEXT".into())],
            },
            "query" => match target(operands) {
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
                self.quiet = !self.quiet;
                let state = if self.quiet { "hidden" } else { "shown" };
                vec![notice(format!("who comes and goes is {state}"))]
            }
            "retry" => self.retry(),
            "reconnect" => vec![Action::Close],
            "timestamp" => {
                self.timestamps = !self.timestamps;
                vec![Action::Show(Show::Timestamps(self.timestamps))]
            }
            "clear" => vec![Action::Show(Show::Clear)],
            "nick" => vec![error("names are bound to keys: the operator registers them".into())],
            "exit" => self.exit(),
            other => unreachable!("/{other} is in the table and not here"),
        }
    }

    fn say(&mut self, to: Target, text: &str, kind: Kind, chance: [u8; 16]) -> Vec<Action> {
        if text.trim().is_empty() {
            return vec![error("there is nothing to send".into())];
        }
        self.ask(Command::Say { to, id: MsgId(chance), text: text.to_owned(), kind })
    }

    /// Sends a command; without a connection a line waits for one, and so does everything that is
    /// asked before the first.
    fn ask(&mut self, command: Command) -> Vec<Action> {
        let line = matches!(command, Command::Say { .. });
        if !self.connected {
            let first = self.name.is_none();
            if !line && !first {
                return vec![error("there is no connection".into())];
            }
            self.waiting.push(command);
            let told = (!first).then(|| notice("this is sent once there is a connection".into()));
            return told.into_iter().collect();
        }
        if line {
            self.pending.push(command.clone());
        }
        vec![Action::Send(command)]
    }

    fn each_channel(
        &mut self,
        operands: &str,
        ask: impl Fn(ChannelName) -> Command,
    ) -> Vec<Action> {
        if operands.split_whitespace().count() > 1 {
            return vec![error("channels with a PIN come later: /join CHANNEL[,CHANNEL]".into())];
        }
        let names = operands.split(',').filter(|name| !name.is_empty());
        let mut actions = Vec::new();
        for name in names {
            match channel(name) {
                Ok(channel) => actions.extend(self.ask(ask(channel))),
                Err(problem) => actions.push(error(problem)),
            }
        }
        if actions.is_empty() { vec![error("which channel?".into())] } else { actions }
    }

    fn in_channel(&mut self, name: &str, ask: impl Fn(ChannelName) -> Command) -> Vec<Action> {
        let place = match (name, &self.target) {
            ("", Target::Channel(channel)) => Ok(channel.clone()),
            ("", Target::User(_)) => Ok(ChannelName::lobby()),
            (name, _) => channel(name),
        };
        match place {
            Ok(channel) => self.ask(ask(channel)),
            Err(problem) => vec![error(problem)],
        }
    }

    fn aim(&mut self, target: Target) -> Vec<Action> {
        self.target = target.clone();
        vec![Action::Show(Show::Target(target))]
    }

    fn ignore(&mut self, name: &str) -> Vec<Action> {
        if name.is_empty() {
            let names: Vec<_> = self.ignored.iter().map(ToString::to_string).collect();
            let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
            return vec![notice(format!("ignored: {names}"))];
        }
        match name.trim_start_matches('@').parse::<UserName>() {
            Ok(name) if self.ignored.remove(&name) => {
                vec![notice(format!("{name} is shown again"))]
            }
            Ok(name) => {
                let text = format!("{name} is ignored: /ignore {name} again shows them");
                self.ignored.insert(name);
                vec![notice(text)]
            }
            Err(problem) => vec![error(format!("{name}: {problem}"))],
        }
    }

    fn retry(&mut self) -> Vec<Action> {
        if !self.connected {
            return vec![error("there is no connection".into())];
        }
        let unsent = std::mem::take(&mut self.unsent);
        if unsent.is_empty() {
            return vec![notice("everything was sent".into())];
        }
        unsent.into_iter().flat_map(|command| self.ask(command)).collect()
    }

    fn exit(&mut self) -> Vec<Action> {
        let quit = self.connected.then_some(Action::Send(Command::Quit));
        let bye = Action::Show(Show::Bye("you left".into()));
        quit.into_iter().chain([Action::Close, bye, Action::Quit(0)]).collect()
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let event = cleaned(event);
        match event {
            Event::Welcome { ref name, .. } => {
                let back = self.attempts > 0 && self.name.is_some();
                (self.connected, self.attempts, self.goodbye) = (true, 0, None);
                self.name = Some(name.clone());
                let mut actions =
                    vec![Action::Show(Show::State(State::Connected { name: name.clone() }))];
                if back {
                    actions.push(notice("back".into()));
                }
                actions.push(Action::Show(Show::Event(event)));
                let joined = self.joined.clone().into_iter();
                actions.extend(
                    joined.map(|channel| Action::Send(Command::Join { channel, reference: None })),
                );
                let waiting = std::mem::take(&mut self.waiting);
                actions.extend(waiting.into_iter().flat_map(|command| self.ask(command)));
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Message(message) => self.message(message),
            Event::Refused { id, .. } => {
                let mut refused = None;
                if let Some(id) = id {
                    let is = |command: &Command| matches!(command, Command::Say { id: own, .. } if *own == id);
                    refused = self.pending.iter().position(is);
                }
                if let Some(index) = refused {
                    self.pending.remove(index);
                    self.refused = true;
                }
                let mut actions = vec![Action::Show(Show::Event(event))];
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Entered { ref channel, .. } => {
                let lobby = channel.is_lobby();
                let new = !lobby && self.joined.insert(channel.clone());
                let target = Target::Channel(channel.clone());
                let mut actions = vec![Action::Show(Show::Event(event))];
                if new {
                    actions.extend(self.aim(target));
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
            Event::Joined { .. } | Event::Left { .. } if self.quiet => Vec::new(),
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

    fn message(&mut self, message: Message) -> Vec<Action> {
        let own =
            |command: &Command| matches!(command, Command::Say { id, .. } if *id == message.id);
        let acked = self.pending.iter().position(own);
        if let Some(index) = acked {
            self.pending.remove(index);
        }
        let mut actions = Vec::new();
        if acked.is_some() {
            let (id, to, seq) = (message.id, message.to.clone(), message.seq);
            actions.push(Action::Show(Show::Ack { id, to, seq }));
        }
        let known = self.shown.contains(&message.id);
        if !known && !self.ignored.contains(&message.from) {
            self.shown.push_back(message.id);
            if self.shown.len() > SHOWN_MAX {
                self.shown.pop_front();
            }
            let private = matches!(message.to, Target::User(_));
            if private && self.name.as_ref() != Some(&message.from) {
                self.reply_to = Some(message.from.clone());
            }
            actions.push(Action::Show(Show::Message(message)));
        }
        actions.extend(self.end_when_settled());
        actions
    }

    fn lost(&mut self, loss: Loss, chance: [u8; 16]) -> Vec<Action> {
        self.connected = false;
        let mut actions = Vec::new();
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            let text =
                "it is not known whether your last lines were sent (/retry sends them again)";
            actions.push(error(text.into()));
            self.unsent.extend(pending);
        }
        let goodbye = self.goodbye.take();
        let random = u64::from_be_bytes(*chance.first_chunk().expect("16 bytes hold 8"));
        match (&loss, goodbye) {
            (Loss::WrongServer, _) => {
                let text = "the server does not hold the pinned key: nothing was sent to it. \
                    If the operator changed the key, ask for a new invite";
                actions.extend([error(text.into()), Action::Quit(6)]);
            }
            (Loss::Version(theirs), _) => {
                let text =
                    format!("the server speaks protocol {theirs}, this client 1: update one");
                actions.extend([error(text), Action::Quit(7)]);
            }
            (_, Some((Code::NotAdmitted, _))) => {
                if self.usage == Use::Once {
                    actions.extend([error("your key is not admitted".into()), Action::Quit(5)]);
                    return actions;
                }
                self.attempts += 1;
                let retry_ms = (POLL_MS.0 * u64::from(self.attempts)).min(POLL_MS.1);
                actions.push(Action::Show(Show::State(State::NotAdmitted { retry_ms })));
                actions.push(Action::Dial(retry_ms));
            }
            (_, Some((code @ (Code::Kicked | Code::Removed), _))) => {
                actions.push(Action::Show(Show::State(State::Refused { code })));
                actions.push(Action::Quit(5));
            }
            _ if self.usage == Use::Once => {
                let code = if self.name.is_some() { 8 } else { 4 };
                actions.extend([error(why(&loss)), Action::Quit(code)]);
            }
            (loss, goodbye) => {
                self.attempts += 1;
                let bound = BACKOFF_MS.0 << self.attempts.min(7);
                let jitter = random % bound.min(BACKOFF_MS.1);
                let least = goodbye.and_then(|(_, retry_ms)| retry_ms).unwrap_or(0).min(60_000);
                let retry_ms = least + jitter;
                if let Loss::Unreachable(_) = loss
                    && self.attempts == 1
                {
                    actions.push(error(why(loss)));
                }
                actions.push(Action::Show(Show::State(State::Offline { retry_ms })));
                actions.push(Action::Dial(retry_ms));
            }
        }
        actions
    }

    /// When input has ended and nothing waits for a connection or an answer, so does the program.
    fn end_when_settled(&mut self) -> Vec<Action> {
        let settled = self.pending.is_empty() && self.waiting.is_empty();
        if !self.ending || !settled || (self.usage == Use::Once && self.name.is_none()) {
            return Vec::new();
        }
        let code = if self.refused || !self.unsent.is_empty() { 8 } else { 0 };
        let quit = self.connected.then_some(Action::Send(Command::Quit));
        quit.into_iter().chain([Action::Close, Action::Quit(code)]).collect()
    }
}

fn notice(text: String) -> Action {
    Action::Show(Show::Notice(text))
}

fn error(text: String) -> Action {
    Action::Show(Show::Error(text))
}

fn why(loss: &Loss) -> String {
    match loss {
        Loss::Cut => "the connection was cut".to_owned(),
        Loss::Unreachable(problem) => problem.clone(),
        Loss::Busy => "the server is full".to_owned(),
        Loss::WrongServer => "the server does not hold the pinned key".to_owned(),
        Loss::Version(theirs) => format!("the server speaks protocol {theirs}"),
    }
}

/// A channel as people type it: the `#` may be missing.
fn channel(name: &str) -> Result<ChannelName, String> {
    let full = if name.starts_with('#') { name.to_owned() } else { format!("#{name}") };
    full.parse().map_err(|problem| format!("{name}: {problem}"))
}

fn target(text: &str) -> Result<Target, String> {
    if text.starts_with('#') {
        return channel(text).map(Target::Channel);
    }
    let name = text.trim_start_matches('@').parse().map(Target::User);
    name.map_err(|problem| format!("{text}: {problem}"))
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
        Event::Refused { hint: text, .. }
        | Event::Notice { text }
        | Event::Goodbye { reason: text, .. } => *text = clean::line(text),
        _ => {}
    }
    event
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
