//! Prompts of the first contact, for a terminal or for nobody.

use std::io::{BufRead, IsTerminal};

use zeroize::Zeroizing;

use crate::print::{self, err};

/// What an invite looks like.
pub const INVITE_EXAMPLE: &str = "for example pychat://192.168.1.20:5000/q2b...";

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
            Question::Server => {
                ask(&format!("Which server? The operator's invite, {INVITE_EXAMPLE}\nServer: "))
            }
            Question::Name { usual } => ask(&format!("Your name [{usual}]: ")),
            Question::Passphrase if !std::io::stdin().is_terminal() => None,
            Question::Passphrase => secret("passphrase of your key: "),
            // Without a terminal, `pychat key passphrase` can lock the key later.
            Question::NewPassphrase | Question::NewPassphraseAgain
                if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() =>
            {
                None
            }
            Question::NewPassphrase => {
                err!("A passphrase locks your new key. It is asked for at each start.");
                secret("A passphrase (Enter for none): ")
            }
            Question::NewPassphraseAgain => secret("The same passphrase once more: "),
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

/// Asks for a line that is not shown.
fn secret(prompt: &str) -> Option<Zeroizing<String>> {
    rpassword::prompt_password(prompt).ok().map(Zeroizing::new)
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
