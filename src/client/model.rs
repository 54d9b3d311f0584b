//! What the client knows and decides: pure, from what happens to what is to be done.

use std::collections::{BTreeSet, VecDeque};

use super::outbox::{Outbox, Stage};
use super::places::Places;
use super::slash::{self, Typed};
use crate::chat::{
    ChannelName, Code, Command, Event, Kind, Mark, Message, MsgId, Position, Seq, Target, UserName,
};
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
    /// A while has passed since something changed that is kept or told with others of its kind.
    Tick,
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
    /// A line of one's own goes on disk until it is stored ...
    Keep(Command),
    /// ... or dropped.
    Drop(MsgId),
    /// Up to where this client has each place.
    Remember(Vec<Position>),
    /// Dial after this many milliseconds.
    Dial(u64),
    /// Close the connection; the person meant it.
    Close,
    /// End the connection as if the network had.
    Cut,
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
    /// A line that cannot be sent yet.
    Pending {
        id: MsgId,
        to: Target,
    },
    /// What follows in this place is new to this person.
    Divider(Target),
    /// So many lines of a place were not read.
    Unread {
        to: Target,
        lines: u64,
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

/// A server that fails so many handshakes in a row holds another key than the pinned one.
const SUSPECTS_MAX: u32 = 3;

/// How this client is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// `--send`: every failure ends it. Otherwise somebody is there: go on trying.
    pub once: bool,
    /// It takes up each place where it was left.
    pub resumes: bool,
    /// Somebody reads what is shown.
    pub reads: bool,
}

pub struct Model {
    usage: Use,
    name: Option<UserName>,
    target: Target,
    joined: BTreeSet<ChannelName>,
    reply_to: Option<UserName>,
    /// Requests that are no lines, typed before the first connection.
    early: Vec<Command>,
    outbox: Outbox,
    places: Places,
    shown: VecDeque<MsgId>,
    ignored: BTreeSet<UserName>,
    quiet: bool,
    timestamps: bool,
    attempts: u32,
    /// Connections in a row that broke as one to a server with another key does.
    suspects: u32,
    connected: bool,
    ending: bool,
    /// The last goodbye, which decides what a lost connection means.
    goodbye: Option<(Code, Option<u64>)>,
    refused: bool,
}

impl Model {
    pub fn new(
        usage: Use,
        target: Target,
        joined: BTreeSet<ChannelName>,
        outbox: Outbox,
        places: Places,
    ) -> Self {
        Model {
            usage,
            name: None,
            target,
            joined,
            reply_to: None,
            early: Vec::new(),
            outbox,
            places,
            shown: VecDeque::new(),
            ignored: BTreeSet::new(),
            quiet: false,
            timestamps: true,
            attempts: 0,
            suspects: 0,
            connected: false,
            ending: false,
            goodbye: None,
            refused: false,
        }
    }

    /// Whether a tick is due soon.
    pub fn wants_tick(&self) -> bool {
        self.places.is_changed()
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
            Happening::Tick => self.tick(),
            Happening::InputEnd => {
                self.ending = true;
                self.end_when_settled()
            }
            Happening::Interrupt => {
                let mut actions = self.tick();
                actions.extend([Action::Close, Action::Quit(130)]);
                actions
            }
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
                let marks: Vec<Position> = self.places.positions();
                self.each_channel(operands, |channel| join(&marks, channel))
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
            "history" => self.history(operands),
            "search" => {
                let text = operands.to_owned();
                self.ask(Command::Search { text, to: None, reference: Some("search".into()) })
            }
            "edit" => self.change(None, Kind::Edit, operands, chance),
            "delete" => match operands {
                "" => self.change(None, Kind::Delete, "", chance),
                seq => match seq.parse() {
                    Ok(seq) => self.change(Some(seq), Kind::Delete, "", chance),
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
                self.quiet = !self.quiet;
                let state = if self.quiet { "hidden" } else { "shown" };
                vec![notice(format!("who comes and goes is {state}"))]
            }
            "retry" => self.retry(),
            "reconnect" => vec![Action::Cut],
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
        let (id, text) = (MsgId(chance), text.to_owned());
        self.ask(Command::Say { to, id, text, kind, target: None })
    }

    /// Changes a line of one's own: the last one here, where none is named.
    fn change(
        &mut self,
        seq: Option<Seq>,
        kind: Kind,
        text: &str,
        chance: [u8; 16],
    ) -> Vec<Action> {
        let to = self.target.clone();
        let Some(target) = seq.or_else(|| self.places.last_own(&to)) else {
            return vec![error(format!("you have said nothing in {to} yet"))];
        };
        if kind == Kind::Edit && text.is_empty() {
            return vec![error("what should it say? /edit TEXT".into())];
        }
        let (id, text) = (MsgId(chance), text.to_owned());
        self.ask(Command::Say { to, id, text, kind, target: Some(target) })
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
        let dropped = self.outbox.cancel(self.connected);
        let count = dropped.len();
        let mut actions: Vec<Action> = dropped.into_iter().map(Action::Drop).collect();
        actions.push(notice(match count {
            0 => "nothing waits to be sent".to_owned(),
            1 => "one line was dropped".to_owned(),
            count => format!("{count} lines were dropped"),
        }));
        actions
    }

    /// Keeps and tells what has changed.
    fn tick(&mut self) -> Vec<Action> {
        if !self.places.take_changed() {
            return Vec::new();
        }
        let mut actions = vec![Action::Remember(self.places.positions())];
        if self.connected {
            let places = self.places.take_read();
            if !places.is_empty() {
                actions.push(Action::Send(Command::Read { places }));
            }
        }
        actions
    }

    /// Sends a command; without a connection a line waits for one, and so does everything that is
    /// asked before the first.
    fn ask(&mut self, command: Command) -> Vec<Action> {
        let Command::Say { id, ref to, .. } = command else {
            if self.connected {
                return vec![Action::Send(command)];
            }
            if self.name.is_some() {
                return vec![error("there is no connection".into())];
            }
            self.early.push(command);
            return Vec::new();
        };
        let mut actions = vec![Action::Keep(command.clone())];
        if self.connected {
            actions.push(Action::Send(command.clone()));
            self.outbox.add(command, Stage::Sent);
        } else {
            actions.push(Action::Show(Show::Pending { id, to: to.clone() }));
            self.outbox.add(command, Stage::Waiting);
        }
        actions
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
            return vec![error(
                "there is no connection: lines are sent as soon as there is".into(),
            )];
        }
        let again = self.outbox.retry();
        if again.is_empty() {
            return vec![notice("everything was sent".into())];
        }
        again.into_iter().map(Action::Send).collect()
    }

    fn exit(&mut self) -> Vec<Action> {
        let mut actions = self.tick();
        actions.extend(self.connected.then_some(Action::Send(Command::Quit)));
        if !self.connected && !self.outbox.is_settled() {
            let text = format!("{} lines wait to be sent the next time", self.outbox.len());
            actions.push(notice(text));
        }
        let bye = Action::Show(Show::Bye("you left".into()));
        actions.extend([Action::Close, bye, Action::Quit(0)]);
        actions
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
                if self.usage.resumes {
                    let places = self.places.resume();
                    actions.push(Action::Send(Command::Resume { places }));
                }
                let marks = self.places.positions();
                let joined = self.joined.iter().cloned();
                actions.extend(joined.map(|channel| Action::Send(join(&marks, channel))));
                let early = std::mem::take(&mut self.early).into_iter();
                actions.extend(early.map(Action::Send));
                actions.extend(self.outbox.send_all().into_iter().map(Action::Send));
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Stored { id, to, seq } => {
                let mut actions = self.settle(id, to, seq);
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Places { places } => {
                let mut actions = Vec::new();
                for place in places {
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
            Event::Refused { id, .. } => {
                if id.is_some_and(|id| self.outbox.refuse(id)) {
                    self.refused = true;
                }
                let mut actions = vec![Action::Show(Show::Event(event))];
                actions.extend(self.end_when_settled());
                actions
            }
            Event::Entered { ref channel, log, last, read, .. } => {
                let lobby = channel.is_lobby();
                let place = Target::Channel(channel.clone());
                let lines = self.places.learn(&place, log, last, read);
                let new = !lobby && self.joined.insert(channel.clone());
                let target = Target::Channel(channel.clone());
                let mut actions = vec![Action::Show(Show::Event(event))];
                if new {
                    actions.extend(self.aim(target));
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
        let asked = message.reference.is_some();
        let own = self.name.as_ref() == Some(&message.from);
        let mut actions = Vec::new();
        if asked {
            return vec![Action::Show(Show::Message(message))];
        }
        if own {
            actions.extend(self.settle(message.id, message.to.clone(), message.seq));
        }
        let place = Places::of_line(&message, self.name.as_ref());
        let arrival = self.places.arrive(&place, &message, own);
        let known = arrival.known || self.shown.contains(&message.id);
        if !known && !self.ignored.contains(&message.from) {
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

    /// The server has stored a line, of this client where it was in the outbox.
    fn settle(&mut self, id: MsgId, to: Target, seq: Seq) -> Vec<Action> {
        if !self.outbox.settle(id) {
            return Vec::new();
        }
        vec![Action::Drop(id), Action::Show(Show::Ack { id, to, seq })]
    }

    fn unread(&self, to: Target, lines: u64) -> Option<Action> {
        let new = lines > 0 && self.usage.resumes && self.places.mark(&to).is_some();
        new.then_some(Action::Show(Show::Unread { to, lines }))
    }

    fn lost(&mut self, loss: Loss, chance: [u8; 16]) -> Vec<Action> {
        self.connected = false;
        let mut actions = Vec::new();
        self.outbox.disconnected();
        actions.extend(self.tick());
        let goodbye = self.goodbye.take();
        let random = u64::from_be_bytes(*chance.first_chunk().expect("16 bytes hold 8"));
        self.suspects = if loss == Loss::WrongServer { self.suspects + 1 } else { 0 };
        match (&loss, goodbye) {
            // One such end may be a network's that cut in the middle of the handshake.
            (Loss::WrongServer, _) if self.usage.once || self.suspects >= SUSPECTS_MAX => {
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
                if self.usage.once {
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
            _ if self.usage.once => {
                let code = if self.name.is_some() { 8 } else { 4 };
                actions.extend([error(why(&loss)), Action::Quit(code)]);
            }
            (loss, goodbye) => {
                self.attempts += 1;
                let bound = BACKOFF_MS.0 << self.attempts.min(7);
                let jitter = random % bound.min(BACKOFF_MS.1);
                let least = goodbye.and_then(|(_, retry_ms)| retry_ms).unwrap_or(0).min(60_000);
                let retry_ms = least + jitter;
                if matches!(loss, Loss::Unreachable(_) | Loss::Busy) && self.attempts == 1 {
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
        let settled = self.outbox.is_settled() && self.early.is_empty();
        if !self.ending || !settled || (self.usage.once && self.name.is_none()) {
            return Vec::new();
        }
        let code = if self.refused { 8 } else { 0 };
        let mut actions = self.tick();
        actions.extend(self.connected.then_some(Action::Send(Command::Quit)));
        actions.extend([Action::Close, Action::Quit(code)]);
        actions
    }
}

/// Enter a channel, and take it up where it was left.
fn join(marks: &[Position], channel: ChannelName) -> Command {
    let place = Target::Channel(channel.clone());
    let after: Option<Mark> = marks.iter().find(|mark| mark.to == place).map(|one| one.mark);
    Command::Join { channel, after, reference: None }
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
