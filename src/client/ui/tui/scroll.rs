//! Navigation in a room: scrolling, unread messages, mentions, and Ctrl-F.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::App;
use super::find::Needle;
use super::keys::Act;
use super::window::{At, Older};
use crate::client::model::Input;

/// Ctrl-F: the search text and the last hit.
pub struct Finder {
    pub query: String,
    pub found: Option<i64>,
    pub exhausted: bool,
    /// The position before the search.
    from: At,
}

/// Reading state beside the window's position.
#[derive(Default)]
pub struct Scroll {
    finder: Option<Finder>,
    /// The last mention that was jumped to, until the view moves otherwise.
    marked: Option<i64>,
}

impl Scroll {
    /// Resets the state for another window.
    pub fn reset(&mut self) {
        *self = Scroll::default();
    }

    pub fn finder(&self) -> Option<&Finder> {
        self.finder.as_ref()
    }

    pub fn is_finding(&self) -> bool {
        self.finder.is_some()
    }

    /// The search text of Ctrl-F.
    pub fn query(&self) -> &str {
        self.finder.as_ref().map_or("", |finder| &finder.query)
    }

    /// Extends the search text. Returns whether a search is open.
    pub fn paste(&mut self, text: &str) -> bool {
        self.finder.iter_mut().for_each(|finder| finder.query.push_str(text));
        self.is_finding()
    }

    #[cfg(test)]
    pub fn marked(&self) -> Option<i64> {
        self.marked
    }

    /// Forgets the last mention, because the view has moved otherwise.
    pub fn unmark(&mut self) {
        self.marked = None;
    }
}

impl App {
    pub fn search(&mut self) {
        let from = self.window().at;
        self.scroll.finder =
            Some(Finder { query: String::new(), found: None, exhausted: false, from });
    }

    /// Handles a key of an open search. Returns whether it was for that.
    pub fn finds(&mut self, key: &KeyEvent, act: Option<Act>) -> bool {
        let Some(finder) = &mut self.scroll.finder else { return false };
        match act {
            None => {
                let held = KeyModifiers::CONTROL | KeyModifiers::ALT;
                if let (KeyCode::Char(c), false) = (key.code, key.modifiers.intersects(held)) {
                    finder.query.push(c);
                    self.find_anew();
                }
            }
            Some(Act::Erase) => {
                finder.query.pop();
                self.find_anew();
            }
            Some(Act::Send | Act::Older | Act::Search) => self.find_next(true),
            Some(Act::Newer) => self.find_next(false),
            Some(Act::Close | Act::Interrupt) => {
                let from = finder.from;
                self.scroll.finder = None;
                self.go_to(from, false);
            }
            Some(Act::PageUp | Act::PageDown | Act::Redraw) => return false,
            Some(_) => {
                self.scroll.finder = None;
                return false;
            }
        }
        true
    }

    pub fn find_anew(&mut self) {
        let Some(finder) = &mut self.scroll.finder else { return };
        (finder.found, finder.exhausted) = (None, false);
        let from = finder.from;
        self.go_to(from, false);
        self.find_next(true);
    }

    /// Goes to the next hit above (or below). After the last one here the server is asked.
    fn find_next(&mut self, up: bool) {
        let Some(finder) = &self.scroll.finder else { return };
        let (query, found, exhausted) = (finder.query.clone(), finder.found, finder.exhausted);
        if query.is_empty() {
            return;
        }
        let window = self.window();
        let numbers = window.numbers();
        let needle = Needle::new(&query);
        let hit = |number: &i64| window.line(*number).is_some_and(|line| needle.is_in(line.text()));
        let next = match (up, found) {
            (true, found) => (numbers.start..found.unwrap_or(numbers.end)).rev().find(hit),
            (false, found) => (found.unwrap_or(numbers.end) + 1..numbers.end).find(hit),
        };
        match next {
            Some(number) => {
                self.go_to_line(number);
                let finder = self.scroll.finder.as_mut().expect("the search is open");
                (finder.found, finder.exhausted) = (Some(number), false);
            }
            None if up && exhausted => {
                let line = format!("/search {query}");
                let to = self.window().target.clone();
                self.happen(Input::TypedIn { to, within: None, line });
                let from = self.scroll.finder.take().expect("the search is open").from;
                self.go_to(from, false);
            }
            None => self.scroll.finder.as_mut().expect("the search is open").exhausted = up,
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
        self.scroll.marked = None;
        let window = self.window_mut();
        window.at = at;
        if up && window.older == Older::Later {
            window.older = Older::Perhaps;
        }
        self.look_at_it();
    }

    pub fn go_to_end(&mut self) {
        self.scroll.marked = None;
        self.window_mut().at = At::End;
        self.look_at_it();
    }

    fn go_to_line(&mut self, number: i64) {
        let areas = self.areas();
        let at = self.paper(&areas).around(self.window(), number, areas.lines.height.into());
        self.window_mut().at = at;
        self.look_at_it();
    }

    pub fn go_to_divider(&mut self) {
        let window = self.window();
        match window.numbers().find(|number| window.divides(*number)) {
            Some(number) => self.go_to_line(number),
            None => self.flash("nothing is new here"),
        }
    }

    pub fn go_to_mention(&mut self, up: bool) {
        let window = self.window();
        let numbers = window.numbers();
        let from = match (self.scroll.marked, window.at) {
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
                self.scroll.marked = Some(number);
            }
            None => self.flash("no other mention here"),
        }
    }
}
