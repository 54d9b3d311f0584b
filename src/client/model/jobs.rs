//! Jobs: `--send` and `--tail`.

use super::*;
use crate::chat::{Code, Event, Message};

impl Model {
    /// Sets a channel that the client enters only if it exists.
    pub fn with_destination(mut self, channel: Option<ChannelName>) -> Model {
        self.destination.channel = channel;
        self
    }

    /// Handles answers about the destination; `None` for other events.
    pub(super) fn destination(&mut self, event: &Event) -> Option<Vec<Action>> {
        let channel = self.destination.channel.clone()?;
        let is = |reference: &Option<String>, question| reference.as_deref() == Some(question);
        match event {
            Event::People { reference, .. } if is(reference, destination::EXISTS) => {
                Some(self.arrives(channel))
            }
            Event::Refused { code: Code::NotMember, reference, .. }
                if is(reference, destination::EXISTS) =>
            {
                Some(self.arrives(channel))
            }
            Event::Refused { code: Code::NoSuchChannel, reference, .. }
                if is(reference, destination::EXISTS) =>
            {
                let reference = Some(destination::NEAR.to_owned());
                Some(vec![Action::Send(Request::new(Command::Channels, reference))])
            }
            Event::Channels { channels, reference, .. } if is(reference, destination::NEAR) => {
                let names = channels.iter().map(|row| row.channel.to_string());
                Some(missing(&channel, names))
            }
            Event::Refused { reference, .. }
                if is(reference, destination::EXISTS) || is(reference, destination::NEAR) =>
            {
                Some(missing(&channel, std::iter::empty()))
            }
            _ => None,
        }
    }

    /// Enters the channel, which exists, and sends what waited for it.
    fn arrives(&mut self, channel: ChannelName) -> Vec<Action> {
        self.destination.channel = None;
        let join = Request::from(Command::Join { channel, after: None });
        let waiting = self.outgoing.all_typed();
        let mut actions: Vec<_> = [join]
            .into_iter()
            .chain(waiting)
            .map(|request| Action::Send(self.membership.requested(request)))
            .collect();
        actions.extend(self.tail_begins());
        actions.extend(self.end_when_settled());
        actions
    }
}

impl Model {
    pub fn with_tail(mut self, options: Option<TailOptions>) -> Model {
        self.tail = options.map(Tail::new);
        self
    }

    /// Requests the newest messages of the conversation, once it is readable.
    pub(super) fn tail_begins(&mut self) -> Vec<Action> {
        let Some(tail) = self.tail.as_mut().filter(|tail| !tail.begun) else { return Vec::new() };
        tail.begun = true;
        match tail.options.lines {
            0 => self.tail_shows(),
            _ => vec![Action::Send(tail.asks(None))],
        }
    }

    /// Takes requested messages, and messages that arrive before these are shown.
    pub(super) fn tail_takes(&mut self, message: &Message) -> bool {
        let Some(tail) = &mut self.tail else { return false };
        match (&message.reference, &mut tail.meanwhile) {
            (Some(reference), _) if reference == tail::REFERENCE => {
                // A server that sends more than a page is not followed.
                if tail.page.len() < tail.options.lines {
                    tail.page.push(message.clone());
                }
            }
            (None, Some(meanwhile)) => {
                meanwhile.push_back(message.clone());
                if meanwhile.len() > tail::MEANWHILE_MAX {
                    meanwhile.pop_front();
                }
            }
            _ => return false,
        }
        true
    }

    /// Handles a complete page: requests the previous one, or shows all found messages.
    pub(super) fn tail_pages(&mut self, reference: Option<&str>, more: bool) -> Vec<Action> {
        let Some(tail) = &mut self.tail else { return Vec::new() };
        if reference != Some(tail::REFERENCE) || tail.meanwhile.is_none() {
            return Vec::new();
        }
        let oldest = tail.page.iter().map(|message| message.seq).min();
        let before = std::mem::replace(&mut tail.found, std::mem::take(&mut tail.page));
        tail.found.extend(before);
        match oldest.filter(|_| more && tail.found.len() < tail.options.lines) {
            Some(oldest) => vec![Action::Send(tail.asks(Some(oldest)))],
            None => self.tail_shows(),
        }
    }

    /// Returns whether the server has refused the page.
    pub(super) fn tail_is_refused(&self, reference: Option<&str>) -> bool {
        self.tail.is_some() && reference == Some(tail::REFERENCE)
    }

    fn tail_shows(&mut self) -> Vec<Action> {
        let Some(tail) = &mut self.tail else { return Vec::new() };
        let (follows, lines) = (tail.options.follows, tail.options.lines);
        let found = std::mem::take(&mut tail.found);
        let surplus = found.len().saturating_sub(lines);
        let mut messages: Vec<Message> = found.into_iter().skip(surplus).collect();
        let meanwhile = tail.meanwhile.take().unwrap_or_default();
        let fresh = |one: &Message| !messages.iter().any(|message| message.id == one.id);
        let fresh: Vec<_> = meanwhile.into_iter().filter(|one| follows && fresh(one)).collect();
        messages.extend(fresh);
        let shown = messages.into_iter().map(|message| {
            self.shown.add(message.id);
            Action::Output(Output::Message(message))
        });
        let mut actions: Vec<_> = shown.collect();
        if !follows {
            actions.extend([Action::Send(Command::Quit.into()), Action::Close, Action::Quit(0)]);
        }
        actions
    }
}

fn missing(channel: &ChannelName, names: impl Iterator<Item = String>) -> Vec<Action> {
    let wanted = channel.to_string();
    let near = names.map(|name| (strsim::damerau_levenshtein(&name, &wanted), name)).min();
    let near = near.filter(|(distance, _)| *distance <= 3).map(|(_, name)| name);
    let text = match near {
        Some(name) => format!("there is no channel {wanted}, did you mean {name}?"),
        None => format!("there is no channel {wanted}."),
    };
    let text = format!("{text} Nothing was sent; --join '{wanted}' creates it");
    vec![error(text), Action::Close, Action::Quit(code::NOT_ACKNOWLEDGED)]
}
