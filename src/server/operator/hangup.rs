//! SIGHUP: reads config.json and users/ again, as `reload` does, and opens the log file again.

use std::io::stdin;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::super::context::Context;
use super::super::observe::log as server_log;
use super::{Actor, run_command};

/// Interval of the checks for the terminal after a SIGHUP.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Reloads at each SIGHUP. Stops a server whose terminal is gone after a SIGHUP, because nobody
/// could stop it with Ctrl-C. The signal may arrive before the terminal is gone.
pub fn run(context: &Context, hangups: &Receiver<()>) {
    if !has_terminal() {
        hangups.iter().for_each(|()| reload(context));
        return;
    }
    let mut next = hangups.recv().map_err(RecvTimeoutError::from);
    while next != Err(RecvTimeoutError::Disconnected) {
        if !has_terminal() {
            context.stop.request();
            return;
        }
        if next.is_ok() {
            reload(context);
        }
        next = hangups.recv_timeout(CHECK_INTERVAL);
    }
}

/// Returns whether stdin is the terminal of this process' session.
fn has_terminal() -> bool {
    rustix::termios::tcgetpgrp(stdin()).is_ok()
}

fn reload(context: &Context) {
    // Opens the log again for a program that has renamed it, also if config.json has an error.
    let config = context.config.get();
    match server_log::prepare(&config, context.overrides.log_level, &context.home) {
        Ok(prepared) => prepared.take_up(),
        Err(error) => log::error!("{error:#}"),
    }
    let reply = run_command(context, &Actor::own("SIGHUP"), &["reload".to_owned()]);
    match reply.ok {
        true => log::info!("{}", reply.text),
        false => log::error!("{}", reply.text),
    }
}
