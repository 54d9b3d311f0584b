//! Objects of a page: inputs of the client, and what concerns pages alone (docs/web.md).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::core::Core;
use super::queue::Queue;
use crate::chat::{Command, MsgId, ReadMark, Request, Target};
use crate::client::connection::inbox::{Gone, Sender};
use crate::client::mistyped;
use crate::client::model::Input;
use crate::client::slash::{self, ScreenCommand, SlashCommand, Typed};
use crate::client::transfer::{Place, Then, ToGet, Wish};
use crate::client::ui::complete::{self, Known};
use crate::client::ui::json;

/// The reference of a picture that a typed line wants to see.
const VIEW: &str = "view";

/// One attached page, as a source of inputs.
pub struct Commands {
    core: Arc<Core>,
    queue: Arc<Queue>,
    inbox: Sender,
    /// The line that the page has sent before.
    before: String,
}

/// A line of the composer.
#[derive(Deserialize)]
struct Line {
    to: Target,
    line: String,
    /// The user has confirmed that it is a text.
    #[serde(default)]
    sure: bool,
    /// The id of the message that it may be. A line with the same id is not taken again.
    id: Option<MsgId>,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

/// A question for completions. Positions count units of UTF-16, as in JavaScript.
#[derive(Deserialize)]
struct Complete {
    to: Target,
    text: String,
    cursor: usize,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

impl Commands {
    pub fn new(core: Arc<Core>, queue: Arc<Queue>) -> Commands {
        let inbox = core.inputs();
        Commands::with_sender(core, queue, inbox)
    }

    /// Same as [`Commands::new`], with a sender of the caller.
    pub fn with_sender(core: Arc<Core>, queue: Arc<Queue>, inbox: Sender) -> Commands {
        Commands { core, queue, inbox, before: String::new() }
    }

    /// Handles an object. Waits while too many inputs of the page are not handled yet.
    ///
    /// # Errors
    /// The client has ended.
    pub fn take(&mut self, text: &str) -> Result<(), Gone> {
        let value = serde_json::from_str::<Value>(text).unwrap_or_default();
        let reference = value["ref"].as_str().map(str::to_owned);
        let taken = match value["type"].as_str() {
            Some("input") => read(value).and_then(|line| self.line(line)),
            Some("complete") => read(value).map(|question| self.complete(&question)),
            Some("get_file") => self.get_file(value),
            // The page has attached.
            Some("attach") => Ok(None),
            _ => self.object(text),
        };
        match taken {
            Ok(Some(input)) => self.send(input, text.len()),
            Ok(None) => Ok(()),
            Err(problem) => {
                let mut object = json!({
                    "type": "error", "code": "bad_request", "hint": problem, "origin": "client",
                });
                if let Some(reference) = reference {
                    object["ref"] = reference.into();
                }
                self.answer(&object);
                Ok(())
            }
        }
    }

    fn send(&self, input: Input, bytes: usize) -> Result<(), Gone> {
        self.inbox.send_sized(input, bytes, Duration::MAX, || {})
    }

    /// Answers this page alone.
    fn answer(&self, object: &Value) {
        self.queue.push(&object.to_string().into());
    }

    /// An object as programs send it.
    fn object(&mut self, text: &str) -> Result<Option<Input>, String> {
        match json::read(text) {
            Input::Ask(Err(problem)) => Err(problem),
            Input::AskByName { request: Request { command, reference }, open } => {
                match &command {
                    Command::Read { conversations } => {
                        self.reads(conversations);
                        return Ok(None);
                    }
                    Command::History { to, before, kind: None, .. } => self.core.with(|state| {
                        state.asks(to.clone(), *before, reference.as_deref());
                        ((), Vec::new())
                    }),
                    _ => {}
                }
                Ok(Some(Input::AskByName { request: Request { command, reference }, open }))
            }
            Input::Wish { wish: Wish::Send(send), exactly, id, reference } => {
                let number = || format!("page-{:016x}", rand::random::<u64>());
                let reference = reference.unwrap_or_else(number);
                self.core.spool.names(&send.path, &reference);
                let (wish, reference) = (Wish::Send(send), Some(reference));
                Ok(Some(Input::Wish { wish, exactly, id, reference }))
            }
            input => Ok(Some(input)),
        }
    }

    /// Marks messages as read, as the full screen does when it has shown them.
    fn reads(&self, conversations: &[ReadMark]) {
        for ReadMark { to, seq } in conversations {
            let read = self.core.with(|state| match state.reads(to, *seq) {
                Some((seq, object)) => (Some(seq), vec![object]),
                None => (None, Vec::new()),
            });
            if let Some(seq) = read {
                // The runtime may already have ended.
                let _ = self.send(Input::Seen { to: to.clone(), seq }, 0);
            }
        }
    }

    /// A file without a path goes where the full screen puts it; one that is not kept, to a folder
    /// of this run.
    fn get_file(&mut self, mut value: Value) -> Result<Option<Input>, String> {
        let keeps = value.as_object_mut().and_then(|object| object.remove("keep"));
        let has_path = value["path"].is_string();
        let mut input = json::read(&value.to_string());
        if let Input::Ask(Err(problem)) = input {
            return Err(problem);
        }
        if let Input::Wish { wish: Wish::Get(get), .. } = &mut input {
            match keeps {
                Some(Value::Bool(false)) => (get.place, get.then) = self.lent()?,
                _ if !has_path => get.place = Place::Downloads,
                _ => {}
            }
        }
        Ok(Some(input))
    }

    fn lent(&self) -> Result<(Place, Then), String> {
        let folder: PathBuf = self.core.spool.view().map_err(|error| error.to_string())?;
        Ok((Place::Folder(folder), Then::Lend))
    }

    /// A line as it is typed at the full screen.
    fn line(&mut self, line: Line) -> Result<Option<Input>, String> {
        let Line { to, line, sure, id, reference } = line;
        let line = line.trim_end_matches('\n');
        if line.trim().is_empty() {
            return Ok(None);
        }
        if let Some(hint) = mistyped::question_of(&self.before, line).filter(|_| !sure) {
            self.answer(&json!({
                "type": "held", "to": to, "ref": reference, "line": line, "hint": hint,
                "origin": "client",
            }));
            return Ok(None);
        }
        if let Some(id) = id
            && let Err(known) = self.core.with(|state| (state.takes(id), Vec::new()))
        {
            known.iter().for_each(|object| self.answer(object));
            return Ok(None);
        }
        line.clone_into(&mut self.before);
        // A text of several lines is never a command.
        let several = line.contains('\n');
        if let (false, Typed::Command(command)) = (several, slash::read(line))
            && let Some(own) = self.own_command(&to, &command)
        {
            return own;
        }
        let line = match several && line.starts_with('/') {
            true => format!("/{line}"),
            false => line.to_owned(),
        };
        Ok(Some(Input::TypedIn { to, within: None, line, id }))
    }

    /// Runs a command that concerns pages alone; `None` if it is none.
    fn own_command(
        &self,
        to: &Target,
        command: &SlashCommand,
    ) -> Option<Result<Option<Input>, String>> {
        let told = |object| ((), vec![object]);
        match command {
            SlashCommand::PartHere if matches!(to, Target::User(_)) => {
                self.core.with(|state| told(state.close(to)));
            }
            SlashCommand::Screen(ScreenCommand::Notify(wanted)) => {
                self.core.with(|state| told(state.notifies(to, *wanted)));
            }
            SlashCommand::View(seq) => {
                let wish = self.lent().map(|(place, then)| {
                    Wish::Get(ToGet { from: to.clone(), seq: *seq, place, then })
                });
                let reference = Some(VIEW.to_owned());
                let input = |wish| Input::Wish { wish, exactly: true, id: None, reference };
                return Some(wish.map(|wish| Some(input(wish))));
            }
            _ => return None,
        }
        Some(Ok(None))
    }

    fn complete(&self, question: &Complete) -> Option<Input> {
        let Complete { to, text, cursor, reference } = question;
        let before = &text[..byte_of(text, *cursor)];
        let (people, channels) = self.core.with(|state| (state.names(to), Vec::new()));
        // A disk that hangs stops this page alone.
        let known = Known { people: &people, channels: &channels, paths: complete::paths };
        let (from, candidates) = complete::candidates(before, &known);
        self.answer(&json!({
            "type": "completions", "ref": reference, "from": before[..from].encode_utf16().count(),
            "candidates": candidates, "origin": "client",
        }));
        None
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("not an object of docs/web.md: {error}"))
}

/// The place in a text after so many units of UTF-16.
fn byte_of(text: &str, units: usize) -> usize {
    let mut before = 0;
    let begins_later = |(_, c): &(usize, char)| {
        before += c.len_utf16();
        before > units
    };
    text.char_indices().find(begins_later).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_javascript() {
        let text = "a\u{e9}\u{1f600}b";
        let places: Vec<_> = (0..8).map(|units| byte_of(text, units)).collect();
        assert_eq!(places, [0, 1, 3, 3, 7, 8, 8, 8]);
    }
}
