//! Who answers what is needed for the first contact: somebody at a terminal, or nobody.

use std::io::{BufRead, IsTerminal};

use zeroize::Zeroizing;

use crate::print::{self, err};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The operator's invite.
    Server,
    Name {
        usual: String,
    },
    /// It opens the key.
    Passphrase,
    /// For a key that was just made; an empty one leaves it open.
    NewPassphrase,
    NewPassphraseAgain,
}

pub trait Prompt {
    /// One answer; `trouble` says what was wrong with the last one. None where nobody answers.
    fn ask(&mut self, question: &Question, trouble: Option<&str>) -> Option<Zeroizing<String>>;

    /// Shows that something takes its time, until it is done.
    fn wait(&mut self, what: &str, done: &dyn Fn() -> bool);

    /// Something was done.
    fn tell(&mut self, text: &str);

    /// Whether a wrong passphrase is asked for again.
    fn is_patient(&self) -> bool;
}

/// Lines on a terminal; where there is none nobody answers.
pub struct Lines;

impl Prompt for Lines {
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
            // `pychat key passphrase` locks it whenever the person likes.
            Question::NewPassphrase | Question::NewPassphraseAgain => None,
        }
    }

    fn wait(&mut self, what: &str, _: &dyn Fn() -> bool) {
        err!("{what} ...");
    }

    fn tell(&mut self, text: &str) {
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
