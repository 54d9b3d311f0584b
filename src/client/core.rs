//! The client without threads, sockets and waits: somebody else carries its records and its page's
//! objects, and states the time. In a browser that is the page's Worker (`web/`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use zeroize::Zeroizing;

pub use super::connection::hop::Wanted;
use super::connection::hop::{Carry, Hop};
use super::connection::inbox::{self, Entry, Sender};
use super::connection::profile::Profile;
use super::connection::transfers::Desk as FileDesk;
use super::connection::transfers::steps::Steps;
use super::conversations::Conversations;
use super::desk::Desk;
use super::files::picture::{Decoded, NoPreview};
use super::model::{Giver, Input, Model, Use};
use super::outbox::Outbox;
use super::restored;
use super::runtime::{DiskReports, Runtime, Waits};
use super::storage::data_folder::{DataFolder, Server};
use super::storage::transfer_folder::TransferFolder;
use super::transfer::{Failure, Shown as ShownPicture, TransferId};
use super::ui::Person;
pub use super::ui::page::Wrong;
use super::ui::page::commands::Commands;
use super::ui::page::core::Core as Pages;
use super::ui::page::queue::Queue;
use super::ui::page::state::State;
use super::ui::page::{Shown, Spool};
use super::ui::rooms::Rooms;
use crate::chat::{ChannelName, Target, UserName};
use crate::crypto::{Fingerprint, Identity};
use crate::e2e::storage::{Account, StorageError};
use crate::fault::code;
use crate::sync::Snapshot;
use crate::system::clock::Instant;
use crate::system::fs;

/// What a client is started with.
pub struct Start<'a> {
    /// The folder of the profile.
    pub folder: &'a Path,
    /// The folder of files that are sent and fetched. Those of unfinished uploads are here again in
    /// the next run, if the caller has kept them.
    pub outside: &'a Path,
    pub identity: Identity,
    pub name: UserName,
    pub host: String,
    pub port: u16,
    /// The server's key, unless the profile knows the server already.
    pub pinned: Fingerprint,
}

/// What the caller has to do, in this order, after it has stored the files that have changed.
#[derive(Debug)]
pub enum Output {
    /// Open a connection, in place of the one before.
    Open,
    Record(Vec<u8>),
    /// Close the connection.
    Close,
    /// Derive the key of a PIN beside the chat, for `derived`.
    Derive(Wanted),
    /// An object for the page, as JSON.
    Object(Arc<str>),
    /// The client has ended with this exit code.
    End(u8),
}

/// A running client.
pub struct Core {
    runtime: Runtime<Hop>,
    inputs: Receiver<Entry>,
    pages: Arc<Pages>,
    queue: Arc<Queue>,
    commands: Commands,
    previews: Arc<Previews>,
    ended: Option<u8>,
}

/// Pictures that the browser has decoded, by the path of their file.
struct Previews(Snapshot<BTreeMap<PathBuf, Decoded>>);

/// The desktop of a page: the page shows and saves files itself.
impl FileDesk for Previews {
    fn preview(&self, chosen: &Path, _sent: &Path) -> Option<Decoded> {
        self.0.get().get(chosen).cloned()
    }

    fn view(&self, _picture: &Path) -> Result<ShownPicture, Failure> {
        Err(Failure::local("no_preview", NoPreview::NotStarted, code::OTHER))
    }

    /// The page saves it.
    fn open(&self, _file: &Path) -> Result<(), String> {
        Ok(())
    }
}

impl Core {
    /// Opens the profile. The first `run` connects.
    ///
    /// # Errors
    /// A file of the profile cannot be read.
    pub fn open(start: Start) -> Result<Core, StorageError> {
        let (inbox, inputs) = inbox::open();
        let outside = start.outside.join("server");
        let profile = Arc::new(profile(start)?);
        let mut engine = restored::engine(&profile, true)?;
        let (journal, left) = restored::take_up(&profile, &mut engine, &inbox);
        let stem = profile.data_folder.journal_stem(profile.founding());
        let rooms = Rooms::load(stem.clone(), engine.record_key());
        let mut channels: BTreeSet<ChannelName> = engine.channels().cloned().collect();
        // A channel whose PIN is not known could not be read.
        channels.extend(rooms.channels().filter(|channel| !channel.has_pin()));
        let (name, admission) = (profile.name.clone(), profile.admission());
        let person = Person { name, admission, outbox: left.in_transit(), rooms };
        let previews = Arc::new(Previews(Snapshot::new(BTreeMap::new())));
        let desk = Arc::clone(&previews) as Arc<dyn FileDesk>;
        let pictures = outside.with_extension("pictures");
        let folder = TransferFolder::new(&stem, engine.record_key()).with_pictures(pictures);
        let (steps, unfinished) = Steps::new(folder, desk, inbox.clone());
        let spool = Spool::open(&outside, &unfinished)?;
        let handed = (steps, spool.folder().to_owned());
        let server = (profile.address(), profile.pinned().to_string());
        let pages = Arc::new(Pages::new(State::new(person, server), spool, inbox.clone()));
        let outbox: Vec<_> = left.outbox.iter().map(|message| message.id).collect();
        let outgoing = Outbox::of(left.outbox, &left.refused);
        let (ignored, ignore_list) = restored::ignore_list(Some(stem), engine.record_key(), &inbox);
        let secrets = Giver::Program;
        let usage = Use { once: false, resumes: true, reads: false, is_program: false, secrets };
        let target = Target::Channel(ChannelName::lobby());
        let positions = Conversations::of(left.positions);
        let model = Model::new(usage, target, channels, outgoing, positions)
            .with(ignore_list, engine.left().clone())
            .with_transfers(unfinished, &outbox);
        let (ui, disk) = (Box::new(Shown(Arc::clone(&pages))), DiskReports::default());
        let dialer = Hop::new(Arc::clone(&profile), inbox.clone(), handed);
        let waits = Waits::new();
        let mut runtime = Runtime {
            model,
            engine,
            dialer,
            ui,
            journal,
            disk,
            ignored,
            profile,
            inbox,
            waits,
            desk: Desk::default(),
        };
        let (queue, commands) = attach(&pages, &runtime.inbox);
        runtime.start();
        Ok(Core { runtime, inputs, pages, queue, commands, previews, ended: None })
    }

    /// The page has sent an object.
    pub fn object(&mut self, text: &str) {
        // Its inputs wait in the queue that `run` reads.
        let _ = self.commands.take(text);
    }

    /// Accepts a file from the page. Returns its number and its path. The caller stores the bytes
    /// at the path before the page names the path.
    ///
    /// # Errors
    /// Too many files are being sent, or the server does not accept a file of this size.
    pub fn hand(&mut self, name: &str, bytes: u64) -> Result<(u64, PathBuf), Wrong> {
        if self.pages.file_bytes_max().is_none_or(|most| bytes > most) {
            return Err(Wrong::TooLarge);
        }
        let (number, _, path) = self.pages.spool.begin(name)?;
        Ok((number, path))
    }

    /// Handles that the bytes of a file are stored, with the picture in it if the browser has
    /// decoded one.
    pub fn handed(&mut self, number: u64, path: &Path, picture: Option<Decoded>) {
        if let Some(picture) = picture {
            let mut previews = BTreeMap::clone(&self.previews.0.get());
            previews.retain(|path, _| fs::metadata(path).is_ok());
            previews.insert(path.to_owned(), picture);
            self.previews.0.set(previews);
        }
        self.pages.spool.arrived(number);
    }

    /// The path of a file that this run has fetched.
    pub fn fetched(&self, id: TransferId) -> Option<PathBuf> {
        self.pages.fetched(id)
    }

    /// The connection that had to be opened is open.
    pub fn opened(&mut self) {
        self.runtime.dialer.opened();
    }

    /// A record has arrived.
    pub fn record(&mut self, record: Vec<u8>) {
        self.runtime.dialer.record(record);
    }

    /// The connection is closed, or could not be opened.
    pub fn closed(&mut self) {
        self.runtime.dialer.closed();
    }

    /// Takes the secret of a derived key, or none if the caller could not derive it.
    pub fn derived(&mut self, number: u32, root: Option<Zeroizing<[u8; 32]>>) {
        self.runtime.dialer.derived(number, root);
    }

    /// Does the next part of long work. Called at the time that `run` has returned; `run` follows.
    pub fn continue_work(&mut self) {
        self.runtime.dialer.continue_work();
    }

    /// Handles what has happened, and the time. Returns the time of the next call, if nothing
    /// happens before.
    pub fn run(&mut self) -> Instant {
        loop {
            self.runtime.dialer.looks();
            let due = self.runtime.due();
            let entry = match self.runtime.waiting(&self.inputs) {
                _ if self.ended.is_some() => return due,
                Some(entry) => entry,
                None if due <= Instant::now() => self.runtime.late(due),
                None => return self.runtime.dialer.due().map_or(due, |other| other.min(due)),
            };
            self.ended = self.runtime.take(entry);
            if self.ended.is_some() {
                // It is tried with each change; what failed then fails now.
                let _ = self.runtime.engine.save_trust();
            }
        }
    }

    /// Takes what has to be done.
    pub fn take(&mut self) -> Vec<Output> {
        let mut outputs: Vec<Output> = Vec::new();
        while let Some(carry) = self.runtime.dialer.take() {
            outputs.push(match carry {
                Carry::Open => Output::Open,
                Carry::Record(record) => Output::Record(record),
                Carry::Close => Output::Close,
                Carry::Derive(wanted) => Output::Derive(wanted),
            });
        }
        outputs.extend(self.queue.take().into_iter().map(Output::Object));
        if self.queue.is_closing() && self.ended.is_none() {
            // One call had more for the page than a queue holds: the page begins again.
            (self.queue, self.commands) = attach(&self.pages, &self.runtime.inbox);
            outputs.extend(self.queue.take().into_iter().map(Output::Object));
        }
        outputs.extend(self.ended.map(Output::End));
        outputs
    }

    /// Begins again for another page: what it has to know is in the next outputs.
    pub fn attach(&mut self) {
        (self.queue, self.commands) = attach(&self.pages, &self.runtime.inbox);
    }

    /// Ends the client in order.
    pub fn end(&mut self) {
        // The runtime holds the receiver.
        let _ = self.runtime.inbox.send(Input::Interrupt);
    }
}

/// Attaches the page.
///
/// # Panics
/// The client has ended.
fn attach(pages: &Arc<Pages>, inbox: &Sender) -> (Arc<Queue>, Commands) {
    let queue = pages.attach().expect("one page at a time is attached");
    // Nobody else handles inputs: the page cannot wait for that.
    let commands = Commands::with_sender(Arc::clone(pages), Arc::clone(&queue), inbox.clone());
    (queue, commands)
}

/// The profile, with the server that it knows under the pinned key.
fn profile(start: Start) -> Result<Profile, StorageError> {
    let Start { folder, identity, name, host, port, pinned, .. } = start;
    let data_folder = DataFolder::at(folder)?;
    let known = data_folder.servers()?.into_iter().find(|server| server.is_known_by(&pinned));
    let server = known.unwrap_or_else(|| Server::new(host.clone(), port, &pinned, None));
    let mut server = server.at(host, port);
    server.name = Some(name.clone());
    Ok(Profile::of(data_folder, identity, server, name))
}
