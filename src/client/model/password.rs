//! The password that a server may ask for: who gives it, and which one is known. Only `Happening::Secret` is
//! one; no line of a message ever is.

use super::*;

impl Model {
    /// With a password that is known from the start.
    pub fn with_password(mut self, password: Option<Hidden>) -> Model {
        self.password.known = password;
        self
    }

    /// The server wants a password: the one that is known, or one that is given now.
    pub(super) fn ask_password(&mut self, wrong: bool, retry_ms: Option<u64>) -> Vec<Action> {
        if wrong {
            self.password.known = None;
        }
        if let Some(password) = self.password.known.clone() {
            let gave = std::mem::replace(&mut self.password.gave, true);
            let Some(retry_ms) = retry_ms.or(gave.then_some(AGAIN_MS)) else {
                return vec![Action::Send(Command::Password { password })];
            };
            self.password.later = true;
            return vec![Action::Wait(retry_ms)];
        }
        if self.usage.secrets == Giver::Nobody || self.ending {
            return self.without_password(wrong);
        }
        self.password.asked = true;
        let asks = Show::Event(Origin::Client, Event::Password { wrong, retry_ms });
        // In this client's own words: the server's would ask for one as well as any.
        let mut actions = vec![Action::Show(asks)];
        if self.usage.secrets == Giver::Person {
            // Somebody who was in may be in the middle of a message, and not look.
            let waits = self.name.is_some();
            if waits {
                actions.push(notice(
                    "first press Enter on an empty line: it hides what you type".into(),
                ));
            }
            let prompt = if waits { Prompt::Waits } else { Prompt::Open };
            actions.push(Action::Show(Show::Secret(prompt)));
        }
        actions
    }

    /// What is given as a secret, and as nothing else.
    pub(super) fn give_password(&mut self, password: Hidden) -> Vec<Action> {
        match password.reveal() {
            "/exit" if self.password.asked => return self.exit(),
            "" => return Vec::new(),
            _ => {}
        }
        if !self.password.asked && self.name.is_some() {
            return vec![error("no password is asked for".into())];
        }
        self.password.known = Some(password.clone());
        // The server may ask for it later.
        if !std::mem::take(&mut self.password.asked) {
            return Vec::new();
        }
        self.password.gave = true;
        vec![
            Action::Show(Show::Secret(Prompt::Closed)),
            Action::Send(Command::Password { password }),
        ]
    }

    /// The input has ended: nobody gives what the server waits for.
    pub(super) fn input_ends(&mut self) -> Vec<Action> {
        self.ending = true;
        match self.password.asked {
            true => self.without_password(false),
            false => self.end_when_settled(),
        }
    }

    /// The connection is gone, and nothing is asked for any more.
    pub(super) fn password_lost(&mut self) -> Option<Action> {
        (self.password.gave, self.password.later) = (false, false);
        let asked = std::mem::take(&mut self.password.asked);
        asked.then_some(Action::Show(Show::Secret(Prompt::Closed)))
    }

    /// The time that the server wanted has passed.
    pub(super) fn password_later(&mut self) -> Vec<Action> {
        let later = std::mem::take(&mut self.password.later);
        let password = self.password.known.clone().filter(|_| later);
        password.map(|password| Action::Send(Command::Password { password })).into_iter().collect()
    }

    /// Nobody gives it: the client ends. Messages that wait are sent the next time.
    fn without_password(&self, wrong: bool) -> Vec<Action> {
        let text = match wrong {
            true => "the server does not take the password that was given",
            false => "the server asks for a password, and a line of a message is never sent as one",
        };
        let text = format!("{text}: --password-file FILE has it (chmod 600), or use a terminal");
        let mut actions = vec![error(text)];
        if !self.outbox.is_settled() {
            actions
                .push(notice(format!("{} lines wait to be sent the next time", self.outbox.len())));
        }
        actions.extend([Action::Close, Action::Quit(code::NOT_ADMITTED)]);
        actions
    }
}
