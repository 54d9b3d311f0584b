//! Actions of the client on the user's computer: it opens addresses, and writes conversations to
//! files.

use std::process::{Command, Stdio};

use super::model::{LogWish, Output};
use super::ui::room_log::RoomLogs;
use crate::chat::Target;
use crate::system::programs;

/// Variable with the user's browser.
const BROWSER: &str = "BROWSER";

/// The files of conversations.
#[derive(Default)]
pub struct Desk(RoomLogs);

impl Desk {
    /// Writes a shown output to the file of its conversation. Returns an error for the user if this
    /// fails.
    pub fn note(&mut self, output: &Output) -> Option<Output> {
        self.0.note(output)
    }

    /// Runs `/log` for a conversation.
    pub fn log(&mut self, of: &Target, wish: LogWish) -> Output {
        self.0.wish(of, wish)
    }

    /// Opens an address that the user has confirmed. Otherwise returns a notice with the command
    /// that would run.
    pub fn open(&self, address: &str, confirmed: bool) -> Output {
        let browser = std::env::var(BROWSER).unwrap_or_default();
        let words = match opener(&browser, programs::has_desktop(), address) {
            Ok(words) => words,
            Err(problem) => return Output::Error(problem),
        };
        if !confirmed {
            return Output::Notice(format!("repeat this /open to run: {}", words.join(" ")));
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(mut child) => {
                // The program may run as long as the browser that it starts.
                let wait = move || drop(child.wait());
                let _ = std::thread::Builder::new().name("desktop".into()).spawn(wait);
                Output::Notice(format!("started: {}", words.join(" ")))
            }
            Err(error) => Output::Error(format!("{} cannot start: {error}", words[0])),
        }
    }
}

/// Returns the program that opens an address, and its arguments: those of `BROWSER`, or the program
/// of the desktop. No shell interprets them. The address begins with its scheme, so that no program
/// reads it as an option.
fn opener(browser: &str, desktop: bool, address: &str) -> Result<Vec<String>, String> {
    // Several programs are separated by colons.
    let first = browser.split(':').find(|one| !one.trim().is_empty());
    let mut words: Vec<String> = match first {
        Some(first) => first.split_whitespace().map(str::to_owned).collect(),
        None if desktop => vec![programs::OPENER.to_owned()],
        None => {
            return Err(format!(
                "there is no desktop, and {BROWSER} is not set. The address: {address}"
            ));
        }
    };
    match words.iter_mut().skip(1).find(|word| word.contains("%s")) {
        Some(word) => *word = word.replace("%s", address),
        None => words.push(address.to_owned()),
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_of_the_user_gets_the_address_as_one_argument() {
        let words = |browser, desktop| opener(browser, desktop, "https://a.example/$(b);c");
        let own = words("firefox --new-tab:lynx", false).unwrap();
        assert_eq!(own, ["firefox", "--new-tab", "https://a.example/$(b);c"]);
        assert_eq!(words("w3m -o x=%s", true).unwrap()[2], "x=https://a.example/$(b);c");
        assert_eq!(words("", true).unwrap(), [programs::OPENER, "https://a.example/$(b);c"]);
        assert!(words("", false).unwrap_err().contains("https://a.example/"));
    }
}
