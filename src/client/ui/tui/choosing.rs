//! A message that is chosen with the keys, to answer, edit or delete it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keys::Act;
use super::reader::Reader;
use super::typing;
use super::window::{Line, What};

/// Characters of a message in the quotation of an answer.
const QUOTED_CHARS_MAX: usize = 200;

/// Chooses the newest message.
pub fn begin(reader: &mut Reader) {
    if !step(reader, true) {
        reader.flash("no message is here yet");
    }
}

/// Handles a key while a message is chosen. Returns whether it was for that.
pub fn key(reader: &mut Reader, key: &KeyEvent, act: Option<Act>) -> bool {
    if reader.scroll.chosen().is_none() {
        return false;
    }
    let Some(number) = reader.chosen() else {
        reader.scroll.choose(None);
        reader.flash("the chosen message is gone");
        return true;
    };
    match act {
        Some(Act::Older) => drop(step(reader, true)),
        Some(Act::Newer) => drop(step(reader, false)),
        Some(Act::Close | Act::Interrupt | Act::Choose) => end(reader),
        Some(_) => {
            // Scrolling and other keys end the choice and do what they always do.
            end(reader);
            return false;
        }
        None => {
            let typed = key.modifiers - KeyModifiers::SHIFT == KeyModifiers::NONE;
            match key.code {
                KeyCode::Char('r') if typed => answer(reader, number),
                KeyCode::Char('e') if typed => edit(reader, number),
                KeyCode::Char('d') if typed => delete(reader, number),
                _ => describe(reader, number),
            }
        }
    }
    true
}

/// Ends the choice.
pub fn end(reader: &mut Reader) {
    reader.scroll.choose(None);
    reader.flash("");
}

/// Goes to the next message above or below. Returns whether there is one.
fn step(reader: &mut Reader, up: bool) -> bool {
    let window = reader.window();
    let numbers = window.numbers();
    let is_message = |number: &i64| window.line(*number).is_some_and(Line::is_message);
    let from = reader.chosen();
    let next = match up {
        true => (numbers.start..from.unwrap_or(numbers.end)).rev().find(is_message),
        false => (from.unwrap_or(numbers.end) + 1..numbers.end).find(is_message),
    };
    let Some(number) = next else { return from.is_some() };
    let seq = window.line(number).and_then(|line| line.seq);
    reader.go_to_line(number);
    reader.scroll.choose(seq);
    describe(reader, number);
    true
}

/// Shows the number of the message and what the keys do.
fn describe(reader: &mut Reader, number: i64) {
    let Some(line) = reader.window().line(number) else { return };
    let seq = line.seq.map_or(String::new(), |seq| format!(" {seq}"));
    let own = match (line.is_own(), line.is_file()) {
        (true, true) => "  d delete",
        (true, false) => "  e edit  d delete",
        (false, _) => "",
    };
    reader.flash(format!("message{seq}: r answer{own}  Esc back"));
}

/// Begins an answer with a quotation.
fn answer(reader: &mut Reader, number: i64) {
    let line = reader.window().line(number);
    let Some(What::Said { who, text, .. }) = line.map(|line| &line.what) else { return };
    let first = text.lines().next().unwrap_or_default();
    let quoted: String = first.chars().take(QUOTED_CHARS_MAX).collect();
    let whole = if quoted == *text { "" } else { " ..." };
    let quotation = format!("{who}: > {quoted}{whole}\n");
    if !reader.input.is_empty() {
        return reader.flash("send or clear what you have typed first");
    }
    end(reader);
    typing::insert(reader, &quotation);
}

/// Puts the command that changes an own message into the input line.
fn edit(reader: &mut Reader, number: i64) {
    if reader.window().line(number).is_some_and(|line| line.is_own() && line.is_file()) {
        return reader.flash("a file cannot be edited");
    }
    change(reader, number, |text| match text.contains('\n') {
        true => Err("a message of several lines cannot be edited"),
        false => Ok(format!(" -- {text}")),
    });
}

fn delete(reader: &mut Reader, number: i64) {
    change(reader, number, |_| Ok(String::new()));
}

fn change(
    reader: &mut Reader,
    number: i64,
    operands: impl Fn(&str) -> Result<String, &'static str>,
) {
    let Some(line) = reader.window().line(number) else { return };
    let (Some(seq), What::Said { text, own: true, .. }) = (line.seq, &line.what) else {
        return reader.flash("you can change only your own messages");
    };
    if !reader.input.is_empty() {
        return reader.flash("send or clear what you have typed first");
    }
    let command = match operands(text) {
        Ok(rest) if rest.is_empty() => format!("/delete {seq}"),
        Ok(rest) => format!("/edit {seq}{rest}"),
        Err(problem) => return reader.flash(problem),
    };
    end(reader);
    typing::insert(reader, &command);
}
