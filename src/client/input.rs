//! What happens to the client, as the model is told it.

use std::fmt;

use crate::chat::{ChannelName, Command, Event, Message, SecretText, Seq, Target, UserName};
use crate::crypto::pin_channel::PinChannel;
use crate::e2e::Violation;

/// What happens to the client.
pub enum Input {
    /// A line was typed, or came from a pipe: a message or a command.
    Line(String),
    /// A secret was given as one: nothing else is ever sent as a password.
    Secret(SecretText),
    /// A line was typed at a prompt, and begun while lines went to that conversation.
    Composed { within: Target, line: String },
    /// A line was typed for this conversation, which others go to from now on. A text that was
    /// composed `within` a sealed one goes to no open one.
    TypedIn { to: Target, within: Option<Target>, line: String },
    /// What was typed ahead has been taken.
    Caught,
    /// Somebody has looked at a conversation up to here.
    Seen { to: Target, seq: Seq },
    /// The server answered a sign of life after this many milliseconds.
    Answered(u64),
    /// Something of this computer failed.
    Trouble(String),
    /// A program types a slash command.
    Slash(String),
    /// What was sent before `Action::Echo` has been answered.
    Echoed,
    /// A program asks for something; as text where it is no command.
    Ask(Result<Command, String>),
    /// The same, where the open channel of a name is meant and no other.
    AskOpen(Command),
    /// The server told something: nothing else makes one of these.
    Event(Event),
    /// This client itself answers, as a server would.
    Answer(Event),
    /// A line that came is not what it should be; its text is not in it.
    Violation { message: Message, violation: Violation },
    /// The server knows a key of a person that was not there before.
    KeyChanged { name: UserName, text: String },
    /// An answer of this client's own.
    Told(String),
    /// A PIN was worked out; it is in hand where it was made here.
    Derived { name: ChannelName, key: PinChannel, made: Option<SecretText> },
    /// The channel of a name and a PIN, which is known from now on.
    Opened { channel: Result<ChannelName, String>, made: Option<SecretText> },
    /// The connection that ends now has lasted for a while: the next one need not wait.
    Lasted,
    /// The connection ended, or could not be made.
    Lost(Loss),
    /// It is time to dial again.
    Wake,
    /// What `Action::Wait` asked for has passed.
    Waited,
    /// A while has passed since something changed that is kept or told with others of its kind.
    Tick,
    /// No more input will come.
    InputEnd,
    /// The person wants out (Ctrl-C).
    Interrupt,
}

/// What was typed may be a secret.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Input::Interrupt => "Interrupt",
            _ => "Input(...)",
        })
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    Cut,
    Unreachable(String),
    /// What answers there cannot prove that it holds the pinned key.
    WrongServer,
    /// The majors that the server claims to speak.
    Version(String),
    /// The server claims to have no suite that this client accepts.
    Suite(String),
    Busy,
}
