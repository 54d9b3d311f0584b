//! State and decisions of the client. Pure: inputs in, actions out.

mod action;
mod cleaned;
mod connection;
mod destination;
mod ending;
mod events;
mod exchange;
mod links;
mod listing;
mod membership;
mod naming;
mod outgoing;
mod output;
mod password;
mod pins;
mod refusals;
mod reply;
mod requests;
mod sharing;
mod shown;
mod slashes;
mod tail;
mod transfer;
mod transfers;
mod unread;
mod usage;

use std::collections::BTreeSet;

use super::conversations::Conversations;
pub use super::input::{Input, Loss};
use super::outbox::Outbox;
use super::slash;
pub use super::slash::LogWish;
use super::storage::ignore_list::IgnoreList;
use super::transfer::Left;
use crate::chat::{ChannelName, Command, MsgId, Request, SecretText, Target, UserName};
pub use action::{Action, Ahead};
use action::{error, notice};
use destination::Destination;
use ending::Leaving;
use events::Incoming;
use exchange::Exchange;
use links::Links;
pub use output::{Origin, Output, SecretPrompt, State, is_unsealed};
pub use password::Giver;
use password::Password;
use reply::Reply;
use slashes::Slashes;
use tail::Tail;
pub use tail::TailOptions;
use transfers::Transfers;
pub use usage::Use;

/// The model's parts. Each owns its state and is lent what it needs of the others.
pub struct Model {
    exchange: Exchange,
    ignore_list: IgnoreList,
    /// The recipient of `/reply`.
    reply: Reply,
    timestamps: bool,
    /// Addresses for `/open`.
    links: Links,
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
            exchange: Exchange::new(usage, target, joined, outbox, conversations),
            ignore_list: IgnoreList::default(),
            reply: Reply::default(),
            timestamps: true,
            links: Links::default(),
        }
    }

    /// Restores the ignore list and the PIN channels that were left.
    pub fn with(mut self, ignore_list: IgnoreList, left: BTreeSet<ChannelName>) -> Model {
        self.ignore_list = ignore_list;
        self.exchange.membership.set_left(left);
        self
    }

    /// Sets a password that is known from the start.
    pub fn with_password(mut self, password: Option<SecretText>) -> Model {
        self.exchange.password = Password::known(password);
        self
    }

    /// Sets a channel that the client enters only if it exists, to read or to write.
    pub fn with_destination(mut self, channel: Option<ChannelName>, reads: bool) -> Model {
        self.exchange.destination = Destination::of(channel, reads);
        self
    }

    pub fn with_tail(mut self, options: Option<TailOptions>) -> Model {
        self.exchange.tail = options.map(Tail::new);
        self
    }

    /// Restores transfers of earlier runs; `outbox` has the ids of its messages.
    pub fn with_transfers(mut self, left: Left, outbox: &[MsgId]) -> Model {
        self.exchange.transfers = Transfers::of(left, outbox);
        self
    }

    pub fn name(&self) -> Option<&UserName> {
        self.exchange.name()
    }

    /// Count of messages whose user waits for a sync of the outbox; `None` if no sync is due.
    pub fn unsynced(&self) -> Option<usize> {
        self.exchange.outgoing.unsynced()
    }

    /// Returns whether something that was typed still takes memory: it waits for a connection, an
    /// answer or a key.
    pub fn holds_input(&self) -> bool {
        self.exchange.holds_input()
    }

    /// Returns whether a tick is needed soon.
    pub fn wants_tick(&self) -> bool {
        self.exchange.conversations.is_changed()
    }

    /// Handles an input. `chance` is 16 random bytes, for a message id or for jitter.
    pub fn update(&mut self, input: Input, chance: [u8; 16]) -> Vec<Action> {
        let actions = self.actions(input, chance);
        self.links.note(&actions, self.exchange.name());
        actions
    }

    fn actions(&mut self, input: Input, chance: [u8; 16]) -> Vec<Action> {
        match input {
            Input::Secret(secret) => self.exchange.give_password(secret),
            Input::Slash(line) => self.slashes().program(&line, chance),
            Input::Line(line) => self.typed(None, line, chance),
            Input::Composed { within, line } => self.typed(Some(within), line, chance),
            Input::TypedIn { to, within, line, id } => {
                self.typed_in(to, within, &line, id.map_or(chance, |MsgId(id)| id))
            }
            Input::TypeAheadReplayed => self.exchange.end_when_settled(),
            Input::Seen { to, seq } => {
                self.exchange.conversations.read(&to, seq, true);
                Vec::new()
            }
            Input::Pong(ms) => vec![Action::Output(Output::Latency(ms))],
            Input::Silent { for_ms } => self.exchange.connection.is_silent(for_ms),
            Input::Trouble(text) => vec![error(text)],
            Input::OutboxSynced(stored) => self.exchange.synced(stored.is_ok()),
            Input::AskByName { request: Request { command: Command::Quit, .. }, .. } => {
                self.exchange.exit()
            }
            Input::AskByName { request, open } => self.exchange.asks(request, open),
            Input::Ask(Ok(request)) => self.exchange.asks_exactly(request),
            Input::Ask(Err(problem)) => {
                self.exchange.ending.fails();
                vec![error(problem)]
            }
            Input::Wish { wish, exactly, id, reference } => {
                let chance = id.map_or(chance, |MsgId(id)| id);
                sharing::wish(&mut self.exchange, wish, exactly, reference, chance)
            }
            Input::Transfer(id, report) => sharing::report(&mut self.exchange, id, report),
            Input::CancelTransfer(id) => sharing::cancel(&mut self.exchange, id),
            Input::Event(event) => self.incoming().event(event),
            Input::Answer(event) => self.incoming().answer(event),
            Input::Violation { message, violation } => self.incoming().violated(message, violation),
            Input::KeyChanged { name, text } => {
                vec![Action::Output(Output::KeyChanged { name, text })]
            }
            Input::Reply(text) => vec![notice(text)],
            // Handled by the runtime.
            Input::Derived { .. } => Vec::new(),
            Input::Opened { channel, made } => self.exchange.opened(channel, made),
            Input::ConnectionStable => {
                self.exchange.connection.lasted();
                Vec::new()
            }
            Input::Lost(loss) => self.exchange.lost(&loss, chance),
            Input::Wake => self.exchange.connection.dial(),
            Input::Tick => self.exchange.tick(),
            Input::Waited => self.exchange.waited(),
            Input::InputEnd => self.exchange.input_ends(),
            Input::Echoed => {
                self.exchange.ending.awaits(false);
                self.exchange.end_when_settled()
            }
            Input::Interrupt => self.exchange.ends(Leaving::Interrupt),
            Input::OutputLost => self.exchange.ends(Leaving::OutputLost),
        }
    }

    fn slashes(&mut self) -> Slashes<'_> {
        let Model { exchange, ignore_list, reply, timestamps, links } = self;
        Slashes { exchange, ignore_list, reply, timestamps, links }
    }

    fn incoming(&mut self) -> Incoming<'_> {
        let Model { exchange, ignore_list, reply, .. } = self;
        Incoming { exchange, ignore_list, reply }
    }

    /// Handles a line of a prompt. A line composed `within` a sealed conversation goes only there.
    fn typed(&mut self, within: Option<Target>, line: String, chance: [u8; 16]) -> Vec<Action> {
        if self.exchange.pins.is_busy() {
            // The line may be for the channel of the PIN that is being derived.
            self.exchange.pins.typed(line, within);
            return Vec::new();
        }
        let elsewhere = |within: &Target| within.is_sealed() && *within != self.exchange.target;
        match within.filter(|within| elsewhere(within) && slash::says_here(&line)) {
            Some(within) => {
                self.exchange.ending.fails();
                vec![error(composed_elsewhere(&within, &self.exchange.target))]
            }
            None => self.slashes().line(&line, chance),
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
        self.exchange.target = to;
        self.slashes().line(line, chance)
    }
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

#[cfg(test)]
mod transfers_tests;
