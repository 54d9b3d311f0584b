//! Applies the model's outputs to the screen.

use super::answers::{Answers, Hit};
use super::pane::Pane;
use super::pixels;
use super::reader::{Effect, Reader};
use super::settings::Settings;
use super::window::{At, Change, Form, Line, Older, What};
use crate::chat::{Code, Event, Kind, Message, NewMessage, Retention, Seq, Target, UserName};
use crate::client::model::{Input, Origin, Output, State, is_unsealed};
use crate::client::slash::Notify;
use crate::client::transfer::{Progress, TransferState};
use crate::client::ui::mention::mentions;
use crate::client::ui::{transfers, words};

/// Minimum time between two bells of a conversation.
const RING_EVERY_MS: i64 = 1_000;

/// The model's outputs on their way to the screen: answers whose parts are still arriving.
#[derive(Default)]
pub struct Updates {
    answers: Answers,
    /// The title and the rows of a list of files, until the answer about the user's own files
    /// arrives.
    files: Option<(String, Vec<String>)>,
}

impl Updates {
    /// Shows an output. Returns the pane to open, if it is the answer that a pane shows.
    pub fn show(
        &mut self,
        output: Output,
        reader: &mut Reader,
        settings: &Settings,
    ) -> Option<Pane> {
        match output {
            Output::Message(message) => self.message(message, Origin::Server, reader, settings),
            Output::Found(message) => self.message(message, Origin::Client, reader, settings),
            Output::Outgoing(message) => outgoing(reader, message),
            Output::Ack { id, to, .. } => {
                if let Some(index) = reader.position(&to) {
                    reader.windows[index].settle(id);
                }
            }
            Output::Dropped(id) => reader.windows.iter_mut().for_each(|window| window.settle(id)),
            Output::Divider(to) => {
                let index = reader.conversation(&to);
                reader.windows[index].divide();
            }
            Output::Conversation { to, last, read } => known(reader, &to, last, read),
            Output::Renumbered { to, after } => renumbered(reader, &to, after),
            Output::Latency(ms) => reader.status.answered_within(ms),
            Output::Back => reader.status.is_back(reader.view.now_ms()),
            Output::State(state) => self.connection(state, reader),
            Output::Violation { to, from, violation, .. } => {
                let index = reader.conversation(&to);
                let line = reader.line(What::Error(violation.describe(&from)));
                reader.push(index, line);
            }
            Output::KeyChanged { text, .. } => reader.error(text),
            Output::Event(origin, event) => return self.event(origin, event, true, reader),
            Output::Presence(event) => {
                return self.event(Origin::Server, event, false, reader);
            }
            Output::Notice(text) => reader.notice(reader.windows.current(), text),
            Output::Error(text) | Output::Misused(text) => {
                reader.status.fails(Origin::Client, text.clone());
                reader.error(text);
            }
            Output::Target(target) => reader.aimed(&target),
            Output::Gone(channel) => {
                let index = reader.conversation(&Target::Channel(channel));
                reader.is_gone(index);
            }
            Output::Secret(prompt) => reader.input.wants(prompt),
            Output::Timestamps(on) => reader.view.show_times(on),
            Output::Clear => reader.window_mut().clear(Older::Later),
            Output::Unread { to, after, upto, messages } => {
                reader.unread(&to, (after, upto), messages)
            }
            // The message itself shows that it waits.
            Output::Pending { stored: false, to, .. } => {
                reader.status.stores(false);
                let index = reader.conversation(&to);
                reader.notice(index, "the message above is only in memory".into());
            }
            Output::Pending { .. } | Output::Saved { .. } => reader.status.stores(true),
            Output::Transfer(progress) => transfer(reader, &progress),
            Output::Picture { seq, to, picture } => {
                return Some(Pane::picture(format!("picture {seq} of {to}"), picture));
            }
            Output::Transfers(all) => {
                reader.notice(reader.windows.current(), transfers::list(&all));
            }
            Output::Files { to, files } => return Some(self.lists(reader, &to, files)),
            Output::Deriving(_) | Output::Hint(_) | Output::Bye(_) => {}
        }
        None
    }

    /// Shows a list of files.
    fn lists(&mut self, reader: &Reader, to: &Target, files: Vec<Message>) -> Pane {
        let pane = files_pane(reader, to, files);
        self.files = Some((pane.title.clone(), pane.text.clone()));
        pane
    }

    fn connection(&mut self, state: State, reader: &mut Reader) {
        reader.welcome.is_admitted |= matches!(state, State::NotAdmitted { .. });
        reader.status.set_connection(&state, reader.view.now_ms());
        match state {
            State::Connected { name } => reader.own = Some(name),
            State::Silent { .. } => {}
            _ => {
                self.answers.lost();
                reader.windows.disconnected();
            }
        }
    }

    fn message(
        &mut self,
        message: Message,
        origin: Origin,
        reader: &mut Reader,
        settings: &Settings,
    ) {
        let to = message.conversation(reader.own.as_ref());
        match message.reference.as_deref() {
            Some("search") => {
                let line = said(reader, message);
                return self.answers.finds(Hit { by: origin, to, line });
            }
            Some(_) => return self.gather(to, message, reader),
            None => {}
        }
        let own = reader.own.as_ref() == Some(&message.from);
        if message.replay && !message.kind.is_change() && !own {
            reader.status.misses_one();
        }
        let index = reader.conversation(&to);
        let (seq, replay) = (message.seq, message.replay);
        let sees = reader.sees(index);
        let window = &mut reader.windows[index];
        // The server's announcement has already counted it.
        let (counted, was_read) = (seq <= window.last, window.last <= window.read);
        window.last = window.last.max(seq);
        window.spoke(&message.from, message.time_ms);
        // An unsigned change has no effect.
        if message.kind.is_change() && !is_unsealed(&message) {
            window.change(&message);
            if sees {
                reader.look_at_it();
            }
            return;
        }
        let line = said(reader, message);
        let (own, mention) = match line.what {
            What::Said { own, mention, .. } => (own, mention),
            _ => (false, false),
        };
        let here = index == reader.windows.current();
        let window = &mut reader.windows[index];
        window.visited |= here;
        // Answering from another device implies that the room was read.
        let answers = own && !replay && !sees && was_read;
        let read = answers.then(|| window.seen()).flatten();
        if !own && !sees && seq > window.read {
            window.divide();
            window.unread += usize::from(!counted);
            window.new += usize::from(!counted);
        }
        match window.newest() {
            Some(newest) if seq <= newest => window.merge(vec![line]),
            _ => reader.push(index, line),
        }
        if mention {
            reader.windows[index].recount_mentions();
        }
        if mention && index == reader.windows.current() && reader.window().at == At::End {
            reader.scroll.unmark();
        }
        if let Some(seq) = read {
            reader.send(Input::Seen { to, seq });
        }
        if !replay && !own {
            ring(reader, settings, index, mention);
        }
        reader.look_at_it();
    }

    fn gather(&mut self, to: Target, message: Message, reader: &mut Reader) {
        if message.kind.is_change() && !is_unsealed(&message) {
            return;
        }
        let line = said(reader, message);
        self.answers.gathers(to, line);
    }

    fn event(
        &mut self,
        origin: Origin,
        event: Event,
        told: bool,
        reader: &mut Reader,
    ) -> Option<Pane> {
        let (text, readers) = (words::event_text(&event), words::readers(&event));
        match event {
            Event::Welcome { text_bytes_max, .. } => welcomed(reader, text_bytes_max, origin, text),
            Event::Entered { channel, last, read, retention, people, omitted, topic, .. } => {
                let to = Target::Channel(channel);
                describes(reader, &to, (retention, topic), (&people, omitted));
                entered(reader, &to, last, read);
                welcomes(reader, &to, last, people.len().saturating_add(omitted));
                explains(reader, &to, readers);
            }
            Event::Parted { channel, .. } => {
                if let Some(index) = reader.position(&Target::Channel(channel)) {
                    reader.left(index);
                }
            }
            Event::Joined { to, who, here } => {
                moves(reader, &Target::Channel(to), (who, here), true, told);
            }
            Event::Left { to, who, here, reason: None, .. } => {
                moves(reader, &Target::Channel(to), (who, here), false, told);
            }
            Event::Left { to, who, here, reason: Some(reason), .. } => {
                let to = Target::Channel(to);
                moves(reader, &to, (who.clone(), here), false, false);
                if let Some(index) = reader.position(&to) {
                    reader.says(origin, index, Some(format!("{who} left: {reason}")));
                }
            }
            Event::People { channel, people, omitted, .. } => {
                if let Some(index) = reader.position(&Target::Channel(channel)) {
                    reader.windows[index].set_members(&people, omitted);
                }
                reader.says(origin, reader.windows.current(), text);
            }
            Event::Channels { channels, .. } => {
                reader.listed = channels.iter().map(|row| row.channel.to_string()).collect();
                return Some(pane("channels", origin, text));
            }
            Event::Whois { ref name, .. } => {
                return Some(pane(&format!("whois {name}"), origin, text));
            }
            Event::Topic { to, who, text: topic, retention, .. } => {
                // A channel with a PIN has no topic.
                let has_pin = to.has_pin();
                let index = reader.position(&Target::Channel(to));
                if let Some(index) = index.filter(|_| !has_pin) {
                    let window = &mut reader.windows[index];
                    (window.topic, window.retention) = (topic, retention);
                }
                let index = index.filter(|_| who.is_some()).unwrap_or(reader.windows.current());
                reader.says(origin, index, text);
                readers.into_iter().for_each(|text| reader.notice(index, text));
            }
            Event::Gap { to, from_seq, to_seq, stored } => {
                if gap(reader, &to, (from_seq, to_seq), stored) {
                    let index = reader.conversation(&to);
                    reader.says(origin, index, text);
                }
            }
            event => return self.outside(origin, event, text, reader),
        }
        None
    }

    /// Handles events outside channels.
    fn outside(
        &mut self,
        origin: Origin,
        event: Event,
        text: Option<String>,
        reader: &mut Reader,
    ) -> Option<Pane> {
        match event {
            Event::Read { to, seq } => {
                if let Some(index) = reader.position(&to) {
                    let is_here = index == reader.windows.current();
                    let window = &mut reader.windows[index];
                    window.read_elsewhere(seq);
                    window.divider.take_if(|_| !is_here);
                }
            }
            Event::History { to, more, messages, partial, reference } => {
                if reference.as_deref() == Some("history") {
                    reader.flash(format!("{messages} messages were loaded: PageUp"));
                }
                let older = match (partial, more) {
                    (true, _) => Some(words::PARTIAL),
                    (false, true) => Some("there are older ones: search for more words"),
                    (false, false) => None,
                };
                match reference.as_deref() {
                    Some("search") => return Some(self.found(origin, messages, older, reader)),
                    _ => self.loaded(to, more, reader),
                }
            }
            Event::Refused { code: Code::InDoubt, hint, .. } => {
                reader.says(origin, reader.windows.current(), Some(hint));
            }
            Event::Refused { id, hint, reference, .. } => {
                refused(reader, origin, id, hint, reference)
            }
            Event::Goodbye { reason, .. } => {
                reader.status.fails(origin, reason.clone());
                reader.fails(origin, reason);
            }
            Event::Usage { .. } => match self.files.take() {
                Some(listed) => return Some(with_usage(listed, origin, text)),
                None => reader.says(origin, reader.windows.current(), text),
            },
            Event::Password { .. } | Event::Notice { .. } => {
                reader.says(origin, reader.windows.current(), text)
            }
            _ => {}
        }
        None
    }

    /// Ends the answer to a search.
    fn found(
        &mut self,
        origin: Origin,
        messages: usize,
        older: Option<&str>,
        reader: &Reader,
    ) -> Pane {
        let hits = self.answers.take_hits();
        let areas = reader.areas();
        let paper = reader.paper(&areas);
        let row = |hit: &Hit| format!("{}  {}", hit.to, paper.plain(&hit.line));
        let mut text: Vec<String> = hits.iter().filter(|hit| hit.by == origin).map(row).collect();
        older.iter().for_each(|older| text.insert(0, (*older).into()));
        let title = format!("search: {messages} found");
        Pane::new(title, text).of(origin)
    }

    /// Ends an answer with older messages.
    fn loaded(&mut self, to: Option<Target>, more: bool, reader: &mut Reader) {
        let Some(to) = to else { return };
        let lines = self.answers.take_older(&to);
        if let Some(index) = reader.position(&to) {
            reader.windows.loaded(index, lines, more);
        }
        reader.older_came();
    }
}

/// Takes a gap in the messages of a conversation. Returns whether to report it.
fn gap(reader: &mut Reader, to: &Target, (from, upto): (Seq, Seq), stored: bool) -> bool {
    if !stored {
        return true;
    }
    let index = reader.conversation(to);
    let messages = upto.0.saturating_sub(from.0).saturating_add(1);
    reader.status.omits(usize::try_from(messages).unwrap_or(usize::MAX));
    let window = &reader.windows[index];
    // Nothing of a channel is unread at the first visit.
    if window.divider.is_none() && window.newest().is_none() {
        reader.flash(format!("{messages} older messages of {to}: PageUp"));
    }
    reader.windows[index].gap(from, upto)
}

/// Takes the newest message and the read position of a conversation. How many of the messages
/// between them are unread is said later, and opens a conversation.
fn known(reader: &mut Reader, to: &Target, last: Seq, read: Seq) {
    let Some(index) = reader.position(to) else { return };
    let window = &mut reader.windows[index];
    window.joined = true;
    window.read = window.read.max(read);
    window.last = window.last.max(last);
    if window.last > window.read {
        window.divide();
    }
    reader.look_at_it();
}

fn renumbered(reader: &mut Reader, to: &Target, after: Seq) {
    let Some(index) = reader.position(to) else { return };
    if reader.windows[index].renumber(after) {
        let text = "the server's log begins again here";
        reader.notice(index, text.into());
    }
    // Another message has the seq of the chosen one from now on.
    let is_gone = reader.scroll.chosen().is_some_and(|chosen| chosen > after);
    if index == reader.windows.current() && is_gone {
        reader.scroll.choose(None);
    }
}

fn outgoing(reader: &mut Reader, message: NewMessage) {
    let NewMessage { to, id, kind, body } = message;
    let shown = !kind.is_change() && kind.blob().is_none();
    let Some(who) = reader.own.clone().filter(|_| shown) else { return };
    let (me, text) = (kind == Kind::Me, body.text().to_owned());
    let line = reader.line(What::Outgoing { id, who, text, me, refused: None });
    let index = reader.conversation(&to);
    if index != reader.windows.current() && reader.status.is_up() {
        reader.flash(format!("to {to}: Alt-{}", index + 1));
    }
    reader.windows[index].outgoing(line);
}

/// Takes the server's limit, and shows the message of the day unless it is on the screen.
fn welcomed(reader: &mut Reader, text_bytes_max: usize, origin: Origin, motd: Option<String>) {
    reader.text_bytes_max = text_bytes_max;
    let motd = motd.filter(|motd| !reader.windows[0].has_notice(motd));
    reader.says(origin, 0, motd);
}

/// Welcomes a user who is new, in an empty lobby or after the admission.
fn welcomes(reader: &mut Reader, to: &Target, last: Seq, here: usize) {
    if !to.is_lobby() {
        return;
    }
    let is_over = std::mem::replace(&mut reader.welcome.is_over, true);
    let is_new = last == Seq(0) || reader.welcome.is_admitted;
    let Some(own) = reader.own.as_ref().filter(|_| is_new && !is_over) else { return };
    let line = |text| reader.line(What::Notice(text));
    let lines = words::welcome(own, here).map(line).into();
    reader.windows[0].begin_with(lines);
}

/// Says at the first entry into a channel with a PIN who can read it.
fn explains(reader: &mut Reader, to: &Target, readers: Option<String>) {
    let index = reader.conversation(to);
    let is_first = to.is_sealed() && reader.windows[index].lines.is_empty();
    readers.filter(|_| is_first).into_iter().for_each(|text| reader.notice(index, text));
}

/// The list of a conversation's files.
fn files_pane(reader: &Reader, to: &Target, files: Vec<Message>) -> Pane {
    let areas = reader.areas();
    let paper = reader.paper(&areas);
    let title = transfers::files_of(to, files.len());
    let rows = files.into_iter().map(|message| paper.plain(&said(reader, message)));
    Pane::new(title, rows.collect()).of(Origin::Server)
}

/// Returns a pane with the size of the user's own files above a list of files.
fn with_usage(listed: (String, Vec<String>), origin: Origin, text: Option<String>) -> Pane {
    let (title, files) = listed;
    let mut rows: Vec<String> = text.unwrap_or_default().lines().map(str::to_owned).collect();
    rows.push(String::new());
    rows.extend(files);
    Pane::new(title, rows).of(origin)
}

/// Shows a transfer in the status line, and its end in its conversation.
fn transfer(reader: &mut Reader, progress: &Progress) {
    reader.status.transfers(progress);
    let index = reader.conversation(&progress.to);
    let (id, text) = (progress.id, transfers::text(progress));
    let row = || {
        let bar = transfers::bar(progress, 10);
        reader.line(What::Transfer { id, text: format!("{text} {bar}") })
    };
    let row = (!progress.state.is_end()).then(row);
    reader.windows[index].transfers(id, row);
    match &progress.state {
        TransferState::Failed(failure) if failure.is_theirs => {
            reader.server_says(index, text, true);
        }
        TransferState::Failed(_) => {
            let line = reader.line(What::Error(text));
            reader.push(index, line);
        }
        TransferState::Saved(_) | TransferState::Cancelled => reader.notice(index, text),
        // The message itself shows a file that was sent.
        _ => {}
    }
}

/// A line for a message.
fn said(reader: &Reader, message: Message) -> Line {
    let (time_ms, day) = reader.view.stamp(message.time_ms);
    let seq = Some(message.seq);
    if is_unsealed(&message) {
        let what = What::Server { text: words::unsealed(&message), error: false };
        return Line { time_ms, day, seq, what };
    }
    let own = reader.own.as_ref() == Some(&message.from);
    let text = words::text_of(&message).into_owned();
    let conversation = message.conversation(reader.own.as_ref());
    let named = !mentions(&text, &reader.words(&conversation)).is_empty();
    let mention = !own && (named || matches!(message.to, Target::User(_)));
    let note = words::lock_note(&message);
    let preview = pixels::preview(&message);
    let what = What::Said {
        form: Form::of(&message.kind),
        change: Change::of(&message),
        who: message.from,
        text: text + note,
        own,
        mention,
        preview,
    };
    Line { time_ms, day, seq, what }
}

fn ring(reader: &mut Reader, settings: &Settings, index: usize, mention: bool) {
    let conversation = reader.windows[index].target.to_string();
    let notify = settings.notify.get(&conversation).copied().unwrap_or(Notify::Mentions);
    let wanted = match notify {
        Notify::Off => false,
        Notify::Mentions => mention,
        Notify::All => true,
    };
    // Many messages cause one bell.
    let just_now = reader.view.now_ms() - reader.windows[index].rang_ms < RING_EVERY_MS;
    if !wanted || just_now || reader.focused == Some(true) {
        return;
    }
    reader.windows[index].rang_ms = reader.view.now_ms();
    if settings.bell {
        reader.effects.push(Effect::Bell);
    }
    let what = if mention { "mention in" } else { "unread messages in" };
    reader.effects.push(Effect::Notify(format!("{what} {conversation}")));
}

/// Applies the retention, the topic and the members of a channel.
fn describes(
    reader: &mut Reader,
    to: &Target,
    (retention, topic): (Retention, Option<String>),
    (people, omitted): (&[UserName], usize),
) {
    let index = reader.conversation(to);
    let window = &mut reader.windows[index];
    (window.retention, window.topic, window.gone) = (retention, topic, false);
    window.set_members(people, omitted);
}

fn entered(reader: &mut Reader, to: &Target, last: Seq, read: Seq) {
    if !to.is_lobby() {
        known(reader, to, last, read);
    }
    let index = reader.conversation(to);
    reader.windows[index].joined = true;
}

/// Handles a join or part, with the count of members.
fn moves(reader: &mut Reader, to: &Target, (who, here): (UserName, usize), came: bool, told: bool) {
    let Some(index) = reader.position(to) else { return };
    let stamp = reader.view.stamp(reader.view.now_ms());
    let worth = reader.windows[index].turns(&who, came, reader.view.now_ms());
    reader.windows[index].counts(here);
    if told && worth && reader.own.as_ref() != Some(&who) {
        reader.windows[index].moved(&who, came, stamp);
    }
}

fn refused(
    reader: &mut Reader,
    origin: Origin,
    id: Option<crate::chat::MsgId>,
    hint: String,
    reference: Option<String>,
) {
    let older = reference.as_deref().and_then(|text| text.strip_prefix("older "));
    if let Some(window) = reader
        .windows
        .iter_mut()
        .find(|one| older.is_some_and(|older| one.target.to_string() == older))
    {
        (window.older, window.asked) = (Older::Later, None);
        if std::mem::take(&mut window.seeks) {
            reader.flash("the server is busy: press Alt-U to continue");
        }
        return;
    }
    let mut windows = reader.windows.iter_mut();
    let marked = id.is_some_and(|id| windows.any(|one| one.refuse(id, origin, &hint)));
    if !marked {
        reader.fails(origin, hint);
    }
}

fn pane(title: &str, origin: Origin, text: Option<String>) -> Pane {
    let text = text.unwrap_or_default().lines().map(str::to_owned).collect();
    Pane::new(title, text).of(origin)
}
