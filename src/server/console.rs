//! The operator at the server's own terminal.

use std::io::{BufRead, IsTerminal};
use std::thread;

use super::ctl::Handler;

/// Reads the operator's words where stdin is a terminal. At its end the server goes on.
pub fn attend(handler: Handler) {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return;
    }
    let listen = move || {
        for line in stdin.lock().lines() {
            let Ok(line) = line else { return };
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if words.is_empty() {
                continue;
            }
            let reply = handler(&words);
            eprintln!("{}", reply.text);
            if matches!(words[0].trim_start_matches('/'), "exit" | "quit") {
                return;
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("console".into()).spawn(listen) {
        log::warn!("no console: {error}");
    }
}
