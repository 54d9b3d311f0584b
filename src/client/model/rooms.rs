//! Which channels this client is in, and where typed text goes. Only what this person asks for
//! changes either: the server answers, and is believed where that was asked.

use super::super::slash;
use super::*;

/// Of what nobody asked for so much is told over one connection.
const STRAYS_MAX: usize = 100;

/// What a server tells of a channel that this client has not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    Entered,
    Parted,
    Told,
}

impl Model {
    /// A line of a prompt; where it was composed `within` a sealed conversation, it goes to that
    /// alone.
    pub(super) fn typed(
        &mut self,
        within: Option<Target>,
        line: String,
        chance: [u8; 16],
    ) -> Vec<Action> {
        if !self.deriving.is_empty() {
            // It may be for the channel of the PIN that is being worked out.
            self.ahead.push(Ahead { line: Hidden::new(line), within });
            return Vec::new();
        }
        let elsewhere = |within: &Target| within.is_sealed() && *within != self.target;
        match within.filter(|within| elsewhere(within) && slash::says_here(&line)) {
            Some(within) => {
                self.refused = true;
                vec![error(composed_elsewhere(&within, &self.target))]
            }
            None => self.line(&line, chance),
        }
    }

    /// A line of a screen, for the conversation that it is typed in.
    pub(super) fn typed_in(
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

    /// What was typed ahead is taken once no PIN is being worked out; where there is nothing, this
    /// may be the end.
    pub(super) fn goes_on(&mut self) -> Vec<Action> {
        match self.deriving.is_empty() && !self.ahead.is_empty() {
            true => vec![Action::Again(std::mem::take(&mut self.ahead))],
            false => self.end_when_settled(),
        }
    }

    /// What was typed ahead for a channel that is not entered goes nowhere; commands are carried
    /// out.
    pub(super) fn goes_on_without(&mut self, channel: &str) -> Vec<Action> {
        let ahead = self.ahead.len();
        self.ahead.retain(|one| !slash::says_here(one.line.reveal()));
        let dropped = ahead - self.ahead.len();
        let told = (dropped > 0).then(|| {
            error(format!(
                "{channel} was not entered: what was typed behind it was not sent ({dropped})"
            ))
        });
        told.into_iter().chain(self.goes_on()).collect()
    }

    /// A program asks: it goes where it enters, as a person does.
    pub(super) fn program_asks(&mut self, command: Command) -> Vec<Action> {
        match command {
            Command::Join { channel, after, reference } => self.enter(channel, after, reference),
            Command::Part { channel, reference } if self.connected => {
                self.leave(channel, reference)
            }
            command => self.ask(command),
        }
    }

    /// Asks to be in a channel. What is typed from now on goes there, whenever the answer comes.
    pub(super) fn enter(
        &mut self,
        channel: ChannelName,
        after: Option<Mark>,
        reference: Option<String>,
    ) -> Vec<Action> {
        let asks = self.connected || self.name.is_none();
        let mut actions = self.ask(Command::Join { channel: channel.clone(), after, reference });
        if asks {
            actions.extend(self.aim(Target::Channel(channel)));
        }
        actions
    }

    /// The request as it is sent: its answer is known by its reference.
    pub(super) fn requested(&mut self, command: Command) -> Command {
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

    /// This session is in a channel: in the lobby of itself, in others because it has asked.
    pub(super) fn entered(&mut self, mut event: Event) -> Vec<Action> {
        let first = is_first(&event);
        let Event::Entered { channel, log, last, read, reference, .. } = &mut event else {
            return Vec::new();
        };
        let channel = channel.clone();
        let request = self.requests.answered(Wish::Enter, &channel, reference.as_deref());
        if request.is_none() && !channel.is_lobby() {
            return self.stray(Stray::Entered, &channel);
        }
        *reference = request.and_then(|request| request.theirs);
        let place = Target::Channel(channel.clone());
        let lines = self.places.learn(&place, *log, *last, *read);
        let first = first && self.opened.remove(&channel).is_some_and(|it| !it.made);
        let mut actions = vec![Action::Show(Show::Event(Origin::Server, event))];
        self.gone.remove(&channel);
        if !channel.is_lobby() {
            actions.extend(self.unread(place, lines));
            self.inside.insert(channel);
        }
        if first {
            let text = "you are the first here: if others should be, check the PIN";
            actions.push(notice(text.into()));
        }
        actions
    }

    /// This session is no longer in a channel, if this person has asked for that.
    pub(super) fn parted(&mut self, channel: ChannelName, reference: Option<&str>) -> Vec<Action> {
        match self.requests.answered(Wish::Leave, &channel, reference) {
            Some(request) => {
                self.has_left(&channel);
                let event = Event::Parted { channel, reference: request.theirs };
                vec![Action::Show(Show::Event(Origin::Server, event))]
            }
            None if self.joined.contains(&channel) => self.put_out(
                channel,
                "the server says that you left it, and you have not: its key and its messages stay here",
            ),
            None => self.stray(Stray::Parted, &channel),
        }
    }

    /// A request to enter or to leave was refused.
    pub(super) fn wish_refused(&mut self, request: requests::Request, code: Code) -> Vec<Action> {
        let requests::Request { wish, channel, fresh, theirs, .. } = request;
        match wish {
            Wish::Enter if self.inside.contains(&channel) || channel.is_lobby() => Vec::new(),
            Wish::Enter => {
                self.opened.remove(&channel);
                // A channel with a PIN stays what its bare name means: never its open twin.
                if fresh && !channel.has_pin() {
                    self.joined.remove(&channel);
                }
                self.put_out(channel, "the server did not let you in")
            }
            // They are where they want to be.
            Wish::Leave if code == Code::NotMember => {
                self.has_left(&channel);
                let event = Event::Parted { channel, reference: theirs };
                vec![Action::Show(Show::Event(Origin::Client, event))]
            }
            Wish::Leave => Vec::new(),
        }
    }

    /// Requests that no answer comes to any more: what was left is left.
    pub(super) fn wishes_lost(&mut self) -> Vec<Action> {
        self.inside.clear();
        self.strays.clear();
        let leaves = |one: requests::Request| (one.wish == Wish::Leave).then_some(one.channel);
        let left: Vec<_> = self.requests.lost().filter_map(leaves).collect();
        let mut actions = Vec::new();
        for channel in left.into_iter().filter(|one| !one.is_lobby()) {
            self.has_left(&channel);
            actions.extend(channel.has_pin().then(|| Action::Forget(channel.clone())));
            let event = Event::Parted { channel, reference: None };
            actions.push(Action::Show(Show::Event(Origin::Client, event)));
        }
        actions
    }

    pub(super) fn has_left(&mut self, channel: &ChannelName) {
        if channel.has_pin() {
            self.left.insert(channel.bare());
        }
        self.joined.remove(channel);
        self.inside.remove(channel);
        self.gone.remove(channel);
        if self.target == Target::Channel(channel.clone()) {
            self.gone.insert(channel.clone());
        }
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
        vec![Action::Show(Show::Gone(channel)), error(text)]
    }

    /// Why nothing can be said in a place now.
    pub(super) fn is_gone(&self, to: &Target) -> Option<String> {
        let Target::Channel(channel) = to else { return None };
        self.gone.contains(channel).then(|| {
            format!(
                "you are no longer in {channel}: nothing was sent. /join {channel} goes back there, \
                 /query #lobby elsewhere"
            )
        })
    }

    /// Whether the server has a reason to tell of a channel.
    pub(super) fn is_in(&self, place: &Target) -> bool {
        match place {
            Target::Channel(channel) => channel.is_lobby() || self.joined.contains(channel),
            Target::User(_) => true,
        }
    }

    /// Nobody has asked for it: it is said once, and changes nothing.
    pub(super) fn stray(&mut self, stray: Stray, channel: &ChannelName) -> Vec<Action> {
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
}

fn composed_elsewhere(within: &Target, to: &Target) -> String {
    let open = if to.is_sealed() { "" } else { ", which is open" };
    format!(
        "this was typed for {within}, which is sealed, and lines go to {to} now{open}: nothing was \
         sent. /query {within} goes back there"
    )
}

/// Whether nobody else is in a channel, and nobody has said anything in it.
fn is_first(entered: &Event) -> bool {
    matches!(entered, Event::Entered { last: Seq(0), people, .. } if people.len() <= 1)
}
