//! The client: a shell around a pure model, with faces for people and for programs.

mod contact;
mod dial;
mod faces;
mod input;
pub mod model;
pub mod slash;
pub mod vault;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc;

use crate::chat::{ChannelName, Target, UserName};
use crate::clean;
use crate::fault::{Fault, code};
use contact::Contact;
use dial::Dialer;
use faces::Face;
use faces::json::Json;
use faces::plain::Plain;
use model::{Action, Happening, Model, Show, Use};

#[derive(clap::Args)]
pub struct Args {
    /// pychat://HOST:PORT/FINGERPRINT as the operator sent it, or HOST[:PORT] of a known server
    server: Option<String>,
    /// Your name there
    #[arg(long, env = "PYCHAT_NAME")]
    name: Option<UserName>,
    /// Enter these channels too
    #[arg(long, value_name = "CHANNEL")]
    join: Vec<String>,
    /// Append-only lines, without a line editor: for screen readers and pipes
    #[arg(long, group = "face")]
    plain: bool,
    /// One JSON object a line, both ways (docs/json.md)
    #[arg(long, group = "face")]
    json: bool,
    /// Send one text, or each line of stdin, and end: 0 only when the server has acknowledged all
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "", group = "face")]
    send: Option<String>,
    /// Print this many lines as they come and end; 0 goes on
    #[arg(long, value_name = "N", group = "face")]
    tail: Option<u64>,
    /// Where --send and typed lines go: #CHANNEL or @NAME
    #[arg(long, value_name = "PLACE", default_value = "#lobby")]
    to: String,
    /// Colour names
    #[arg(long, value_enum, default_value = "auto")]
    color: Color,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// Runs the client; the exit code says how it ended.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.color {
        Color::Auto => {}
        Color::Always => colored::control::set_override(true),
        Color::Never => colored::control::set_override(false),
    }
    start(&args).map(ExitCode::from)
}

fn start(args: &Args) -> anyhow::Result<u8> {
    let target = target(&args.to)?;
    let channels = channels(args, &target)?;
    let contact = Contact::prepare(args.server.as_deref(), args.name.clone())?;
    let usage = if args.send.is_some() { Use::Once } else { Use::Live };
    let (happen, happenings) = mpsc::channel();
    let interrupted = happen.clone();
    // Without it Ctrl-C ends the program all the same.
    let _ = ctrlc::set_handler(move || {
        let _ = interrupted.send(Happening::Interrupt);
    });
    let editing = !args.plain && !args.json && args.tail.is_none() && args.send.is_none();
    let terminal = editing && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut print = faces::plain::stdout();
    match (&args.send, args.tail) {
        (Some(text), _) => input::lines_to_send(text, happen.clone()),
        (None, Some(_)) => {}
        (None, None) if args.json => input::objects(happen.clone()),
        (None, None) if terminal => print = input::editor(happen.clone(), print),
        (None, None) => input::lines(happen.clone()),
    }
    let mut face: Box<dyn Face> = match args.json {
        true => Box::new(Json::new(contact.fingerprint().to_string())),
        false if args.send.is_some() => Box::new(faces::Mute),
        false => Box::new(Plain::new(print, terminal)),
    };
    contact.announce();
    let dialer = Dialer::new(contact, happen);
    let model = Model::new(usage, target, channels);
    Ok(attend(model, dialer, &happenings, &mut *face, args.tail.filter(|lines| *lines > 0)))
}

/// The client's life: what happens goes into the model, what is to be done comes out of it.
fn attend(
    mut model: Model,
    mut dialer: Dialer,
    happenings: &mpsc::Receiver<Happening>,
    face: &mut dyn Face,
    mut lines_left: Option<u64>,
) -> u8 {
    face.show(&Show::State(model::State::Connecting));
    dialer.dial(0);
    for happening in happenings {
        for action in model.update(happening, rand::random()) {
            match action {
                Action::Show(show) => {
                    face.show(&show);
                    if let (Show::Message(_), Some(left)) = (&show, &mut lines_left) {
                        *left -= 1;
                        if *left == 0 {
                            dialer.close();
                            face.end(0);
                            return 0;
                        }
                    }
                }
                Action::Send(command) => dialer.send(&command),
                Action::Dial(after_ms) => dialer.dial(after_ms),
                Action::Close => dialer.close(),
                Action::Quit(code) => {
                    face.end(code);
                    return code;
                }
            }
        }
    }
    0
}

fn target(text: &str) -> Result<Target, Fault> {
    let full = if text.starts_with(['#', '@']) { text.to_owned() } else { format!("@{text}") };
    full.parse()
        .map_err(|error| Fault::plain(code::USAGE, format!("--to {}: {error}", clean::line(text))))
}

fn channels(args: &Args, target: &Target) -> Result<BTreeSet<ChannelName>, Fault> {
    let mut channels = BTreeSet::new();
    for name in &args.join {
        let full = if name.starts_with('#') { name.clone() } else { format!("#{name}") };
        let channel: ChannelName = full.parse().map_err(|error| {
            Fault::new(code::USAGE, format!("--join: {error}"), "PINs never travel in flags")
        })?;
        channels.insert(channel);
    }
    if let Target::Channel(channel) = target
        && !channel.is_lobby()
    {
        channels.insert(channel.clone());
    }
    Ok(channels)
}
