//! The line being typed: text area, history and completion. Pure.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_textarea::{CursorMove, TextArea};

use super::composer::{self, Typed};
use super::keys::Act;
use crate::chat::Target;
use crate::client::mistyped;
use crate::client::model::SecretPrompt;

/// Lines in the history.
const TYPED_MAX: usize = 500;
/// Bound on the text, above every server's limit.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Half-typed text, and the sealed conversation that any part of it was composed in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    pub text: String,
    pub within: Option<Target>,
}

pub struct InputLine {
    area: TextArea<'static>,
    /// The current conversation, if it is sealed ...
    here: Option<Target>,
    /// ... and the one in which any part of the text was composed.
    within: Option<Target>,
    /// The same for the last cut text, and for the text before the line became empty.
    cut: Option<Target>,
    was: Option<Target>,
    typed: VecDeque<Draft>,
    /// The recalled history entry, from the newest, and the text before the recall.
    browsing: Option<(usize, Draft)>,
    completing: Option<Completing>,
    pub finding: Option<Finding>,
    /// A secret is typed: it is shown as stars and not stored in the history.
    pub hidden: bool,
    /// The next mode, once nothing is half typed.
    next: SecretPrompt,
    /// Half-typed text of this conversation while a secret is typed.
    aside: Draft,
    /// The text that Enter was pressed on, and that was asked about.
    asked: Option<String>,
    /// The last line that was sent.
    before: String,
}

/// Ctrl-R: a search of the history.
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
    /// Text before and after the completed word.
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
            before: String::new(),
        }
    }

    /// Takes a line that is sent; the next one may be the rest of it.
    pub fn accept(&mut self, line: &str) {
        self.before = line.to_owned();
    }

    /// The command with a secret that a line was probably meant as.
    pub fn mistyped(&self, line: &str) -> Option<&'static str> {
        mistyped::mistyped(&self.before, line)
    }

    /// Whether Enter was pressed on this text before, and nothing else was sent since.
    pub fn is_confirmed(&mut self, text: &str) -> bool {
        let confirmed = self.asked.take().is_some_and(|asked| asked == text);
        self.asked = (!confirmed).then(|| text.to_owned());
        confirmed
    }

    /// Sets the next mode of the prompt; half-typed text keeps its kind.
    pub fn wants(&mut self, next: SecretPrompt) {
        self.next = next;
    }

    /// Enter was pressed on an empty line.
    pub fn is_entered_empty(&mut self) {
        if self.next == SecretPrompt::Waits {
            self.wants(SecretPrompt::Open);
        }
    }

    /// Takes a secret off the line. The next line is a message, unless a password is requested
    /// again.
    pub fn take_secret(&mut self) -> String {
        let secret = self.text();
        self.set("");
        self.wants(SecretPrompt::Closed);
        secret
    }

    /// Switches the mode if nothing is half typed.
    pub fn settles(&mut self) {
        let hides = self.next == SecretPrompt::Open;
        if hides == self.hidden || !self.is_empty() || self.finding.is_some() {
            return;
        }
        self.hidden = hides;
        // Cut text must not move from a secret to a message, or back.
        self.area.set_yank_text("");
        let typed = std::mem::take(&mut self.aside);
        self.put(typed);
    }

    /// Switches to another conversation and its draft. Returns the previous draft; a secret belongs
    /// to no conversation and stays.
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

    /// The half-typed text.
    pub fn draft(&self) -> Draft {
        Draft { text: self.text(), within: self.within.clone() }
    }

    pub fn within(&self) -> Option<&Target> {
        self.within.as_ref()
    }

    /// Returns whether anything is half typed.
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

    /// Adds the origin of inserted text to that of the line.
    fn comes_from(&mut self, within: Option<Target>) {
        let before = self.within.take().or(within).or_else(|| self.here.clone());
        match self.area.is_empty() {
            true => self.was = before.or(self.was.take()),
            false => self.within = before,
        }
    }

    /// Inserts a text. Returns whether it fits.
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

    /// Handles a key without a binding: a character, or nothing.
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

    /// Adds a line to the history, unless it may contain a PIN.
    pub fn remember(&mut self, line: &str, within: Option<Target>) {
        if mistyped::is_secret(&self.before, line)
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

    /// Returns whether the key was for the text.
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
            // A secret has no history.
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

    /// The line that Ctrl-R has found.
    pub fn found(&self) -> Option<&str> {
        self.found_draft().map(|line| line.text.as_str())
    }

    fn found_draft(&self) -> Option<&Draft> {
        let finding = self.finding.as_ref()?;
        let hits = self.typed.iter().rev().filter(|line| line.text.contains(&finding.query));
        let hits: Vec<_> = hits.collect();
        hits.get(finding.nth.min(hits.len().saturating_sub(1))).copied()
    }

    /// The text before and after the cursor.
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

    /// Starts or continues the completion. `find` returns the start of the word, and its
    /// candidates.
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
                let (start, mut candidates) = find(&before);
                // Within a line the blank is there already.
                if after.starts_with(char::is_whitespace) {
                    candidates.iter_mut().for_each(|one| one.truncate(one.trim_end().len()));
                }
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
        // A single candidate is complete: the next Tab starts again.
        if completing.candidates.len() > 1 {
            completing.candidates.shrink_to_fit();
            self.completing = Some(completing);
        }
    }

    /// The candidates, and the chosen one.
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
    fn the_history_and_the_draft_are_recalled() {
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
    fn completion_cycles_and_keeps_the_text_after_it() {
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
        let mut begun = InputLine::new();
        typed(&mut begun, "al hello");
        for _ in 0..6 {
            begun.act(Act::Left);
        }
        begun.complete(false, |_| (0, vec!["alice: ".to_owned()]));
        assert_eq!(begun.text(), "alice: hello");
        typed(&mut input, "?");
        assert_eq!(input.text(), "hi alan?!");
    }
}
