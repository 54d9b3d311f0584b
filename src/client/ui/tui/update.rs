//! Applies the model's outputs to the screen.

use super::answers::Hit;
use super::app::{App, Effect, Overlay};
use super::pane::Pane;
use super::window::{At, Line, Older, What, mentions};
use crate::chat::{Code, Event, Kind, Message, NewMessage, Seq, Target, UserName};
use crate::client::model::{Input, Origin, Output, State, is_unsealed};
use crate::client::slash::Notify;
use crate::client::ui::words;

/// Minimum time between two bells of a conversation.
const RING_EVERY_MS: i64 = 1_000;
impl App {
    pub fn show(&mut self, output: Output) {
        match output {
            Output::Message(message) => self.message(message, Origin::Server),
            Output::Found(message) => self.message(message, Origin::Client),
            Output::Outgoing(message) => self.outgoing(message),
            Output::Ack { id, to, .. } => {
                if let Some(index) = self.position(&to) {
                    self.windows[index].settle(id);
                }
            }
            Output::Dropped(id) => self.windows.iter_mut().for_each(|window| window.settle(id)),
            Output::Divider(to) => {
                let index = self.conversation(&to);
                self.windows[index].divide();
            }
            Output::Conversation { to, last, read } => self.known(&to, last, read),
            Output::Latency(ms) => self.status.answered_within(ms),
            Output::Back => self.status.is_back(self.view.now_ms()),
            Output::State(state) => self.connection(state),
            Output::Violation { to, from, violation, .. } => {
                let index = self.conversation(&to);
                let line = self.line(What::Error(violation.told(&from)));
                self.push(index, line);
            }
            Output::KeyChanged { text, .. } => self.error(text),
            Output::Event(origin, event) => self.event(origin, event, true),
            Output::Presence(event) => self.event(Origin::Server, event, false),
            Output::Notice(text) => self.notice(self.windows.current(), text),
            Output::Error(text) | Output::Misused(text) => {
                self.status.fails(Origin::Client, text.clone());
                self.error(text);
            }
            Output::Target(target) => self.aimed(&target),
            Output::Gone(channel) => {
                let index = self.conversation(&Target::Channel(channel));
                self.is_gone(index);
            }
            Output::Secret(prompt) => {
                self.input.wants(prompt);
                self.prompts();
            }
            Output::Timestamps(on) => self.view.show_times(on),
            Output::Clear => self.window_mut().clear(Older::Later),
            // The message itself shows that it waits, and the rooms show what is unread.
            Output::Pending { stored: false, to, .. } => {
                self.status.stores(false);
                let index = self.conversation(&to);
                self.notice(index, "the message above is only in memory".into());
            }
            Output::Pending { .. } | Output::Saved { .. } => self.status.stores(true),
            Output::Unread { .. } | Output::Hint(_) | Output::Bye(_) => {}
        }
    }

    fn connection(&mut self, state: State) {
        self.status.connection(&state, self.view.now_ms());
        match state {
            State::Connected { name } => self.own = Some(name),
            State::Silent { .. } => {}
            _ => {
                self.answers.lost();
                self.windows.disconnected();
            }
        }
    }

    /// Takes the newest message and the read position of a conversation.
    fn known(&mut self, to: &Target, last: Seq, read: Seq) {
        let unread = last.0.saturating_sub(read.0) as usize;
        if self.position(to).is_none() && unread == 0 {
            return;
        }
        let index = self.conversation(to);
        let window = &mut self.windows[index];
        window.joined = true;
        window.read = window.read.max(read);
        window.last = window.last.max(last);
        window.unread = last.0.saturating_sub(window.read.0) as usize;
        if window.unread > 0 {
            window.divide();
        }
        self.look_at_it();
    }

    fn outgoing(&mut self, message: NewMessage) {
        let NewMessage { to, id, kind, body } = message;
        let Some(who) = self.own.clone().filter(|_| !kind.is_change()) else { return };
        let (me, text) = (kind == Kind::Me, body.text().to_owned());
        let line = self.line(What::Outgoing { id, who, text, me, refused: None });
        let index = self.conversation(&to);
        if index != self.windows.current() && self.status.is_up() {
            self.flash(format!("to {to}: Alt-{}", index + 1));
        }
        self.windows[index].outgoing(line);
    }

    fn message(&mut self, message: Message, origin: Origin) {
        let to = message.conversation(self.own.as_ref());
        match message.reference.as_deref() {
            Some("search") => {
                let line = self.said(message);
                return self.answers.finds(Hit { by: origin, to, line });
            }
            Some(_) => return self.gather(to, message),
            None => {}
        }
        if message.replay {
            self.status.misses_one();
        }
        let index = self.conversation(&to);
        let (seq, replay) = (message.seq, message.replay);
        let sees = self.sees(index);
        let window = &mut self.windows[index];
        // The server's announcement has already counted it.
        let counted = seq <= window.last;
        window.last = window.last.max(seq);
        window.spoke(&message.from, message.time_ms);
        // An unsigned change has no effect.
        if message.kind.is_change() && !is_unsealed(&message) {
            window.change(&message);
            if sees {
                self.look_at_it();
            }
            return;
        }
        let line = self.said(message);
        let (own, mention) = match line.what {
            What::Said { own, mention, .. } => (own, mention),
            _ => (false, false),
        };
        let here = index == self.windows.current();
        let window = &mut self.windows[index];
        window.visited |= here;
        // Answering from another device implies that the room was read.
        let read = (own && !sees && window.unread == 0).then(|| window.seen()).flatten();
        if !own && !sees && seq > window.read {
            window.divide();
            window.unread += usize::from(!counted);
            window.mentions += usize::from(mention);
        }
        match window.newest() {
            Some(newest) if seq <= newest => window.merge(vec![line]),
            _ => self.push(index, line),
        }
        if mention && index == self.windows.current() && self.window().at == At::End {
            self.scroll.unmark();
        }
        if let Some(seq) = read {
            self.happen(Input::Seen { to, seq });
        }
        if !replay && !own {
            self.ring(index, mention);
        }
        self.look_at_it();
    }

    /// A line for a message.
    fn said(&self, message: Message) -> Line {
        let (time_ms, day) = self.view.stamp(message.time_ms);
        let seq = Some(message.seq);
        if is_unsealed(&message) {
            let what = What::Server { text: words::unsealed(&message), error: false };
            return Line { time_ms, day, seq, what };
        }
        let own = self.own.as_ref() == Some(&message.from);
        let named =
            self.own.as_ref().is_some_and(|own| mentions(message.body.text(), own.as_str()));
        let mention = !own && (named || matches!(message.to, Target::User(_)));
        let note = words::lock_note(&message);
        let what = What::Said {
            who: message.from,
            text: message.body.text().to_owned() + note,
            me: message.kind == Kind::Me,
            own,
            mention,
            edited: message.edited,
            deleted: message.deleted,
        };
        Line { time_ms, day, seq, what }
    }

    fn ring(&mut self, index: usize, mention: bool) {
        let conversation = self.windows[index].target.to_string();
        let notify = self.settings.notify.get(&conversation).copied().unwrap_or(Notify::Mentions);
        let wanted = match notify {
            Notify::Off => false,
            Notify::Mentions => mention,
            Notify::All => true,
        };
        // Many messages cause one bell.
        let just_now = self.view.now_ms() - self.windows[index].rang_ms < RING_EVERY_MS;
        if !wanted || just_now || self.focused == Some(true) {
            return;
        }
        self.windows[index].rang_ms = self.view.now_ms();
        if self.settings.bell {
            self.effects.push(Effect::Bell);
        }
        let what = if mention { "mention in" } else { "unread messages in" };
        self.effects.push(Effect::Notify(format!("{what} {conversation}")));
    }

    fn gather(&mut self, to: Target, message: Message) {
        if message.kind.is_change() && !is_unsealed(&message) {
            return;
        }
        let line = self.said(message);
        self.answers.gathers(to, line);
    }

    fn event(&mut self, origin: Origin, event: Event, told: bool) {
        let (text, readers) = (words::told(&event), words::readers(&event));
        match event {
            Event::Welcome { text_bytes_max, .. } => {
                self.text_bytes_max = text_bytes_max;
                if let Some(motd) = text
                    && !self.windows[0].has_notice(&motd)
                {
                    self.says(origin, 0, Some(motd));
                }
            }
            event @ Event::Entered { .. } => self.entered(event),
            Event::Parted { channel, .. } => {
                if let Some(index) = self.position(&Target::Channel(channel)) {
                    self.left(index);
                }
            }
            Event::Joined { to, who, here } => {
                self.moves(&Target::Channel(to), (who, here), true, told);
            }
            Event::Left { to, who, here, reason: None, .. } => {
                self.moves(&Target::Channel(to), (who, here), false, told);
            }
            Event::Left { to, who, here, reason: Some(reason), .. } => {
                let to = Target::Channel(to);
                self.moves(&to, (who.clone(), here), false, false);
                if let Some(index) = self.position(&to) {
                    self.says(origin, index, Some(format!("{who} left: {reason}")));
                }
            }
            Event::People { channel, people, omitted, .. } => {
                if let Some(index) = self.position(&Target::Channel(channel)) {
                    self.windows[index].set_members(&people, omitted);
                }
                self.says(origin, self.windows.current(), text);
            }
            Event::Channels { channels, .. } => {
                self.listed = channels.iter().map(|row| row.channel.to_string()).collect();
                self.open("channels", origin, text);
            }
            Event::Whois { ref name, .. } => self.open(&format!("whois {name}"), origin, text),
            Event::Topic { to, who, text: topic, retention, .. } => {
                let index = self.position(&Target::Channel(to));
                if let Some(index) = index {
                    let window = &mut self.windows[index];
                    (window.topic, window.retention) = (topic, retention);
                }
                let index = index.filter(|_| who.is_some()).unwrap_or(self.windows.current());
                self.says(origin, index, text);
                readers.into_iter().for_each(|text| self.notice(index, text));
            }
            Event::Gap { to, stored, .. } => {
                let index = self.conversation(&to);
                let window = &mut self.windows[index];
                match stored && window.at == At::End {
                    // Missing messages are loaded by scrolling up, together with the others.
                    true => window.clear(Older::Perhaps),
                    false => self.says(origin, index, text),
                }
            }
            event => self.answers(origin, event, text),
        }
    }

    fn entered(&mut self, event: Event) {
        let Event::Entered { channel, last, read, retention, people, omitted, topic, .. } = event
        else {
            return;
        };
        let to = Target::Channel(channel);
        let index = self.conversation(&to);
        let window = &mut self.windows[index];
        (window.retention, window.topic, window.gone) = (retention, topic, false);
        window.set_members(&people, omitted);
        if !window.target.is_lobby() {
            self.known(&to, last, read);
        }
        let index = self.conversation(&to);
        self.windows[index].joined = true;
    }

    /// Handles events outside channels.
    fn answers(&mut self, origin: Origin, event: Event, text: Option<String>) {
        match event {
            Event::Read { to, seq } => {
                if let Some(index) = self.position(&to) {
                    self.windows[index].read_elsewhere(seq);
                }
            }
            Event::History { to, more, lines, partial, reference } => {
                if reference.as_deref() == Some("history") {
                    self.flash(format!("{lines} messages were loaded: PageUp"));
                }
                let older = match (partial, more) {
                    (true, _) => Some(words::PARTIAL),
                    (false, true) => Some("there are older ones: search for more words"),
                    (false, false) => None,
                };
                match reference.as_deref() {
                    Some("search") => self.found(origin, lines, older),
                    _ => self.loaded(to, more),
                }
            }
            Event::Refused { code: Code::InDoubt, hint, .. } => {
                self.says(origin, self.windows.current(), Some(hint));
            }
            Event::Refused { id, hint, reference, .. } => self.refused(origin, id, hint, reference),
            Event::Goodbye { reason, .. } => {
                self.status.fails(origin, reason.clone());
                self.fails(origin, reason);
            }
            Event::Password { .. } | Event::Notice { .. } => {
                self.says(origin, self.windows.current(), text)
            }
            _ => {}
        }
    }

    /// Adds a text of this origin to a conversation.
    fn says(&mut self, origin: Origin, index: usize, text: Option<String>) {
        match (origin, text) {
            (_, None) => {}
            (Origin::Client, Some(text)) => self.notice(index, text),
            (Origin::Server, Some(text)) => self.server_says(index, text, false),
        }
    }

    fn fails(&mut self, origin: Origin, text: String) {
        match origin {
            Origin::Client => self.error(text),
            Origin::Server => self.server_says(self.windows.current(), text, true),
        }
    }

    /// Handles a join or part, with the count of members.
    fn moves(&mut self, to: &Target, (who, here): (UserName, usize), came: bool, told: bool) {
        let Some(index) = self.position(to) else { return };
        let stamp = self.view.stamp(self.view.now_ms());
        let worth = self.windows[index].turns(&who, came, self.view.now_ms());
        self.windows[index].counts(here);
        if told && worth && self.own.as_ref() != Some(&who) {
            self.windows[index].moved(&who, came, stamp);
        }
    }

    fn open(&mut self, title: &str, origin: Origin, text: Option<String>) {
        let text = text.unwrap_or_default().lines().map(str::to_owned).collect();
        self.open_pane(Pane::new(title, text).of(origin));
    }

    fn open_pane(&mut self, pane: Pane) {
        if matches!(self.overlay, Some(Overlay::Paste(_))) {
            return self.flash("an answer arrived: ask again to see it");
        }
        self.overlay = Some(Overlay::Pane(pane));
    }

    /// Ends the answer to a search.
    fn found(&mut self, origin: Origin, lines: usize, older: Option<&str>) {
        let hits = self.answers.take_hits();
        let areas = self.areas();
        let paper = self.paper(&areas);
        let row = |hit: &Hit| format!("{}  {}", hit.to, paper.plain(&hit.line));
        let mut text: Vec<String> = hits.iter().filter(|hit| hit.by == origin).map(row).collect();
        older.iter().for_each(|older| text.insert(0, (*older).into()));
        let title = format!("search: {lines} found");
        self.open_pane(Pane::new(title, text).of(origin));
    }

    /// Ends an answer with older messages.
    fn loaded(&mut self, to: Option<Target>, more: bool) {
        let Some(to) = to else { return };
        let lines = self.answers.take_older(&to);
        if let Some(index) = self.position(&to) {
            let window = &mut self.windows[index];
            let before = window.oldest();
            window.merge(lines);
            // A server that claims more and sends none is not asked again and again.
            let more = more && window.oldest() != before;
            window.older = if more { Older::Perhaps } else { Older::None };
        }
    }

    fn refused(
        &mut self,
        origin: Origin,
        id: Option<crate::chat::MsgId>,
        hint: String,
        reference: Option<String>,
    ) {
        let older = reference.as_deref().and_then(|text| text.strip_prefix("older "));
        if let Some(window) = self
            .windows
            .iter_mut()
            .find(|one| older.is_some_and(|older| one.target.to_string() == older))
        {
            window.older = Older::Later;
            return;
        }
        let mut windows = self.windows.iter_mut();
        let marked = id.is_some_and(|id| windows.any(|one| one.refuse(id, origin, &hint)));
        if !marked {
            self.fails(origin, hint);
        }
    }
}
