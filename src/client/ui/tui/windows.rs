//! The open conversations, and the one on the screen.

use std::ops::{Index, IndexMut};

use super::window::{Line, Older, Window};
use crate::chat::{ChannelName, Target};

/// Bound on the text of all conversations, in bytes; beyond it the largest conversation drops its
/// oldest lines.
const BYTES_MAX: usize = 96 << 20;

pub struct Windows {
    /// The lobby, then the others in order of opening, so that numbers stay. Never empty.
    list: Vec<Window>,
    current: usize,
    /// The room before the user began to visit those with unread messages.
    went_from: Option<Target>,
}

/// The next room with unread messages.
pub enum News {
    At {
        index: usize,
        from: Target,
    },
    Here,
    /// None: back to the former room.
    BackTo(usize),
    Nowhere,
}

impl Windows {
    pub fn new() -> Windows {
        let lobby = Window::new(Target::Channel(ChannelName::lobby()));
        Windows { list: vec![lobby], current: 0, went_from: None }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Window> {
        self.list.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Window> {
        self.list.iter_mut()
    }

    pub fn current(&self) -> usize {
        self.current
    }

    pub fn position(&self, target: &Target) -> Option<usize> {
        self.list.iter().position(|window| window.target == *target)
    }

    /// Returns the window of a conversation and creates it, as the last one, if necessary.
    pub fn conversation(&mut self, target: &Target) -> usize {
        if let Some(index) = self.position(target) {
            return index;
        }
        self.list.push(Window::new(target.clone()));
        self.list.len() - 1
    }

    /// The name of a room on the screen: a channel with a PIN has its tag where another channel of
    /// this name is open.
    pub fn label(&self, index: usize) -> String {
        let target = &self.list[index].target;
        let Target::Channel(channel) = target else { return target.to_string() };
        let is_same = |window: &&Window| match &window.target {
            Target::Channel(other) => other.letters() == channel.letters(),
            Target::User(_) => false,
        };
        match self.list.iter().filter(is_same).count() {
            1 => channel.bare().to_string(),
            _ => channel.to_string(),
        }
    }

    /// Removes a window other than the current one and the lobby.
    pub fn remove(&mut self, index: usize) {
        self.list.remove(index);
        if self.current > index {
            self.current -= 1;
        }
    }

    /// Makes another window the current one. Returns the previous one.
    pub fn choose(&mut self, index: usize) -> usize {
        self.went_from = None;
        std::mem::replace(&mut self.current, index)
    }

    /// Records the room that the user came from.
    pub fn came_from(&mut self, from: Target) {
        self.went_from = Some(from);
    }

    /// Returns the next room with unread messages: mentions first.
    pub fn next_news(&mut self) -> News {
        let after = |index: &usize| (*index + self.list.len() - self.current) % self.list.len();
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by_key(after);
        let mentioned = order.iter().copied().find(|index| self.list[*index].mentions > 0);
        let unread = order.iter().copied().find(|index| self.list[*index].unread > 0);
        let from = self.went_from.take();
        let before = from.as_ref().and_then(|from| self.position(from));
        match (mentioned.or(unread), before) {
            (Some(index), _) if index != self.current => {
                let from = from.unwrap_or_else(|| self.list[self.current].target.clone());
                News::At { index, from }
            }
            (Some(_), _) => News::Here,
            (None, Some(index)) => News::BackTo(index),
            (None, None) => News::Nowhere,
        }
    }

    pub fn push(&mut self, index: usize, line: Line) {
        self.list[index].push(line);
        // Each conversation is bounded by itself; the total is checked now and then.
        if self.list.len() > 3 && self.list[index].lines.len().is_multiple_of(256) {
            self.bound();
        }
    }

    /// Takes an answer with older messages.
    pub fn loaded(&mut self, index: usize, lines: Vec<Line>, more: bool) {
        self.list[index].loaded(lines, more);
        self.bound();
    }

    /// Drops lines of other conversations than the current one, which is bounded by itself.
    fn bound(&mut self) {
        while self.list.iter().map(Window::bytes).sum::<usize>() > BYTES_MAX {
            let others = self.list.iter_mut().enumerate().filter(|(at, _)| *at != self.current);
            let Some((_, fullest)) = others.max_by_key(|(_, window)| window.bytes()) else {
                return;
            };
            fullest.drop_some();
        }
    }

    /// Handles a lost connection: channels are entered again, and older messages requested again.
    pub fn disconnected(&mut self) {
        for window in &mut self.list {
            window.joined = matches!(window.target, Target::User(_));
            if window.older == Older::Asked {
                window.older = Older::Perhaps;
            }
        }
    }

    /// The first room that a pane of this height shows, so that the current one is visible.
    pub fn first_room(&self, height: u16) -> usize {
        let rows = usize::from(height).saturating_sub(1).max(1);
        (self.current + 1).saturating_sub(rows)
    }
}

impl Index<usize> for Windows {
    type Output = Window;

    fn index(&self, index: usize) -> &Window {
        &self.list[index]
    }
}

impl IndexMut<usize> for Windows {
    fn index_mut(&mut self, index: usize) -> &mut Window {
        &mut self.list[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Seq;
    use crate::client::ui::tui::line::What;

    fn line(seq: u64) -> Line {
        Line { time_ms: 0, day: 0, seq: Some(Seq(seq)), what: What::Notice("x".repeat(1 << 20)) }
    }

    #[test]
    fn what_is_loaded_into_many_conversations_is_bounded_and_not_loaded_again() {
        let mut windows = Windows::new();
        for name in ["#tea", "#work", "#garden", "#cellar"] {
            let index = windows.conversation(&name.parse().unwrap());
            let window = windows.iter_mut().nth(index).unwrap();
            (window.joined, window.unread, window.last) = (true, 40, Seq(40));
            window.push(line(40));
            assert!(window.wants_older(), "mentions among what is unread");
            windows.loaded(index, (10..40).map(line).collect(), true);
        }
        assert!(windows.iter().map(Window::bytes).sum::<usize>() <= BYTES_MAX);
        let oldest = |window: &&Window| window.oldest().is_some_and(|seq| seq > Seq(10));
        let shortened: Vec<_> = windows.iter().filter(oldest).collect();
        assert!(!shortened.is_empty() && shortened.iter().all(|window| !window.wants_older()));
    }
}
