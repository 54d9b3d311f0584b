//! Lines that are only ever appended: for terminals, pipes and screen readers.

use std::io::Write;

use colored::{ColoredString, Colorize};
use jiff::tz::TimeZone;

use super::Face;
use crate::chat::{ChannelInfo, Event, Kind, Message, Retention, Target, UserName};
use crate::client::model::{Show, State};

/// Colours of names, readable on dark and on light.
const PALETTE: [u8; 16] = [166, 130, 100, 64, 28, 29, 30, 31, 32, 63, 99, 134, 133, 163, 132, 168];

/// Where finished lines go.
pub type Print = Box<dyn FnMut(String) + Send>;

pub struct Plain {
    print: Print,
    own: Option<UserName>,
    zone: TimeZone,
    timestamps: bool,
    /// Of the last line.
    day: Option<jiff::civil::Date>,
    /// State changes are shown to a person, and are noise in a pipe.
    chatty: bool,
    /// The state that was told last: trying again and again is told once.
    told: Option<State>,
}

impl Plain {
    pub fn new(print: Print, chatty: bool) -> Self {
        let zone = TimeZone::system();
        Plain { print, own: None, zone, timestamps: true, day: None, chatty, told: None }
    }

    fn line(&mut self, line: String) {
        // Further lines of one text stand under it, never in column one.
        (self.print)(line.replace('\n', "\n    "));
    }

    fn notice(&mut self, text: &str) {
        let lines: Vec<_> = text.lines().map(|line| format!("-- {line}")).collect();
        (self.print)(lines.join("\n"));
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
        let (before, place, arrow) = match &message.to {
            Target::Channel(channel) if channel.is_lobby() => ("", String::new(), String::new()),
            Target::Channel(channel) => ("", format!("{channel} "), String::new()),
            Target::User(to) if own => ("[Private]", String::new(), format!(" -> {to}")),
            Target::User(_) => ("[Private]", String::new(), String::new()),
        };
        let name = painted(&message.from);
        let who = if own { "You".bold() } else { name.clone() };
        let text = match (message.deleted, message.edited) {
            (true, _) => "(deleted)".to_owned(),
            (_, true) => format!("{} (edited)", message.text),
            _ => message.text.clone(),
        };
        match message.kind {
            Kind::Say => format!("{before}{time}{place}{who}{arrow}: {text}"),
            Kind::Me => format!("{before}{place}* {name} {text}"),
            Kind::Edit => format!("{before}{time}{place}{who}{arrow} (corrected): {text}"),
            Kind::Delete => format!("{before}{time}{place}{who}{arrow} (deleted a line)"),
        }
    }

    /// A line that says which day it is, before the first line of another day.
    fn day(&mut self, time_ms: i64) {
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
        let day = time.to_zoned(self.zone.clone()).date();
        let before = self.day.replace(day);
        let today = jiff::Timestamp::now().to_zoned(self.zone.clone()).date();
        // A talk that begins today needs no date.
        if before != Some(day) && (before.is_some() || day != today) {
            self.line(format!("-- {} --", day.strftime("%a %-d %b %Y")));
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

    fn event(&mut self, event: &Event) {
        match event {
            Event::Welcome { name, motd, .. } => {
                self.own = Some(name.clone());
                if let Some(motd) = motd {
                    self.notice(motd);
                }
            }
            Event::Joined { to, who, here } => {
                let place = if to.is_lobby() { String::new() } else { format!("{to} ") };
                self.line(format!("--> {place}{} joined ({here} here)", painted(who)));
            }
            Event::Left { to, who, after_ms, reason, .. } => {
                let place = if to.is_lobby() { String::new() } else { format!("{to} ") };
                let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
                let after = span(*after_ms);
                self.line(format!("<-- {place}{} left (after {after}){reason}", painted(who)));
            }
            Event::Entered { channel, people, topic, retention, .. } => {
                let kept = kept(*retention);
                let topic = topic.as_ref().map_or(String::new(), |topic| format!(" - {topic}"));
                let here = people.len();
                self.notice(&format!(
                    "you are in {channel}{topic} ({here} here: {}){kept}",
                    names(people)
                ));
            }
            Event::Parted { channel, .. } => self.notice(&format!("you left {channel}")),
            Event::People { channel, people, .. } => {
                self.notice(&format!("{channel} ({} here): {}", people.len(), names(people)));
            }
            Event::Channels { channels, .. } => {
                let row = |row: &ChannelInfo| {
                    let topic = row.topic.as_ref().map_or("", String::as_str);
                    let mark = if row.member { "*" } else { " " };
                    format!("{mark} {:<20} {:>4}  {topic}", row.channel, row.here)
                };
                self.notice(&channels.iter().map(row).collect::<Vec<_>>().join("\n"));
            }
            Event::Whois { name, fingerprints, devices, idle_ms, away, .. } => {
                let devices: Vec<_> = devices.iter().map(ToString::to_string).collect();
                let state = match (idle_ms, away) {
                    (None, _) => "not connected".to_owned(),
                    (Some(idle), None) => format!("idle for {}", span(*idle)),
                    (Some(idle), Some(away)) => format!("away ({away}), idle for {}", span(*idle)),
                };
                let on = if devices.is_empty() {
                    String::new()
                } else {
                    format!(" on {}", devices.join(", "))
                };
                self.notice(&format!("{name}{on}: {state}\n{}", fingerprints.join("\n")));
            }
            Event::Topic { to, who, text, retention, .. } => {
                let kept = kept(*retention);
                let text = text.as_ref().map_or("(none)", String::as_str);
                match who {
                    Some(who) => self.notice(&format!("{who} set the topic of {to}: {text}")),
                    None => self.notice(&format!("topic of {to}: {text}{kept}")),
                }
            }
            Event::Refused { hint, .. } => self.line(format!("=!= not sent: {hint}")),
            Event::Notice { text, .. } => self.notice(text),
            Event::Gap { to, from_seq, to_seq, kept } => {
                let lines = 1 + to_seq.0.saturating_sub(from_seq.0);
                let where_to = if *kept { "/history shows them" } else { "they are gone" };
                self.notice(&format!("{lines} lines of {to} are left out: {where_to}"));
            }
            Event::History { lines, more, .. } => {
                let more = if *more { "; there are older ones" } else { "" };
                self.notice(&format!("{lines} lines{more}"));
            }
            Event::Stored { .. } | Event::Places { .. } | Event::Read { .. } => {}
            Event::Message(_) | Event::Goodbye { .. } | Event::Unknown => {}
        }
    }
}

impl Face for Plain {
    fn show(&mut self, show: &Show) {
        match show {
            Show::Message(message) => {
                self.day(message.time_ms);
                let line = self.message(message);
                self.line(line);
            }
            Show::Divider(to) => {
                let place = if to.is_lobby() { String::new() } else { format!("{to}: ") };
                self.notice(&format!("{place}new --"));
            }
            Show::Unread { to, lines } if self.chatty => {
                self.notice(&format!("{to}: {lines} not read"));
            }
            Show::Pending { .. } => self.notice("this is sent once there is a connection"),
            Show::Event(event) => self.event(event),
            Show::Notice(text) => self.notice(text),
            Show::Error(text) => self.line(format!("=!= {text}")),
            Show::Target(target) if self.chatty => {
                self.notice(&format!("what you type goes to {target} now"));
            }
            Show::Timestamps(on) => self.timestamps = *on,
            Show::Clear if self.chatty => (self.print)("\u{1b}[2J\u{1b}[H".into()),
            Show::State(state) => {
                if let State::Connected { name } = state {
                    self.own = Some(name.clone());
                }
                if self.is_news(state)
                    && (self.chatty || matches!(state, State::NotAdmitted { .. }))
                {
                    self.notice(&describe(state));
                    self.told = Some(state.clone());
                }
            }
            Show::Bye(text) if self.chatty => self.notice(text),
            Show::Ack { .. }
            | Show::Unread { .. }
            | Show::Target(_)
            | Show::Clear
            | Show::Bye(_) => {}
        }
    }
}

/// Lines to stdout; a closed pipe ends the program as it ends every filter.
pub fn stdout() -> Print {
    Box::new(|line| {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    })
}

fn describe(state: &State) -> String {
    match state {
        State::Connecting => "connecting ...".to_owned(),
        State::Connected { name } => format!("connected as {name}"),
        State::Offline { retry_ms } => {
            format!("offline, retry in {}, and again until it works", span(*retry_ms))
        }
        State::NotAdmitted { .. } => {
            "waiting to be admitted ... (Ctrl-C is fine: run pychat client later)\n\
             pychat key show prints the line for the operator again"
                .to_owned()
        }
        State::Refused { code } => format!("refused: {code:?}").to_lowercase(),
    }
}

/// What is said of how long lines are kept, where it is not for ever.
fn kept(retention: Retention) -> String {
    match retention {
        Retention::Forever => String::new(),
        Retention::Off => "; lines are not kept".to_owned(),
        Retention::For(span) => format!("; lines are kept for {span}"),
    }
}

fn names(people: &[UserName]) -> String {
    people.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `4s`, `12m`, `2h`, `3d`.
fn span(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// A name in its own colour, the same everywhere and always: FNV-1a into the palette.
fn painted(name: &UserName) -> ColoredString {
    let hash = name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    name.as_str().ansi_color(PALETTE[(hash % 16) as usize])
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::chat::{MsgId, Seq};

    fn shown(shows: &[Show]) -> Vec<String> {
        colored::control::set_override(false);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let mut plain = Plain::new(Box::new(move |line| sink.lock().unwrap().push(line)), false);
        plain.zone = TimeZone::UTC;
        let name = "bob".parse().unwrap();
        plain.show(&Show::State(State::Connected { name }));
        shows.iter().for_each(|show| plain.show(show));
        drop(plain);
        Arc::try_unwrap(lines).unwrap().into_inner().unwrap()
    }

    fn message(from: &str, to: &str, kind: Kind, text: &str) -> Show {
        Show::Message(Message {
            seq: Seq(1),
            to: to.parse().unwrap(),
            from: from.parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId([0; 16]),
            time_ms: jiff::Timestamp::now().as_millisecond() / 86_400_000 * 86_400_000 + 50_591_000,
            kind,
            target: None,
            text: text.into(),
            edited: false,
            deleted: false,
            replay: false,
            reference: None,
        })
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
            Show::Event(Event::Joined { to, who, here: 3 }),
            Show::Event(left),
            Show::Notice("one\ntwo".into()),
            Show::Error("no".into()),
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
}
