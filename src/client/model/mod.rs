//! What the client knows and decides: pure, from what happens to what is to be done.

mod events;
mod giver;
mod losses;
mod password;
mod pins;
mod requests;
mod rooms;
mod show;
mod slashes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::flaw::Flaw;
pub use super::happening::{Happening, Loss};
use super::manners::Manners;
use super::outbox::{Outbox, Stage};
use super::places::Places;
use crate::chat::{
    Body, ChannelName, Code, Command, Event, Hidden, Kind, Mark, Message, MsgId, NewMessage,
    Position, Seq, Target, UserName,
};
use crate::crypto::pin_channel::Pin;
use crate::fault::code;
pub use giver::Giver;
use giver::Password;
use requests::{Requests, Wish};
pub use show::{Origin, Prompt, Show, State, is_unsealed};
use slashes::WaitingChange;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Action {
    Show(Show),
    Send(Command),
    /// A line of one's own goes on disk until it is stored ...
    Keep(NewMessage),
    /// ... or dropped.
    Drop(MsgId),
    /// It was refused, and waits on disk for the person ...
    Refused(MsgId),
    /// ... who wants it sent again.
    Retry(MsgId),
    /// What is hidden, for the next run too.
    Behave(Manners),
    /// Up to where this client has each place.
    Remember(Vec<Position>),
    /// `Happening::Waited` in this many milliseconds, and not later than an earlier one.
    Wait(u64),
    /// `Happening::Derived` of a channel's name and PIN, which takes a moment.
    Derive {
        name: ChannelName,
        pin: Hidden,
        made: bool,
    },
    /// Whose keys are whose: told, or confirmed.
    LookUp {
        name: UserName,
        confirms: bool,
    },
    /// Whether opened lines of sealed places are kept for a search: told, or set.
    SetSearch(Option<bool>),
    /// A channel's PIN is no longer wanted.
    Forget(ChannelName),
    /// These lines were typed while a PIN was worked out: it is their turn.
    Again(Vec<Ahead>),
    /// Dial after this many milliseconds.
    Dial(u64),
    /// Ask for a sign that all that was sent before has been answered.
    Echo,
    /// Close the connection; the person meant it.
    Close,
    /// End the connection as if the network had.
    Cut,
    /// End the program with this exit code.
    Quit(u8),
}

/// A line that was typed ahead.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    pub line: Hidden,
    pub within: Option<Target>,
}

/// Ids of shown messages that are remembered.
const SHOWN_MAX: usize = 4_096;
/// Backoff: full jitter below a bound that doubles from the first to the last.
const BACKOFF_MS: (u64, u64) = (500, 30_000);
/// The same where connections are made, and soon cut.
const CUTS_MS_MAX: u64 = 8_000;
/// A server that asks again and again is answered no faster than this.
const AGAIN_MS: u64 = 1_000;
/// Lines that are sent again at once: a server that refused them takes two a second.
const AGAIN_LINES: usize = 3;
/// Who waits to be admitted asks this often: soon at first, then calmly.
const POLL_MS: (u64, u64) = (2_000, 15_000);

/// How this client is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// `--send`: every failure ends it. Otherwise somebody is there: go on trying.
    pub once: bool,
    /// It takes up each place where it was left.
    pub resumes: bool,
    /// Somebody reads what is shown.
    pub reads: bool,
    /// What came too fast for the server is sent again; a program decides that for itself.
    pub retries: bool,
    pub secrets: Giver,
}

pub struct Model {
    usage: Use,
    name: Option<UserName>,
    target: Target,
    /// Channels that this client asks to be in at each connection.
    joined: BTreeSet<ChannelName>,
    /// Those of them that it has entered over this connection.
    inside: BTreeSet<ChannelName>,
    /// Those that this person has not left and is not in.
    gone: BTreeSet<ChannelName>,
    /// Names of channels with a PIN that were left, where nothing that is open is meant by them.
    left: BTreeSet<ChannelName>,
    /// Requests to enter and to leave that are not answered.
    requests: Requests,
    /// Of what nobody asked for this was told, over this connection.
    strays: BTreeSet<(rooms::Stray, ChannelName)>,
    /// Channels whose PIN was given just now, and what is to be read in them.
    opened: BTreeMap<ChannelName, pins::Inside>,
    /// PINs that are being worked out, and whether each is short.
    deriving: Vec<(ChannelName, bool)>,
    /// Lines that were typed meanwhile: they may be for the channel of such a PIN.
    ahead: Vec<Ahead>,
    reply_to: Option<UserName>,
    /// Somebody else than before is answered since the last line that was typed.
    reply_moved: bool,
    /// Requests that are no lines, typed before the first connection, each behind so many lines.
    early: Vec<(usize, Command)>,
    outbox: Outbox,
    /// Changes of lines that are still on their way, each behind its line.
    changes: Vec<WaitingChange>,
    places: Places,
    shown: VecDeque<MsgId>,
    manners: Manners,
    password: Password,
    timestamps: bool,
    attempts: u32,
    /// Another server was found where this one was, and that was told.
    suspects: bool,
    connected: bool,
    /// A connection is being made, or is there.
    dialing: bool,
    ending: bool,
    /// Requests that are no lines are on their way: their answers are still to come.
    open: bool,
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
            inside: BTreeSet::new(),
            gone: BTreeSet::new(),
            left: BTreeSet::new(),
            requests: Requests::default(),
            strays: BTreeSet::new(),
            opened: BTreeMap::new(),
            deriving: Vec::new(),
            ahead: Vec::new(),
            reply_to: None,
            reply_moved: false,
            early: Vec::new(),
            outbox,
            changes: Vec::new(),
            places,
            shown: VecDeque::new(),
            manners: Manners::default(),
            password: Password::default(),
            timestamps: true,
            attempts: 0,
            suspects: false,
            connected: false,
            // Whoever makes a model dials.
            dialing: true,
            ending: false,
            open: false,
            goodbye: None,
            refused: false,
        }
    }

    /// With what an earlier run was told to hide, and the channels with a PIN that were left.
    pub fn with(mut self, manners: Manners, left: BTreeSet<ChannelName>) -> Model {
        (self.manners, self.left) = (manners, left);
        self
    }

    /// Whether a tick is due soon.
    pub fn wants_tick(&self) -> bool {
        self.places.is_changed()
    }

    /// What follows from what happened. `chance` is 16 random bytes: a message's id, or jitter.
    pub fn update(&mut self, happening: Happening, chance: [u8; 16]) -> Vec<Action> {
        match happening {
            Happening::Secret(secret) => self.give_password(secret),
            Happening::Slash(line) => self.line(&line, chance),
            Happening::Line(line) => self.typed(None, line, chance),
            Happening::Composed { within, line } => self.typed(Some(within), line, chance),
            Happening::TypedIn { to, within, line } => self.typed_in(to, within, &line, chance),
            Happening::Caught => self.end_when_settled(),
            Happening::Seen { to, seq } => {
                self.places.read(&to, seq, true);
                Vec::new()
            }
            Happening::Answered(ms) => vec![Action::Show(Show::Latency(ms))],
            Happening::Trouble(text) => vec![error(text)],
            Happening::Ask(Ok(Command::Quit)) => self.exit(),
            Happening::Ask(Ok(command)) => self.program_asks(command),
            Happening::Ask(Err(problem)) => {
                self.refused = true;
                vec![error(problem)]
            }
            Happening::Event(event) => self.event(event),
            Happening::Answer(event) => self.answer(event),
            Happening::Flawed { message, flaw } => self.flawed(message, flaw),
            Happening::KeyChanged { name, text } => {
                vec![Action::Show(Show::KeyChanged { name, text })]
            }
            Happening::Told(text) => vec![notice(text)],
            // The shell has what it takes.
            Happening::Derived { .. } => Vec::new(),
            Happening::Opened { channel, made } => self.opened(channel, made),
            Happening::Lasted => {
                self.attempts = 0;
                Vec::new()
            }
            Happening::Lost(loss) => self.lost(loss, chance),
            Happening::Wake => self.dial(),
            Happening::Tick => self.tick(),
            Happening::Waited => self.waited(),
            Happening::InputEnd => self.input_ends(),
            Happening::Echoed => {
                self.open = false;
                self.end_when_settled()
            }
            Happening::Interrupt => {
                let mut actions = self.tick();
                actions.extend([Action::Close, Action::Quit(code::INTERRUPTED)]);
                actions
            }
        }
    }

    /// Connects now, unless that is under way: whoever asked for it first has been heard.
    fn dial(&mut self) -> Vec<Action> {
        if std::mem::replace(&mut self.dialing, true) {
            return Vec::new();
        }
        vec![Action::Show(Show::State(State::Connecting)), Action::Dial(0)]
    }

    pub fn name(&self) -> Option<&UserName> {
        self.name.as_ref()
    }

    fn say(&mut self, to: Target, text: &str, kind: Kind, chance: [u8; 16]) -> Vec<Action> {
        if text.trim().is_empty() {
            return vec![error("there is nothing to send".into())];
        }
        if let Some(problem) = self.is_gone(&to) {
            self.refused = true;
            return vec![error(problem)];
        }
        self.post(NewMessage { to, id: MsgId(chance), kind, body: text.into() })
    }

    /// Sends a request. Before the first connection it waits for one.
    fn ask(&mut self, command: Command) -> Vec<Action> {
        match command {
            Command::Say(message) => return self.post(message),
            // That is answered here.
            Command::Search { to: Some(ref to), .. } if to.is_sealed() => {
                return vec![Action::Send(command)];
            }
            _ => {}
        }
        if self.connected {
            self.open = true;
            return vec![Action::Send(self.requested(command))];
        }
        if self.name.is_some() {
            return vec![error("there is no connection: ask again once it is back".into())];
        }
        self.early.push((self.outbox.len(), command));
        Vec::new()
    }

    /// Sends a message; without a connection it waits for one.
    fn post(&mut self, message: NewMessage) -> Vec<Action> {
        let (id, to) = (message.id, message.to.clone());
        let mut actions =
            vec![Action::Keep(message.clone()), Action::Show(Show::Outgoing(message.clone()))];
        let stage = match self.connected {
            // What was said before it has not gone yet.
            true if self.outbox.is_held() => Stage::Later,
            true => Stage::Sent,
            false => Stage::Waiting,
        };
        actions.push(match stage {
            Stage::Sent => Action::Send(Command::Say(message.clone())),
            _ => Action::Show(Show::Pending { id, to }),
        });
        self.outbox.add(message, stage);
        actions
    }

    fn aim(&mut self, target: Target) -> Vec<Action> {
        self.target = target.clone();
        vec![Action::Show(Show::Target(target))]
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

    /// When input has ended and nothing waits for a connection or an answer, so does the program: whoever
    /// asks through a pipe gets what they asked for.
    fn end_when_settled(&mut self) -> Vec<Action> {
        let settled = self.outbox.is_settled()
            && self.changes.is_empty()
            && self.early.is_empty()
            && self.deriving.is_empty()
            && self.ahead.is_empty();
        if !self.ending || !settled || (self.usage.once && self.name.is_none()) {
            return Vec::new();
        }
        if self.open && self.connected {
            return vec![Action::Echo];
        }
        let code = if self.refused { code::NOT_ACKNOWLEDGED } else { 0 };
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

#[cfg(test)]
mod tests;
