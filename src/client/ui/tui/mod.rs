//! The full screen: rooms, messages, people and the input. One thread owns the state and the
//! terminal; others send it the model's outputs and the typed keys. It draws after changes, at most
//! thirty times a second.

mod answers;
mod app;
mod assistant;
mod choosing;
mod composer;
mod controls;
mod draw;
mod editor;
mod find;
mod graphics;
mod input;
mod keys;
mod layout;
mod line;
mod links;
mod pace;
mod painter;
mod pane;
mod pixels;
mod reader;
mod rows;
mod scroll;
mod settings;
mod sgr16;
mod status;
mod switcher;
#[cfg(test)]
mod tests;
mod theme;
mod tty;
mod typing;
mod update;
mod view;
mod window;
mod windows;
pub(super) mod wrap;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use ratatui::crossterm::style::force_color_output;

use super::rooms::Rooms;
use super::{Person, Ui};
use crate::client::connection::inbox::{self, Permit};
use crate::client::model::{Input, Origin, Output};
use crate::client::slash::Notifications;
use crate::fault::{Fault, code};
use crate::print::err;
use app::App;
pub use assistant::Assistant;
use reader::Effect;
use settings::Settings;
use theme::Theme;
use tty::{Tty, Word};
use window::Window;

/// Minimum time between two frames.
const PICTURE_EVERY: Duration = Duration::from_millis(33);
/// Bound on the screen's queue; beyond it senders block.
const WAITING_MAX: usize = 1_024;
/// Time that the end waits for a blocked terminal.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// An input of the screen's thread.
enum Cause {
    /// With the permit of its input, held until it is shown.
    Output(Output, Option<Permit>),
    /// The model has handled a typed input; its outputs came before.
    Handled,
    Word(Word),
    End,
}

/// Returns whether the settings of the screen let mentions ring the terminal's bell.
pub fn rings() -> bool {
    let settings = Settings::file().and_then(|file| Settings::load(&file).ok());
    settings.unwrap_or_default().bell
}

/// The user interface, as the runtime sees it.
pub struct Screen {
    permit: Option<Permit>,
    causes: SyncSender<Cause>,
    parting: Receiver<Parting>,
}

/// State to report after the end.
#[derive(Default)]
struct Parting {
    error: Option<(Origin, String)>,
    /// Own messages that are not stored yet.
    waiting: usize,
    /// They are not on disk.
    loses: bool,
}

/// The terminal after it was taken over, before the chat.
pub struct Opened {
    app: App,
    tty: Tty,
    file: Option<PathBuf>,
    causes: SyncSender<Cause>,
    told: Receiver<Cause>,
}

impl Opened {
    /// Takes over the terminal.
    pub fn open(colour: bool) -> Result<Opened, Fault> {
        let file = Settings::file();
        let settings = file.as_deref().map_or(Ok(Settings::default()), Settings::load)?;
        let mouse = settings.mouse;
        let theme = Theme::of_terminal(colour);
        // The choice is final: the environment is not read again.
        force_color_output(colour);
        let app = App::new(settings, theme, TimeZone::system()).map_err(|problem| {
            let file = file.as_deref().map_or("screen.json".into(), Path::to_string_lossy);
            let hint = "correct it, or remove it for the usual settings";
            Fault::new(code::UNREADABLE, format!("{file}: {problem}"), hint)
        })?;
        let (causes, told) = mpsc::sync_channel(WAITING_MAX);
        let tty = Tty::open(causes.clone(), Cause::Word, mouse).map_err(|error| {
            let hint = "pychat client --plain needs no full screen";
            Fault::new(code::OTHER, format!("the terminal cannot be used: {error}"), hint)
        })?;
        Ok(Opened { app, tty, file, causes, told })
    }

    /// Starts the chat.
    pub fn play(self, person: Person, inbox: inbox::Sender) -> Screen {
        let Opened { mut app, tty, file, causes, told } = self;
        app.reader.view.pass(now_ms());
        app.reader.own = Some(person.name);
        app.admission = person.admission;
        app.settings.notify = person.rooms.notify().clone();
        app.reader.highlights = person.rooms.highlights().clone();
        for room in person.rooms.open() {
            app.reader.conversation(room);
        }
        person.outbox.into_iter().for_each(|message| app.show(Output::Outgoing(message)));
        let (said, parting) = mpsc::channel();
        let rooms = person.rooms;
        let stage = Stage { app, tty, file, rooms, gate: KeyGate::default(), inbox };
        let play = move || {
            let parting = stage.play(&told);
            // The runtime may already have ended.
            let _ = said.send(parting);
        };
        let spawned = thread::Builder::new().name("screen".into()).spawn(play);
        spawned.expect("a client can start a thread");
        Screen { permit: None, causes, parting }
    }
}

impl Ui for Screen {
    fn show(&mut self, output: &Output) {
        // If the screen has ended, the program is ending too.
        let _ = self.causes.send(Cause::Output(output.clone(), self.permit.clone()));
    }

    fn carries(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    fn handled(&mut self) {
        // If the screen has ended, the program is ending too.
        let _ = self.causes.send(Cause::Handled);
    }

    fn end(&mut self, code: u8) -> bool {
        // A screen that does not respond is blocked by its terminal.
        let until = Instant::now() + END_PATIENCE;
        while self.causes.try_send(Cause::End).is_err() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        let parting = self.parting.recv_timeout(until.saturating_duration_since(Instant::now()));
        tty::leave();
        let Parting { error, waiting, loses } = parting.unwrap_or_default();
        if let Some((origin, text)) = error.filter(|_| code != 0 && code != 130) {
            super::report(origin, &text);
        }
        match waiting {
            0 => {}
            lines if loses => {
                err!("unsent messages: {lines}; those that are only in memory are lost")
            }
            1 => err!("one of your messages was not sent yet: it will be sent the next time"),
            lines => {
                err!("{lines} of your messages were not sent yet: they will be sent the next time")
            }
        }
        true
    }
}

/// Holds keys back behind a command until the model has handled it, because the command may switch
/// the conversation that later keys are meant for.
#[derive(Default)]
struct KeyGate {
    /// Count of typed inputs that the model has not handled.
    unhandled: usize,
    /// When it was closed.
    closed: Option<Instant>,
}

/// Time after which keys pass although the model has not handled the command: a stalled connection
/// must not keep Ctrl-C.
const GATE_PATIENCE: Duration = Duration::from_secs(1);

impl KeyGate {
    fn passes(&mut self, input: &Input) {
        self.unhandled += usize::from(input.is_typed());
        if input.is_command() {
            self.closed.get_or_insert_with(Instant::now);
        }
    }

    /// Records that an input was handled. Returns whether the gate opens.
    fn handled(&mut self) -> bool {
        self.unhandled = self.unhandled.saturating_sub(1);
        self.unhandled == 0 && self.closed.take().is_some()
    }

    /// Time until the gate opens by itself, if it is closed.
    fn left(&self) -> Option<Duration> {
        self.closed.map(|closed| GATE_PATIENCE.saturating_sub(closed.elapsed()))
    }

    /// Opens the gate after its time. Returns whether it was closed.
    fn gives_up(&mut self) -> bool {
        self.left() == Some(Duration::ZERO) && self.closed.take().is_some()
    }
}

/// The screen's thread.
struct Stage {
    app: App,
    tty: Tty,
    file: Option<PathBuf>,
    rooms: Rooms,
    gate: KeyGate,
    inbox: inbox::Sender,
}

impl Stage {
    /// Runs to the end.
    fn play(mut self, told: &Receiver<Cause>) -> Parting {
        let mut changed = true;
        let mut drawn = Instant::now() - PICTURE_EVERY;
        loop {
            if changed && drawn.elapsed() >= PICTURE_EVERY {
                (changed, drawn) = (false, Instant::now());
                self.keep_rooms();
                if self.draw().is_err() {
                    return self.gone(told);
                }
            }
            let until_picture = PICTURE_EVERY.saturating_sub(drawn.elapsed());
            let wait = match changed {
                true => Some(until_picture),
                false => self.app.reader.next_change_ms().map(Duration::from_millis),
            };
            let wait = wait.into_iter().chain(self.gate.left()).min();
            let cause = match wait {
                Some(wait) => told.recv_timeout(wait),
                None => told.recv().map_err(Into::into),
            };
            self.app.reader.pass(now_ms());
            if self.gate.gives_up() {
                self.tty.read_on();
            }
            match cause {
                Ok(Cause::Output(output, _permit)) => self.app.show(output),
                Ok(Cause::Handled) if self.gate.handled() => self.tty.read_on(),
                Ok(Cause::Handled) => {}
                Ok(Cause::Word(word)) => match self.word(word) {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return self.gone(told),
                },
                Ok(Cause::End) => return self.end(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Parting::default(),
            }
            changed = true;
            if self.carry_out().is_err() {
                return self.gone(told);
            }
        }
    }

    fn end(mut self) -> Parting {
        self.keep_rooms();
        let waiting = self.app.reader.windows.iter().map(Window::waiting).sum();
        let loses = self.app.reader.status.loses();
        Parting { error: self.app.reader.status.take_parting(), waiting, loses }
    }

    /// Ends after the terminal is gone. Typed messages are on disk, and the rest of the program
    /// ends as well.
    fn gone(self, told: &Receiver<Cause>) -> Parting {
        tty::leave();
        // The runtime may already have ended.
        let _ = self.inbox.send(Input::Interrupt);
        while !matches!(told.recv(), Ok(Cause::End) | Err(_)) {}
        Parting::default()
    }

    fn draw(&mut self) -> std::io::Result<()> {
        let app = &mut self.app;
        let title = app.settings.title.then(|| app.reader.title());
        self.tty.title(title)?;
        let mut first = false;
        self.tty.draw(|frame| {
            app.reader.view.resize(frame.area());
            let drawn = draw::draw(app, frame);
            first = drawn.first;
            (drawn.links, drawn.graphic)
        })?;
        self.app.reader.fetch(first);
        self.carry_out()
    }

    /// Returns false if the terminal is gone.
    fn word(&mut self, word: Word) -> std::io::Result<bool> {
        match word {
            Word::Input(event) => {
                self.app.input(event);
                // The next input may be for an editor, for the shell, or for another conversation.
                self.carry_out()?;
                if self.gate.closed.is_none() {
                    self.tty.read_on();
                }
            }
            Word::Graphics => {
                self.tty.has_graphics();
                self.tty.read_on();
            }
            Word::Gone => return Ok(false),
            // The runtime may already have ended.
            Word::Stop => drop(self.inbox.send(Input::Interrupt)),
            Word::Suspend => self.suspend()?,
            Word::Continue => self.tty.take_again()?,
            Word::Resize => {}
        }
        Ok(true)
    }

    /// Stores the open rooms for the next run.
    fn keep_rooms(&mut self) {
        let open = self.app.reader.windows.iter().map(|window| &window.target);
        if let Err(error) =
            self.rooms.save(open, &self.app.settings.notify, &self.app.reader.highlights)
        {
            self.app.reader.error(format!("the list of open rooms cannot be stored: {error}"));
        }
    }

    fn suspend(&mut self) -> std::io::Result<()> {
        if !self.tty.suspend()? {
            self.app.reader.flash("there is no shell to return to");
        }
        Ok(())
    }

    fn carry_out(&mut self) -> std::io::Result<()> {
        for effect in std::mem::take(&mut self.app.reader.effects) {
            match effect {
                Effect::Send(input) => {
                    self.gate.passes(&input);
                    // The runtime may already have ended.
                    drop(self.inbox.send(input));
                }
                Effect::Bell => self.tty.write(b"\x07")?,
                Effect::Notify(text) => match self.app.settings.notifications {
                    Notifications::Off => {}
                    Notifications::Osc9 => {
                        self.tty.write(format!("\x1b]9;pychat: {text}\x07").as_bytes())?;
                    }
                    Notifications::Osc777 => {
                        let bytes = format!("\x1b]777;notify;pychat;{text}\x07");
                        self.tty.write(bytes.as_bytes())?;
                    }
                },
                Effect::Save => {
                    if let Some(file) = &self.file
                        && let Err(error) = self.app.settings.save(file)
                    {
                        self.app.reader.error(format!("{}: {error}", file.display()));
                    }
                }
                Effect::Mouse(on) => self.tty.mouse(on)?,
                Effect::Redraw => self.tty.redraw(),
                Effect::Suspend => self.suspend()?,
                Effect::Edit(text) => match self.tty.lend(|| editor::edit(&text))? {
                    Ok(text) => self.app.reader.input.set(&text),
                    Err(problem) => self.app.reader.error(problem),
                },
            }
        }
        Ok(())
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod gate_tests {
    use super::*;

    #[test]
    fn keys_wait_behind_a_command_but_not_for_ever() {
        let line = |line: &str| Input::Line(line.to_owned());
        let to: crate::chat::Target = "#tea".parse().unwrap();
        let command = Input::TypedIn { to, within: None, line: "/query bob".to_owned(), id: None };
        let mut gate = KeyGate::default();
        gate.passes(&line("hello"));
        assert_eq!((gate.left(), gate.handled()), (None, false));
        gate.passes(&line("hello"));
        gate.passes(&command);
        assert!(!gate.handled() && gate.handled(), "it opens once the command is handled");
        gate.passes(&command);
        assert!(!gate.gives_up());
        gate.closed = Some(Instant::now() - GATE_PATIENCE);
        assert!(gate.gives_up() && !gate.gives_up() && !gate.handled());
    }
}
