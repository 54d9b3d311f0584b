//! Prompts of the first contact, for a terminal or for nobody.

use std::io::{BufRead, IsTerminal};

use zeroize::Zeroizing;

use crate::print::{self, err};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The operator's invite.
    Server,
    Name {
        usual: String,
    },
    /// The passphrase of an existing key.
    Passphrase,
    /// For a new key; an empty one leaves it unlocked.
    NewPassphrase,
    NewPassphraseAgain,
}

pub trait Prompt {
    /// Asks once; `trouble` is the error of the previous answer. Returns `None` if nobody answers.
    fn ask(&mut self, question: &Question, trouble: Option<&str>) -> Option<Zeroizing<String>>;

    /// Shows that a task is in progress, until it is done.
    fn wait(&mut self, what: &str, done: &dyn Fn() -> bool);

    /// Shows a notice.
    fn show(&mut self, text: &str);

    /// Returns whether a wrong passphrase may be entered again.
    fn is_patient(&self) -> bool;
}

/// Prompts as lines on a terminal; without one nobody answers.
pub struct LinePrompt;

impl Prompt for LinePrompt {
    fn ask(&mut self, question: &Question, trouble: Option<&str>) -> Option<Zeroizing<String>> {
        if let Some(trouble) = trouble {
            err!("{trouble}");
        }
        match question {
            Question::Server => ask("Server (the operator's pychat:// line): "),
            Question::Name { usual } => ask(&format!("Your name [{usual}]: ")),
            Question::Passphrase if !std::io::stdin().is_terminal() => None,
            Question::Passphrase => {
                rpassword::prompt_password("passphrase of your key: ").ok().map(Zeroizing::new)
            }
            // The user can lock the key later with `pychat key passphrase`.
            Question::NewPassphrase | Question::NewPassphraseAgain => None,
        }
    }

    fn wait(&mut self, what: &str, _: &dyn Fn() -> bool) {
        err!("{what} ...");
    }

    fn show(&mut self, text: &str) {
        err!("{text}");
    }

    fn is_patient(&self) -> bool {
        false
    }
}

fn ask(prompt: &str) -> Option<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    print::aside(prompt);
    let mut line = String::new();
    let bytes = std::io::stdin().lock().read_line(&mut line).ok()?;
    (bytes > 0).then(|| Zeroizing::new(line.trim().to_owned()))
}
