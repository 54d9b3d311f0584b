//! The exchange with the server: requests and messages, what they wait for, and the end of the
//! client once nothing is left to wait for.

use std::collections::BTreeSet;

use super::super::conversations::Conversations;
use super::super::input::Loss;
use super::super::outbox::Outbox;
use super::action::{Action, declined, error, notice};
use super::connection::{Connection, Open, why};
use super::destination::{Destination, Found};
use super::ending::{Ending, Leaving, Next};
use super::membership::Membership;
use super::outgoing::Outgoing;
use super::output::Output;
use super::password::{self, Giver, Password};
use super::pins::Pins;
use super::shown::Shown;
use super::tail::{Page, Tail};
use super::transfers::Transfers;
use super::unread::Unread;
use super::usage::Use;
use crate::chat::{
    ChannelName, Code, Command, Event, Kind, MessageCount, MsgId, NewMessage, Position, Request,
    SecretText, SyncPoint, Target, UserName,
};
use crate::e2e::Choice;
use crate::fault::code;

/// What a client has to do with its server. Each part owns its state.
pub struct Exchange {
    pub usage: Use,
    /// The conversation that typed text goes to.
    pub target: Target,
    pub conversations: Conversations,
    pub connection: Connection,
    pub membership: Membership,
    pub pins: Pins,
    pub outgoing: Outgoing,
    pub shown: Shown,
    pub password: Password,
    pub ending: Ending,
    /// Requests of a program that came while a key was derived.
    asked_ahead: Vec<(Request, Vec<usize>)>,
    pub destination: Destination,
    pub tail: Option<Tail>,
    pub unread: Unread,
    pub transfers: Transfers,
}

impl Exchange {
    pub fn new(
        usage: Use,
        target: Target,
        joined: BTreeSet<ChannelName>,
        outbox: Outbox,
        conversations: Conversations,
    ) -> Exchange {
        Exchange {
            usage,
            target,
            conversations,
            connection: Connection::dialing(),
            membership: Membership::new(joined),
            pins: Pins::default(),
            outgoing: Outgoing::new(outbox),
            shown: Shown::default(),
            password: Password::default(),
            ending: Ending::new(),
            asked_ahead: Vec::new(),
            destination: Destination::default(),
            tail: None,
            unread: Unread::default(),
            transfers: Transfers::default(),
        }
    }

    pub fn name(&self) -> Option<&UserName> {
        self.connection.name()
    }

    pub fn say(&mut self, to: Target, text: &str, kind: Kind, chance: [u8; 16]) -> Vec<Action> {
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
    pub fn ask(&mut self, request: impl Into<Request>) -> Vec<Action> {
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
            let problem = "not connected: try again when the connection is back".to_owned();
            return vec![declined(Code::Unavailable, problem, request.reference)];
        }
        self.outgoing.early(request);
        Vec::new()
    }

    /// Sends a message, or queues it while offline.
    pub fn post(&mut self, message: NewMessage) -> Vec<Action> {
        self.post_change(message, None)
    }

    /// Sends a change of the message that the user has chosen; without an id it is the one that is
    /// displayed under the number. Sealed changes sign the id, whatever the server says later.
    pub fn post_change(&mut self, message: NewMessage, chosen: Option<MsgId>) -> Vec<Action> {
        let of = message.kind.of().filter(|_| message.to.is_sealed());
        let (to, change) = (message.to.clone(), message.id);
        let choice = of.map(|of| Action::Choose(Choice { change, to, of, chosen }));
        let is_up = self.connection.is_up() && !self.destination.is_open();
        choice.into_iter().chain(self.outgoing.post(message, is_up)).collect()
    }

    pub fn aim(&mut self, target: Target) -> Vec<Action> {
        self.target = target.clone();
        vec![Action::Output(Output::Target(target))]
    }

    /// Stores and sends the changes since the last tick.
    pub fn tick(&mut self) -> Vec<Action> {
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
    pub fn synced(&mut self, is_stored: bool) -> Vec<Action> {
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
    pub fn ends(&mut self, leaving: Leaving) -> Vec<Action> {
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

    /// Returns whether something that was typed still takes memory: it waits for a connection, an
    /// answer or a key.
    pub fn holds_input(&self) -> bool {
        !(self.outgoing.is_settled() && self.pins.is_settled() && self.asked_ahead.is_empty())
    }

    pub fn exit(&mut self) -> Vec<Action> {
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
        let code = if self.usage.is_program { self.ending.code() } else { 0 };
        let bye = Action::Output(Output::Bye("you left".into()));
        actions.extend([Action::Close, bye, Action::Quit(code)]);
        actions
    }

    /// Takes the answer to a request about unread messages; no counts where it was refused. `None`
    /// if this is the answer to another request.
    pub fn counted(
        &mut self,
        reference: Option<&str>,
        counts: &[MessageCount],
        ignores: impl Fn(&UserName) -> bool,
    ) -> Option<Vec<Action>> {
        let unread = self.unread.counted(reference, counts, ignores)?;
        let next = self.unread.request().map(Action::Send);
        Some(unread.into_iter().map(Action::Output).chain(next).collect())
    }

    /// Ends the program once its input has ended and nothing waits for a connection or an answer,
    /// so that a pipe receives all answers.
    pub fn end_when_settled(&mut self) -> Vec<Action> {
        if let Some(id) = self.ending.last_message() {
            return match self.outgoing.is_pending(id) {
                true => Vec::new(),
                false => self.exit_after_last_message().unwrap_or_default(),
            };
        }
        let settled = self.outgoing.is_settled()
            && self.pins.is_settled()
            && self.asked_ahead.is_empty()
            && self.transfers.is_settled()
            && self.tail.is_none();
        if !settled || (self.usage.once && !self.connection.was_in()) {
            return Vec::new();
        }
        if let Some(code) = self.transfers.exit() {
            self.ending.fails_as(code);
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

    /// Exits if the user has sent a last message. As with `/exit`, the client waits for nothing
    /// else.
    pub fn exit_after_last_message(&mut self) -> Option<Vec<Action>> {
        self.ending.take_last_message().map(|_| self.exit())
    }

    /// Handles a lost or failed connection.
    pub fn lost(&mut self, loss: &Loss, chance: [u8; 16]) -> Vec<Action> {
        let was_up = self.connection.lost();
        let mut actions = self.membership.lost(&self.target);
        actions.extend(self.password.lost());
        self.unread.lost();
        actions.extend(self.transfers.lost());
        self.outgoing.disconnected();
        actions.extend(self.tick());
        if let Some(leaves) = self.exit_after_last_message() {
            actions.extend(leaves);
            return actions;
        }
        if self.ending.loses_answers() && self.outgoing.is_stored() {
            actions.extend([error(why(loss)), Action::Quit(code::NOT_ACKNOWLEDGED)]);
            return actions;
        }
        let random = u64::from_be_bytes(*chance.first_chunk().expect("16 bytes hold 8"));
        let (once, messages) = (self.usage.once, self.outgoing.messages());
        let continues = !self.transfers.is_settled();
        let open = Open { once, continues, messages, was_up, random };
        actions.extend(self.connection.after(loss, &open));
        actions
    }

    /// Requests entry into a channel. It becomes the target at once, before the answer.
    pub fn enter(
        &mut self,
        channel: ChannelName,
        after: Option<SyncPoint>,
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
    pub fn leave(&mut self, channel: ChannelName, reference: Option<String>) -> Vec<Action> {
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
    pub fn opened(
        &mut self,
        channel: Result<ChannelName, String>,
        made: Option<SecretText>,
    ) -> Vec<Action> {
        let channel = match channel {
            Ok(channel) => channel,
            Err(problem) => {
                let mut actions = vec![self.pins.fails(), error(problem)];
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
    pub fn enter_again(&mut self, channel: ChannelName) -> Vec<Action> {
        let after = sync_point(&self.conversations.positions(), &channel);
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
    pub fn give_password(&mut self, password: SecretText) -> Vec<Action> {
        match password.reveal() {
            "/exit" if self.password.is_asked() => self.exit(),
            _ => self.password.give(password, self.connection.was_in()),
        }
    }

    /// Handles the server's request for a password.
    pub fn ask_password(&mut self, wrong: bool, retry_ms: Option<u64>) -> Vec<Action> {
        let giver = if self.ending.is_closing() { Giver::Nobody } else { self.usage.secrets };
        let asks = self.password.ask(wrong, retry_ms, giver, self.connection.was_in());
        asks.unwrap_or_else(|| password::nobody_gives(wrong, self.outgoing.waiting()))
    }

    /// Handles the end of the input: nobody can give a password any more.
    pub fn input_ends(&mut self) -> Vec<Action> {
        self.ending.input_ends();
        match self.password.is_asked() {
            true => password::nobody_gives(false, self.outgoing.waiting()),
            false => self.end_when_settled(),
        }
    }

    /// Handles the end of the delay that the server asked for.
    pub fn waited(&mut self) -> Vec<Action> {
        match self.connection.is_up() {
            true => self.outgoing.again().into_iter().chain(self.transfers.go()).collect(),
            false => self.password.waited().into_iter().collect(),
        }
    }

    /// Handles a program's request. The bare name of a channel means the one channel of that name
    /// that the client is in, unless its position is one of `open`.
    pub fn asks(&mut self, mut request: Request, open: Vec<usize>) -> Vec<Action> {
        if self.pins.is_busy() {
            // It may be for the channel whose key is being derived.
            self.asked_ahead.push((request, open));
            return Vec::new();
        }
        if let Err(problem) = self.membership.resolve(&mut request.command, &open) {
            self.ending.fails();
            return vec![error(problem)];
        }
        self.asks_exactly(request)
    }

    /// The same without resolving bare names. After a join, the channel becomes the target.
    pub fn asks_exactly(&mut self, request: Request) -> Vec<Action> {
        let Request { command, reference } = request;
        match command {
            Command::Join { channel, after } => self.enter(channel, after, reference),
            Command::Part { channel } if self.connection.is_up() => self.leave(channel, reference),
            command => self.ask(Request { command, reference }),
        }
    }

    /// Handles the requests that came while a key was derived.
    pub fn asks_again(&mut self) -> Vec<Action> {
        let asked = match self.pins.is_busy() {
            true => Vec::new(),
            false => std::mem::take(&mut self.asked_ahead),
        };
        asked.into_iter().flat_map(|(request, open)| self.asks(request, open)).collect()
    }

    /// Refuses messages that may be for a channel that was not entered.
    pub fn drop_asked(&mut self) -> Option<Action> {
        let before = self.asked_ahead.len();
        self.asked_ahead.retain(|(request, _)| !matches!(request.command, Command::Say(_)));
        let dropped = before - self.asked_ahead.len();
        (dropped > 0).then(|| {
            self.ending.fails();
            error(format!("the channel was not entered: messages not sent: {dropped}"))
        })
    }

    /// Enters the channel, which exists, and sends what waited for it.
    fn arrives(&mut self, channel: ChannelName) -> Vec<Action> {
        let join = Request::from(Command::Join { channel, after: None });
        let waiting = self.outgoing.all_typed();
        let mut actions: Vec<_> = [join]
            .into_iter()
            .chain(waiting)
            .map(|request| Action::Send(self.membership.requested(request)))
            .collect();
        actions.extend(self.tail_begins());
        actions.extend(self.transfers.connected());
        actions.extend(self.end_when_settled());
        actions
    }

    /// Handles answers about the destination; `None` for other events.
    pub fn destination_answer(&mut self, event: &Event) -> Option<Vec<Action>> {
        match self.destination.answered(event)? {
            Found::Exists(channel) => Some(self.arrives(channel)),
            Found::Nearby(request) => Some(vec![Action::Send(request)]),
            Found::Missing(actions) => Some(actions),
        }
    }

    /// Requests the newest messages of the conversation of `--tail`, once it is readable.
    pub fn tail_begins(&mut self) -> Vec<Action> {
        let next = self.tail.as_mut().map_or(Page::Nothing, Tail::begin);
        self.tail_goes_on(next)
    }

    /// Handles a complete page of `--tail`.
    pub fn tail_pages(&mut self, reference: Option<&str>, more: bool) -> Vec<Action> {
        let next = self.tail.as_mut().map_or(Page::Nothing, |tail| tail.page_ends(reference, more));
        self.tail_goes_on(next)
    }

    fn tail_goes_on(&mut self, next: Page) -> Vec<Action> {
        let (messages, ends) = match next {
            Page::Nothing => return Vec::new(),
            Page::Request(request) => return vec![Action::Send(request)],
            Page::Show { messages, ends } => (messages, ends),
        };
        let shown = messages.into_iter().map(|message| {
            self.shown.add(&message);
            Action::Output(Output::Message(message))
        });
        let mut actions: Vec<_> = shown.collect();
        if ends {
            actions.extend([Action::Send(Command::Quit.into()), Action::Close, Action::Quit(0)]);
        }
        actions
    }
}

/// The received position of a channel.
pub fn sync_point(positions: &[Position], channel: &ChannelName) -> Option<SyncPoint> {
    let is = |one: &&Position| matches!(&one.to, Target::Channel(of) if of == channel);
    positions.iter().find(is).map(|one| one.point)
}
