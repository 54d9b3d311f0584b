//! The list of rooms that is searched by name or number: Ctrl-K on a line with nothing to cut,
//! Alt-J. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keys::Act;
use super::pane::Pane;
use super::windows::Windows;

/// What a key does.
pub enum Step {
    Stays,
    Closes,
    /// Goes to the room with this index.
    To(usize),
}

#[derive(Default)]
pub struct Switcher {
    query: String,
    chosen: usize,
}

impl Switcher {
    /// The rooms whose number begins with the query, or whose name contains it; the room with the
    /// number first.
    fn rooms(&self, windows: &Windows) -> Vec<usize> {
        let query = self.query.to_lowercase();
        let number = |index: usize| (index + 1).to_string();
        let fits = |index: &usize| {
            let name = windows.label(*index).to_lowercase();
            number(*index).starts_with(&query) || name.contains(&query)
        };
        let mut rooms: Vec<usize> = (0..windows.len()).filter(fits).collect();
        rooms.sort_by_key(|index| number(*index) != query);
        rooms
    }

    pub fn key(&mut self, key: &KeyEvent, act: Option<Act>, windows: &Windows) -> Step {
        let rooms = self.rooms(windows);
        match act {
            Some(Act::Send) => {
                return rooms.get(self.chosen).map_or(Step::Closes, |index| Step::To(*index));
            }
            Some(Act::Close | Act::Interrupt | Act::Switcher) => return Step::Closes,
            Some(Act::Newer | Act::Complete | Act::NextWindow) => {
                self.chosen = (self.chosen + 1) % rooms.len().max(1);
            }
            Some(Act::Older | Act::CompleteBack | Act::PreviousWindow) => {
                self.chosen = (self.chosen + rooms.len().max(1) - 1) % rooms.len().max(1);
            }
            Some(Act::Erase) => {
                self.query.pop();
                self.chosen = 0;
            }
            Some(Act::KillToHome | Act::KillWord) => *self = Switcher::default(),
            _ => {
                let typed = key.modifiers - KeyModifiers::SHIFT == KeyModifiers::NONE;
                if let (KeyCode::Char(c), true) = (key.code, typed) {
                    self.query.push(c);
                    self.chosen = 0;
                }
            }
        }
        Step::Stays
    }

    /// The list, of which the chosen room is within this many rows.
    pub fn pane(&self, windows: &Windows, height: usize) -> Pane {
        let row = |(place, index): (usize, usize)| {
            let window = &windows[index];
            let mark = if place == self.chosen { ">" } else { " " };
            let news = match (window.mentions, window.unread) {
                (0, 0) => String::new(),
                (0, unread) => format!("  {unread} unread"),
                (mentions, _) => format!("  {mentions}!"),
            };
            format!("{mark} {:>3} {}{news}", index + 1, windows.label(index))
        };
        let text: Vec<String> = self.rooms(windows).into_iter().enumerate().map(row).collect();
        let text = if text.is_empty() { vec!["  no such room".to_owned()] } else { text };
        let mut pane = Pane::new(format!("go to: {}", self.query), text);
        pane.scroll = (self.chosen + 1).saturating_sub(height.max(1));
        pane
    }
}
