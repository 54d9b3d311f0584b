//! Channels that this client is in. Only requests of the user change that; server events count only
//! as their answers.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, error};
use super::output::{Origin, Output};
use super::requests::{OpenRequest, Requests, Wish};
use crate::chat::{ChannelName, Code, Command, Event, Request, Target};

/// Notices about unrequested channel events in one connection.
const STRAYS_MAX: usize = 100;

/// Kinds of unrequested channel events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    Entered,
    Parted,
    Event,
}

pub struct Membership {
    /// Channels to enter at each connection.
    joined: BTreeSet<ChannelName>,
    /// Those that this connection has entered.
    inside: BTreeSet<ChannelName>,
    /// Those that the user has not left and is not in.
    gone: BTreeSet<ChannelName>,
    /// Left PIN channels whose names must not resolve to open channels.
    left: BTreeSet<ChannelName>,
    /// Open requests to enter and to leave.
    requests: Requests,
    /// Notices already given in this connection.
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

    /// Restores the PIN channels that were left in an earlier run.
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

    /// Returns whether the server may send events of a channel.
    pub fn is_in(&self, conversation: &Target) -> bool {
        match conversation {
            Target::Channel(channel) => channel.is_lobby() || self.joined.contains(channel),
            Target::User(_) => true,
        }
    }

    /// Records a request and gives it the reference that identifies its answer.
    pub fn requested(&mut self, request: Request) -> Request {
        let Request { command, reference } = request;
        let reference = match &command {
            Command::Join { channel, .. } => {
                let fresh = !channel.is_lobby() && self.joined.insert(channel.clone());
                Some(self.requests.add(Wish::Enter, channel, fresh, reference))
            }
            Command::Part { channel } => {
                Some(self.requests.add(Wish::Leave, channel, false, reference))
            }
            _ => reference,
        };
        Request { command, reference }
    }

    /// Records the entry into a channel: the lobby without a request, others by request. Returns
    /// the reference of a program's request, or a notice about an unrequested entry.
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
            // A departure that was requested before this entry may have been answered meanwhile.
            self.joined.insert(channel.clone());
            self.inside.insert(channel.clone());
        }
        Ok(request.and_then(|request| request.theirs))
    }

    /// Records that this session has left a channel, if the user has asked for it.
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
                "the server reports that you left it, but you did not: its key and its messages \
                 stay here",
            ),
            None => self.stray(Stray::Parted, &channel),
        }
    }

    /// Leaves a channel while offline, so that it is not entered again.
    pub fn part_offline(&mut self, channel: ChannelName, here: &Target) -> Vec<Action> {
        self.has_left(&channel, here);
        let forget = channel.has_pin().then(|| Action::Forget(channel.clone()));
        let event = Event::Parted { channel, reference: None };
        let shown = Action::Output(Output::Event(Origin::Client, event));
        [shown].into_iter().chain(forget).collect()
    }

    /// Returns the request that was refused under this reference.
    pub fn refused(&mut self, reference: Option<&str>) -> Option<OpenRequest> {
        self.requests.refused(reference)
    }

    /// Returns whether this connection has entered a channel.
    pub fn is_inside(&self, channel: &ChannelName) -> bool {
        channel.is_lobby() || self.inside.contains(channel)
    }

    /// Handles the refusal of a request to enter or to leave.
    pub fn wish_refused(&mut self, request: OpenRequest, code: Code, here: &Target) -> Vec<Action> {
        let OpenRequest { wish, channel, fresh, theirs, .. } = request;
        match wish {
            Wish::Enter if self.is_inside(&channel) => Vec::new(),
            Wish::Enter => {
                // The bare name of a PIN channel keeps its meaning and never resolves to an open
                // channel.
                if fresh && !channel.has_pin() {
                    self.joined.remove(&channel);
                }
                self.put_out(channel, "the server refused to let you in")
            }
            // The user is already out.
            Wish::Leave if code == Code::NotMember => {
                self.has_left(&channel, here);
                let event = Event::Parted { channel, reference: theirs };
                vec![Action::Output(Output::Event(Origin::Client, event))]
            }
            Wish::Leave => Vec::new(),
        }
    }

    /// Forgets open requests when the connection is lost. A channel that was to be left is left.
    pub fn lost(&mut self, here: &Target) -> Vec<Action> {
        self.inside.clear();
        self.strays.clear();
        // The last request for each channel counts.
        let last: BTreeMap<_, _> =
            self.requests.lost().map(|one| (one.channel, one.wish)).collect();
        let left = last.into_iter().filter(|(_, wish)| *wish == Wish::Leave);
        let mut actions = Vec::new();
        for (channel, _) in left.filter(|(channel, _)| !channel.is_lobby()) {
            self.has_left(&channel, here);
            actions.extend(channel.has_pin().then(|| Action::Forget(channel.clone())));
            let event = Event::Parted { channel, reference: None };
            actions.push(Action::Output(Output::Event(Origin::Client, event)));
        }
        actions
    }

    /// Records that a channel was left. If it is the target, typed text goes nowhere.
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

    /// Records a known PIN for this channel: its name resolves again.
    pub fn opens(&mut self, channel: &ChannelName) {
        self.left.remove(&channel.bare());
    }

    /// Records that the user is not in a channel without having left it: text typed there is not
    /// sent.
    fn put_out(&mut self, channel: ChannelName, why: &str) -> Vec<Action> {
        self.inside.remove(&channel);
        if !self.gone.insert(channel.clone()) {
            return Vec::new();
        }
        let text = format!(
            "you are no longer in {channel}: {why}. Text typed there is not sent; /join \
             {channel} enters it again, /part leaves it"
        );
        vec![Action::Output(Output::Gone(channel)), error(text)]
    }

    /// Returns why nothing can be sent to a conversation now.
    pub fn is_gone(&self, to: &Target) -> Option<String> {
        let Target::Channel(channel) = to else { return None };
        self.gone.contains(channel).then(|| {
            format!(
                "you are no longer in {channel}: nothing was sent. /join {channel} enters it \
                 again, /query #lobby switches to the lobby"
            )
        })
    }

    /// Reports an unrequested event once; it changes nothing.
    pub fn stray(&mut self, stray: Stray, channel: &ChannelName) -> Vec<Action> {
        let told = self.strays.len() >= STRAYS_MAX;
        if told || !self.strays.insert((stray, channel.clone())) {
            return Vec::new();
        }
        let what = match stray {
            Stray::Entered => "an entry of yours into",
            Stray::Parted => "that you left",
            Stray::Event => "events in",
        };
        let text =
            format!("the server reports {what} {channel}, which you have not requested: ignored");
        vec![error(text)]
    }

    /// Resolves a typed channel: the `#` is optional, and a tag may be shortened while it stays
    /// unique.
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
                Err(format!("ambiguous: {}", names.join(" or ")))
            }
        }
    }

    /// Resolves the channel of `/join NAME`, with the channel of the same name that this client is
    /// in.
    pub fn to_join(&self, name: &str) -> Result<(ChannelName, Option<ChannelName>), String> {
        let known = self.joined.iter().find(|channel| channel.is_meant_by(name));
        // A known PIN channel is meant by its tag only; its bare name means the open channel.
        let channel = match known.filter(|_| name.contains('~')) {
            Some(channel) => channel.clone(),
            None => new_channel(name)?,
        };
        let other = known.filter(|own| **own != channel).cloned();
        Ok((channel, other))
    }
}

/// Parses a channel name; the `#` is optional.
pub fn new_channel(name: &str) -> Result<ChannelName, String> {
    let full = if name.starts_with('#') { name.to_owned() } else { format!("#{name}") };
    full.trim_end_matches("~open").parse().map_err(|problem| format!("{name}: {problem}"))
}
