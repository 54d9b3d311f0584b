//! Conversations that are written to files as readable lines (`/log`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};

use super::plain::Plain;
use crate::chat::{Event, Seq, Target, UserName};
use crate::client::model::{LogWish, Output, State};
use crate::system::files;

/// Files of conversations, and the newest message of each conversation.
#[derive(Default)]
pub struct RoomLogs {
    logs: BTreeMap<Target, RoomLog>,
    last: BTreeMap<Target, Seq>,
    own: Option<UserName>,
}

/// The file of one conversation.
struct RoomLog {
    path: PathBuf,
    /// The same path without links and `..`.
    real: PathBuf,
    lines: Plain,
    /// The first failed write.
    failed: Receiver<String>,
}

impl RoomLogs {
    /// Writes a shown output to the file of its conversation: new messages, gaps between them,
    /// joins and departures. Returns an error for the user if the file cannot be written any more.
    pub fn note(&mut self, output: &Output) -> Option<Output> {
        let conversation = match output {
            Output::State(State::Connected { name }) => {
                self.own = Some(name.clone());
                return None;
            }
            Output::Renumbered { to, after } => {
                let last = self.last.entry(to.clone()).or_default();
                *last = (*last).min(*after);
                return None;
            }
            Output::Message(message) => {
                // Answers may be newer than messages that are still replayed.
                if message.reference.is_some() {
                    return None;
                }
                let conversation = message.conversation(self.own.as_ref());
                let last = self.last.entry(conversation.clone()).or_default();
                // A replay may repeat messages that are in the file.
                if message.seq <= *last {
                    return None;
                }
                *last = message.seq;
                conversation
            }
            Output::Conversation { to, last: newest, .. } => {
                let last = self.last.entry(to.clone()).or_default();
                *last = (*last).max(if self.logs.contains_key(to) { Seq(0) } else { *newest });
                return None;
            }
            Output::Event(_, Event::Joined { to, .. } | Event::Left { to, .. }) => {
                Target::Channel(to.clone())
            }
            Output::Event(_, Event::Gap { to, .. }) => to.clone(),
            Output::Violation { to, is_answer: false, .. } => to.clone(),
            _ => return None,
        };
        let log = self.logs.get_mut(&conversation)?;
        super::Ui::show(&mut log.lines, output);
        let failed = log.failed.try_recv().ok()?;
        self.logs.remove(&conversation);
        Some(Output::Error(format!("{conversation} is no longer logged: {failed}")))
    }

    /// Runs `/log` for a conversation.
    pub fn wish(&mut self, of: &Target, wish: LogWish) -> Output {
        let wished = match wish {
            LogWish::Show => Ok(self.list(of)),
            LogWish::End => match self.logs.remove(of) {
                Some(log) => Ok(format!("{of} is no longer written to {}", log.path.display())),
                None => Err(format!("{of} is not written to a file: start with /log PATH")),
            },
            LogWish::To(path) => self.start(of, path),
        };
        wished.map_or_else(Output::Error, Output::Notice)
    }

    fn list(&self, of: &Target) -> String {
        let rows = self.logs.iter().map(|(of, log)| format!("{of}: {}", log.path.display()));
        let mut rows: Vec<String> = rows.collect();
        if !self.logs.contains_key(of) {
            rows.push(format!("{of} is not written to a file: start with /log PATH"));
        }
        rows.join("\n")
    }

    fn start(&mut self, of: &Target, path: PathBuf) -> Result<String, String> {
        let path = std::path::absolute(&path).unwrap_or(path);
        let (mut file, is_new) = files::open_to_append(&path)
            .map_err(|error| format!("{of} is not logged: {}: {error}", path.display()))?;
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(other) = self.logs.iter().find(|(other, log)| log.real == real && *other != of)
        {
            return Err(format!("{} is already written to {}", other.0, path.display()));
        }
        let begun = jiff::Zoned::now().strftime("%a %-d %b %Y %H:%M:%S");
        let gap = if is_new { "" } else { "\n" };
        let head = format!("{gap}-- {of}, from {begun} --\n");
        file.write_all(head.as_bytes())
            .map_err(|error| format!("{of} is not logged: {}: {error}", path.display()))?;
        let (fails, failed) = mpsc::sync_channel(1);
        let lines = Plain::new(Box::new(appends(file, fails)), false, false);
        let sealed = match of.is_sealed() {
            true => {
                ". The file is not encrypted: people who can read it can read this sealed conversation"
            }
            false => "",
        };
        let told = format!(
            "{of} is written to {} from now on, until /log off or the end of this client{sealed}",
            path.display()
        );
        self.logs.insert(of.clone(), RoomLog { path, real, lines, failed });
        Ok(told)
    }
}

/// Appends lines to a file, without colours. The first failure is kept.
fn appends(mut file: File, fails: SyncSender<String>) -> impl FnMut(String) + Send {
    move |line: String| {
        let line = without_colours(&line) + "\n";
        if let Err(error) = file.write_all(line.as_bytes()) {
            // The first failure is enough.
            let _ = fails.try_send(error.to_string());
        }
    }
}

/// Removes the sequences that colour names. The texts of others have no escape characters.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| text.push_str(part.split_once('m').map_or(part, |(_, rest)| rest)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Message;
    use crate::client::model::Origin;

    fn message(seq: u64, reference: Option<&str>) -> Output {
        let reference = reference.map(str::to_owned);
        let said = Message::said(seq, "#lobby", "alice", &format!("text {seq}"));
        Output::Message(Message { reference, ..said })
    }

    #[test]
    fn answers_hide_no_message_that_is_replayed_later_and_gaps_are_logged() {
        let folder = tempfile::tempdir().unwrap();
        let (path, to) = (folder.path().join("a.log"), Target::Channel("#lobby".parse().unwrap()));
        let mut logs = RoomLogs::default();
        assert!(matches!(logs.wish(&to, LogWish::To(path.clone())), Output::Notice(_)));
        let gap = Event::Gap { to, from_seq: Seq(4), to_seq: Seq(5), stored: true };
        let gap = Output::Event(Origin::Server, gap);
        let replayed = [message(3, None), gap, message(6, None), message(6, None)];
        for output in [message(9, Some("history"))].iter().chain(&replayed) {
            assert!(logs.note(output).is_none());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("text 3") && !text.contains("text 9"), "{text}");
        assert_eq!(text.matches("text 6").count(), 1, "{text}");
        assert!(text.contains("2 messages of #lobby were omitted"), "{text}");
    }

    #[test]
    fn two_spellings_of_a_path_are_one_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        let target = |name: &str| Target::User(name.parse().unwrap());
        let mut logs = RoomLogs::default();
        let mut starts = |of: &str, path: &str| {
            let wish = LogWish::To(folder.path().join(path));
            matches!(logs.wish(&target(of), wish), Output::Notice(_))
        };
        assert!(starts("alice", "a.log"));
        assert!(!starts("bob", "x/../a.log"), "alice's");
        assert!(starts("alice", "x/../a.log"), "again");
        assert!(starts("bob", "x/a.log"), "the control");
        let text = std::fs::read_to_string(folder.path().join("a.log")).unwrap();
        assert!(!text.contains("-- @bob"), "{text}");
    }
}
