//! First contact in the full screen: server, name, key and passphrase.

use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind};
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::Paragraph;
use zeroize::Zeroizing;

use super::keys::Act;
use super::theme::Look;
use super::tty::Word;
use super::wrap;
use super::{Cause, Opened};
use crate::clean;
use crate::client::prompt::{INVITE_EXAMPLE, Prompt, Question};

/// Bound on an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 4_096;
/// Columns and rows from which there is room for more than a question and its answer.
const SMALL: (u16, u16) = (24, 10);
/// Interval of the progress indicator.
const SPIN: Duration = Duration::from_millis(120);

/// Prompts on the screen. `left` is set when the user leaves.
pub struct Assistant<'a> {
    opened: &'a mut Opened,
    /// Earlier answers and completed tasks.
    done: Vec<(String, String)>,
    pub left: bool,
}

/// The content of the screen.
pub struct Sheet<'a> {
    pub done: &'a [(String, String)],
    pub asked: &'a [&'a str],
    /// A short form for small terminals.
    pub brief: Option<&'a str>,
    pub trouble: Option<&'a str>,
    /// `None` if no question is open.
    pub typed: Option<&'a str>,
    pub hidden: bool,
}

impl<'a> Assistant<'a> {
    pub fn new(opened: &'a mut Opened) -> Assistant<'a> {
        Assistant { opened, done: Vec::new(), left: false }
    }

    fn draw(&mut self, sheet: &Sheet) {
        let look = self.opened.app.reader.look;
        // The reader reports a terminal that is gone.
        let _ = self.opened.tty.draw(|frame| {
            draw(frame, &look, sheet);
            (Vec::new(), None)
        });
    }

    /// Waits for an event of the terminal. Returns false when the user leaves.
    fn word(&mut self, wait: Option<Duration>) -> Option<Event> {
        let cause = match wait {
            Some(wait) => self.opened.told.recv_timeout(wait).ok(),
            None => self.opened.told.recv().ok(),
        };
        match cause? {
            Cause::Word(Word::Input(event)) => {
                self.opened.tty.read_on();
                return Some(event);
            }
            Cause::Word(Word::Graphics) => self.opened.tty.read_on(),
            Cause::Word(Word::Continue) => {
                let _ = self.opened.tty.take_again();
            }
            Cause::Word(Word::Suspend) => {
                let _ = self.opened.tty.suspend();
            }
            Cause::Word(Word::Gone | Word::Stop) | Cause::End => self.left = true,
            Cause::Output(..) | Cause::Handled | Cause::Word(Word::Resize) => {}
        }
        None
    }
}

impl Prompt for Assistant<'_> {
    fn ask(&mut self, question: &Question, trouble: Option<&str>) -> Option<Zeroizing<String>> {
        let hidden = !matches!(question, Question::Server | Question::Name { .. });
        let asked = asked(question);
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let brief = asked_briefly(question);
        if trouble.is_some() {
            self.answered(question, "");
        }
        let mut typed = Zeroizing::new(String::new());
        while !self.left {
            let done = std::mem::take(&mut self.done);
            let (done, asked, typed_now) = (done, &asked[..], Some(typed.as_str()));
            let brief = Some(brief.as_str());
            self.draw(&Sheet { done: &done, asked, brief, trouble, typed: typed_now, hidden });
            self.done = done;
            match self.word(None) {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    match self.opened.app.controls.keys().act(&key) {
                        Some(Act::Send) => {
                            if let (Question::Name { usual }, true) = (question, typed.is_empty()) {
                                typed.push_str(usual);
                            }
                            self.answered(question, &typed);
                            return Some(typed);
                        }
                        Some(Act::Interrupt | Act::EndOfInput | Act::Close) => self.left = true,
                        Some(Act::Erase) => drop(typed.pop()),
                        Some(Act::KillToHome | Act::KillWord) => typed.clear(),
                        Some(Act::Suspend) => drop(self.opened.tty.suspend()),
                        Some(_) => {}
                        None => push(&mut typed, &key),
                    }
                }
                Some(Event::Paste(text)) => {
                    // An invite may be broken over several lines.
                    let text = clean::line(&text.replace(['\r', '\n'], ""));
                    if typed.len() + text.len() <= ANSWER_BYTES_MAX {
                        typed.push_str(text.trim());
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn wait(&mut self, what: &str, done: &dyn Fn() -> bool) {
        let mut turns = 0;
        while !done() {
            turns += 1;
            let spun = format!("{what} {}", ["|", "/", "-", "\\"][turns % 4]);
            let before = std::mem::take(&mut self.done);
            let asked = [spun.as_str()];
            let (done, asked, trouble) = (&before[..], &asked[..], None);
            self.draw(&Sheet { done, asked, brief: None, trouble, typed: None, hidden: false });
            self.done = before;
            self.word(Some(SPIN));
        }
    }

    fn show(&mut self, text: &str) {
        self.done.push(("key".into(), text.to_owned()));
    }

    fn is_patient(&self) -> bool {
        !self.left
    }
}

impl Assistant<'_> {
    fn answered(&mut self, question: &Question, typed: &str) {
        let (label, value) = match question {
            Question::Server => ("server", typed),
            Question::Name { .. } => ("name", typed),
            _ => return,
        };
        self.done.retain(|(before, _)| before != label);
        if !value.is_empty() {
            self.done.push((label.into(), value.to_owned()));
        }
    }
}

fn push(typed: &mut Zeroizing<String>, key: &KeyEvent) {
    if let KeyCode::Char(c) = key.code
        && typed.len() < ANSWER_BYTES_MAX
        && !clean::acts(c)
    {
        typed.push(c);
    }
}

/// Returns the question for a terminal that has room for its first line only.
fn asked_briefly(question: &Question) -> String {
    match question {
        Question::Server => "Paste the invite".to_owned(),
        Question::NewPassphrase => "Passphrase? (Enter: none)".to_owned(),
        Question::NewPassphraseAgain => "Once more?".to_owned(),
        Question::Name { .. } | Question::Passphrase => asked(question).swap_remove(0),
    }
}

fn asked(question: &Question) -> Vec<String> {
    let texts: &[&str] = match question {
        Question::Server => {
            let paste = format!("Paste the invite that its operator sent you, {INVITE_EXAMPLE}");
            return vec!["Which server?".to_owned(), paste];
        }
        Question::Name { usual } => {
            let usual = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
            return vec![
                format!("Your name there?{usual}"),
                "The name that the operator registers for you.".into(),
            ];
        }
        Question::Passphrase => &["The passphrase of your key?"],
        Question::NewPassphrase => &[
            "A passphrase for your new key?",
            "It is asked for at each start. Empty leaves the key open, readable by you alone.",
        ],
        Question::NewPassphraseAgain => &["The same passphrase once more?"],
    };
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Draws the assistant.
pub fn draw(frame: &mut Frame, look: &Look, sheet: &Sheet) {
    let area = frame.area();
    let is_small = area.height < SMALL.1 || area.width < SMALL.0;
    let (left, above) = if is_small { (0, 0) } else { (2, 1) };
    let inner = Rect {
        x: area.x + area.width.min(left),
        y: area.y + area.height.min(above),
        width: area.width.saturating_sub(2 * left),
        height: area.height.saturating_sub(above),
    };
    let width = usize::from(inner.width);
    let mut rows = vec![Row::styled("pychat: the first contact", look.own), Row::default()];
    if is_small {
        rows.clear();
    }
    let done = if is_small { &[] } else { sheet.done };
    for (label, value) in done {
        let said = vec![Span::styled(format!("{label:<8}"), look.dim), Span::raw(value.clone())];
        rows.extend(wrap::rows(&said, width, 8));
    }
    if !done.is_empty() {
        rows.push(Row::default());
    }
    let brief = sheet.brief.or(sheet.asked.first().copied());
    let asked = if is_small { brief.as_slice() } else { sheet.asked };
    for (number, text) in asked.iter().enumerate() {
        let style = if number == 0 { look.own } else { look.dim };
        rows.extend(wrap::rows(&[Span::styled(*text, style)], width, 0));
    }
    if let Some(trouble) = sheet.trouble {
        rows.extend(wrap::rows(&[Span::styled(format!("=!= {trouble}"), look.error)], width, 4));
    }
    if let Some(typed) = sheet.typed {
        let stars = "*".repeat(typed.chars().count());
        let typed = if sheet.hidden { stars } else { typed.to_owned() };
        if !is_small {
            rows.push(Row::default());
        }
        let typed = wrap::rows(&[Span::styled("> ", look.own), Span::raw(typed)], width, 2);
        let (row, column) = (rows.len() + typed.len() - 1, typed[typed.len() - 1].width());
        // The last row of the answer is on the screen.
        let hidden = (row + 1).saturating_sub(inner.height.into());
        let begun = rows.len();
        rows.drain(..hidden.min(begun));
        let row = row.saturating_sub(hidden);
        let x = inner.x + (column as u16).min(inner.width.saturating_sub(1));
        let y = inner.y + (row as u16).min(inner.height.saturating_sub(1));
        frame.set_cursor_position(Position::new(x, y));
        rows.extend(typed.into_iter().skip(hidden.saturating_sub(begun)));
        rows.push(Row::default());
        rows.push(Row::styled("Enter goes on, Ctrl-C leaves", look.dim));
    }
    frame.render_widget(Paragraph::new(rows), inner);
}
