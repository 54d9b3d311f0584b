//! What the user reads and types: the open conversations, the position in them, the line being
//! typed, and the status line. Pure: effects come out, the time goes in.

use jiff::tz::TimeZone;
use ratatui::buffer::CellWidth;
use ratatui::crossterm::event::KeyEvent;

use super::find::Needle;
use super::input::InputLine;
use super::keys::Act;
use super::layout::Areas;
use super::pace::Pace;
use super::rows::{NAMES, Paper, Times};
use super::scroll::{Scroll, Step};
use super::status::Status;
use super::theme::Look;
use super::view::View;
use super::window::{At, Line, Older, What, Window, name_cells};
use super::windows::Windows;
use super::wrap;
use crate::chat::{Command, Request, Seq, Target, UserName};
use crate::client::model::{Input, Origin};
use crate::client::ui::highlights::Highlights;

/// An effect.
#[derive(Debug)]
pub enum Effect {
    Send(Input),
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

/// Whether to welcome the user.
#[derive(Default)]
pub struct Welcome {
    /// The operator has admitted the user in this run.
    pub is_admitted: bool,
    /// The lobby was entered in this run.
    pub is_over: bool,
}

/// Messages per request when the user scrolls up.
const OLDER_MESSAGES: usize = 200;
/// Messages per request up to the first unread one.
const NEW_MESSAGES: usize = 1_000;

/// A request for older messages of a conversation.
struct OlderRequest {
    index: usize,
    before: Option<Seq>,
    messages: usize,
}

/// The conversations on the screen, with what is typed into them.
pub struct Reader {
    pub own: Option<UserName>,
    pub windows: Windows,
    pub input: InputLine,
    /// The longest text that the server accepts, in bytes.
    pub text_bytes_max: usize,
    /// Channels that the server has listed.
    pub listed: Vec<String>,
    pub status: Status,
    pub scroll: Scroll,
    pub view: View,
    /// Of requests for older messages.
    pace: Pace,
    pub look: Look,
    /// The words that count as mentions beside the user's name.
    pub highlights: Highlights,
    /// What a welcome needs: it is shown once, to somebody who is new.
    pub welcome: Welcome,
    /// Names end in one column.
    pub aligned: bool,
    /// `None` if the terminal has not reported it.
    pub focused: Option<bool>,
    /// No key was pressed since the last line, so its result may switch the view.
    pub untouched: bool,
    pub effects: Vec<Effect>,
}

impl Reader {
    pub fn new(look: Look, zone: TimeZone) -> Reader {
        Reader {
            own: None,
            windows: Windows::new(),
            input: InputLine::new(),
            text_bytes_max: usize::MAX,
            listed: Vec::new(),
            status: Status::new(),
            scroll: Scroll::default(),
            view: View::new(zone),
            pace: Pace::default(),
            look,
            highlights: Highlights::default(),
            welcome: Welcome::default(),
            aligned: false,
            focused: None,
            untouched: true,
            effects: Vec::new(),
        }
    }

    pub fn send(&mut self, input: Input) {
        self.effects.push(Effect::Send(input));
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
        (left.draft, left.divider, left.visited, left.seeks) = (draft, None, true, false);
        let window = self.window_mut();
        if window.unread > 0 {
            window.divide();
            window.new = window.unread;
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
            self.send(Input::Seen { to, seq });
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

    /// Adds a text of this origin to a conversation.
    pub fn says(&mut self, origin: Origin, index: usize, text: Option<String>) {
        match (origin, text) {
            (_, None) => {}
            (Origin::Client, Some(text)) => self.notice(index, text),
            (Origin::Server, Some(text)) => self.server_says(index, text, false),
        }
    }

    /// Adds an error of this origin to the conversation on the screen.
    pub fn fails(&mut self, origin: Origin, text: String) {
        match origin {
            Origin::Client => self.error(text),
            Origin::Server => self.server_says(self.windows.current(), text, true),
        }
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

    /// Time until something on the screen changes or is requested by itself, in milliseconds.
    pub fn next_change_ms(&self) -> Option<u64> {
        let now_ms = self.view.now_ms();
        [self.status.next_change_ms(now_ms), self.pace.next_ms(now_ms)].into_iter().flatten().min()
    }

    /// Advances the time.
    pub fn pass(&mut self, now_ms: i64) {
        self.view.pass(now_ms);
        self.status.pass(now_ms);
    }

    pub fn areas(&self) -> Areas {
        let cells = usize::from(self.view.width() - self.prompt_cells());
        let rows = self.input.lay_out(cells).rows.len() as u16;
        let window = self.window();
        let names = match (&window.target, &self.own) {
            (Target::Channel(_), _) => window.widest,
            (Target::User(name), own) => {
                let own = own.as_ref().map_or(0, name_cells);
                name_cells(name).max(own)
            }
        };
        self.view.areas(rows, names)
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

    /// The number of the chosen message, while it is here.
    pub fn chosen(&self) -> Option<i64> {
        self.window().message(self.scroll.chosen()?)
    }

    pub fn paper(&self, areas: &Areas) -> Paper<'_> {
        let query = self.scroll.query();
        let width = usize::from(areas.lines.width).saturating_sub(1).max(1);
        let (zone, times, today) = (self.view.zone(), self.view.times(), self.view.today());
        let words = self.words(&self.window().target);
        let column = (self.aligned && times == Times::Seconds).then_some(NAMES);
        let chosen = self.chosen();
        Paper { look: &self.look, zone, width, times, today, query, words, column, chosen }
    }

    /// The title of the terminal's window: the conversation, and the mentions in all of them.
    pub fn title(&self) -> String {
        let mentions: usize = self.windows.iter().map(|window| window.mentions).sum();
        let count = if mentions == 0 { String::new() } else { format!("({mentions}) ") };
        format!("{count}pychat {}", self.window().target)
    }

    /// The words that count as mentions in a conversation.
    pub fn words(&self, conversation: &Target) -> Vec<String> {
        self.highlights.words(conversation, self.own.as_ref())
    }

    pub fn search(&mut self) {
        let from = self.window().at;
        self.scroll.begin(from);
    }

    /// Closes an open search, and returns to where it began.
    pub fn end_search(&mut self) {
        if let Some(from) = self.scroll.close() {
            self.go_to(from, false);
        }
    }

    /// Handles a key of an open search. Returns whether it was for that.
    pub fn finds(&mut self, key: &KeyEvent, act: Option<Act>) -> bool {
        match self.scroll.key(key, act) {
            Step::Other => return false,
            Step::Nothing => {}
            Step::Restart => self.restart_search(),
            Step::Next { up } => self.find_next(up),
            Step::Back(from) => self.go_to(from, false),
        }
        true
    }

    /// Extends the text of an open search. Returns whether one is open.
    pub fn extend_search(&mut self, text: &str) -> bool {
        let extends = self.scroll.paste(text);
        if extends {
            self.restart_search();
        }
        extends
    }

    fn restart_search(&mut self) {
        let Some(from) = self.scroll.restart() else { return };
        self.go_to(from, false);
        self.find_next(true);
    }

    /// Goes to the next hit above (or below). After the last one here the server is asked.
    fn find_next(&mut self, up: bool) {
        let Some(finder) = self.scroll.finder().filter(|finder| !finder.query.is_empty()) else {
            return;
        };
        let (found, exhausted) = (finder.found, finder.exhausted);
        let window = self.window();
        let numbers = window.numbers();
        let needle = Needle::new(&finder.query);
        let hit = |number: &i64| window.line(*number).is_some_and(|line| needle.is_in(line.text()));
        let next = match (up, found) {
            (true, found) => (numbers.start..found.unwrap_or(numbers.end)).rev().find(hit),
            (false, found) => (found.unwrap_or(numbers.end) + 1..numbers.end).find(hit),
        };
        match next {
            Some(number) => {
                self.go_to_line(number);
                self.scroll.found(number);
            }
            None if up && exhausted => {
                let line = format!("/search {}", self.scroll.query());
                let to = self.window().target.clone();
                self.send(Input::TypedIn { to, within: None, line, id: None });
                if let Some(from) = self.scroll.close() {
                    self.go_to(from, false);
                }
            }
            None => self.scroll.exhaust(up),
        }
    }

    pub fn page(&mut self, up: i64) {
        let rows = i64::from(self.areas().lines.height).max(3) - 2;
        self.scroll(up * rows);
    }

    /// Scrolls the view up by some rows.
    pub fn scroll(&mut self, rows: i64) {
        let areas = self.areas();
        let at = self.paper(&areas).moved(self.window(), rows, areas.lines.height.into());
        self.go_to(at, rows > 0);
    }

    pub fn go_to_top(&mut self) {
        let areas = self.areas();
        let at = self.paper(&areas).top(self.window(), areas.lines.height.into());
        self.go_to(at, true);
    }

    fn go_to(&mut self, at: At, up: bool) {
        self.scroll.unmark();
        let window = self.window_mut();
        (window.at, window.seeks) = (at, false);
        if up && window.older == Older::Later {
            window.older = Older::Perhaps;
        }
        self.look_at_it();
    }

    pub fn go_to_end(&mut self) {
        self.scroll.unmark();
        let window = self.window_mut();
        (window.at, window.seeks) = (At::End, false);
        self.look_at_it();
    }

    /// Goes to the line with this number.
    pub fn go_to_line(&mut self, number: i64) {
        let areas = self.areas();
        let at = self.paper(&areas).around(self.window(), number, areas.lines.height.into());
        self.window_mut().at = at;
        self.look_at_it();
    }

    pub fn go_to_mention(&mut self, up: bool) {
        let window = self.window();
        let numbers = window.numbers();
        let from = match (self.scroll.marked(), window.at) {
            (Some(marked), _) => marked,
            (None, At::End) => numbers.end,
            (None, At::Line { number, .. }) => number + 1,
        };
        let hit = |number: &i64| window.line(*number).is_some_and(|line| line.is_mention());
        let next = match up {
            true => (numbers.start..from.min(numbers.end)).rev().find(hit),
            false => (from + 1..numbers.end).find(hit),
        };
        match next {
            Some(number) => {
                self.go_to_line(number);
                self.scroll.mark(number);
            }
            None => self.flash("no other mention here"),
        }
    }
}

/// Unread and older messages.
impl Reader {
    /// Takes the number of unread messages of a conversation.
    pub fn unread(&mut self, to: &Target, span: (Seq, Seq), messages: u64) {
        if messages == 0 && self.position(to).is_none() {
            return;
        }
        let index = self.conversation(to);
        self.windows[index].counted(span, usize::try_from(messages).unwrap_or(usize::MAX));
        self.look_at_it();
    }

    /// Goes to the first unread message. Those that are not here are loaded before.
    pub fn go_to_divider(&mut self) {
        let window = self.window_mut();
        let is_new = window.divider.is_some_and(|divider| !window.is_loaded_to(divider));
        match window.first_new() {
            Some(number) => {
                window.new = 0;
                self.go_to_line(number);
            }
            None if is_new => {
                window.seeks = true;
                if window.older == Older::Later {
                    window.older = Older::Perhaps;
                }
                self.flash("unread messages are being loaded");
            }
            None => self.flash("nothing is new here"),
        }
    }

    /// Goes on with what was asked for once older messages have come.
    pub fn older_came(&mut self) {
        let window = self.window_mut();
        if window.seeks {
            let missing = window.divider.is_some_and(|divider| !window.is_loaded_to(divider));
            let loaded = window.lines.len();
            window.seeks = missing;
            match missing {
                true => self.flash(format!("unread messages are being loaded: {loaded}")),
                false => {
                    self.flash("");
                    self.go_to_divider();
                }
            }
        }
    }

    /// Requests older messages after a picture, which shows the `first` one or not. All requests
    /// for them pass here.
    pub fn fetch(&mut self, first: bool) {
        let next = self.next_older(first);
        if let Some(older) = self.pace.release(next, self.view.now_ms()) {
            let OlderRequest { index, before, messages } = older;
            let window = &mut self.windows[index];
            (window.older, window.asked) = (Older::Asked, before);
            let to = window.target.clone();
            let (reference, messages) = (Some(format!("older {to}")), Some(messages));
            let ask = Request::new(
                Command::History { to, before, messages, span: None, kind: None },
                reference,
            );
            self.send(Input::Ask(Ok(ask)));
        }
    }

    /// The next request for older messages: those that the user goes to, then those above the
    /// first one on the screen, then those of rooms with unread messages, which may mention the
    /// user.
    fn next_older(&self, first: bool) -> Option<OlderRequest> {
        if !self.status.is_up() {
            return None;
        }
        let (current, window) = (self.windows.current(), self.window());
        let is_open = self.windows.iter().any(|window| window.older == Older::Asked);
        let goes_there = window.seeks && window.wants_older();
        if first && window.joined && window.older == Older::Perhaps && !goes_there {
            let before = window.oldest();
            return Some(OlderRequest { index: current, before, messages: OLDER_MESSAGES });
        }
        let mut order = [current].into_iter().chain(0..self.windows.len());
        let index = order.find(|index| !is_open && self.windows[*index].wants_older())?;
        let window = &self.windows[index];
        let before = match window.hole {
            Some((_, upto)) => Some(Seq(upto.0.saturating_add(1))),
            None => window.oldest(),
        };
        Some(OlderRequest { index, before, messages: NEW_MESSAGES })
    }
}
