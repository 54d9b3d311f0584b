//! State of the full screen. Pure: effects come out, the time goes in.

use jiff::tz::TimeZone;
use ratatui::buffer::CellWidth;

use super::answers::Answers;
use super::input::InputLine;
use super::keys::Keys;
use super::layout::Areas;
use super::pane::Pane;
use super::rows::Paper;
use super::scroll::Scroll;
use super::settings::Settings;
use super::status::Status;
use super::theme::{Look, Theme};
use super::view::View;
use super::window::{At, Line, Older, What, Window};
use super::windows::Windows;
use super::wrap;
use crate::chat::{Command, Request, Seq, Target, UserName};
use crate::client::model::Input;

/// An effect.
#[derive(Debug)]
pub enum Effect {
    Happen(Input),
    Bell,
    /// A notification with sender and conversation, without message text.
    Notify(String),
    Save,
    Mouse(bool),
    Redraw,
    Suspend,
    /// Open this text in the user's editor.
    Edit(String),
}

/// An overlay above the room.
pub enum Overlay {
    Pane(Pane),
    /// Several lines were pasted; asks what to do with them.
    Paste(String),
}

/// Messages per request when the user scrolls up.
const OLDER_LINES: usize = 200;
pub struct App {
    pub own: Option<UserName>,
    pub windows: Windows,
    pub input: InputLine,
    pub status: Status,
    pub answers: Answers,
    pub overlay: Option<Overlay>,
    pub scroll: Scroll,
    pub settings: Settings,
    pub keys: Keys,
    pub look: Look,
    /// Colours are allowed (`NO_COLOR`, `--color`).
    pub colour: bool,
    /// The lines that the operator needs to admit the user.
    pub admission: Vec<String>,
    /// `None` if the terminal has not reported it.
    pub focused: Option<bool>,
    pub view: View,
    pub text_bytes_max: usize,
    /// Channels that the server has listed.
    pub listed: Vec<String>,
    /// No key was pressed since the last line, so its result may switch the view.
    pub untouched: bool,
    pub effects: Vec<Effect>,
}

impl App {
    pub fn new(settings: Settings, theme: Theme, zone: TimeZone) -> Result<App, String> {
        let keys = Keys::new(&settings.keys)?;
        // Without colours the theme is mono, whatever was chosen.
        let colour = theme != Theme::Mono;
        let look = settings.theme.filter(|_| colour).unwrap_or(theme).look();
        Ok(App {
            own: None,
            windows: Windows::new(),
            input: InputLine::new(),
            status: Status::new(),
            answers: Answers::default(),
            overlay: None,
            scroll: Scroll::default(),
            settings,
            keys,
            look,
            colour,
            admission: Vec::new(),
            focused: None,
            view: View::new(zone),
            text_bytes_max: usize::MAX,
            listed: Vec::new(),
            untouched: true,
            effects: Vec::new(),
        })
    }

    pub fn happen(&mut self, input: Input) {
        self.effects.push(Effect::Happen(input));
    }

    pub fn window(&self) -> &Window {
        &self.windows[self.windows.current()]
    }

    pub fn window_mut(&mut self) -> &mut Window {
        let current = self.windows.current();
        &mut self.windows[current]
    }

    pub fn position(&self, target: &Target) -> Option<usize> {
        self.windows.position(target)
    }

    pub fn conversation(&mut self, target: &Target) -> usize {
        self.windows.conversation(target)
    }

    /// Sets the target. If the user has typed on, only a notice is shown, so that half-typed text
    /// does not move.
    pub fn aimed(&mut self, target: &Target) {
        let index = self.conversation(target);
        if self.untouched && !self.input.is_begun() {
            self.switch(index);
        } else if index != self.windows.current() {
            self.flash(format!("{target} is open: Alt-{}", index + 1));
        }
    }

    /// Handles that the user has left a conversation.
    pub fn left(&mut self, index: usize) {
        if index == self.windows.current() && self.input.is_begun() && !self.input.hidden {
            self.is_gone(index);
        } else {
            self.close(index);
        }
    }

    /// Handles that text typed in a conversation can no longer be sent.
    pub fn is_gone(&mut self, index: usize) {
        let window = &mut self.windows[index];
        (window.gone, window.joined) = (true, false);
    }

    pub fn close(&mut self, index: usize) {
        // The lobby stays.
        if index == 0 || index >= self.windows.len() {
            return;
        }
        if index == self.windows.current() {
            self.switch(0);
        }
        self.windows.remove(index);
    }

    pub fn switch(&mut self, index: usize) {
        if index >= self.windows.len() || index == self.windows.current() {
            return;
        }
        let left = self.windows.choose(index);
        self.scroll.reset();
        let draft = std::mem::take(&mut self.window_mut().draft);
        let there = self.window().target.clone();
        let draft = self.input.exchange(draft, &there);
        let left = &mut self.windows[left];
        (left.draft, left.divider, left.visited) = (draft, None, true);
        let window = self.window_mut();
        if window.last > window.read {
            window.divide();
        }
        self.look_at_it();
    }

    /// Returns whether the user sees the newest message of a conversation now.
    pub fn sees(&self, index: usize) -> bool {
        index == self.windows.current()
            && self.focused != Some(false)
            && self.window().at == At::End
    }

    /// Marks what is on the screen as read.
    pub fn look_at_it(&mut self) {
        if self.sees(self.windows.current())
            && let Some(seq) = self.window_mut().seen()
        {
            let to = self.window().target.clone();
            self.happen(Input::Seen { to, seq });
        }
    }

    pub fn notice(&mut self, index: usize, text: String) {
        let line = self.line(What::Notice(text));
        self.push(index, line);
    }

    /// Adds a text of the server.
    pub fn server_says(&mut self, index: usize, text: String, error: bool) {
        let line = self.line(What::Server { text, error });
        self.push(index, line);
    }

    pub fn error(&mut self, text: String) {
        let line = self.line(What::Error(text));
        self.push(self.windows.current(), line);
    }

    /// Adds a line made by this client.
    pub fn line(&self, what: What) -> Line {
        let (time_ms, day) = self.view.stamp(self.view.now_ms());
        Line { time_ms, day, seq: None, what }
    }

    pub fn push(&mut self, index: usize, line: Line) {
        self.windows.push(index, line);
    }

    pub fn flash(&mut self, text: impl Into<String>) {
        self.status.flash(text.into(), self.view.now_ms());
    }

    /// Time until something on the screen changes by itself, in milliseconds.
    pub fn next_change_ms(&self) -> Option<u64> {
        self.status.next_change_ms(self.view.now_ms())
    }

    /// Advances the time.
    pub fn pass(&mut self, now_ms: i64) {
        self.view.pass(now_ms);
        self.status.pass(now_ms);
    }

    pub fn areas(&self) -> Areas {
        let cells = usize::from(self.view.width() - self.prompt_cells());
        let rows = self.input.lay_out(cells).rows.len() as u16;
        self.view.areas(rows)
    }

    /// Width of the prompt in cells.
    pub fn prompt_cells(&self) -> u16 {
        self.prompt().as_str().cell_width().min(self.view.width().saturating_sub(1))
    }

    pub fn prompt(&self) -> String {
        if self.input.hidden {
            return "password> ".to_owned();
        }
        let name = self.own.as_ref().map_or("", UserName::as_str);
        format!("{}> ", wrap::clip(name, usize::from(self.view.width() / 4)))
    }

    pub fn paper(&self, areas: &Areas) -> Paper<'_> {
        let query = self.scroll.query();
        let width = usize::from(areas.lines.width).saturating_sub(1).max(1);
        let (zone, times, today) = (self.view.zone(), self.view.times(), self.view.today());
        Paper { look: &self.look, zone, width, times, today, query }
    }

    /// Requests older messages when the first one is on the screen.
    pub fn fetch(&mut self) {
        let up = self.status.is_up();
        let window = self.window_mut();
        if !up || !window.joined || window.older != Older::Perhaps {
            return;
        }
        window.older = Older::Asked;
        let to = window.target.clone();
        let before = window.oldest();
        self.history(to, before);
    }

    fn history(&mut self, to: Target, before: Option<Seq>) {
        let reference = Some(format!("older {to}"));
        let lines = Some(OLDER_LINES);
        let ask = Request::new(Command::History { to, before, lines, span: None }, reference);
        self.happen(Input::Ask(Ok(ask)));
    }
}
