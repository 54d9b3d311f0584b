//! The state of the full screen, and what changes it. Pure: what is to be done comes out as
//! effects, the time comes in.

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
use crate::chat::{Command, Seq, Target, UserName};
use crate::client::model::Input;

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    Happen(Input),
    Bell,
    /// A notification that names who and where, and no text of theirs.
    Notify(String),
    Save,
    Mouse(bool),
    Redraw,
    Suspend,
    /// Let the person write this in their editor.
    Edit(String),
}

/// What is open above the room.
pub enum Overlay {
    Pane(Pane),
    /// Several lines were pasted: what is to become of them?
    Paste(String),
}

/// Lines that are asked for at once when the person scrolls up.
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
    /// Whether there may be colours (`NO_COLOR`, `--color`).
    pub colour: bool,
    /// What the operator needs to admit this person.
    pub admission: Vec<String>,
    /// None where the terminal has not said.
    pub focused: Option<bool>,
    pub view: View,
    pub text_bytes_max: usize,
    /// Channels that the server has named.
    pub listed: Vec<String>,
    /// Nothing was pressed since the last line was typed: what comes of that may move the view.
    pub untouched: bool,
    pub effects: Vec<Effect>,
}

impl App {
    pub fn new(settings: Settings, theme: Theme, zone: TimeZone) -> Result<App, String> {
        let keys = Keys::new(&settings.keys)?;
        // Who wants no colour gets none, whatever theme was chosen.
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

    /// Typed lines go there from now on. Where the person has gone on, they are told where it is:
    /// nothing moves what is half typed.
    pub fn aimed(&mut self, target: &Target) {
        let index = self.conversation(target);
        if self.untouched && !self.input.is_begun() {
            self.switch(index);
        } else if index != self.windows.current() {
            self.flash(format!("{target} is there: Alt-{}", index + 1));
        }
    }

    /// This person has left a conversation; what they type there meanwhile stays where it is.
    pub fn left(&mut self, index: usize) {
        if index == self.windows.current() && self.input.is_begun() && !self.input.hidden {
            self.is_gone(index);
        } else {
            self.close(index);
        }
    }

    /// Nothing that is typed there is sent.
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

    /// Whether the person sees the newest line of a conversation now.
    pub fn sees(&self, index: usize) -> bool {
        index == self.windows.current()
            && self.focused != Some(false)
            && self.window().at == At::End
    }

    /// What is on the screen counts as read.
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

    /// The server's words.
    pub fn server_says(&mut self, index: usize, text: String, error: bool) {
        let line = self.line(What::Server { text, error });
        self.push(index, line);
    }

    pub fn error(&mut self, text: String) {
        let line = self.line(What::Error(text));
        self.push(self.windows.current(), line);
    }

    /// A line that comes from nowhere but here.
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

    /// When something on the screen changes by itself, in milliseconds from now.
    pub fn next_change_ms(&self) -> Option<u64> {
        self.status.next_change_ms(self.view.now_ms())
    }

    /// Time has passed.
    pub fn pass(&mut self, now_ms: i64) {
        self.view.pass(now_ms);
        self.status.pass(now_ms);
    }

    pub fn areas(&self) -> Areas {
        let cells = usize::from(self.view.width() - self.prompt_cells());
        let rows = self.input.lay_out(cells).rows.len() as u16;
        self.view.areas(rows)
    }

    /// What is typed begins behind so many cells.
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

    /// The first line of a conversation is on the screen: are there older ones?
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
        let ask = Command::History { to, before, lines, span: None, reference };
        self.happen(Input::Ask(Ok(ask)));
    }
}
