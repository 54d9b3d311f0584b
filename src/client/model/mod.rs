//! State and decisions of the client. Pure: inputs in, actions out.

mod action;
mod connection;
mod destination;
mod ending;
mod events;
mod jobs;
mod membership;
mod outgoing;
mod output;
mod password;
mod pins;
mod programs;
mod reply;
mod requests;
mod shown;
mod slashes;
mod tail;

use std::collections::BTreeSet;

use super::conversations::Conversations;
use super::ignore_list::IgnoreList;
pub use super::input::{Input, Loss};
use super::outbox::Outbox;
use super::slash;
use crate::chat::{
    ChannelName, Command, Kind, Mark, MsgId, NewMessage, Position, Request, SecretText, Target,
    UserName,
};
use crate::fault::code;
pub use action::{Action, Ahead};
use action::{error, notice};
use connection::{Connection, Open, why};
use destination::Destination;
use ending::{Ending, Leaving, Next};
use membership::{Membership, Stray};
use outgoing::Outgoing;
pub use output::{Origin, Output, SecretPrompt, State, is_unsealed};
pub use password::Giver;
use password::Password;
use pins::Pins;
use reply::Reply;
use shown::Shown;
use tail::Tail;
pub use tail::TailOptions;

/// How this client is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// `--send`: every failure ends the client. Otherwise it keeps trying.
    pub once: bool,
    /// It resumes each conversation at its last position.
    pub resumes: bool,
    /// A user reads the output.
    pub reads: bool,
    /// Messages refused for their rate are sent again automatically; a program decides that itself.
    pub retries: bool,
    pub secrets: Giver,
}

/// The model's parts. Each owns its state and is lent what it needs of the others.
pub struct Model {
    usage: Use,
    /// The conversation that typed text goes to.
    target: Target,
    timestamps: bool,
    ignore_list: IgnoreList,
    conversations: Conversations,
    connection: Connection,
    membership: Membership,
    pins: Pins,
    outgoing: Outgoing,
    shown: Shown,
    reply: Reply,
    password: Password,
    ending: Ending,
    /// What a program asked while a PIN is worked out.
    asked_ahead: Vec<Request>,
    destination: Destination,
    tail: Option<Tail>,
}

impl Model {
    pub fn new(
        usage: Use,
        target: Target,
        joined: BTreeSet<ChannelName>,
        outbox: Outbox,
        conversations: Conversations,
    ) -> Self {
        Model {
            usage,
            target,
            timestamps: true,
            ignore_list: IgnoreList::default(),
            conversations,
            connection: Connection::dialing(),
            membership: Membership::new(joined),
            pins: Pins::default(),
            outgoing: Outgoing::new(outbox),
            shown: Shown::default(),
            reply: Reply::default(),
            password: Password::default(),
            ending: Ending::new(),
            asked_ahead: Vec::new(),
            destination: Destination::default(),
            tail: None,
        }
    }

    /// Restores the ignore list and the PIN channels that were left.
    pub fn with(mut self, ignore_list: IgnoreList, left: BTreeSet<ChannelName>) -> Model {
        self.ignore_list = ignore_list;
        self.membership.set_left(left);
        self
    }

    /// Sets a password that is known from the start.
    pub fn with_password(mut self, password: Option<SecretText>) -> Model {
        self.password = Password::known(password);
        self
    }

    /// Returns whether a tick is needed soon.
    pub fn wants_tick(&self) -> bool {
        self.conversations.is_changed()
    }

    /// Handles an input. `chance` is 16 random bytes, for a message id or for jitter.
    pub fn update(&mut self, input: Input, chance: [u8; 16]) -> Vec<Action> {
        match input {
            Input::Secret(secret) => self.give_password(secret),
            Input::Slash(line) => self.slash(&line, chance),
            Input::Line(line) => self.typed(None, line, chance),
            Input::Composed { within, line } => self.typed(Some(within), line, chance),
            Input::TypedIn { to, within, line } => self.typed_in(to, within, &line, chance),
            Input::TypeAheadReplayed => self.end_when_settled(),
            Input::Seen { to, seq } => {
                self.conversations.read(&to, seq, true);
                Vec::new()
            }
            Input::Pong(ms) => vec![Action::Output(Output::Latency(ms))],
            Input::Silent { for_ms } => self.connection.is_silent(for_ms),
            Input::Trouble(text) => vec![error(text)],
            Input::OutboxSynced(stored) => self.synced(stored.is_ok()),
            Input::Ask(Ok(Request { command: Command::Quit, .. })) => self.exit(),
            Input::Ask(Ok(request)) => self.program_asks(request),
            Input::AskOpen(request) => self.program_asks_exactly(request),
            Input::Ask(Err(problem)) => {
                self.ending.fails();
                vec![error(problem)]
            }
            Input::Event(event) => self.event(event),
            Input::Answer(event) => self.answer(event),
            Input::Violation { message, violation } => self.violated(message, violation),
            Input::KeyChanged { name, text } => {
                vec![Action::Output(Output::KeyChanged { name, text })]
            }
            Input::Reply(text) => vec![notice(text)],
            // Handled by the runtime.
            Input::Derived { .. } => Vec::new(),
            Input::Opened { channel, made } => self.opened(channel, made),
            Input::ConnectionStable => {
                self.connection.lasted();
                Vec::new()
            }
            Input::Lost(loss) => self.lost(&loss, chance),
            Input::Wake => self.connection.dial(),
            Input::Tick => self.tick(),
            Input::Waited => self.waited(),
            Input::InputEnd => self.input_ends(),
            Input::Echoed => {
                self.ending.awaits(false);
                self.end_when_settled()
            }
            Input::Interrupt => self.ends(Leaving::Interrupt),
            Input::OutputLost => self.ends(Leaving::OutputLost),
        }
    }

    /// Count of messages whose user waits for a sync of the outbox; `None` if no sync is due.
    pub fn unsynced(&self) -> Option<usize> {
        self.outgoing.unsynced()
    }

    /// Returns whether something that was typed still takes memory: it waits for a connection, an
    /// answer or a key.
    pub fn holds_input(&self) -> bool {
        !(self.outgoing.is_settled() && self.pins.is_settled() && self.asked_ahead.is_empty())
    }

    pub fn name(&self) -> Option<&UserName> {
        self.connection.name()
    }

    fn say(&mut self, to: Target, text: &str, kind: Kind, chance: [u8; 16]) -> Vec<Action> {
        if text.trim().is_empty() {
            return vec![error("there is nothing to send".into())];
        }
        if let Some(problem) = self.membership.is_gone(&to) {
            self.ending.fails();
            return vec![error(problem)];
        }
        self.post(NewMessage { to, id: MsgId(chance), kind, body: text.into() })
    }

    /// Sends a request, or queues it before the first connection.
    fn ask(&mut self, request: impl Into<Request>) -> Vec<Action> {
        let request = request.into();
        match request.command {
            Command::Say(message) => return self.post(message),
            // The engine answers it locally.
            Command::Search { to: Some(ref to), .. } if to.is_sealed() => {
                return vec![Action::Send(request)];
            }
            _ => {}
        }
        if self.connection.is_up() {
            self.ending.awaits(true);
            return vec![Action::Send(self.membership.requested(request))];
        }
        if self.connection.was_in() {
            return vec![error("there is no connection: try again once it is back".into())];
        }
        self.outgoing.early(request);
        Vec::new()
    }

    /// Sends a message, or queues it while offline.
    fn post(&mut self, message: NewMessage) -> Vec<Action> {
        let is_up = self.connection.is_up() && !self.destination.is_open();
        self.outgoing.post(message, is_up)
    }

    fn aim(&mut self, target: Target) -> Vec<Action> {
        self.target = target.clone();
        vec![Action::Output(Output::Target(target))]
    }

    /// Stores and sends the changes since the last tick.
    fn tick(&mut self) -> Vec<Action> {
        if !self.conversations.take_changed() {
            return Vec::new();
        }
        let mut actions = vec![Action::Remember(self.conversations.positions())];
        if self.connection.is_up() {
            let conversations = self.conversations.take_read();
            if !conversations.is_empty() {
                actions.push(Action::Send(Command::Read { conversations }.into()));
            }
        }
        actions
    }

    /// Handles the outcome of a sync, for which the end may have waited.
    fn synced(&mut self, is_stored: bool) -> Vec<Action> {
        let mut actions = self.outgoing.synced(is_stored);
        actions.extend(match self.ending.take_leaving() {
            Some(Leaving::Exit) => self.exit(),
            Some(leaving) => self.ends(leaving),
            None => Vec::new(),
        });
        actions
    }

    /// Syncs the outbox before the end, if the user counts on it.
    fn leaves(&mut self, leaving: Leaving) -> Option<Vec<Action>> {
        self.outgoing.unsynced()?;
        self.ending.leaves(leaving);
        Some(vec![Action::Sync])
    }

    /// Ends at once, without a word to the user.
    fn ends(&mut self, leaving: Leaving) -> Vec<Action> {
        let code = match leaving {
            Leaving::Exit => 0,
            Leaving::Interrupt => code::INTERRUPTED,
            Leaving::OutputLost => code::OTHER,
        };
        self.leaves(leaving).unwrap_or_else(|| {
            let mut actions = self.tick();
            actions.extend([Action::Close, Action::Quit(code)]);
            actions
        })
    }

    fn exit(&mut self) -> Vec<Action> {
        if let Some(actions) = self.leaves(Leaving::Exit) {
            return actions;
        }
        let mut actions = self.tick();
        let waiting = self.outgoing.waiting();
        match self.connection.is_up() {
            true => actions.push(Action::Send(Command::Quit.into())),
            false if waiting > 0 && self.outgoing.fails_to_store() => {
                actions.push(error(format!(
                    "unsent messages: {waiting}; those that are only in memory are lost"
                )));
            }
            false if waiting > 0 => {
                actions.push(notice(format!(
                    "unsent messages: {waiting}; they will be sent the next time"
                )));
            }
            false => {}
        }
        let bye = Action::Output(Output::Bye("you left".into()));
        actions.extend([Action::Close, bye, Action::Quit(0)]);
        actions
    }

    /// Ends the program once its input has ended and nothing waits for a connection or an answer,
    /// so that a pipe receives all answers.
    fn end_when_settled(&mut self) -> Vec<Action> {
        let settled = self.outgoing.is_settled()
            && self.pins.is_settled()
            && self.asked_ahead.is_empty()
            && self.tail.is_none();
        if !settled || (self.usage.once && !self.connection.was_in()) {
            return Vec::new();
        }
        match self.ending.settled(self.connection.is_up()) {
            Next::Stay => Vec::new(),
            Next::Answers => vec![Action::Echo],
            Next::Quit(code) => {
                let mut actions = self.tick();
                actions
                    .extend(self.connection.is_up().then_some(Action::Send(Command::Quit.into())));
                actions.extend([Action::Close, Action::Quit(code)]);
                actions
            }
        }
    }

    /// Handles a lost or failed connection.
    fn lost(&mut self, loss: &Loss, chance: [u8; 16]) -> Vec<Action> {
        let was_up = self.connection.lost();
        let mut actions = self.membership.lost(&self.target);
        actions.extend(self.password.lost());
        self.outgoing.disconnected();
        actions.extend(self.tick());
        if self.ending.loses_answers() && self.outgoing.is_stored() {
            actions.extend([error(why(loss)), Action::Quit(code::NOT_ACKNOWLEDGED)]);
            return actions;
        }
        let random = u64::from_be_bytes(*chance.first_chunk().expect("16 bytes hold 8"));
        let (once, messages) = (self.usage.once, self.outgoing.messages());
        actions.extend(self.connection.after(loss, &Open { once, messages, was_up, random }));
        actions
    }

    /// Handles a line of a prompt. A line composed `within` a sealed conversation goes only there.
    fn typed(&mut self, within: Option<Target>, line: String, chance: [u8; 16]) -> Vec<Action> {
        if self.pins.is_busy() {
            // The line may be for the channel of the PIN that is being derived.
            self.pins.typed(line, within);
            return Vec::new();
        }
        let elsewhere = |within: &Target| within.is_sealed() && *within != self.target;
        match within.filter(|within| elsewhere(within) && slash::says_here(&line)) {
            Some(within) => {
                self.ending.fails();
                vec![error(composed_elsewhere(&within, &self.target))]
            }
            None => self.line(&line, chance),
        }
    }

    /// Handles a line of a screen, for the conversation that it was typed in.
    fn typed_in(
        &mut self,
        to: Target,
        within: Option<Target>,
        line: &str,
        chance: [u8; 16],
    ) -> Vec<Action> {
        let weaker = |within: &Target| within.is_sealed() && !to.is_sealed();
        if let Some(within) = within.filter(|within| weaker(within) && slash::says_here(line)) {
            return vec![error(composed_elsewhere(&within, &to))];
        }
        self.target = to;
        self.line(line, chance)
    }

    /// Requests entry into a channel. It becomes the target at once, before the answer.
    fn enter(
        &mut self,
        channel: ChannelName,
        after: Option<Mark>,
        reference: Option<String>,
    ) -> Vec<Action> {
        let asks = self.connection.is_up() || !self.connection.was_in();
        let mut actions =
            self.ask(Request::new(Command::Join { channel: channel.clone(), after }, reference));
        if asks {
            actions.extend(self.aim(Target::Channel(channel)));
        }
        actions
    }

    /// Leaves a channel. The lobby becomes the target.
    fn leave(&mut self, channel: ChannelName, reference: Option<String>) -> Vec<Action> {
        let here = self.target == Target::Channel(channel.clone()) && !channel.is_lobby();
        let mut actions = match self.connection.is_up() || channel.is_lobby() {
            true => self.ask(Request::new(Command::Part { channel }, reference)),
            false => self.membership.part_offline(channel, &self.target),
        };
        if here {
            actions.extend(self.aim(Target::Channel(ChannelName::lobby())));
        }
        actions
    }

    /// Enters the channel of a PIN whose key is now known.
    fn opened(
        &mut self,
        channel: Result<ChannelName, String>,
        made: Option<SecretText>,
    ) -> Vec<Action> {
        let channel = match channel {
            Ok(channel) => channel,
            Err(problem) => {
                self.pins.fails();
                let mut actions = vec![error(problem)];
                actions.extend(self.drop_asked());
                actions.extend(self.goes_on_without("the channel"));
                return actions;
            }
        };
        let told = self.pins.opens(&channel, made.as_ref());
        self.membership.opens(&channel);
        let (there, name) = (Target::Channel(channel.clone()), channel.to_string());
        let mut actions = self.enter_again(channel);
        actions.extend(told);
        actions.extend(match self.target == there {
            true => self.goes_on(),
            false => self.goes_on_without(&name),
        });
        actions
    }

    /// Enters a channel again and resumes it at its last position.
    fn enter_again(&mut self, channel: ChannelName) -> Vec<Action> {
        let after = mark(&self.conversations.positions(), &channel);
        self.enter(channel, after, None)
    }

    /// Replays lines typed ahead once no PIN is being derived. Without any, this may be the end.
    fn goes_on(&mut self) -> Vec<Action> {
        let mut actions = self.asks_again();
        match self.pins.take_ahead() {
            Some(again) => actions.push(again),
            None => actions.extend(self.end_when_settled()),
        }
        actions
    }

    fn goes_on_without(&mut self, channel: &str) -> Vec<Action> {
        let told = self.pins.drop_ahead(channel);
        told.into_iter().chain(self.goes_on()).collect()
    }

    /// Takes a password from the secret prompt.
    fn give_password(&mut self, password: SecretText) -> Vec<Action> {
        match password.reveal() {
            "/exit" if self.password.is_asked() => self.exit(),
            _ => self.password.give(password, self.connection.was_in()),
        }
    }

    /// Handles the server's request for a password.
    fn ask_password(&mut self, wrong: bool, retry_ms: Option<u64>) -> Vec<Action> {
        let giver = if self.ending.is_closing() { Giver::Nobody } else { self.usage.secrets };
        let asks = self.password.ask(wrong, retry_ms, giver, self.connection.was_in());
        asks.unwrap_or_else(|| password::nobody_gives(wrong, self.outgoing.waiting()))
    }

    /// Handles the end of the input: nobody can give a password any more.
    fn input_ends(&mut self) -> Vec<Action> {
        self.ending.input_ends();
        match self.password.is_asked() {
            true => password::nobody_gives(false, self.outgoing.waiting()),
            false => self.end_when_settled(),
        }
    }

    /// Handles the end of the delay that the server asked for.
    fn waited(&mut self) -> Vec<Action> {
        match self.connection.is_up() {
            true => self.outgoing.again(),
            false => self.password.waited().into_iter().collect(),
        }
    }
}

/// The received position of a channel.
fn mark(positions: &[Position], channel: &ChannelName) -> Option<Mark> {
    let is = |one: &&Position| matches!(&one.to, Target::Channel(of) if of == channel);
    positions.iter().find(is).map(|one| one.mark)
}

fn composed_elsewhere(within: &Target, to: &Target) -> String {
    let open = if to.is_sealed() { "" } else { ", which is open" };
    format!(
        "this was typed for {within}, which is sealed, and typed text now goes to {to}{open}: nothing \
         was sent. /query {within} switches back"
    )
}

#[cfg(test)]
mod tests;
