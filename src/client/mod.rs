//! The client: a shell around a pure model, with faces for people and for programs.

mod asker;
mod contact;
mod dial;
mod faces;
mod input;
mod journal;
mod keys;
pub mod model;
pub(crate) mod outbox;
pub(crate) mod places;
pub mod slash;
pub mod vault;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::chat::{ChannelName, Target, UserName};
use crate::clean;
use crate::fault::{Fault, code};
use contact::Contact;
use dial::Dialer;
use faces::Face;
use faces::json::Json;
use faces::plain::Plain;
use faces::screen::{Assistant, Opened, Person, Rooms};
use journal::{Journal, Left};
use model::{Action, Happening, Model, Show, Use};
use outbox::Outbox;
use places::Places;

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
    /// Append-only lines: for screen readers and pipes
    #[arg(long, group = "face")]
    plain: bool,
    /// One JSON object a line, both ways (docs/json.md)
    #[arg(long, group = "face")]
    json: bool,
    /// Send one text, or each line of stdin, and end: 0 only when the server has acknowledged all
    #[arg(long, value_name = "TEXT", num_args = 0..=1, group = "face")]
    send: Option<Option<String>>,
    /// Print this many lines as they come and end; 0 goes on
    #[arg(long, value_name = "N", group = "face")]
    tail: Option<u64>,
    /// Where --send and typed lines go: #CHANNEL or NAME
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

/// The exit code of who was interrupted.
const INTERRUPTED: u8 = 130;

fn start(args: &Args) -> anyhow::Result<u8> {
    let target = target(&args.to)?;
    let mut channels = channels(args, &target)?;
    if let Some(Some(text)) = &args.send
        && text.trim().is_empty()
    {
        let hint = "--send TEXT, or --send alone for lines of stdin";
        return Err(Fault::new(code::USAGE, "there is nothing to send", hint).into());
    }
    let live = args.send.is_none() && args.tail.is_none();
    let (happen, happenings) = mpsc::channel();
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let able = terminal && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    let full = able && live && !args.json && !args.plain;
    let colour = colored::control::SHOULD_COLORIZE.should_colorize();
    let mut screen = if full { Some(Opened::open(colour)?) } else { None };
    let (server, name) = (args.server.as_deref(), args.name.clone());
    let contact = match &mut screen {
        None => Contact::prepare(server, name, &mut asker::Lines)?,
        Some(screen) => {
            let mut assistant = Assistant::new(screen);
            let prepared = Contact::prepare(server, name, &mut assistant);
            if assistant.left {
                return Ok(INTERRUPTED);
            }
            prepared?
        }
    };
    let usage = Use {
        once: args.send.is_some(),
        resumes: live,
        reads: live && !args.json && !full,
        retries: !args.json,
    };
    let (journal, left) = match live.then(|| journal(&contact)) {
        Some(Ok((journal, left))) => (Some(journal), left),
        Some(Err(trouble)) => {
            match full {
                // The receiver is in this function's hands.
                true => drop(happen.send(Happening::Trouble(trouble))),
                false => eprintln!("{trouble}"),
            }
            (None, Left::default())
        }
        None => (None, Left::default()),
    };
    let mut print = faces::plain::stdout();
    match (&args.send, args.tail) {
        _ if full => {}
        (Some(text), _) => input::lines_to_send(text.as_deref(), happen.clone()),
        (None, Some(_)) => {}
        (None, None) if args.json => input::objects(happen.clone()),
        (None, None) if able => print = input::editor(happen.clone(), print),
        (None, None) => input::lines(happen.clone()),
    }
    if !full {
        let interrupted = happen.clone();
        // Without it Ctrl-C ends the program all the same.
        let _ = ctrlc::set_handler(move || {
            let _ = interrupted.send(Happening::Interrupt);
        });
        contact.announce();
    }
    let face: Box<dyn Face> = match screen {
        Some(screen) => {
            let rooms = Rooms::load(contact.vault.journal_stem(contact.fingerprint()));
            channels.extend(rooms.channels());
            let person = Person {
                name: contact.name.clone(),
                admission: contact.admission(),
                outbox: left.on_their_way(),
                rooms,
            };
            Box::new(screen.play(person, happen.clone()))
        }
        None if args.json => Box::new(Json::new(contact.fingerprint().to_string())),
        None if args.send.is_some() => Box::new(faces::Mute),
        None => Box::new(Plain::new(print, terminal && live, able && live)),
    };
    let dialer = Dialer::new(contact, live, happen);
    let (outbox, places) = (Outbox::of(left.outbox, &left.refused), Places::of(left.positions));
    let model = Model::new(usage, target, channels, outbox, places);
    let lines_left = args.tail.filter(|lines| *lines > 0);
    let shell = Shell { model, dialer, face, journal, lines_left, wait: None };
    Ok(shell.attend(&happenings))
}

/// What is kept of the talk with this server, unless another client of this person has it.
fn journal(contact: &Contact) -> Result<(Journal, Left), String> {
    match Journal::open(&contact.vault.journal_stem(contact.fingerprint())) {
        Ok(Some(opened)) => Ok(opened),
        Ok(None) => {
            Err("note: another client runs: lines typed here while offline are not kept".to_owned())
        }
        Err(error) => Err(format!("error: lines typed while offline cannot be kept: {error}")),
    }
}

/// Things that happen in a row are kept and told once.
const TICK_AFTER: Duration = Duration::from_millis(500);

/// Around the model: what happens goes into it, and what is to be done comes out of it.
struct Shell {
    model: Model,
    dialer: Dialer,
    face: Box<dyn Face>,
    journal: Option<Journal>,
    lines_left: Option<u64>,
    /// When the model wants to be told that it has waited.
    wait: Option<Instant>,
}

impl Shell {
    /// The client's life; the exit code says how it ended.
    fn attend(mut self, happenings: &mpsc::Receiver<Happening>) -> u8 {
        self.face.show(&Show::State(model::State::Connecting));
        self.dialer.dial(0);
        let mut tick: Option<Instant> = None;
        loop {
            let due = tick.into_iter().chain(self.wait).min();
            let next = match due {
                Some(due) => happenings.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => happenings.recv().map_err(Into::into),
            };
            let happening = match next {
                Ok(happening) => happening,
                Err(RecvTimeoutError::Timeout) if self.wait == due => {
                    self.wait = None;
                    Happening::Waited
                }
                Err(RecvTimeoutError::Timeout) => Happening::Tick,
                Err(RecvTimeoutError::Disconnected) => return 0,
            };
            if let Some(code) = self.happens(happening) {
                return code;
            }
            tick = match tick {
                _ if !self.model.wants_tick() => None,
                None => Some(Instant::now() + TICK_AFTER),
                due => due,
            };
        }
    }

    fn happens(&mut self, happening: Happening) -> Option<u8> {
        for action in self.model.update(happening, rand::random()) {
            match action {
                Action::Show(show) => {
                    self.face.show(&show);
                    if let (Show::Message(_), Some(left)) = (&show, &mut self.lines_left) {
                        *left -= 1;
                        if *left == 0 {
                            self.dialer.close();
                            self.face.end(0);
                            return Some(0);
                        }
                    }
                }
                Action::Send(command) => self.dialer.send(&command),
                Action::Keep(command) => self.write(|journal| journal.add(&command)),
                Action::Drop(id) => self.write(|journal| journal.done(id)),
                Action::Refused(id) => self.write(|journal| journal.refused(id)),
                Action::Retry(id) => self.write(|journal| journal.retry(id)),
                Action::Remember(positions) => self.write(|journal| journal.keep(&positions)),
                Action::Wait(ms) => {
                    let due = Instant::now() + Duration::from_millis(ms);
                    self.wait = Some(self.wait.map_or(due, |wait| wait.min(due)));
                }
                Action::Dial(after_ms) => self.dialer.dial(after_ms),
                Action::Echo => self.dialer.echo(),
                Action::Close => self.dialer.close(),
                Action::Cut => self.dialer.cut(),
                Action::Quit(code) => {
                    self.face.end(code);
                    return Some(code);
                }
            }
        }
        None
    }

    /// A journal that fails is told of once, and no longer used.
    fn write(&mut self, write: impl FnOnce(&mut Journal) -> std::io::Result<()>) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = write(journal)
        {
            self.journal = None;
            let text = format!("lines typed while offline are not kept from here on: {error}");
            self.face.show(&Show::Error(text));
        }
    }
}

fn target(text: &str) -> Result<Target, Fault> {
    let full = if text.starts_with(['#', '@']) { text.to_owned() } else { format!("@{text}") };
    full.parse().map_err(|error| {
        let error = format!("--to {}: {error}", clean::line(text));
        Fault::new(code::USAGE, error, "--to '#CHANNEL' or --to NAME")
    })
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
