//! Requests of programs (`--json`).

use super::*;

impl Model {
    /// Runs a slash command of a program. Other text is an error: a program sends it by `say`.
    pub(super) fn slash(&mut self, line: &str, chance: [u8; 16]) -> Vec<Action> {
        let problem = match slash::read(line) {
            slash::Typed::Command(_) => return self.line(line, chance),
            slash::Typed::Misused(misuse) => misuse.problem,
            slash::Typed::Unknown(problem) => problem,
            slash::Typed::Text(_) => "this is a text and no command: say sends it".to_owned(),
        };
        self.ending.fails();
        vec![Action::Output(Output::Misused(problem))]
    }

    /// Handles a request. The bare name of a channel means the one channel of that name that the
    /// client is in.
    pub(super) fn program_asks(&mut self, mut request: Request) -> Vec<Action> {
        if self.pins.is_busy() {
            // It may be for the channel whose key is being derived.
            self.asked_ahead.push(request);
            return Vec::new();
        }
        if let Some(channel) = named(&mut request.command)
            && !channel.has_pin()
            && !channel.is_lobby()
        {
            match self.membership.channel(&channel.to_string()) {
                Ok(meant) => *channel = meant,
                Err(problem) => {
                    self.ending.fails();
                    return vec![error(problem)];
                }
            }
        }
        self.program_asks_exactly(request)
    }

    /// The same without resolving bare names. After a join, the channel becomes the target.
    pub(super) fn program_asks_exactly(&mut self, request: Request) -> Vec<Action> {
        let Request { command, reference } = request;
        match command {
            Command::Join { channel, after } => self.enter(channel, after, reference),
            Command::Part { channel } if self.connection.is_up() => self.leave(channel, reference),
            command => self.ask(Request { command, reference }),
        }
    }

    /// Handles the requests that came while a key was derived.
    pub(super) fn asks_again(&mut self) -> Vec<Action> {
        let asked = match self.pins.is_busy() {
            true => Vec::new(),
            false => std::mem::take(&mut self.asked_ahead),
        };
        asked.into_iter().flat_map(|request| self.program_asks(request)).collect()
    }

    /// Refuses messages that may be for a channel that was not entered.
    pub(super) fn drop_asked(&mut self) -> Option<Action> {
        let before = self.asked_ahead.len();
        self.asked_ahead.retain(|request| !matches!(request.command, Command::Say(_)));
        let dropped = before - self.asked_ahead.len();
        (dropped > 0).then(|| {
            self.ending.fails();
            error(format!("the channel was not entered: what followed was not sent ({dropped})"))
        })
    }
}

/// Returns the channel of a command. `join` has none: its bare name is the open channel.
fn named(command: &mut Command) -> Option<&mut ChannelName> {
    match command {
        Command::Say(NewMessage { to: Target::Channel(channel), .. })
        | Command::History { to: Target::Channel(channel), .. }
        | Command::Search { to: Some(Target::Channel(channel)), .. }
        | Command::Topic { channel, .. }
        | Command::People { channel }
        | Command::Part { channel } => Some(channel),
        _ => None,
    }
}
