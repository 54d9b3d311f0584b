//! The client: a runtime around a pure model, with user interfaces for people and for programs.

pub(crate) mod addresses;
mod clock_watch;
mod connection;
pub(crate) mod conversations;
pub mod core;
mod desk;
pub mod files;
mod input;
mod invited;
mod mistyped;
pub mod model;
pub(crate) mod outbox;
mod password_file;
mod prompt;
mod restored;
mod runtime;
pub mod slash;
pub mod storage;
mod ticket;
pub mod transfer;
pub mod trust;
mod ui;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::chat::{ChannelName, Seq, Target, UserName};
use crate::e2e::Engine;
use crate::e2e::storage::Account;
use crate::fault::{Fault, code};
use crate::limits::UNSETTLED_BYTES_MAX;
use crate::print::err;
use crate::system;
use crate::terminal;
use connection::profile::Profile;
use connection::{Dialer, inbox};
use conversations::Conversations;
use desk::Desk;
use files::source::Source;
use model::{Giver, Input, Model, TailOptions, Use};
use outbox::Outbox;
use runtime::{DiskReports, Runtime, Waits};
use storage::journal::{Journal, Left};
use transfer::{Place, Then, ToGet, ToSend, Wish};
use ui::json_output::Json;
use ui::page;
use ui::plain::Plain;
use ui::rooms::Rooms;
use ui::stdout::{Print, Stdout};
use ui::tui::{Assistant, Opened};
use ui::{Person, Ui};

#[derive(clap::Args)]
pub struct Args {
    /// pychat://HOST:PORT/FINGERPRINT as sent by the operator, or HOST[:PORT] of a known server
    server: Option<String>,
    /// Your name on the server
    #[arg(long, env = "PYCHAT_NAME")]
    name: Option<UserName>,
    /// Join these channels
    #[arg(long, value_name = "CHANNEL")]
    join: Vec<String>,
    /// Join the PIN channels listed in this file (0600): CHANNEL PIN on each line
    #[arg(long, value_name = "FILE")]
    join_file: Option<PathBuf>,
    /// The server's password: the first line of a file (0600) or of a pipe
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print plain lines, for screen readers and pipes
    #[arg(long, group = "ui")]
    plain: bool,
    /// Read and write one JSON object per line (docs/json.md)
    #[arg(long, group = "ui")]
    json: bool,
    /// Open the chat in the browser, on a loopback address [default: 127.0.0.1:5081]
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, group = "ui")]
    web: Option<Option<String>>,
    /// Send TEXT, or each line of stdin, and exit: 0 only if the server has acknowledged everything
    #[arg(long, value_name = "TEXT", num_args = 0..=1, group = "ui")]
    send: Option<Option<String>>,
    /// Send a file to --to and exit: 0 only if the server has acknowledged its message
    #[arg(long, value_name = "PATH", group = "ui")]
    send_file: Option<PathBuf>,
    /// The text beside the file of --send-file
    #[arg(long, value_name = "TEXT", requires = "send_file")]
    caption: Option<String>,
    /// Send a picture with its metadata: place, time, device
    #[arg(long, requires = "send_file")]
    keep_metadata: bool,
    /// Fetch the file of message N of --from and print its path: 0 only if it is what was sent
    #[arg(long, value_name = "N", group = "ui", requires = "from", value_parser = message_number)]
    get: Option<u64>,
    /// The conversation of --get: #CHANNEL or NAME
    #[arg(long, value_name = "PLACE", requires = "get")]
    from: Option<String>,
    /// Where --get writes the file: a folder, a file, or - for stdout
    #[arg(short, long, value_name = "PATH", requires = "get")]
    output: Option<PathBuf>,
    /// Print the last N messages of --to and exit
    #[arg(long, value_name = "N", group = "ui", value_parser = count_of_messages)]
    tail: Option<usize>,
    /// Continue with the messages that follow the last N
    #[arg(short, long, requires = "tail", conflicts_with_all = ["send", "json", "plain"])]
    follow: bool,
    /// The destination of --send and of typed text, the conversation of --tail: #CHANNEL or NAME
    #[arg(long, value_name = "PLACE", default_value = "#lobby")]
    to: String,
    /// When to colour names
    #[arg(long, value_enum, default_value = "auto")]
    color: Color,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

fn message_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "the number of a message has digits only".to_owned())
}

fn count_of_messages(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "the count of messages is a whole number, such as 20".to_owned())
}

/// Runs the client and returns the exit code.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.color {
        Color::Auto => {}
        Color::Always => colored::control::set_override(true),
        Color::Never => colored::control::set_override(false),
    }
    start(&args).map(ExitCode::from)
}

/// Time to shut down after Ctrl-C.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The kind of user interface.
#[derive(Clone, Copy)]
struct Mode {
    json: bool,
    /// The page.
    web: bool,
    once: bool,
    /// An interactive or program session, not a single job.
    live: bool,
    /// Stdin and stdout are a terminal.
    on_terminal: bool,
    /// The terminal supports a line editor.
    able: bool,
    /// The full screen.
    full: bool,
}

impl Mode {
    fn of(args: &Args) -> Mode {
        let has_file = args.send_file.is_some() || args.get.is_some();
        let once = args.send.is_some() || has_file || args.tail.is_some() && !args.follow;
        let (json, live) = (args.json, !once && args.tail.is_none());
        let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let able = on_terminal && system::terminal::is_able();
        let web = args.web.is_some();
        let full = able && live && !json && !web && !args.plain;
        Mode { json, web, once, live, on_terminal, able, full }
    }

    fn usage(self) -> Use {
        Use {
            once: self.once,
            resumes: self.live,
            reads: self.live && !self.json && !self.web && !self.full,
            is_program: self.json,
            secrets: self.giver(),
        }
    }

    /// Who can enter a secret: the line editor and the full screen hide it, and a program and the
    /// page have an object for it.
    fn giver(self) -> Giver {
        match (self.json || self.web, self.able) {
            _ if !self.live => Giver::Nobody,
            (true, _) => Giver::Program,
            (false, true) => Giver::Person,
            (false, false) => Giver::Nobody,
        }
    }
}

fn start(args: &Args) -> anyhow::Result<u8> {
    let mut channels = invited::channels(&args.join)?;
    require_text(args)?;
    require_file(args)?;
    let password = args.password_file.as_deref().map(password_file::read).transpose()?;
    let mode = Mode::of(args);
    let (listener, server) = listener(args)?;
    let (inbox, inputs) = inbox::open();
    let colour = colored::control::SHOULD_COLORIZE.should_colorize();
    let mut screen = if mode.full { Some(Opened::open(colour)?) } else { None };
    let Some(profile) = profile((server, args), screen.as_mut())? else {
        return Ok(code::INTERRUPTED);
    };
    let (usage, profile) = (mode.usage(), Arc::new(profile));
    let mut engine = restored::engine(&profile, !usage.is_program).map_err(storage::fault)?;
    if let Some(file) = &args.join_file {
        channels.extend(invited::from_file(file, profile.founding(), &mut engine)?);
    }
    let target = invited::target(conversation(args), &engine, &channels)?;
    let named = named(&target);
    // One job creates no channel, unless it is told to.
    let is_meant = mode.live || named.as_ref().is_some_and(ChannelName::has_pin);
    let unknown = named.clone().filter(|channel| !is_meant && !channels.contains(channel));
    channels.extend(named.filter(|_| unknown.is_none()));
    let (journal, left) = take_up(mode, &profile, &mut engine, &inbox);
    if mode.live {
        channels.extend(engine.channels().cloned());
    }
    terminal::aim(target.clone());
    let print = read_input(args, mode, &target, &inbox);
    if !mode.full {
        end_on_interrupt(inbox.clone());
        profile.announce();
    }
    let stem = || profile.data_folder.journal_stem(profile.founding());
    let rooms = (mode.full || mode.web).then(|| Rooms::load(stem(), engine.record_key()));
    // A channel whose PIN is not known could not be read.
    channels.extend(rooms.iter().flat_map(Rooms::channels).filter(|channel| !channel.has_pin()));
    let person = rooms.map(|rooms| {
        let (name, admission) = (profile.name.clone(), profile.admission());
        Person { name, admission, outbox: left.in_transit(), rooms }
    });
    let (key, follows) = (engine.record_key(), args.follow);
    let (dialer, transfers) = Dialer::new(Arc::clone(&profile), mode.live, inbox.clone(), key);
    let ui: Box<dyn Ui> = match (screen, listener, person) {
        (Some(screen), _, Some(person)) => Box::new(screen.play(person, inbox.clone())),
        (_, Some(listener), Some(person)) => {
            let spool = page::Spool::open(&stem(), &transfers)?;
            let server = (profile.address(), profile.pinned().to_string());
            Box::new(listener.serve((person, server), spool, inbox.clone()))
        }
        _ => lines_ui(args, mode, &profile, (print, &inbox)),
    };
    let outbox: Vec<_> = left.outbox.iter().map(|message| message.id).collect();
    let outgoing = Outbox::of(left.outbox, &left.refused);
    // A program sees every user, unless it ignores some itself.
    let stem = (!mode.json && (mode.live || args.tail.is_some())).then(stem);
    let (ignored, ignore_list) = restored::ignore_list(stem, engine.record_key(), &inbox);
    let (disk, waits, desk) = (DiskReports::default(), Waits::new(), Desk::default());
    let tail = args.tail.map(|messages| TailOptions { to: target.clone(), messages, follows });
    let model = Model::new(usage, target, channels, outgoing, Conversations::of(left.positions));
    let model = model.with(ignore_list, engine.left().clone()).with_password(password);
    let model = model.with_destination(unknown, args.tail.is_some() || args.get.is_some());
    let model = model.with_tail(tail).with_transfers(transfers, &outbox);
    let runtime =
        Runtime { model, engine, dialer, ui, journal, disk, ignored, profile, inbox, waits, desk };
    Ok(ended(runtime.run(&inputs)))
}

/// The exit code. A trust file that was not written is reported.
fn ended((code, saved): (u8, Result<(), String>)) -> u8 {
    saved.unwrap_or_else(|problem| err!("error: {problem}"));
    code
}

/// What an earlier run has left. A job has its own.
fn take_up(
    mode: Mode,
    profile: &Profile,
    engine: &mut Engine,
    inbox: &inbox::Sender,
) -> (Option<Journal>, Left) {
    match mode.live {
        true => restored::take_up(profile, engine, inbox),
        false => (None, Left::default()),
    }
}

/// The channel that a target names, unless it is the lobby.
fn named(target: &Target) -> Option<ChannelName> {
    match target {
        Target::Channel(channel) if !channel.is_lobby() => Some(channel.clone()),
        _ => None,
    }
}

/// Checks that `--send TEXT` has a text.
fn require_text(args: &Args) -> Result<(), Fault> {
    match &args.send {
        Some(Some(text)) if text.trim().is_empty() => {
            let hint = "use --send TEXT, or --send alone for lines of stdin";
            Err(Fault::new(code::USAGE, "there is nothing to send", hint))
        }
        _ => Ok(()),
    }
}

/// Checks that the file of `--send-file` can be read, before a connection is made.
fn require_file(args: &Args) -> Result<(), Fault> {
    let Some(path) = &args.send_file else { return Ok(()) };
    let unreadable = |error| Fault::new(code::UNREADABLE, error, "use --send-file PATH of a file");
    Source::open(path).map(drop).map_err(unreadable)
}

/// The listener of the page, and the server. In `--web INVITE` the value is the server.
fn listener(args: &Args) -> Result<(Option<page::Opened>, Option<&str>), Fault> {
    let server = args.server.as_deref();
    let value = match &args.web {
        None => return Ok((None, server)),
        Some(value) => value.as_deref(),
    };
    let (address, server) = match (value.map(str::parse::<SocketAddr>), server) {
        (None, server) => (page::USUAL, server),
        (Some(Ok(address)), server) => (address, server),
        (Some(Err(_)), None) => (page::USUAL, value),
        (Some(Err(_)), Some(_)) => {
            let text = format!("{} is no address and port", value.unwrap_or_default());
            return Err(Fault::new(code::USAGE, text, page::HINT));
        }
    };
    Ok((Some(page::Opened::open(address)?), server))
}

/// The server, the name and the key; `None` if the user has left the dialog.
fn profile(
    (server, args): (Option<&str>, &Args),
    screen: Option<&mut Opened>,
) -> anyhow::Result<Option<Profile>> {
    let name = args.name.clone();
    let Some(screen) = screen else {
        return Profile::prepare(server, name, &mut prompt::LinePrompt).map(Some);
    };
    let mut assistant = Assistant::new(screen);
    let prepared = Profile::prepare(server, name, &mut assistant);
    if assistant.left { Ok(None) } else { prepared.map(Some) }
}

/// Reads typed or piped input on a thread of its own. Returns the line editor's output, if there is
/// an editor.
fn read_input(
    args: &Args,
    mode: Mode,
    target: &Target,
    inbox: &inbox::Sender,
) -> Option<Box<dyn Print>> {
    if let Some(wish) = wish_of(args, target) {
        // The caller holds the receiver.
        let _ = inbox.send(Input::Wish { wish, exactly: true, id: None, reference: None });
        let _ = inbox.send(Input::InputEnd);
        return None;
    }
    let typed = inbox.bounded(UNSETTLED_BYTES_MAX);
    match (&args.send, args.tail) {
        _ if mode.full || mode.web => {}
        (Some(text), _) => ui::input::lines_to_send(text.as_deref(), typed),
        (None, Some(_)) => {}
        (None, None) if mode.json => ui::input::objects(typed),
        (None, None) => {
            let print = if mode.able { ui::input::editor(&typed) } else { None };
            if print.is_none() {
                ui::input::lines(typed);
            }
            return print;
        }
    }
    None
}

/// Returns the option that names the conversation, and its value.
fn conversation(args: &Args) -> (&'static str, &str) {
    match &args.from {
        Some(from) => ("--from", from.as_str()),
        None => ("--to", args.to.as_str()),
    }
}

/// What `--send-file` or `--get` wants.
fn wish_of(args: &Args, target: &Target) -> Option<Wish> {
    if let Some(path) = args.send_file.clone() {
        let (to, caption) = (target.clone(), args.caption.clone());
        return Some(Wish::Send(ToSend { path, to, caption, keeps_metadata: args.keep_metadata }));
    }
    let place = match args.output.clone() {
        None => Place::Folder(PathBuf::from(".")),
        Some(path) if path.as_os_str() == "-" => Place::Stdout,
        Some(path) => Place::Named(path),
    };
    Some(Wish::Get(ToGet { from: target.clone(), seq: Seq(args.get?), place, then: Then::Keep }))
}

/// Ends the client in order on a signal, and after a while in any case.
fn end_on_interrupt(inbox: inbox::Sender) {
    // Without the handler a signal still ends the program.
    let _ = ctrlc::set_handler(move || {
        let _ = inbox.send(Input::Interrupt);
        // A blocked terminal, pipe or disk must not prevent the end.
        thread::sleep(END_PATIENCE);
        std::process::exit(code::INTERRUPTED.into());
    });
}

/// Plain lines, JSON objects, or errors only.
fn lines_ui(
    args: &Args,
    mode: Mode,
    profile: &Profile,
    (print, inbox): (Option<Box<dyn Print>>, &inbox::Sender),
) -> Box<dyn Ui> {
    if mode.json {
        let out = Stdout::new(inbox.clone()).with_reader(inbox.clone());
        return Box::new(Json::new(profile.pinned().to_string(), out));
    }
    if args.send_file.is_some() || args.get.is_some() {
        return Box::new(ui::one_file::OneFile::new());
    }
    if mode.once && args.tail.is_none() {
        return Box::new(ui::Mute);
    }
    let print = print.unwrap_or_else(|| {
        let out = Stdout::new(inbox.clone());
        // A client that prints and exits may have printed everything when its reader closes the
        // pipe.
        Box::new(if mode.once { out } else { out.with_reader(inbox.clone()) })
    });
    if args.tail.is_some() {
        return Box::new(ui::Messages::new(print));
    }
    let plain = Plain::new(print, mode.on_terminal && mode.live, mode.able && mode.live);
    Box::new(plain.with_bell(ui::tui::rings()).with_code(profile.code()))
}
