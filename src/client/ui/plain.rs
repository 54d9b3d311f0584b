//! Append-only lines, for terminals, pipes and screen readers.

use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use colored::{ColoredString, Colorize};
use jiff::tz::TimeZone;

use super::mention::{folded, mentions};
use super::transfers::{self, TransferLines};
use super::words::{self, PALETTE, describe, shade, span};
use super::{Ui, gutter, picture};
use crate::chat::{Event, Kind, Message, MsgId, Target, UserName};
use crate::client::connection::inbox::Permit;
use crate::client::model::{Origin, Output, SecretPrompt, State, is_unsealed};
use crate::client::transfer::{Progress, Shown, TransferState};
use crate::client::ui::stdout::Print;
use crate::fault::code;
use crate::terminal;

/// The mark before a message that mentions the user, on a terminal.
const MENTION: &str = "! ";
/// Rings the terminal's bell.
const BELL: &str = "\u{7}";
/// Minimum time between two bells.
const RING_EVERY: Duration = Duration::from_secs(1);
/// Columns and rows of a picture at most.
const PICTURE_CELLS: (usize, usize) = (100, 40);

pub struct Plain {
    print: Box<dyn Print>,
    /// The user has left.
    quits: bool,
    own: Option<UserName>,
    zone: TimeZone,
    timestamps: bool,
    /// Dates are printed.
    days: bool,
    /// The day of the last line.
    day: Option<jiff::civil::Date>,
    /// A terminal: states are shown, and typed messages are not repeated. In a pipe both would be
    /// noise.
    chatty: bool,
    /// The terminal can be cleared.
    clears: bool,
    /// Width of the terminal in cells, if it is one.
    cells: fn() -> Option<usize>,
    /// The last shown state, so that repeated attempts are shown once.
    told: Option<State>,
    /// Messages typed at this terminal, which already shows them.
    typed: HashSet<MsgId>,
    /// Which lines of transfers were printed.
    transfers: TransferLines,
    /// Mentions ring the terminal's bell.
    bell: bool,
    /// Time of the last bell.
    rang: Option<Instant>,
    /// The operator has admitted the user in this run.
    admitted: bool,
    /// The welcome was printed, or is not due.
    welcomed: bool,
    /// The code of the user's key.
    code: Option<String>,
}

impl Plain {
    pub fn new(print: Box<dyn Print>, chatty: bool, clears: bool) -> Self {
        let zone = TimeZone::system();
        Plain {
            print,
            quits: false,
            own: None,
            zone,
            timestamps: true,
            days: true,
            day: None,
            chatty,
            clears,
            cells: || terminal::cells(&std::io::stdout()),
            told: None,
            typed: HashSet::new(),
            transfers: TransferLines::default(),
            bell: false,
            rang: None,
            admitted: false,
            welcomed: !chatty,
            code: None,
        }
    }

    /// Rings the bell for mentions and private messages on a terminal, if the user wants that.
    pub fn with_bell(self, bell: bool) -> Plain {
        Plain { bell: bell && self.chatty, ..self }
    }

    /// Repeats the code of the user's key on a terminal while the operator has not admitted it.
    pub fn with_code(self, code: String) -> Plain {
        Plain { code: Some(code).filter(|_| self.chatty), ..self }
    }

    /// Prints messages without dates.
    pub fn bare(print: Box<dyn Print>) -> Plain {
        Plain { days: false, ..Plain::new(print, false, false) }
    }

    /// Prints a message or an event. Further rows are indented, so that none begins in column one.
    fn line(&mut self, line: String) {
        let rows = gutter::under("    ", &line, (self.cells)());
        self.print.print(rows);
    }

    /// Prints a text of this client, which a terminal may wrap anywhere.
    fn notice(&mut self, text: &str) {
        self.print.print(gutter::behind(gutter::NOTICE, text, None));
    }

    fn error(&mut self, text: &str) {
        self.print.print(gutter::under("    ", &format!("{}{text}", gutter::ERROR), None));
    }

    fn says(&mut self, origin: Origin, text: &str) {
        match origin {
            Origin::Client => self.notice(text),
            Origin::Server => {
                let rows = gutter::behind(gutter::SERVER, text, (self.cells)());
                self.print.print(rows);
            }
        }
    }

    fn state(&mut self, state: &State) {
        if let State::Connected { name } = state {
            self.own = Some(name.clone());
        }
        self.admitted |= matches!(state, State::NotAdmitted { .. });
        let matters = matches!(state, State::NotAdmitted { .. } | State::Silent { .. });
        match (&self.told, state) {
            (Some(State::Silent { .. }), State::Connected { .. }) => {
                self.notice("the server answers again");
            }
            _ if self.is_news(state) && (self.chatty || matters) => self.notice(&describe(state)),
            _ => return,
        }
        if let (State::NotAdmitted { .. }, Some(code)) = (state, self.code.clone()) {
            self.notice(&format!("your code, for the operator:\n{code}"));
        }
        self.told = Some(state.clone());
    }

    fn is_news(&self, state: &State) -> bool {
        match (&self.told, state) {
            (Some(State::Offline { .. } | State::NotAdmitted { .. }), State::Connecting) => false,
            (Some(told), state) => std::mem::discriminant(told) != std::mem::discriminant(state),
            (None, _) => true,
        }
    }

    fn message(&self, message: &Message) -> String {
        let own = self.own.as_ref() == Some(&message.from);
        let time = self.time(message.time_ms);
        let (before, conversation, arrow) = match &message.to {
            Target::Channel(channel) if channel.is_lobby() => ("", String::new(), String::new()),
            Target::Channel(channel) => ("", format!("{channel} "), String::new()),
            Target::User(to) if own => ("[Private]", String::new(), format!(" -> {to}")),
            Target::User(_) => ("[Private]", String::new(), String::new()),
        };
        let mentions = self.mentions(message);
        let is_mention = !mentions.is_empty();
        let name = painted(&message.from);
        let name = if is_mention { name.bold() } else { name };
        let who = if own { "You".bold() } else { name.clone() };
        let mark = if is_mention { MENTION } else { "" };
        let text = match (message.deleted, message.edited) {
            (true, _) => "(deleted)".to_owned(),
            (_, true) => {
                format!("{} (edited){}", words::text_of(message), words::lock_note(message))
            }
            _ => format!("{}{}", words::text_of(message), words::lock_note(message)),
        };
        match message.kind {
            Kind::Say | Kind::File { .. } => {
                format!("{before}{time}{mark}{conversation}{who}{arrow}: {text}")
            }
            Kind::Me => format!("{before}{mark}{conversation}* {name} {text}"),
            Kind::Edit { .. } => {
                format!("{before}{time}{conversation}{who}{arrow} (corrected): {text}")
            }
            Kind::Delete { .. } => {
                format!("{before}{time}{conversation}{who}{arrow} (deleted a message)")
            }
        }
    }

    /// The parts of a message of somebody else that mention the user, on a terminal.
    fn mentions(&self, message: &Message) -> Vec<Range<usize>> {
        let own = self.own.as_ref().filter(|own| self.chatty && **own != message.from);
        let words: Vec<String> = own.map(|own| folded(own.as_str())).into_iter().collect();
        mentions(message.body.text(), &words)
    }

    /// Rings the bell for a new message that mentions the user or is private. Many messages cause
    /// one bell, and the answers of a search none.
    fn ring(&mut self, message: &Message) -> &'static str {
        let is_new = !message.replay && message.reference.is_none() && !is_unsealed(message);
        let others = self.own.as_ref() != Some(&message.from) && !message.kind.is_change();
        let wanted = matches!(message.to, Target::User(_)) || !self.mentions(message).is_empty();
        let is_due = self.rang.is_none_or(|rang| rang.elapsed() >= RING_EVERY);
        let rings = self.bell && is_new && others && wanted && is_due;
        if !rings {
            return "";
        }
        self.rang = Some(Instant::now());
        BELL
    }

    /// Prints the date before the first message of another day.
    fn day(&mut self, time_ms: i64) {
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
        let day = time.to_zoned(self.zone.clone()).date();
        let before = self.day.replace(day);
        let today = jiff::Timestamp::now().to_zoned(self.zone.clone()).date();
        // A session that begins today needs no date.
        if self.days && before != Some(day) && (before.is_some() || day != today) {
            self.notice(&format!("{} --", day.strftime("%a %-d %b %Y")));
        }
    }

    fn time(&self, time_ms: i64) -> String {
        if !self.timestamps {
            return String::new();
        }
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
        let time = time.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string();
        format!("[{time}] ")
    }

    fn event(&mut self, origin: Origin, event: &Event) {
        match event {
            Event::Welcome { name, motd, .. } => {
                self.own = Some(name.clone());
                if let Some(motd) = motd {
                    self.says(origin, motd);
                }
            }
            Event::Joined { to, who, here } => {
                let conversation = if to.is_lobby() { String::new() } else { format!("{to} ") };
                self.line(format!("--> {conversation}{} joined ({here} here)", painted(who)));
            }
            Event::Left { to, who, after_ms, reason, .. } => {
                let conversation = if to.is_lobby() { String::new() } else { format!("{to} ") };
                let after = span(*after_ms);
                self.line(format!("<-- {conversation}{} left (after {after})", painted(who)));
                if let Some(reason) = reason {
                    self.says(origin, &format!("{conversation}{who} left: {reason}"));
                }
            }
            Event::Refused { code, hint, .. } => self.fails(origin, &words::refusal(*code, hint)),
            Event::Goodbye { reason, .. } => self.fails(origin, reason),
            event => {
                if let Some(text) = words::event_text(event) {
                    self.says(origin, &text);
                }
                if let Some(text) = words::readers(event) {
                    self.notice(&text);
                }
                self.welcome(event);
            }
        }
    }

    /// Prints the end of the welcome at the first entry into an empty lobby, or after the
    /// admission.
    fn welcome(&mut self, event: &Event) {
        let Event::Entered { channel, last, people, omitted, .. } = event else { return };
        let Some(own) = self.own.clone().filter(|_| channel.is_lobby()) else { return };
        let is_new = last.0 == 0 || self.admitted;
        if !std::mem::replace(&mut self.welcomed, true) && is_new {
            let here = people.len().saturating_add(*omitted);
            words::welcome(&own, here).iter().for_each(|text| self.notice(text));
        }
    }

    fn fails(&mut self, origin: Origin, text: &str) {
        match origin {
            Origin::Client => self.error(text),
            Origin::Server => self.says(origin, &format!("{}{text}", gutter::ERROR)),
        }
    }

    /// Prints a picture as wide as the terminal, in half blocks.
    fn picture(&mut self, picture: &Shown) {
        let columns = (self.cells)().unwrap_or(PICTURE_CELLS.0).min(PICTURE_CELLS.0);
        let colours = colored::control::SHOULD_COLORIZE.should_colorize();
        let room = (columns.saturating_sub(1), PICTURE_CELLS.1);
        self.print.print(picture::text(&picture.0, room, colours));
    }

    /// Prints a line at the begin of a transfer, at each quarter or after 10 s, and at its end.
    fn transfer(&mut self, progress: &Progress) {
        if let Some(text) = self.transfers.line(progress, Instant::now()) {
            let is_failed = matches!(progress.state, TransferState::Failed(_));
            match &progress.state {
                TransferState::Failed(failure) if failure.is_theirs => {
                    self.fails(Origin::Server, &text)
                }
                _ if is_failed => self.error(&text),
                _ => self.notice(&text),
            }
        }
    }

    /// Returns whether the terminal already shows a message because it was typed there.
    fn stands_there(&mut self, message: &Message) -> bool {
        let own = self.own.as_ref() == Some(&message.from) && !is_unsealed(message);
        own && self.typed.remove(&message.id)
    }

    fn arrived(&mut self, message: &Message) {
        if !self.stands_there(message) {
            let bell = self.ring(message);
            self.delivered(message, bell);
        }
    }

    fn delivered(&mut self, message: &Message, bell: &str) {
        if is_unsealed(message) {
            return self.says(Origin::Server, &words::unsealed(message));
        }
        self.day(message.time_ms);
        let line = self.message(message);
        // The bell is no part of the text, whose rows have no control characters.
        let rows = gutter::under("    ", &line, (self.cells)());
        self.print.print(rows + bell);
    }
}

impl Ui for Plain {
    fn show(&mut self, output: &Output) {
        match output {
            Output::Outgoing(message) if self.chatty => drop(self.typed.insert(message.id)),
            Output::Message(message) => self.arrived(message),
            Output::Found(message) => self.delivered(message, ""),
            Output::Divider(to) => {
                let conversation = if to.is_lobby() { String::new() } else { format!("{to}: ") };
                self.notice(&format!("{conversation}new --"));
            }
            Output::Unread { to, messages: messages @ 1.., .. } if self.chatty => {
                self.notice(&format!("{to}: {messages} not read"));
            }
            Output::Pending { stored, .. } => {
                let memory = if *stored { "" } else { "; until then it is only in memory" };
                self.notice(&format!("this message is sent when the connection is back{memory}"));
            }
            Output::Violation { to, from, violation, .. } => {
                self.error(&format!("{to}: {}", violation.describe(from)));
            }
            Output::KeyChanged { text, .. } => self.error(text),
            Output::Event(origin, event) => self.event(*origin, event),
            Output::Notice(text) => self.notice(text),
            Output::Error(text) | Output::Misused(text) => self.error(text),
            Output::Target(target) => {
                terminal::aim(target.clone());
                if self.chatty {
                    let open = if target.is_sealed() { "" } else { ", which is open" };
                    self.notice(&format!("typed text now goes to {target}{open}"));
                }
            }
            Output::Secret(SecretPrompt::Open) => terminal::hide(true),
            Output::Secret(SecretPrompt::Closed) => terminal::hide(false),
            Output::Secret(SecretPrompt::Waits) => terminal::hide_after_enter(),
            Output::Timestamps(on) => self.timestamps = *on,
            Output::Clear if self.clears => self.print.print("\u{1b}[2J\u{1b}[H".into()),
            Output::State(state) => self.state(state),
            Output::Bye(text) => {
                self.quits = true;
                if self.chatty {
                    self.notice(text);
                }
            }
            Output::Transfer(progress) => self.transfer(progress),
            Output::Picture { picture, .. } => self.picture(picture),
            Output::Transfers(all) => self.notice(&transfers::list(all)),
            Output::Files { to, files } => {
                self.notice(&transfers::files_of(to, files.len()));
                files.iter().for_each(|message| self.delivered(message, ""));
            }
            Output::Back => self.notice("back"),
            Output::Ack { .. }
            | Output::Saved { .. }
            | Output::Outgoing(_)
            | Output::Dropped(_)
            | Output::Hint(_)
            | Output::Conversation { .. }
            | Output::Renumbered { .. }
            | Output::Latency(_)
            | Output::Deriving(_)
            | Output::Presence(_)
            | Output::Unread { .. }
            | Output::Gone(_)
            | Output::Clear => {}
        }
    }

    fn carries(&mut self, permit: Option<Permit>) {
        self.print.carries(permit);
    }

    fn end(&mut self, exit_code: u8) -> bool {
        self.print.finish(self.quits || exit_code == code::INTERRUPTED)
    }
}

/// A name in its constant colour: FNV-1a into the palette.
fn painted(name: &UserName) -> ColoredString {
    name.as_str().ansi_color(PALETTE[shade(name)])
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::chat::Confidentiality;

    fn shown(shows: &[Output]) -> Vec<String> {
        colored::control::set_override(false);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let mut plain =
            Plain::new(Box::new(move |line| sink.lock().unwrap().push(line)), false, false);
        (plain.zone, plain.cells) = (TimeZone::UTC, || None);
        let name = "bob".parse().unwrap();
        plain.show(&Output::State(State::Connected { name }));
        shows.iter().for_each(|output| plain.show(output));
        drop(plain);
        Arc::try_unwrap(lines).unwrap().into_inner().unwrap()
    }

    fn message(from: &str, to: &str, kind: Kind, text: &str) -> Output {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let time_ms = now_ms / 86_400_000 * 86_400_000 + 50_591_000;
        Output::Message(Message { time_ms, kind, ..Message::said(1, to, from, text) })
    }

    #[test]
    fn lines_look_as_promised() {
        let lobby = crate::chat::ChannelName::lobby();
        let (who, to) = ("alice".parse().unwrap(), lobby);
        let left = Event::Left { to: to.clone(), who, here: 1, after_ms: 7_300_000, reason: None };
        let who = "alice".parse().unwrap();
        let lines = shown(&[
            message("alice", "#lobby", Kind::Say, "hi"),
            message("bob", "#lobby", Kind::Say, "hello"),
            message("alice", "#work", Kind::Say, "one\ntwo"),
            message("alice", "@bob", Kind::Say, "psst"),
            message("bob", "@alice", Kind::Say, "yes?"),
            message("alice", "#lobby", Kind::Me, "waves"),
            Output::Event(Origin::Server, Event::Joined { to, who, here: 3 }),
            Output::Event(Origin::Server, left),
            Output::Notice("one\ntwo".into()),
            Output::Error("no".into()),
        ]);
        let wanted = [
            "[14:03:11] alice: hi",
            "[14:03:11] You: hello",
            "[14:03:11] #work alice: one\n    two",
            "[Private][14:03:11] alice: psst",
            "[Private][14:03:11] You -> alice: yes?",
            "* alice waves",
            "--> alice joined (3 here)",
            "<-- alice left (after 2h)",
            "-- one\n-- two",
            "=!= no",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn new_messages_ring_once_a_second_and_answers_never() {
        let lines = Arc::new(Mutex::new(Vec::<String>::new()));
        let sink = Arc::clone(&lines);
        let mut plain =
            Plain::new(Box::new(move |line| sink.lock().unwrap().push(line)), true, false)
                .with_bell(true);
        plain.cells = || None;
        plain.own = Some("bob".parse().unwrap());
        let rings = || lines.lock().unwrap().iter().filter(|line| line.ends_with(BELL)).count();
        let Output::Message(psst) = message("alice", "@bob", Kind::Say, "psst") else {
            unreachable!()
        };
        let answer = Message { reference: Some("search".to_owned()), ..psst.clone() };
        plain.show(&Output::Found(psst.clone()));
        plain.show(&Output::Message(answer));
        assert_eq!(rings(), 0);
        plain.show(&Output::Message(psst.clone()));
        plain.rang = Some(Instant::now());
        plain.show(&Output::Message(psst.clone()));
        assert_eq!(rings(), 1);
        plain.rang = None;
        plain.show(&Output::Message(psst));
        assert_eq!(rings(), 2);
    }

    /// The rows that a terminal of this width shows.
    fn on_a_terminal(shows: Vec<Output>) -> Vec<String> {
        const CELLS: usize = 40;
        colored::control::set_override(false);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let mut plain =
            Plain::new(Box::new(move |line| sink.lock().unwrap().push(line)), true, false);
        (plain.zone, plain.cells) = (TimeZone::UTC, || Some(CELLS));
        shows.iter().for_each(|output| plain.show(output));
        let lines = lines.lock().unwrap().clone();
        let cells = |row: &str| ratatui::text::Span::raw(row.to_owned()).width();
        let rows = lines.iter().flat_map(|line| line.split('\n'));
        rows.flat_map(|row| {
            // A terminal wraps an overlong row to its first column.
            let mut cut = vec![String::new()];
            for c in row.chars() {
                let last = cut.last_mut().expect("there is one");
                match cells(&format!("{last}{c}")) > CELLS {
                    true => cut.push(c.into()),
                    false => last.push(c),
                }
            }
            cut
        })
        .collect()
    }

    #[test]
    fn no_row_of_server_text_begins_like_the_clients_own() {
        use crate::client::ui::hostile_tests::{ROUNDS, event, is_own, shown};
        use rand::SeedableRng;
        for seed in 0..ROUNDS {
            let mut chance = rand::rngs::StdRng::seed_from_u64(seed);
            let told = event(&mut chance);
            let name = "alice".parse().unwrap();
            let mut shows = vec![Output::State(State::Connected { name })];
            let before = on_a_terminal(shows.clone());
            shows.push(shown(told.clone()));
            let rows = on_a_terminal(shows).split_off(before.len());
            // The note about readers is a text of this client, even in a topic event.
            let readers = |row: &&String| !row.starts_with("-- #lobby is open: the operator");
            let day = |row: &&String| !row.ends_with("2026 --");
            for row in rows.iter().filter(readers).filter(day) {
                assert!(!is_own(row), "seed {seed}: {row:?} of {told}");
            }
        }
        // The control: this client's own texts do.
        let own = on_a_terminal(vec![Output::Notice("sealed".into()), Output::Error("no".into())]);
        assert!(own.iter().all(|row| is_own(row)), "{own:?}");
    }

    #[test]
    fn every_server_text_is_marked_or_in_a_message() {
        use crate::client::ui::hostile_tests::{is_marked, shows};
        let mut marked = 0;
        for output in shows() {
            for row in on_a_terminal(vec![output.clone()]) {
                assert!(is_marked(&row, &output), "{row:?} of {output:?}");
                marked += usize::from(row.contains('q'));
            }
        }
        assert!(marked > 50, "{marked}");
    }

    #[test]
    fn a_silent_server_is_told_once_and_its_return_too() {
        let silent = || Output::State(State::Silent { for_ms: 4_000 });
        let connected = || Output::State(State::Connected { name: "bob".parse().unwrap() });
        let lines = shown(&[silent(), silent(), connected(), connected(), silent()]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("no response from the server since "), "{lines:?}");
        assert!(lines[1].contains("the server answers again"), "{lines:?}");
    }

    #[test]
    fn unsealed_messages_are_marked_as_server_text() {
        let Output::Message(message) = message("bob", "@alice", Kind::Say, "psst\nsecond") else {
            unreachable!()
        };
        let open = Output::Message(Message { confidentiality: Confidentiality::Open, ..message });
        let lines = shown(&[open]);
        let wanted =
            "server| not sealed, the server's word alone: bob -> @alice: psst\nserver| second";
        assert_eq!(lines, [wanted]);
    }
}
