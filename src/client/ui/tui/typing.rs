//! Checks and completes the typed line. Pure.

use super::reader::Reader;
use crate::chat::{SecretText, Target, UserName};
use crate::client::mistyped;
use crate::client::model::Input;
use crate::client::slash::{self, Typed};
use crate::client::ui::complete::{self, Known};

/// Sends the secret that was typed.
pub fn send_secret(reader: &mut Reader) {
    if !reader.input.is_empty() {
        let secret = SecretText::new(reader.input.take_secret());
        reader.send(Input::Secret(secret));
    }
}

/// Keeps a line that must not be sent, and reports it.
pub fn must_stay(reader: &mut Reader, line: &str) -> bool {
    let says = slash::says_here(line) && !line.trim().is_empty();
    let target = reader.window().target.clone();
    if says && reader.window().gone {
        reader.flash(format!("you are no longer in {target}: text not sent"));
        return true;
    }
    let within = reader.input.within().filter(|_| says && !target.is_sealed());
    if let Some(within) = within {
        reader.flash(format!("typed for {within}, which is sealed: the text was not sent"));
        return true;
    }
    if let Some(command) = reader.input.mistyped(line)
        && !reader.input.is_confirmed(line)
    {
        reader.flash(mistyped::question(command));
        return true;
    }
    is_too_long(reader, line)
}

/// Keeps a text that exceeds the server's limit, so that it can be shortened.
fn is_too_long(reader: &mut Reader, line: &str) -> bool {
    let command = !line.contains('\n') && !matches!(slash::read(line), Typed::Text(_));
    let (bytes, most) = (line.len(), reader.text_bytes_max);
    let too_long = !command && bytes > most;
    if too_long {
        reader.flash(format!("too long: {bytes} bytes, the limit is {most}"));
    }
    too_long
}

/// Completes the word before the cursor.
pub fn complete(reader: &mut Reader, back: bool) {
    let people = likely_people(reader);
    let rooms = reader.windows.iter().map(|window| window.target.to_string());
    let mut channels: Vec<String> = rooms.filter(|name| name.starts_with('#')).collect();
    for listed in &reader.listed {
        if !channels.contains(listed) {
            channels.push(listed.clone());
        }
    }
    let known = Known { people: &people, channels: &channels, paths: complete::paths };
    reader.input.complete(back, |before| complete::candidates(before, &known));
}

/// Candidates for completion; the latest speakers come first.
fn likely_people(reader: &Reader) -> Vec<UserName> {
    let mut people: Vec<(i64, UserName)> = Vec::new();
    for window in [reader.window(), &reader.windows[0]] {
        let mut here: Vec<_> = window.people.iter().collect();
        here.sort_by_key(|(name, presence)| (-presence.active_ms, (*name).clone()));
        people.extend(here.into_iter().map(|(name, one)| (one.active_ms, name.clone())));
    }
    if let Target::User(name) = &reader.window().target {
        people.insert(0, (0, name.clone()));
    }
    let mut known = Vec::new();
    for (_, name) in people {
        if !known.contains(&name) && reader.own.as_ref() != Some(&name) {
            known.push(name);
        }
    }
    known
}

/// Inserts a text at the cursor, if it fits.
pub fn insert(reader: &mut Reader, text: &str) {
    if !reader.input.insert(text) {
        reader.flash("too long: the text was not inserted");
    }
}
