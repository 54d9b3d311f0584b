//! State of the connection, and reconnecting.

use super::super::input::Loss;
use super::action::{Action, error};
use super::output::{Output, State};
use crate::chat::{Code, UserName};
use crate::fault::code;

/// Bounds of the backoff in milliseconds: full jitter below a bound that doubles from the first to
/// the second.
const BACKOFF_MS: (u64, u64) = (500, 30_000);
/// Upper bound where connections succeed but are cut soon.
const CUTS_MS_MAX: u64 = 8_000;
/// Attempts of a script whose transfer was interrupted: about five minutes.
const SCRIPT_ATTEMPTS_MAX: u32 = 24;
/// Longest delay that a server can ask for in its goodbye.
const GOODBYE_MS_MAX: u64 = 60_000;
/// Bounds of the retry delay while the key is not admitted: short at first.
const POLL_MS: (u64, u64) = (2_000, 15_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The next attempt is scheduled.
    Offline,
    /// Connecting, or logging in.
    Dialing,
    LoggedIn,
}

pub struct Connection {
    phase: Phase,
    /// The name from the first login.
    name: Option<UserName>,
    attempts: u32,
    /// A warning about another server at this address was shown.
    suspects: bool,
    /// The last goodbye, which decides how a lost connection is handled.
    goodbye: Option<(Code, Option<u64>)>,
}

/// What a lost connection leaves unfinished.
pub struct Open {
    /// Every failure ends this client (`--send`).
    pub once: bool,
    /// A file is sent or fetched, which continues over the next connection.
    pub continues: bool,
    /// Count of messages that are not acknowledged.
    pub messages: usize,
    pub was_up: bool,
    pub random: u64,
}

impl Connection {
    /// The state of a new model, which connects at once.
    pub fn dialing() -> Connection {
        Connection {
            phase: Phase::Dialing,
            name: None,
            attempts: 0,
            suspects: false,
            goodbye: None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.phase == Phase::LoggedIn
    }

    pub fn name(&self) -> Option<&UserName> {
        self.name.as_ref()
    }

    /// Returns whether this client was ever logged in.
    pub fn was_in(&self) -> bool {
        self.name.is_some()
    }

    /// Connects now, unless an attempt is in progress.
    pub fn dial(&mut self) -> Vec<Action> {
        if self.phase != Phase::Offline {
            return Vec::new();
        }
        self.phase = Phase::Dialing;
        vec![Action::Output(Output::State(State::Connecting)), Action::Dial(0)]
    }

    /// Records a complete login.
    pub fn logged_in(&mut self, name: &UserName) -> Vec<Action> {
        let back = self.attempts > 0 && self.was_in();
        (self.phase, self.goodbye, self.suspects) = (Phase::LoggedIn, None, false);
        self.name = Some(name.clone());
        let state = State::Connected { name: name.clone() };
        let back = back.then_some(Action::Output(Output::Back));
        [Action::Output(Output::State(state))].into_iter().chain(back).collect()
    }

    /// Shows that the server is silent, or is heard again.
    pub fn is_silent(&self, for_ms: Option<u64>) -> Vec<Action> {
        let name = self.name.clone().filter(|_| self.is_up());
        let state = name.map(|name| match for_ms {
            Some(for_ms) => State::Silent { for_ms },
            None => State::Connected { name },
        });
        state.map(|state| Action::Output(Output::State(state))).into_iter().collect()
    }

    /// Resets the backoff, because the connection has lasted for a while.
    pub fn lasted(&mut self) {
        self.attempts = 0;
    }

    pub fn goodbye(&mut self, code: Code, retry_ms: Option<u64>) {
        self.goodbye = Some((code, retry_ms));
    }

    /// Records the loss of the connection. Returns whether there was one.
    pub fn lost(&mut self) -> bool {
        let was_up = self.is_up();
        self.phase = Phase::Offline;
        was_up
    }

    /// Schedules a reconnect, or ends the client.
    pub fn after(&mut self, loss: &Loss, open: &Open) -> Vec<Action> {
        match self.goodbye.take() {
            _ if !self.was_in() && is_final(loss) => final_loss(loss),
            Some((Code::NotAdmitted, _)) => self.not_admitted(open.once),
            // The reason was already shown.
            Some((code, _)) if self.ends_with(code, open.once) => {
                let refused = Output::State(State::Refused { code });
                vec![Action::Output(refused), Action::Quit(code::NOT_ADMITTED)]
            }
            _ if open.once && !(open.continues && self.is_patient()) => {
                self.not_acknowledged(loss, open.messages)
            }
            goodbye => {
                let least_ms = goodbye.and_then(|(_, retry_ms)| retry_ms).unwrap_or(0);
                self.dial_later(loss, least_ms.min(GOODBYE_MS_MAX), open)
            }
        }
    }

    /// Returns whether a script tries again: it was logged in, and not all attempts since then have
    /// failed.
    fn is_patient(&self) -> bool {
        self.was_in() && self.attempts < SCRIPT_ATTEMPTS_MAX
    }

    /// Returns whether a goodbye with this code ends the client.
    fn ends_with(&self, code: Code, once: bool) -> bool {
        match code {
            Code::Kicked | Code::Removed | Code::Banned => true,
            Code::Forbidden | Code::Password => once && !self.was_in(),
            _ => false,
        }
    }

    /// Retries after a while if the key is not admitted, unless this client sends and exits.
    fn not_admitted(&mut self, once: bool) -> Vec<Action> {
        if once {
            let hint = "pychat key show prints the line for the operator, who admits your key";
            return vec![
                error("your key is not admitted".to_owned()),
                Action::Output(Output::Hint(hint)),
                Action::Quit(code::NOT_ADMITTED),
            ];
        }
        self.attempts += 1;
        let retry_ms = (POLL_MS.0 * u64::from(self.attempts)).min(POLL_MS.1);
        vec![Action::Output(Output::State(State::NotAdmitted { retry_ms })), Action::Dial(retry_ms)]
    }

    /// Ends `--send` after a lost connection, by what is not acknowledged.
    fn not_acknowledged(&self, loss: &Loss, messages: usize) -> Vec<Action> {
        let (hint, code) = match (self.was_in(), loss) {
            (true, _) => (
                "/history shows which messages were stored: send the others again",
                code::NOT_ACKNOWLEDGED,
            ),
            (false, Loss::Busy) => ("nothing was sent: try again later", code::UNREACHABLE),
            (false, _) => {
                ("nothing was sent: is the server up, and the address right?", code::UNREACHABLE)
            }
        };
        let open = match messages {
            lines @ 1.. if code == code::NOT_ACKNOWLEDGED => {
                format!("; not acknowledged: {lines}")
            }
            _ => String::new(),
        };
        let text = format!("{}{open}", why(loss));
        vec![error(text), Action::Output(Output::Hint(hint)), Action::Quit(code)]
    }

    /// Reconnects after `least_ms` plus a random time below a bound that doubles.
    fn dial_later(&mut self, loss: &Loss, least_ms: u64, open: &Open) -> Vec<Action> {
        self.attempts += 1;
        let most_ms = if open.was_up { CUTS_MS_MAX } else { BACKOFF_MS.1 };
        let bound_ms = (BACKOFF_MS.0 << self.attempts.min(7)).min(most_ms);
        let retry_ms = least_ms + open.random % bound_ms;
        let mut actions = Vec::new();
        let told = !matches!(loss, Loss::Cut | Loss::WrongServer);
        if told && self.attempts == 1 {
            actions.push(error(why(loss)));
        }
        if *loss == Loss::WrongServer && !std::mem::replace(&mut self.suspects, true) {
            actions.push(error(wrong_server("nothing is sent to it until it does")));
        }
        actions.push(Action::Output(Output::State(State::Offline { retry_ms })));
        actions.push(Action::Dial(retry_ms));
        actions
    }
}

/// Returns whether a client that was never logged in ends with this loss. Anybody on the path can
/// forge it, so a client that was logged in keeps trying.
fn is_final(loss: &Loss) -> bool {
    matches!(loss, Loss::WrongServer | Loss::Version(_) | Loss::Suite(_))
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
        "the server does not hold the pinned key: {sent}. If the operator changed the key, ask \
         for a new invite, and give it to pychat trust"
    )
}

/// The reason for a loss, for the user.
pub fn why(loss: &Loss) -> String {
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
