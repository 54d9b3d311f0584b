//! Which channels this client is in. Only what this person asks for changes that: the server
//! answers, and is believed where that was asked.

use std::collections::BTreeSet;

use super::action::{Action, error};
use super::output::{Origin, Output};
use super::requests::{Request, Requests, Wish};
use crate::chat::{ChannelName, Code, Command, Event, Target};

/// Of what nobody asked for so much is told over one connection.
const STRAYS_MAX: usize = 100;

/// What a server tells of a channel that this client has not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stray {
    Entered,
    Parted,
    Told,
}

pub(super) struct Membership {
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
    strays: BTreeSet<(Stray, ChannelName)>,
}

impl Membership {
    pub fn new(joined: BTreeSet<ChannelName>) -> Membership {
        Membership {
            joined,
            inside: BTreeSet::new(),
            gone: BTreeSet::new(),
            left: BTreeSet::new(),
            requests: Requests::default(),
            strays: BTreeSet::new(),
        }
    }

    /// The channels with a PIN that were left in an earlier run.
    pub fn set_left(&mut self, left: BTreeSet<ChannelName>) {
        self.left = left;
    }

    pub fn joined(&self) -> &BTreeSet<ChannelName> {
        &self.joined
    }

    #[cfg(test)]
    pub fn forget_gone(&mut self) {
        self.gone.clear();
    }

    /// Whether the server has a reason to tell of a channel.
    pub fn is_in(&self, conversation: &Target) -> bool {
        match conversation {
            Target::Channel(channel) => channel.is_lobby() || self.joined.contains(channel),
            Target::User(_) => true,
        }
    }

    /// The request as it is sent: its answer is known by its reference.
    pub fn requested(&mut self, command: Command) -> Command {
        match command {
            Command::Join { channel, after, reference } => {
                let fresh = !channel.is_lobby() && self.joined.insert(channel.clone());
                let reference = Some(self.requests.add(Wish::Enter, &channel, fresh, reference));
                Command::Join { channel, after, reference }
            }
            Command::Part { channel, reference } => {
                let reference = Some(self.requests.add(Wish::Leave, &channel, false, reference));
                Command::Part { channel, reference }
            }
            command => command,
        }
    }

    /// This session is in a channel: in the lobby of itself, in others because it has asked. Gives
    /// the reference of the program that has asked, or what is told where nobody has.
    pub fn entered(
        &mut self,
        channel: &ChannelName,
        reference: Option<&str>,
    ) -> Result<Option<String>, Vec<Action>> {
        let request = self.requests.answered(Wish::Enter, channel, reference);
        if request.is_none() && !channel.is_lobby() {
            return Err(self.stray(Stray::Entered, channel));
        }
        self.gone.remove(channel);
        if !channel.is_lobby() {
            self.inside.insert(channel.clone());
        }
        Ok(request.and_then(|request| request.theirs))
    }

    /// This session is no longer in a channel, if this person has asked for that.
    pub fn parted(
        &mut self,
        channel: ChannelName,
        reference: Option<&str>,
        here: &Target,
    ) -> Vec<Action> {
        match self.requests.answered(Wish::Leave, &channel, reference) {
            Some(request) => {
                self.has_left(&channel, here);
                let event = Event::Parted { channel, reference: request.theirs };
                vec![Action::Output(Output::Event(Origin::Server, event))]
            }
            None if self.joined.contains(&channel) => self.put_out(
                channel,
                "the server says that you left it, and you have not: its key and its messages stay here",
            ),
            None => self.stray(Stray::Parted, &channel),
        }
    }

    /// Leaves a channel without a connection: it is not entered again.
    pub fn part_offline(&mut self, channel: ChannelName, here: &Target) -> Vec<Action> {
        self.has_left(&channel, here);
        let forget = channel.has_pin().then(|| Action::Forget(channel.clone()));
        let event = Event::Parted { channel, reference: None };
        let shown = Action::Output(Output::Event(Origin::Client, event));
        [shown].into_iter().chain(forget).collect()
    }

    /// The request that was refused under this reference.
    pub fn refused(&mut self, reference: Option<&str>) -> Option<Request> {
        self.requests.refused(reference)
    }

    /// Whether this session is in a channel over this connection.
    pub fn is_inside(&self, channel: &ChannelName) -> bool {
        channel.is_lobby() || self.inside.contains(channel)
    }

    /// What follows where a request to enter or to leave was refused.
    pub fn wish_refused(&mut self, request: Request, code: Code, here: &Target) -> Vec<Action> {
        let Request { wish, channel, fresh, theirs, .. } = request;
        match wish {
            Wish::Enter if self.is_inside(&channel) => Vec::new(),
            Wish::Enter => {
                // A channel with a PIN stays what its bare name means: never its open twin.
                if fresh && !channel.has_pin() {
                    self.joined.remove(&channel);
                }
                self.put_out(channel, "the server did not let you in")
            }
            // They are where they want to be.
            Wish::Leave if code == Code::NotMember => {
                self.has_left(&channel, here);
                let event = Event::Parted { channel, reference: theirs };
                vec![Action::Output(Output::Event(Origin::Client, event))]
            }
            Wish::Leave => Vec::new(),
        }
    }

    /// Requests that no answer comes to any more: what was left is left.
    pub fn lost(&mut self, here: &Target) -> Vec<Action> {
        self.inside.clear();
        self.strays.clear();
        let leaves = |one: Request| (one.wish == Wish::Leave).then_some(one.channel);
        let left: Vec<_> = self.requests.lost().filter_map(leaves).collect();
        let mut actions = Vec::new();
        for channel in left.into_iter().filter(|one| !one.is_lobby()) {
            self.has_left(&channel, here);
            actions.extend(channel.has_pin().then(|| Action::Forget(channel.clone())));
            let event = Event::Parted { channel, reference: None };
            actions.push(Action::Output(Output::Event(Origin::Client, event)));
        }
        actions
    }

    /// A channel was left; where typed text goes to it, that text goes nowhere.
    fn has_left(&mut self, channel: &ChannelName, here: &Target) {
        if channel.has_pin() {
            self.left.insert(channel.bare());
        }
        self.joined.remove(channel);
        self.inside.remove(channel);
        self.gone.remove(channel);
        if *here == Target::Channel(channel.clone()) {
            self.gone.insert(channel.clone());
        }
    }

    /// A PIN opens this channel: its name means it again.
    pub fn opens(&mut self, channel: &ChannelName) {
        self.left.remove(&channel.bare());
    }

    /// This person is not in a channel that they have not left: what they type there goes nowhere.
    fn put_out(&mut self, channel: ChannelName, why: &str) -> Vec<Action> {
        self.inside.remove(&channel);
        if !self.gone.insert(channel.clone()) {
            return Vec::new();
        }
        let text = format!(
            "you are no longer in {channel}: {why}. What you type there is not sent; \
             /join {channel} goes back, /part leaves it"
        );
        vec![Action::Output(Output::Gone(channel)), error(text)]
    }

    /// Why nothing can be said in a conversation now.
    pub fn is_gone(&self, to: &Target) -> Option<String> {
        let Target::Channel(channel) = to else { return None };
        self.gone.contains(channel).then(|| {
            format!(
                "you are no longer in {channel}: nothing was sent. /join {channel} goes back there, \
                 /query #lobby elsewhere"
            )
        })
    }

    /// Nobody has asked for it: it is said once, and changes nothing.
    pub fn stray(&mut self, stray: Stray, channel: &ChannelName) -> Vec<Action> {
        let told = self.strays.len() >= STRAYS_MAX;
        if told || !self.strays.insert((stray, channel.clone())) {
            return Vec::new();
        }
        let what = match stray {
            Stray::Entered => "that you are in",
            Stray::Parted => "that you left",
            Stray::Told => "what happens in",
        };
        let text =
            format!("the server tells {what} {channel}, which you have not asked for: ignored");
        vec![error(text)]
    }

    /// A channel as people type it: the `#` may be missing, and of its tag all that tells it from
    /// others.
    pub fn channel(&self, name: &str) -> Result<ChannelName, String> {
        let meant: Vec<_> = self.joined.iter().filter(|one| one.is_meant_by(name)).collect();
        match meant[..] {
            [] => match new_channel(name) {
                Ok(channel) if self.left.contains(&channel) && !name.ends_with("~open") => {
                    Err(format!(
                        "{channel} had a PIN, and you left it: {channel}~open is the open one, \
                         which the operator can read"
                    ))
                }
                channel => channel,
            },
            [one] => Ok(one.clone()),
            _ => {
                let shown = |one: &&ChannelName| match one.has_pin() {
                    true => one.to_string(),
                    false => format!("{one}~open"),
                };
                let names: Vec<_> = meant.iter().map(shown).collect();
                Err(format!("which one? {}", names.join(" or ")))
            }
        }
    }

    /// The channel of `/join NAME`, and the one of the same name that this client is in.
    pub fn to_join(&self, name: &str) -> Result<(ChannelName, Option<ChannelName>), String> {
        let known = self.joined.iter().find(|channel| channel.is_meant_by(name));
        // One of a PIN that is known is meant by its tag alone; by its name, only the open one.
        let channel = match known.filter(|_| name.contains('~')) {
            Some(channel) => channel.clone(),
            None => new_channel(name)?,
        };
        let other = known.filter(|own| **own != channel).cloned();
        Ok((channel, other))
    }
}

/// A channel's name; the `#` may be missing.
pub(super) fn new_channel(name: &str) -> Result<ChannelName, String> {
    let full = if name.starts_with('#') { name.to_owned() } else { format!("#{name}") };
    full.trim_end_matches("~open").parse().map_err(|problem| format!("{name}: {problem}"))
}
