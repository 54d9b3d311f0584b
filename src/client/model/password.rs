//! The password of a server: who can enter it, and the one that is known. Only `Input::Secret` is a
//! password; a message line never is.

use super::action::{Action, error, notice};
use super::output::{Origin, Output, SecretPrompt};
use crate::chat::{Command, Event, SecretText};
use crate::fault::code;

/// Minimum delay before a server that asks repeatedly is answered again.
const AGAIN_MS: u64 = 1_000;

/// Who can enter a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    /// A user at a terminal, at a prompt that hides it.
    Person,
    /// A program, in an object for it.
    Program,
    /// Nobody: a pipe has only messages.
    Nobody,
}

/// Progress of the server's request for a password in this connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    NotAsked,
    /// The user or the program was asked.
    Asked,
    /// The known password is sent again after the server's delay.
    Delayed,
    Sent,
}

#[derive(Default)]
pub struct Password {
    stage: Stage,
    /// The password from the start, or the last correct one.
    known: Option<SecretText>,
}

impl Password {
    pub fn known(password: Option<SecretText>) -> Password {
        Password { stage: Stage::NotAsked, known: password }
    }

    pub fn is_asked(&self) -> bool {
        self.stage == Stage::Asked
    }

    /// Answers the server's request with the known password, or asks for one; `None` if nobody can
    /// enter it. `was_in` is whether this client was logged in before.
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
                return Some(vec![Action::Send(Command::Password { password }.into())]);
            };
            self.stage = Stage::Delayed;
            return Some(vec![Action::Wait(retry_ms)]);
        }
        if giver == Giver::Nobody {
            return None;
        }
        self.stage = Stage::Asked;
        let asks = Output::Event(Origin::Client, Event::Password { wrong, retry_ms });
        // The prompt is a text of this client, so that server text cannot ask for a password.
        let mut actions = Vec::new();
        if giver == Giver::Person {
            // The input is hidden before the user is asked for it.
            let prompt = if was_in { SecretPrompt::Waits } else { SecretPrompt::Open };
            actions.push(Action::Output(Output::Secret(prompt)));
        }
        actions.push(Action::Output(asks));
        if giver == Giver::Person && was_in {
            // The user may be typing a message without looking.
            let text = "first press Enter on an empty line: it hides what you type";
            actions.push(notice(text.into()));
        }
        Some(actions)
    }

    /// Takes a password from the secret prompt.
    pub fn give(&mut self, password: SecretText, was_in: bool) -> Vec<Action> {
        if password.reveal().is_empty() {
            return Vec::new();
        }
        if !self.is_asked() && was_in {
            return vec![error("no password is requested".into())];
        }
        self.known = Some(password.clone());
        // The server may ask for it later.
        if !self.is_asked() {
            return Vec::new();
        }
        self.stage = Stage::Sent;
        vec![
            Action::Output(Output::Secret(SecretPrompt::Closed)),
            Action::Send(Command::Password { password }.into()),
        ]
    }

    /// Resets the request when the connection is lost.
    pub fn lost(&mut self) -> Option<Action> {
        let asked = self.is_asked();
        self.stage = Stage::NotAsked;
        asked.then_some(Action::Output(Output::Secret(SecretPrompt::Closed)))
    }

    /// Sends the known password after the server's delay.
    pub fn waited(&mut self) -> Option<Action> {
        let password = self.known.clone().filter(|_| self.stage == Stage::Delayed)?;
        self.stage = Stage::Sent;
        Some(Action::Send(Command::Password { password }.into()))
    }
}

/// Ends the client because nobody can enter a password; waiting messages are sent the next time.
pub fn nobody_gives(wrong: bool, waiting: usize) -> Vec<Action> {
    let text = match wrong {
        true => "the server does not accept the given password",
        false => "the server asks for a password, and a message line is never sent as one",
    };
    let text = format!("{text}: give it with --password-file FILE (chmod 600), or use a terminal");
    let mut actions = vec![error(text)];
    if waiting > 0 {
        actions
            .push(notice(format!("unsent messages: {waiting}; they will be sent the next time")));
    }
    actions.extend([Action::Close, Action::Quit(code::NOT_ADMITTED)]);
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_not_repeated_after_an_older_delay() {
        let secret = |text: &str| SecretText::new(text.to_owned());
        let mut password = Password::known(Some(secret("small tree")));
        let asked = password.ask(false, Some(5), Giver::Person, false);
        assert_eq!(asked, Some(vec![Action::Wait(5)]));
        // Before the delay is over the server rejects the known one.
        assert!(password.ask(true, None, Giver::Person, false).is_some() && password.is_asked());
        let sent = Action::Send(Command::Password { password: secret("tall tree") }.into());
        assert_eq!(password.give(secret("tall tree"), false).last(), Some(&sent));
        assert_eq!(password.waited(), None);
    }

    #[test]
    fn a_known_password_is_repeated_once_after_the_delay() {
        let known = SecretText::new("tall tree".to_owned());
        let mut password = Password::known(Some(known.clone()));
        let sends = || Action::Send(Command::Password { password: known.clone() }.into());
        assert_eq!(password.ask(false, None, Giver::Nobody, false), Some(vec![sends()]));
        let again = password.ask(false, None, Giver::Nobody, false);
        assert_eq!(again, Some(vec![Action::Wait(AGAIN_MS)]));
        assert_eq!(password.waited(), Some(sends()));
        assert_eq!(password.waited(), None);
        assert_eq!(Password::default().ask(false, None, Giver::Nobody, false), None);
    }
}
