//! The full screen without a terminal: a simulated user, snapshots and walks.

mod assistant;
mod care;
mod hostile;
mod looks;
mod news;
mod panes;
mod pictures;
mod speed;
mod walks;

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::{Backend, TestBackend};
use ratatui::buffer::{Buffer, Cell, CellWidth};
use ratatui::crossterm::event::{Event as Told, KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::app::App;
use super::draw::draw;
use super::keys;
use super::pace::FETCH_EVERY_MS;
use super::reader::Effect;
use super::settings::Settings;
use super::theme::Theme;
use crate::chat::{Confidentiality, Event, MsgId, NewMessage, Target};
use crate::client::model::{Input, Origin, Output, SecretPrompt, State};

/// Wednesday, 25 November 2026, 14:03 UTC.
const NOON_MS: i64 = 1_795_615_380_000;

/// Alice at the full screen, connected, in the lobby with bob and carol.
pub struct Desk {
    pub app: App,
    terminal: Terminal<TestBackend>,
}

impl Desk {
    pub fn new(width: u16, height: u16) -> Desk {
        Desk::with(width, height, Theme::Dark)
    }

    pub fn with(width: u16, height: u16, theme: Theme) -> Desk {
        let mut app = App::new(Settings::default(), theme, TimeZone::UTC).unwrap();
        app.reader.view.pass(NOON_MS);
        // She was here before.
        app.reader.welcome.is_over = true;
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut desk = Desk { app, terminal };
        desk.app.show(Output::State(State::Connected { name: "alice".parse().unwrap() }));
        desk.hears(json!({"type": "welcome", "name": "alice", "device": "main", "version": "1",
            "text_bytes_max": 8192, "time_ms": 0}));
        desk.enters("#lobby", 0, 0, &["alice", "bob", "carol"]);
        desk.app.show(Output::Latency(12));
        desk.picture();
        desk
    }

    /// Receives a server event.
    pub fn hears(&mut self, event: Value) {
        match serde_json::from_value(event).unwrap() {
            Event::Message(mut message) => {
                if matches!(message.to, Target::User(_)) {
                    // The engine has opened it.
                    message.confidentiality = Confidentiality::Sealed;
                }
                self.app.show(Output::Message(message));
            }
            event => self.app.show(Output::Event(Origin::Server, event)),
        }
    }

    pub fn enters(&mut self, channel: &str, last: u64, read: u64, people: &[&str]) {
        self.hears(json!({"type": "entered", "channel": channel, "epoch": "00000000000000ab",
            "last": last.to_string(), "read": read.to_string(), "retention": "forever",
            "people": people}));
    }

    /// Receives a message with the next seq of its conversation.
    pub fn says(&mut self, from: &str, to: &str, text: &str) {
        self.says_as(from, to, text, json!({}));
    }

    pub fn says_as(&mut self, from: &str, to: &str, text: &str, more: Value) {
        let conversation: Target =
            if to == "@alice" { format!("@{from}") } else { to.into() }.parse().unwrap();
        let last = self
            .app
            .reader
            .position(&conversation)
            .map_or(0, |index| self.app.reader.windows[index].last.0);
        let mut line = json!({"type": "message", "seq": (last + 1).to_string(), "to": to,
            "from": from, "device": "main", "id": format!("{:032x}", last + 1),
            "time_ms": self.app.reader.view.now_ms(), "text": text});
        for (key, value) in more.as_object().unwrap() {
            line[key] = value.clone();
        }
        self.hears(line);
        self.waits(1_000);
    }

    /// Sends an own message, with this byte in its id.
    pub fn sends(&mut self, id: u8, to: &str, text: &str) {
        let message = NewMessage::text(to.parse().unwrap(), MsgId([id; 16]), text);
        self.app.show(Output::Outgoing(message));
    }

    pub fn waits(&mut self, ms: i64) {
        self.app.reader.pass(self.app.reader.view.now_ms() + ms);
    }

    pub fn types(&mut self, text: &str) {
        for c in text.chars() {
            let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
            self.app.input(Told::Key(key));
        }
    }

    /// Presses keys by name: `alt-1 pageup`.
    pub fn presses(&mut self, names: &str) {
        for name in names.split_whitespace() {
            let (code, modifiers) = keys::chord(name).unwrap_or_else(|| panic!("{name}"));
            self.app.input(Told::Key(KeyEvent::new(code, modifiers)));
        }
    }

    pub fn enter(&mut self, line: &str) {
        self.types(line);
        self.presses("enter");
    }

    /// The effects since the last call, as text.
    pub fn effects(&mut self) -> Vec<String> {
        let words = |effect| match effect {
            Effect::Send(Input::TypedIn { to, line, .. }) => format!("{to}: {line}"),
            Effect::Send(Input::Line(line)) => line,
            Effect::Send(Input::Secret(secret)) => format!("secret: {}", secret.reveal()),
            Effect::Send(Input::Seen { to, seq }) => format!("seen {to} {seq}"),
            Effect::Send(Input::Ask(Ok(ask))) => serde_json::to_string(&ask).unwrap(),
            effect => format!("{effect:?}"),
        };
        std::mem::take(&mut self.app.reader.effects).into_iter().map(words).collect()
    }

    pub fn resizes(&mut self, width: u16, height: u16) {
        self.terminal.backend_mut().resize(width, height);
    }

    /// Draws once the next request for older messages may be sent.
    pub fn fetches(&mut self) {
        self.waits(FETCH_EVERY_MS);
        self.draws();
    }

    /// Draws like the screen's thread. Returns the cells.
    pub fn draws(&mut self) -> &Buffer {
        let app = &mut self.app;
        let mut first = false;
        self.terminal
            .draw(|frame| {
                app.reader.view.resize(frame.area());
                first = draw(app, frame).first;
            })
            .unwrap();
        self.app.reader.fetch(first);
        self.terminal.backend().buffer()
    }

    /// The rows as text.
    pub fn rows(&mut self) -> Vec<String> {
        rows(self.draws())
    }

    /// The rows as text, and the cursor.
    pub fn picture(&mut self) -> String {
        let rows = self.rows().join("\n");
        let at = self.terminal.backend_mut().get_cursor_position().unwrap();
        format!("{rows}\ncursor {},{}", at.x, at.y)
    }

    /// The rows that are not empty.
    pub fn lines(&mut self) -> String {
        let rows = self.rows();
        rows.iter().filter(|row| !row.is_empty()).cloned().collect::<Vec<_>>().join("\n")
    }
}

pub fn rows(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width.max(1));
    let row = |cells: &[Cell]| {
        let mut row = String::new();
        let mut hidden = 0;
        for cell in cells {
            if hidden == 0 {
                row.push_str(cell.symbol());
                hidden = usize::from(cell.symbol().cell_width().max(1));
            }
            hidden -= 1;
        }
        row.trim_end().to_owned()
    };
    buffer.content.chunks(width).map(row).collect()
}
