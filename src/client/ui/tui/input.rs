//! The line that is being typed: a text area, what was typed before, and completion. Pure.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_textarea::{CursorMove, TextArea};

use super::composer::{self, Typed};
use super::keys::Act;
use crate::chat::Target;
use crate::client::mistyped;
use crate::client::model::SecretPrompt;

/// Lines that are remembered.
const TYPED_MAX: usize = 500;
/// A text that is longer is no message of any server.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// What is half typed, and the sealed conversation that it was composed in, or a part of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    pub text: String,
    pub within: Option<Target>,
}

pub struct InputLine {
    area: TextArea<'static>,
    /// The conversation that is typed in, where it is a sealed one ...
    here: Option<Target>,
    /// ... and the one that what is typed, or a part of it, was composed in.
    within: Option<Target>,
    /// The same of what was cut last, and of what was there before the line became empty.
    cut: Option<Target>,
    was: Option<Target>,
    typed: VecDeque<Draft>,
    /// Which of the remembered lines is shown, from the newest; and what was typed before that.
    browsing: Option<(usize, Draft)>,
    completing: Option<Completing>,
    pub finding: Option<Finding>,
    /// What is typed is a secret: stars stand for it, and it is not remembered.
    pub hidden: bool,
    /// What is to be typed next, once nothing is half typed.
    next: SecretPrompt,
    /// What is half typed in this conversation while a secret is typed.
    aside: Draft,
    /// The text that Enter was pressed on, and that was asked about.
    asked: Option<String>,
}

/// Ctrl-R: a search of what was typed.
#[derive(Default)]
pub struct Finding {
    pub query: String,
    nth: usize,
}

impl Finding {
    pub fn extend(&mut self, text: &str) {
        self.query.push_str(text);
        self.nth = 0;
    }
}

struct Completing {
    /// What stands before and after the completed word.
    before: String,
    after: String,
    candidates: Vec<String>,
    chosen: usize,
}

impl InputLine {
    pub fn new() -> InputLine {
        InputLine {
            area: area(""),
            here: None,
            within: None,
            cut: None,
            was: None,
            typed: VecDeque::new(),
            browsing: None,
            completing: None,
            finding: None,
            hidden: false,
            next: SecretPrompt::Closed,
            aside: Draft::default(),
            asked: None,
        }
    }

    /// Whether Enter was pressed on this text before, and nothing else was sent since.
    pub fn is_confirmed(&mut self, text: &str) -> bool {
        let confirmed = self.asked.take().is_some_and(|asked| asked == text);
        self.asked = (!confirmed).then(|| text.to_owned());
        confirmed
    }

    /// What is typed next is a secret, or no longer one; what is half typed stays what it is.
    pub fn wants(&mut self, next: SecretPrompt) {
        self.next = next;
    }

    /// Enter was pressed on an empty line.
    pub fn is_entered_empty(&mut self) {
        if self.next == SecretPrompt::Waits {
            self.wants(SecretPrompt::Open);
        }
    }

    /// A secret is taken off the line, and what is typed next is none unless somebody asks anew.
    pub fn take_secret(&mut self) -> String {
        let secret = self.text();
        self.set("");
        self.wants(SecretPrompt::Closed);
        secret
    }

    /// Where nothing is half typed, another prompt takes its place.
    pub fn settles(&mut self) {
        let hides = self.next == SecretPrompt::Open;
        if hides == self.hidden || !self.is_empty() || self.finding.is_some() {
            return;
        }
        self.hidden = hides;
        // What was cut of a secret is not put anywhere else, nor of a message into a secret.
        self.area.set_yank_text("");
        let typed = std::mem::take(&mut self.aside);
        self.put(typed);
    }

    /// Another conversation has the line: what was half typed is given for what is half typed
    /// there. A secret is of no conversation and stays.
    pub fn exchange(&mut self, draft: Draft, there: &Target) -> Draft {
        (self.finding, self.asked) = (None, None);
        self.here = Some(there.clone()).filter(Target::is_sealed);
        if self.hidden {
            return std::mem::replace(&mut self.aside, draft);
        }
        let before = self.draft();
        self.put(draft);
        before
    }

    /// What is half typed.
    pub fn draft(&self) -> Draft {
        Draft { text: self.text(), within: self.within.clone() }
    }

    pub fn within(&self) -> Option<&Target> {
        self.within.as_ref()
    }

    /// Whether anything is half typed: nothing moves it then.
    pub fn is_begun(&self) -> bool {
        !self.is_empty() || !self.aside.text.is_empty() || self.finding.is_some()
    }

    pub fn put(&mut self, draft: Draft) {
        self.set(&draft.text);
        self.within = draft.within;
    }

    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    pub fn lay_out(&self, cells: usize) -> Typed {
        let cursor = self.area.cursor();
        composer::lay_out(self.area.lines(), (cursor.0, cursor.1), self.hidden, cells)
    }

    pub fn is_empty(&self) -> bool {
        self.area.is_empty()
    }

    pub fn set(&mut self, text: &str) {
        let yank = self.area.yank_text();
        self.area = area(text);
        self.area.set_yank_text(yank);
        (self.browsing, self.completing) = (None, None);
        self.comes_from(None);
        self.was = None;
    }

    /// What is typed now has something of what was composed there, and something of here.
    fn comes_from(&mut self, within: Option<Target>) {
        let before = self.within.take().or(within).or_else(|| self.here.clone());
        match self.area.is_empty() {
            true => self.was = before.or(self.was.take()),
            false => self.within = before,
        }
    }

    /// Whether there was room for it.
    pub fn insert(&mut self, text: &str) -> bool {
        let size: usize = self.area.lines().iter().map(|line| line.len() + 1).sum();
        let fits = size + text.len() <= TEXT_BYTES_MAX;
        if fits {
            self.area.insert_str(text);
            self.comes_from(None);
        }
        (self.browsing, self.completing) = (None, None);
        fits
    }

    /// A key that is bound to nothing: a character, or nothing.
    pub fn key(&mut self, key: &KeyEvent) -> bool {
        let KeyCode::Char(c) = key.code else { return false };
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return false;
        }
        match &mut self.finding {
            Some(finding) => finding.extend(c.encode_utf8(&mut [0; 4])),
            None => drop(self.insert(c.encode_utf8(&mut [0; 4]))),
        }
        true
    }

    /// A line is remembered, unless it may hold a PIN.
    pub fn remember(&mut self, line: &str, within: Option<Target>) {
        if mistyped::is_secret(line)
            || line.trim().is_empty()
            || self.typed.back().is_some_and(|one| one.text == line && one.within == within)
        {
            return;
        }
        self.typed.push_back(Draft { text: line.to_owned(), within });
        if self.typed.len() > TYPED_MAX {
            self.typed.pop_front();
        }
    }

    /// Whether the key was for the text.
    pub fn act(&mut self, act: Act) -> bool {
        if self.finding.is_some() {
            return self.find(act);
        }
        let area = &mut self.area;
        let (row, column) = (area.cursor().0, area.cursor().1);
        let beside = |before| composer::grapheme(&area.lines()[row], column, before);
        let (before, behind) = (beside(true), beside(false));
        let (yank, within) = (area.yank_text(), self.within.clone());
        match act {
            // A secret is not remembered, and nothing that was said is one.
            Act::Older | Act::Newer | Act::FindTyped if self.hidden => {}
            Act::Newline => area.insert_newline(),
            Act::Left => (0..before).for_each(|_| area.move_cursor(CursorMove::Back)),
            Act::Right => (0..behind).for_each(|_| area.move_cursor(CursorMove::Forward)),
            Act::WordLeft => area.move_cursor(CursorMove::WordBack),
            Act::WordRight => area.move_cursor(CursorMove::WordForward),
            Act::Home => area.move_cursor(CursorMove::Head),
            Act::End => area.move_cursor(CursorMove::End),
            Act::Erase => (0..before).for_each(|_| {
                area.delete_char();
            }),
            Act::EraseNext => (0..behind).for_each(|_| {
                area.delete_next_char();
            }),
            Act::KillLine => drop(area.delete_line_by_end()),
            Act::KillToHome => drop(area.delete_line_by_head()),
            Act::KillWord => drop(area.delete_word()),
            Act::KillNextWord => drop(area.delete_next_word()),
            Act::Yank => {
                area.paste();
                let cut = self.cut.clone();
                self.comes_from(cut);
            }
            Act::Undo => {
                area.undo();
                let was = self.was.clone();
                self.comes_from(was);
            }
            Act::Older if area.cursor().0 > 0 => area.move_cursor(CursorMove::Up),
            Act::Newer if area.cursor().0 + 1 < area.lines().len() => {
                area.move_cursor(CursorMove::Down);
            }
            Act::Older => self.browse(1),
            Act::Newer => self.browse(-1),
            Act::FindTyped => self.finding = Some(Finding::default()),
            _ => return false,
        }
        if !matches!(act, Act::Older | Act::Newer) {
            self.browsing = None;
        }
        self.completing = None;
        if self.area.yank_text() != yank {
            self.cut = within;
        }
        self.comes_from(None);
        true
    }

    fn browse(&mut self, step: isize) {
        let (at, draft) = match self.browsing.take() {
            Some((at, draft)) => (at as isize + step, draft),
            None => (step - 1, self.draft()),
        };
        if at < 0 {
            if step < 0 {
                self.put(draft);
            }
            return;
        }
        let at = (at as usize).min(self.typed.len().saturating_sub(1));
        let Some(line) = self.typed.iter().rev().nth(at).cloned() else { return };
        self.put(line);
        self.browsing = Some((at, draft));
    }

    fn find(&mut self, act: Act) -> bool {
        let found = self.found_draft().cloned();
        let Some(finding) = &mut self.finding else { return false };
        match act {
            Act::FindTyped | Act::Older => finding.nth += 1,
            Act::Newer => finding.nth = finding.nth.saturating_sub(1),
            Act::Erase => {
                finding.query.pop();
                finding.nth = 0;
            }
            Act::Send | Act::Complete | Act::Right | Act::End => {
                self.finding = None;
                if let Some(line) = found {
                    self.put(line);
                }
            }
            Act::Close | Act::Interrupt => self.finding = None,
            Act::Left | Act::WordLeft | Act::WordRight | Act::Home => {
                self.find(Act::Send);
                return self.act(act);
            }
            _ => return false,
        }
        true
    }

    /// What Ctrl-R has found.
    pub fn found(&self) -> Option<&str> {
        self.found_draft().map(|line| line.text.as_str())
    }

    fn found_draft(&self) -> Option<&Draft> {
        let finding = self.finding.as_ref()?;
        let hits = self.typed.iter().rev().filter(|line| line.text.contains(&finding.query));
        let hits: Vec<_> = hits.collect();
        hits.get(finding.nth.min(hits.len().saturating_sub(1))).copied()
    }

    /// The text before the cursor, and after it.
    pub fn split(&self) -> (String, String) {
        let (row, column) = (self.area.cursor().0, self.area.cursor().1);
        let lines = self.area.lines();
        let at = lines[row].char_indices().nth(column).map_or(lines[row].len(), |(at, _)| at);
        let mut before = lines[..row].join("\n");
        if row > 0 {
            before.push('\n');
        }
        before.push_str(&lines[row][..at]);
        let mut after = lines[row][at..].to_owned();
        for line in &lines[row + 1..] {
            after.push('\n');
            after.push_str(line);
        }
        (before, after)
    }

    /// Goes through the candidates, or begins to. `find` gives where the word begins, and what it
    /// may become.
    pub fn complete(&mut self, back: bool, find: impl Fn(&str) -> (usize, Vec<String>)) {
        if self.hidden {
            return;
        }
        let mut completing = match self.completing.take() {
            Some(mut going) => {
                let count = going.candidates.len();
                going.chosen = (going.chosen + if back { count - 1 } else { 1 }) % count;
                going
            }
            None => {
                let (before, after) = self.split();
                let (start, candidates) = find(&before);
                if candidates.is_empty() {
                    return;
                }
                let before = before[..start].to_owned();
                Completing { before, after, candidates, chosen: 0 }
            }
        };
        let word = &completing.candidates[completing.chosen];
        let head = format!("{}{word}", completing.before);
        self.set(&head);
        let cursor = self.area.cursor();
        self.area.insert_str(&completing.after);
        self.area.move_cursor(CursorMove::Jump(cursor.0 as u16, cursor.1 as u16));
        // One candidate is complete: the next Tab begins anew.
        if completing.candidates.len() > 1 {
            completing.candidates.shrink_to_fit();
            self.completing = Some(completing);
        }
    }

    /// What may be chosen now, and which one is.
    pub fn choices(&self) -> Option<(&[String], usize)> {
        self.completing.as_ref().map(|one| (one.candidates.as_slice(), one.chosen))
    }
}

fn area(text: &str) -> TextArea<'static> {
    let mut area = TextArea::new(text.split('\n').map(str::to_owned).collect());
    area.set_max_histories(100);
    area.move_cursor(CursorMove::Bottom);
    area.move_cursor(CursorMove::End);
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(input: &mut InputLine, text: &str) {
        for c in text.chars() {
            input.key(&KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        }
    }

    #[test]
    fn what_was_typed_comes_back_and_the_draft_too() {
        let mut input = InputLine::new();
        for line in ["one", "two", "/join #tea 1234", "/jion #tea 1234", "/join #tea"] {
            input.remember(line, None);
        }
        typed(&mut input, "dra");
        let mut walk = |act| {
            input.act(act);
            input.text()
        };
        assert_eq!(walk(Act::Older), "/join #tea");
        assert_eq!(walk(Act::Older), "two", "a PIN is not remembered");
        assert_eq!(walk(Act::Older), "one");
        assert_eq!(walk(Act::Older), "one");
        assert_eq!(walk(Act::Newer), "two");
        assert_eq!(walk(Act::Newer), "/join #tea");
        assert_eq!(walk(Act::Newer), "dra");
        assert_eq!(walk(Act::Newer), "dra");
    }

    #[test]
    fn ctrl_r_finds_and_enter_takes() {
        let mut input = InputLine::new();
        for line in ["tea at five", "coffee", "tea at six"] {
            input.remember(line, None);
        }
        input.act(Act::FindTyped);
        typed(&mut input, "tea");
        assert_eq!(input.found(), Some("tea at six"));
        input.act(Act::FindTyped);
        assert_eq!(input.found(), Some("tea at five"));
        input.act(Act::Send);
        assert_eq!((input.text().as_str(), input.finding.is_none()), ("tea at five", true));
    }

    #[test]
    fn completion_goes_round_and_leaves_what_follows() {
        let mut input = InputLine::new();
        typed(&mut input, "hi al!");
        input.act(Act::Left);
        let find = |before: &str| {
            assert_eq!(before, "hi al");
            (3, vec!["alice".to_owned(), "alan".to_owned()])
        };
        let mut tab = |back| {
            input.complete(back, find);
            input.text()
        };
        assert_eq!(tab(false), "hi alice!");
        assert_eq!(tab(false), "hi alan!");
        assert_eq!(tab(false), "hi alice!");
        assert_eq!(tab(true), "hi alan!");
        typed(&mut input, "?");
        assert_eq!(input.text(), "hi alan?!");
    }
}
