//! What a lost connection means.

use super::*;

impl Model {
    pub(super) fn lost(&mut self, loss: Loss, chance: [u8; 16]) -> Vec<Action> {
        let was_in = std::mem::take(&mut self.connected);
        self.dialing = false;
        let mut actions = self.wishes_lost();
        actions.extend(self.password_lost());
        self.outbox.disconnected();
        actions.extend(self.tick());
        let goodbye = self.goodbye.take();
        let random = u64::from_be_bytes(*chance.first_chunk().expect("16 bytes hold 8"));
        if self.ending && std::mem::take(&mut self.open) {
            self.refused = true;
            if self.outbox.is_settled() {
                actions.extend([error(why(&loss)), Action::Quit(code::NOT_ACKNOWLEDGED)]);
                return actions;
            }
        }
        match (&loss, goodbye) {
            // Whoever was in goes on trying: the right server may be back at this address.
            (Loss::WrongServer, _) if self.name.is_none() => {
                actions.extend([
                    error(wrong_server("nothing was sent to it")),
                    Action::Quit(code::WRONG_SERVER),
                ]);
            }
            // Anybody on the path can claim that: it ends nobody who was in.
            (Loss::Version(theirs), _) if self.name.is_none() => {
                let text =
                    format!("the server speaks protocol {theirs}, this client 1: update one");
                actions.extend([error(text), Action::Quit(code::INCOMPATIBLE)]);
            }
            (Loss::Suite(problem), _) if self.name.is_none() => {
                actions.extend([error(problem.clone()), Action::Quit(code::INCOMPATIBLE)]);
            }
            (_, Some((Code::NotAdmitted, _))) => {
                if self.usage.once {
                    let text = "your key is not admitted".to_owned();
                    let hint = "pychat key show prints the line for the operator, who admits it";
                    actions.extend([
                        error(text),
                        Action::Show(Show::Hint(hint)),
                        Action::Quit(code::NOT_ADMITTED),
                    ]);
                    return actions;
                }
                self.attempts += 1;
                let retry_ms = (POLL_MS.0 * u64::from(self.attempts)).min(POLL_MS.1);
                actions.push(Action::Show(Show::State(State::NotAdmitted { retry_ms })));
                actions.push(Action::Dial(retry_ms));
            }
            (_, Some((code @ (Code::Kicked | Code::Removed | Code::Banned), _))) => {
                actions.push(Action::Show(Show::State(State::Refused { code })));
                actions.push(Action::Quit(code::NOT_ADMITTED));
            }
            // The reason was shown.
            (_, Some((code @ (Code::Forbidden | Code::Password), _)))
                if self.usage.once && self.name.is_none() =>
            {
                actions.push(Action::Show(Show::State(State::Refused { code })));
                actions.push(Action::Quit(code::NOT_ADMITTED));
            }
            _ if self.usage.once => {
                let (hint, code) = match self.name {
                    Some(_) => (
                        "/history tells which lines were stored: send the others again",
                        code::NOT_ACKNOWLEDGED,
                    ),
                    None if loss == Loss::Busy => {
                        ("nothing was sent: try again later", code::UNREACHABLE)
                    }
                    None => (
                        "nothing was sent: is the server up, and the address right?",
                        code::UNREACHABLE,
                    ),
                };
                let open = match self.outbox.len() {
                    lines @ 1.. if code == code::NOT_ACKNOWLEDGED => {
                        format!("; {lines} lines were not acknowledged")
                    }
                    _ => String::new(),
                };
                let text = format!("{}{open}", why(&loss));
                actions.extend([error(text), Action::Show(Show::Hint(hint)), Action::Quit(code)]);
            }
            (loss, goodbye) => {
                self.attempts += 1;
                let bound = BACKOFF_MS.0 << self.attempts.min(7);
                let jitter = random % bound.min(if was_in { CUTS_MS_MAX } else { BACKOFF_MS.1 });
                let least = goodbye.and_then(|(_, retry_ms)| retry_ms).unwrap_or(0).min(60_000);
                let retry_ms = least + jitter;
                let told = !matches!(loss, Loss::Cut | Loss::WrongServer);
                if told && self.attempts == 1 {
                    actions.push(error(why(loss)));
                }
                if *loss == Loss::WrongServer && !std::mem::replace(&mut self.suspects, true) {
                    actions.push(error(wrong_server("nothing is sent to it until it does")));
                }
                actions.push(Action::Show(Show::State(State::Offline { retry_ms })));
                actions.push(Action::Dial(retry_ms));
            }
        }
        actions
    }
}

fn wrong_server(sent: &str) -> String {
    format!(
        "the server does not hold the pinned key: {sent}. \
        If the operator changed the key, ask for a new invite, and give it to pychat trust"
    )
}

fn why(loss: &Loss) -> String {
    match loss {
        Loss::Cut => "the connection was cut".to_owned(),
        Loss::Unreachable(problem) | Loss::Suite(problem) => problem.clone(),
        Loss::Busy => "the server is full".to_owned(),
        Loss::WrongServer => "the server does not hold the pinned key".to_owned(),
        Loss::Version(theirs) => {
            format!("the server speaks protocol {theirs}, this client 1, or somebody claims that")
        }
    }
}
