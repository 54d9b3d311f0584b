//! The password that a server may ask for: who gives it, and which one is known. Only
//! `Input::Secret` is one; no line of a message ever is.

use super::action::{Action, error, notice};
use super::output::{Origin, Output, SecretPrompt};
use crate::chat::{Command, Event, SecretText};
use crate::fault::code;

/// A server that asks again and again is answered no faster than this.
const AGAIN_MS: u64 = 1_000;

/// Who gives a secret that the server asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    /// Somebody at a terminal, at a prompt that hides it.
    Person,
    /// A program, in an object of its own.
    Program,
    /// Nobody: a pipe has messages only.
    Nobody,
}

/// How far the server's request for a password is answered, over this connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    NotAsked,
    /// The person or the program is asked for it.
    Asked,
    /// The known one is sent again once the server's wait is over.
    Delayed,
    Sent,
}

#[derive(Default)]
pub(super) struct Password {
    stage: Stage,
    /// The one that was given at the start, or that was right last time.
    known: Option<SecretText>,
}

impl Password {
    pub fn known(password: Option<SecretText>) -> Password {
        Password { stage: Stage::NotAsked, known: password }
    }

    pub fn is_asked(&self) -> bool {
        self.stage == Stage::Asked
    }

    /// The server wants a password: the one that is known, or one that is given now. None where
    /// nobody gives it. `was_in` says that this client was logged in before.
    pub fn ask(
        &mut self,
        wrong: bool,
        retry_ms: Option<u64>,
        giver: Giver,
        was_in: bool,
    ) -> Option<Vec<Action>> {
        if wrong {
            self.known = None;
        }
        if let Some(password) = self.known.clone() {
            let repeats = matches!(self.stage, Stage::Sent | Stage::Delayed);
            let Some(retry_ms) = retry_ms.or(repeats.then_some(AGAIN_MS)) else {
                self.stage = Stage::Sent;
                return Some(vec![Action::Send(Command::Password { password })]);
            };
            self.stage = Stage::Delayed;
            return Some(vec![Action::Wait(retry_ms)]);
        }
        if giver == Giver::Nobody {
            return None;
        }
        self.stage = Stage::Asked;
        let asks = Output::Event(Origin::Client, Event::Password { wrong, retry_ms });
        // In this client's own words: the server's would ask for one as well as any.
        let mut actions = Vec::new();
        if giver == Giver::Person {
            // What is typed is hidden before anybody is asked to type it.
            let prompt = if was_in { SecretPrompt::Waits } else { SecretPrompt::Open };
            actions.push(Action::Output(Output::Secret(prompt)));
        }
        actions.push(Action::Output(asks));
        if giver == Giver::Person && was_in {
            // They may be in the middle of a message, and not look.
            let text = "first press Enter on an empty line: it hides what you type";
            actions.push(notice(text.into()));
        }
        Some(actions)
    }

    /// What is given as a secret, and as nothing else.
    pub fn give(&mut self, password: SecretText, was_in: bool) -> Vec<Action> {
        if password.reveal().is_empty() {
            return Vec::new();
        }
        if !self.is_asked() && was_in {
            return vec![error("no password is asked for".into())];
        }
        self.known = Some(password.clone());
        // The server may ask for it later.
        if !self.is_asked() {
            return Vec::new();
        }
        self.stage = Stage::Sent;
        vec![
            Action::Output(Output::Secret(SecretPrompt::Closed)),
            Action::Send(Command::Password { password }),
        ]
    }

    /// The connection is gone, and nothing is asked for any more.
    pub fn lost(&mut self) -> Option<Action> {
        let asked = self.is_asked();
        self.stage = Stage::NotAsked;
        asked.then_some(Action::Output(Output::Secret(SecretPrompt::Closed)))
    }

    /// The time that the server wanted has passed.
    pub fn waited(&mut self) -> Option<Action> {
        let password = self.known.clone().filter(|_| self.stage == Stage::Delayed)?;
        self.stage = Stage::Sent;
        Some(Action::Send(Command::Password { password }))
    }
}

/// Nobody gives a password: the client ends. So many messages that wait are sent the next time.
pub(super) fn nobody_gives(wrong: bool, waiting: usize) -> Vec<Action> {
    let text = match wrong {
        true => "the server does not take the password that was given",
        false => "the server asks for a password, and a line of a message is never sent as one",
    };
    let text = format!("{text}: --password-file FILE has it (chmod 600), or use a terminal");
    let mut actions = vec![error(text)];
    if waiting > 0 {
        actions.push(notice(format!("{waiting} lines wait to be sent the next time")));
    }
    actions.extend([Action::Close, Action::Quit(code::NOT_ADMITTED)]);
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_was_given_again_is_not_repeated_after_an_older_wait() {
        let secret = |text: &str| SecretText::new(text.to_owned());
        let mut password = Password::known(Some(secret("small tree")));
        let asked = password.ask(false, Some(5), Giver::Person, false);
        assert_eq!(asked, Some(vec![Action::Wait(5)]));
        // Before the wait is over the server says that the known one is wrong.
        assert!(password.ask(true, None, Giver::Person, false).is_some() && password.is_asked());
        let sent = Action::Send(Command::Password { password: secret("tall tree") });
        assert_eq!(password.give(secret("tall tree"), false).last(), Some(&sent));
        assert_eq!(password.waited(), None);
    }

    #[test]
    fn a_known_password_is_repeated_once_after_the_wait() {
        let known = SecretText::new("tall tree".to_owned());
        let mut password = Password::known(Some(known.clone()));
        let sends = || Action::Send(Command::Password { password: known.clone() });
        assert_eq!(password.ask(false, None, Giver::Nobody, false), Some(vec![sends()]));
        let again = password.ask(false, None, Giver::Nobody, false);
        assert_eq!(again, Some(vec![Action::Wait(AGAIN_MS)]));
        assert_eq!(password.waited(), Some(sends()));
        assert_eq!(password.waited(), None);
        assert_eq!(Password::default().ask(false, None, Giver::Nobody, false), None);
    }
}
