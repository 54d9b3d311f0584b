//! The loop around the model: inputs go in, actions come out. Traffic of the connection passes the
//! end-to-end engine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::clock_watch::ClockWatch;
use super::connection::connects::{Connects, Derivation};
use super::connection::inbox::{Entry, Permit, Sender};
use super::connection::profile::Profile;
use super::desk::Desk;
use super::model::{self, Action, Ahead, Input, Model, Output};
use super::storage::ignore_list::IgnoreFile;
use super::storage::journal::Journal;
use super::ui::Ui;
use crate::chat::{ChannelName, SecretText};
use crate::e2e::storage::Account;
use crate::e2e::{self, Engine};
use crate::fault::code;
use crate::sync::{Mutex, Rank};
use crate::system::clock::{self, Instant};
use crate::system::threads;

/// Delay before changes are stored and sent together.
const TICK_AFTER: Duration = Duration::from_millis(500);

pub struct Runtime<C> {
    pub model: Model,
    pub engine: Engine,
    pub dialer: C,
    pub ui: Box<dyn Ui>,
    pub journal: Option<Journal>,
    pub disk: DiskReports,
    pub ignored: Option<IgnoreFile>,
    pub profile: Arc<Profile>,
    pub inbox: Sender,
    pub waits: Waits,
    pub desk: Desk,
}

/// Delay before a failed sync of the outbox is tried again.
const SYNC_AGAIN: Duration = Duration::from_secs(5);
/// Minimum time between two reports that the disk takes nothing.
const REPORT_AGAIN: Duration = Duration::from_secs(60);
/// Messages that are synced together.
const SYNC_MESSAGES_MAX: usize = 256;

/// Whether the disk takes what is written.
#[derive(Default)]
pub struct DiskReports {
    /// When the user was told that it does not.
    told: Option<Instant>,
    /// The last sync has failed at this time.
    failed: Option<Instant>,
}

/// Timers, and inputs that are not handled to their end.
pub struct Waits {
    watch: ClockWatch,
    tick: Option<Instant>,
    /// End of the model's `Action::Wait`.
    wait: Option<Instant>,
    /// The budget of inputs that the model still holds.
    held: Vec<Permit>,
}

impl Waits {
    pub fn new() -> Waits {
        Waits { watch: ClockWatch::new(), tick: None, wait: None, held: Vec::new() }
    }
}

impl<C: Connects> Runtime<C> {
    /// Runs the client and returns the exit code. The error is that the trust file cannot be
    /// written.
    pub fn run(mut self, inputs: &Receiver<Entry>) -> (u8, Result<(), String>) {
        let code = self.turn(inputs);
        (code, self.engine.save_trust())
    }

    /// Begins to connect.
    pub fn start(&mut self) {
        self.ui.show(&Output::State(model::State::Connecting));
        self.dialer.dial(0);
    }

    fn turn(&mut self, inputs: &Receiver<Entry>) -> u8 {
        self.start();
        loop {
            let due = self.due();
            let left = due.saturating_duration_since(Instant::now());
            let entry = match self.next(inputs, left) {
                Ok(entry) => entry,
                Err(RecvTimeoutError::Timeout) => self.late(due),
                Err(RecvTimeoutError::Disconnected) => return 0,
            };
            if let Some(code) = self.take(entry) {
                return code;
            }
        }
    }

    /// Returns the time at which `late` has an input, if no other one comes before.
    pub fn due(&mut self) -> Instant {
        let now_ms = self.clock_ms();
        let rest_ms = self.engine.rests_ms(now_ms);
        let maintenance_due = Instant::now() + Duration::from_millis(rest_ms);
        let sync = self.disk.failed.map(|failed| failed + SYNC_AGAIN);
        let due = self.waits.tick.into_iter().chain(self.waits.wait).chain(sync);
        due.fold(maintenance_due, Instant::min)
    }

    /// Returns the input of a time that `due` has returned, and that has come.
    pub fn late(&mut self, due: Instant) -> Entry {
        let input = match self.waits.wait == Some(due) {
            true => {
                self.waits.wait = None;
                Input::Waited
            }
            false => Input::Tick,
        };
        Entry { input, permit: None }
    }

    /// Handles an input. Returns the exit code if the client ends.
    pub fn take(&mut self, Entry { input, permit }: Entry) -> Option<u8> {
        self.ui.carries(permit.clone());
        let is_typed = input.is_typed();
        if let Some(code) = self.handle(input) {
            return Some(code);
        }
        self.ui.carries(None);
        if is_typed {
            self.ui.handled();
        }
        match self.model.holds_input() {
            true => self.waits.held.extend(permit.filter(|_| is_typed)),
            false => self.waits.held.clear(),
        }
        self.waits.tick = match self.waits.tick {
            _ if !self.model.wants_tick() => None,
            None => Some(Instant::now() + TICK_AFTER),
            due => due,
        };
        None
    }

    /// The next input.
    fn next(
        &mut self,
        inputs: &Receiver<Entry>,
        patience: Duration,
    ) -> Result<Entry, RecvTimeoutError> {
        match self.waiting(inputs) {
            Some(entry) => Ok(entry),
            None => inputs.recv_timeout(patience),
        }
    }

    /// The next input that is there; a sync of the outbox is one, once nothing else is there.
    pub fn waiting(&mut self, inputs: &Receiver<Entry>) -> Option<Entry> {
        let unsynced = self.model.unsynced();
        if unsynced.is_none_or(|messages| messages < SYNC_MESSAGES_MAX)
            && let Ok(entry) = inputs.try_recv()
        {
            return Some(entry);
        }
        let again = self.disk.failed.is_some_and(|failed| failed.elapsed() >= SYNC_AGAIN);
        let syncs = unsynced.is_some() || again;
        syncs.then(|| Entry { input: self.sync(), permit: None })
    }

    fn sync(&mut self) -> Input {
        let Some(journal) = &mut self.journal else {
            return Input::OutboxSynced(Err(()));
        };
        let synced = journal.outbox.sync();
        self.disk.failed = synced.is_err().then(Instant::now);
        Input::OutboxSynced(synced.map_err(|error| self.fails(&error)))
    }

    /// Reports a failed write, at most once per `REPORT_AGAIN`.
    fn fails(&mut self, error: &std::io::Error) {
        if self.disk.told.is_none_or(|told| told.elapsed() >= REPORT_AGAIN) {
            self.disk.told = Some(Instant::now());
            let text = format!(
                "unsent messages are only in memory, since they cannot be written: {error}"
            );
            self.ui.show(&Output::Error(text));
        }
    }

    /// Returns the time of the clock. Notifies the engine if the clock was set.
    fn clock_ms(&mut self) -> i64 {
        let now_ms = clock::now_ms();
        if let Some(by_ms) = self.waits.watch.set_by(now_ms) {
            self.engine.clock_is_set(by_ms);
        }
        now_ms
    }

    /// Handles one input and everything that consequences from it.
    fn handle(&mut self, input: Input) -> Option<u8> {
        let now_ms = self.clock_ms();
        let maintenance = self.engine.maintain(now_ms);
        let next = match input {
            Input::Event(event) => outputs(self.engine.received(event, now_ms)),
            Input::Answer(event) => outputs(self.engine.answered(event, now_ms)),
            Input::Derived { name, key, made } => {
                let channel = self.engine.add_channel(key, &name);
                vec![Next::Input(Input::Opened { channel, made })]
            }
            Input::Lost(loss) => {
                self.engine.lost();
                self.dialer.lost();
                vec![Next::Input(Input::Lost(loss))]
            }
            other => vec![Next::Input(other)],
        };
        let maintenance = maintenance.into_iter().map(Next::Output);
        let mut next: VecDeque<Next> = maintenance.chain(next).collect();
        while let Some(one) = next.pop_front() {
            let input = match one {
                Next::Input(input) => Some(input),
                Next::Output(output) => self.perform_output(output),
            };
            let Some(input) = input else { continue };
            let actions = self.model.update(input, rand::random());
            let mut consequences = VecDeque::new();
            for action in actions {
                match self.perform(action, now_ms) {
                    Done::Go(more) => consequences.extend(more.into_iter().map(Next::Input)),
                    Done::End(code) => return Some(code),
                }
            }
            // Consequences come before later inputs.
            consequences.extend(next);
            next = consequences;
        }
        None
    }

    fn perform(&mut self, action: Action, now_ms: i64) -> Done {
        match action {
            Action::Output(output) => self.show(&output),
            Action::OpenAddress { address, confirmed } => {
                self.ui.show(&self.desk.open(&address, confirmed));
            }
            Action::Log(of, wish) => self.ui.show(&self.desk.log(&of, wish)),
            Action::Send(request) => {
                let next = self.engine.send(request, now_ms);
                return Done::Go(self.perform_all(next));
            }
            Action::Choose(choice) => self.engine.choose(choice),
            Action::Keep(message) => self.write(|journal| journal.outbox.add(&message)),
            Action::Drop(id) => {
                self.engine.discard(id);
                self.write(|journal| journal.outbox.done(id));
            }
            Action::Sync => return Done::Go(vec![self.sync()]),
            Action::Refused(id) => self.write(|journal| journal.outbox.refused(id)),
            Action::Retry(id) => self.write(|journal| journal.outbox.retry(id)),
            Action::Remember(positions) => {
                self.engine.store_progress(now_ms);
                self.write(|journal| journal.keep(&positions));
            }
            Action::Ignore(ignore_list) => {
                let saved = self.ignored.as_ref().map(|file| file.save(&ignore_list));
                if let Some(Err(error)) = saved {
                    self.ui.show(&Output::Error(format!(
                        "the change applies to this run only: {error}"
                    )));
                }
            }
            Action::Wait(ms) => {
                let due = Instant::now() + Duration::from_millis(ms);
                let wait = self.waits.wait.map_or(due, |wait| wait.min(due));
                self.waits.wait = Some(wait);
            }
            Action::Derive { name, pin, made } => self.derive(name, pin, made),
            Action::LookUp { name, confirms } => {
                let next = self.engine.look_up(&name, confirms, now_ms);
                return Done::Go(self.perform_all(next));
            }
            Action::SetSearch(search) => {
                let next = self.engine.set_search(search);
                return Done::Go(self.perform_all(next));
            }
            Action::Forget(channel) => {
                let next = self.engine.forget(&channel, now_ms);
                return Done::Go(self.perform_all(next));
            }
            Action::Transfer(work) => self.dialer.work(work),
            Action::Again(lines) => return Done::Go(typed_ahead(lines)),
            Action::Dial(after_ms) => self.dialer.dial(after_ms),
            Action::Echo => self.dialer.echo(),
            Action::Close => self.dialer.close(),
            Action::Cut => self.dialer.cut(),
            Action::Quit(code) => {
                self.dialer.finish();
                let is_whole = self.ui.end(code);
                return Done::End(if code == 0 && !is_whole { code::OTHER } else { code });
            }
        }
        Done::Go(Vec::new())
    }

    /// Shows an output, and writes it to the file of its conversation if the user has started one.
    fn show(&mut self, output: &Output) {
        self.ui.show(output);
        if let Some(trouble) = self.desk.note(output) {
            self.ui.show(&trouble);
        }
    }

    /// Performs the engine's outputs and returns those for the model.
    fn perform_all(&mut self, outputs: Vec<e2e::Output>) -> Vec<Input> {
        outputs.into_iter().filter_map(|output| self.perform_output(output)).collect()
    }

    /// Performs an output of the engine, or returns it for the model.
    fn perform_output(&mut self, output: e2e::Output) -> Option<Input> {
        Some(match output {
            e2e::Output::Send(request) => {
                self.dialer.send(&request);
                return None;
            }
            e2e::Output::Store(id, sealed) => {
                self.write(|journal| journal.outbox.seal(id, &sealed));
                return None;
            }
            e2e::Output::Event(event) => Input::Event(event),
            e2e::Output::Answer(event) => Input::Answer(event),
            e2e::Output::Violation { message, violation } => {
                Input::Violation { message, violation }
            }
            e2e::Output::KeyChanged { name, text } => Input::KeyChanged { name, text },
            e2e::Output::Reply(text) => Input::Reply(text),
            e2e::Output::Trouble(text) => Input::Trouble(text),
        })
    }

    /// Derives the key of a PIN beside the chat.
    fn derive(&mut self, name: ChannelName, pin: SecretText, is_made: bool) {
        let server = *self.profile.founding();
        let wanted = self.dialer.derive(Derivation { name, pin, server, is_made });
        let (Some(wanted), inbox) = (wanted, self.inbox.clone()) else { return };
        let job = move || {
            // Each derivation takes 64 MiB, so only one runs at a time.
            static ONE: Mutex<()> = Mutex::new(Rank::PinDerivation, ());
            let _turn = ONE.lock();
            let key = wanted.key();
            // The runtime may already have ended.
            let _ = inbox.send(wanted.done(key));
        };
        threads::start("pin", job);
    }

    /// Writes to the journal. The first of several failures is reported.
    fn write(&mut self, write: impl FnOnce(&mut Journal) -> std::io::Result<()>) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = write(journal)
        {
            self.disk.failed.get_or_insert_with(Instant::now);
            self.fails(&error);
        }
    }
}

/// Replays lines that were typed while a PIN was derived.
fn typed_ahead(lines: Vec<Ahead>) -> Vec<Input> {
    let typed = |Ahead { line, within }: Ahead| {
        let line = line.reveal().to_owned();
        match within {
            Some(within) => Input::Composed { within, line },
            None => Input::Line(line),
        }
    };
    lines.into_iter().map(typed).chain([Input::TypeAheadReplayed]).collect()
}

/// A queued step.
enum Next {
    Input(Input),
    Output(e2e::Output),
}

fn outputs(outputs: Vec<e2e::Output>) -> Vec<Next> {
    outputs.into_iter().map(Next::Output).collect()
}

/// The result of an action.
enum Done {
    Go(Vec<Input>),
    /// End of the program, with this exit code.
    End(u8),
}
