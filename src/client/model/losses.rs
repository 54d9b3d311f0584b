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
        let more = match (&loss, goodbye) {
            _ if self.name.is_none() && loss.is_final() => final_loss(&loss),
            (_, Some((Code::NotAdmitted, _))) => self.not_admitted(),
            (_, Some((code, _))) if self.ends_with(code) => vec![
                // The reason was shown.
                Action::Show(Show::State(State::Refused { code })),
                Action::Quit(code::NOT_ADMITTED),
            ],
            _ if self.usage.once => self.not_acknowledged(&loss),
            (loss, goodbye) => {
                let least_ms = goodbye.and_then(|(_, retry_ms)| retry_ms).unwrap_or(0);
                let bound_ms = if was_in { CUTS_MS_MAX } else { BACKOFF_MS.1 };
                self.dial_later(loss, least_ms.min(60_000), bound_ms, random)
            }
        };
        actions.extend(more);
        actions
    }

    /// Whether a goodbye with this code is the end of the client.
    fn ends_with(&self, code: Code) -> bool {
        match code {
            Code::Kicked | Code::Removed | Code::Banned => true,
            Code::Forbidden | Code::Password => self.usage.once && self.name.is_none(),
            _ => false,
        }
    }

    /// The key is not admitted: asks again after a while, unless nobody waits for it.
    fn not_admitted(&mut self) -> Vec<Action> {
        if self.usage.once {
            let hint = "pychat key show prints the line for the operator, who admits it";
            return vec![
                error("your key is not admitted".to_owned()),
                Action::Show(Show::Hint(hint)),
                Action::Quit(code::NOT_ADMITTED),
            ];
        }
        self.attempts += 1;
        let retry_ms = (POLL_MS.0 * u64::from(self.attempts)).min(POLL_MS.1);
        vec![Action::Show(Show::State(State::NotAdmitted { retry_ms })), Action::Dial(retry_ms)]
    }

    /// `--send` has lost its connection: what is not acknowledged decides how it ends.
    fn not_acknowledged(&self, loss: &Loss) -> Vec<Action> {
        let (hint, code) = match (&self.name, loss) {
            (Some(_), _) => (
                "/history tells which lines were stored: send the others again",
                code::NOT_ACKNOWLEDGED,
            ),
            (None, Loss::Busy) => ("nothing was sent: try again later", code::UNREACHABLE),
            (None, _) => {
                ("nothing was sent: is the server up, and the address right?", code::UNREACHABLE)
            }
        };
        let open = match self.outbox.len() {
            lines @ 1.. if code == code::NOT_ACKNOWLEDGED => {
                format!("; {lines} lines were not acknowledged")
            }
            _ => String::new(),
        };
        let text = format!("{}{open}", why(loss));
        vec![error(text), Action::Show(Show::Hint(hint)), Action::Quit(code)]
    }

    /// Dials again after `least_ms` and a random time, which doubles from one attempt to the next up
    /// to `bound_ms`.
    fn dial_later(
        &mut self,
        loss: &Loss,
        least_ms: u64,
        bound_ms: u64,
        random: u64,
    ) -> Vec<Action> {
        self.attempts += 1;
        let jitter_ms = random % (BACKOFF_MS.0 << self.attempts.min(7)).min(bound_ms);
        let retry_ms = least_ms + jitter_ms;
        let mut actions = Vec::new();
        let told = !matches!(loss, Loss::Cut | Loss::WrongServer);
        if told && self.attempts == 1 {
            actions.push(error(why(loss)));
        }
        if *loss == Loss::WrongServer && !std::mem::replace(&mut self.suspects, true) {
            actions.push(error(wrong_server("nothing is sent to it until it does")));
        }
        actions.push(Action::Show(Show::State(State::Offline { retry_ms })));
        actions.push(Action::Dial(retry_ms));
        actions
    }
}

impl Loss {
    /// Whether a client that was never logged in ends with it. Anybody on the path can pretend it: a
    /// client that was logged in goes on, because the right server may be back at this address.
    fn is_final(&self) -> bool {
        matches!(self, Loss::WrongServer | Loss::Version(_) | Loss::Suite(_))
    }
}

fn final_loss(loss: &Loss) -> Vec<Action> {
    let (text, code) = match loss {
        Loss::WrongServer => (wrong_server("nothing was sent to it"), code::WRONG_SERVER),
        Loss::Version(theirs) => (
            format!("the server speaks protocol {theirs}, this client 1: update one"),
            code::INCOMPATIBLE,
        ),
        other => (why(other), code::INCOMPATIBLE),
    };
    vec![error(text), Action::Quit(code)]
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
