//! The ledger of a home and its threads, and the detection of lost messages.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;

use super::commit;
use super::delivery::{
    backfill,
    flusher::{self, Flusher},
};
use super::files::Files;
use super::files::store::FolderStore;
use super::hub::{self, Hub};
use super::readers::{self, Readers};
use super::stop::{Stop, essential};
use crate::chat::Epoch;
use crate::chat::registry::{Epochs, Registry};
use crate::config::{Config, History};
use crate::fault::{Fault, code};
use crate::home::{Home, LedgerHead, LedgerHeadFile, LedgerHeads, Users};
use crate::ledger::{Jobs, Memory, Reader, SplitLedger, SplitReader, Sqlite, jobs};

/// The `nice` value of the search thread; it applies to a single thread on Linux.
const SEARCH_NICE: i32 = 10;

/// The hub, and the threads of the ledger.
pub struct Storage {
    pub hub: Arc<Hub>,
    pub readers: Arc<Readers>,
    pub commit_thread: JoinHandle<()>,
    /// Absent where nothing is stored.
    pub files: Option<Arc<Files>>,
    /// Number of lost messages, if a loss was detected.
    pub lost: Option<u64>,
    /// The epoch of the ledger; 0 where nothing is stored.
    pub epoch: u64,
}

/// Checks that a home that was used before has a ledger.
///
/// # Errors
/// The ledger is missing or empty.
pub fn check_ledger(home: &Home) -> Result<(), Fault> {
    // A file that is no ledger at all is an error of its own.
    let has_tables = || jobs(&home.ledger_file()).has_tables().unwrap_or(true);
    if !home.was_used() || (!home.lacks_ledger() && has_tables()) {
        return Ok(());
    }
    let error = format!(
        "{} is missing or empty, and a server has run here before",
        home.ledger_file().display()
    );
    let hint = "pychat restore FILE restores a backup; pychat server --new-ledger starts with an empty \
                ledger";
    Err(Fault::new(code::UNREADABLE, error, hint))
}

/// Opens the ledger and starts its threads.
///
/// # Errors
/// A file cannot be read or written, or a thread cannot be started.
pub fn open(
    home: &Home,
    config: &Config,
    users: &Users,
    stop: &Arc<Stop>,
) -> anyhow::Result<Storage> {
    let (mut ledger, reader) = open_ledger(home, config)?;
    let lost = match config.history {
        History::Off => None,
        History::On => notice_loss(home, &mut ledger)?,
    };
    let epoch = if config.history == History::On { ledger.epoch().0 } else { 0 };
    let (flusher, ear) = Flusher::new().context("cannot make the flusher's bell")?;
    let registry = registry(&ledger, config, users)?;
    let hub = Arc::new(Hub::new(registry, &config.limits, flusher));
    let files = open_files(home, config, stop)?;
    if let Some(files) = &files {
        files.serve(&hub, stop)?;
        let own = Arc::clone(files);
        ledger.on_doomed(Box::new(move |doomed| own.doomed(doomed)));
        let own = Arc::clone(files);
        ledger.on_detached(Box::new(move |conversation| own.detached(conversation)));
    }
    let weak = Arc::downgrade(&hub.delivery);
    essential("flusher", stop, move || flusher::run(weak, ear))?;
    let own = Arc::clone(&hub);
    let commit_thread = essential("commit", stop, move || commit::run(&own, ledger))?;
    let readers = read_for(&hub, reader, stop)?;
    hub.note_lost(lost.unwrap_or(0));
    Ok(Storage { hub, readers, commit_thread, files, lost, epoch })
}

/// Detects by its head that a ledger has lost messages. The ledger then begins a new epoch, so that
/// clients detect the loss and do not confuse new messages with old ones. Returns the number of
/// lost messages.
fn notice_loss(home: &Home, ledger: &mut SplitLedger) -> anyhow::Result<Option<u64>> {
    let path = home.ledger_head_file();
    let read = LedgerHeads::read(&path);
    let is_missing = matches!(read, Ok(None));
    let before = read.unwrap_or_else(|error| {
        ::log::error!("{error}: a loss of messages cannot be detected");
        None
    });
    let head =
        |ledger: &SplitLedger| LedgerHead { epoch: ledger.epoch(), messages: ledger.stored_ever() };
    let now = head(ledger);
    if is_missing && now.messages > 0 {
        ::log::warn!("{} is missing: a loss of messages cannot be detected", path.display());
    }
    let lost = before.and_then(|before| before.ahead_of(now)).map(|before| {
        let lost = before.messages.saturating_sub(now.messages);
        ::log::error!(
            "the ledger lacks {lost} messages that were stored: the end of {0}-wal is damaged, or {0} \
             was replaced by an older copy. The server begins a new epoch, and clients report it; pychat \
             restore restores a backup",
            home.ledger_file().display()
        );
        lost
    });
    if lost.is_some() {
        ledger.begin_epoch(Epoch(rand::random::<u64>() >> 1))?;
    }
    let mut file = LedgerHeadFile::open(path, head(ledger))?;
    ledger.watch(Box::new(move |epoch, messages| file.set(LedgerHead { epoch, messages })));
    Ok(lost)
}

/// Opens the ledger of a home, on disk unless `history` is off.
fn open_ledger(home: &Home, config: &Config) -> anyhow::Result<(SplitLedger, Arc<SplitReader>)> {
    let limits = &config.limits;
    let ephemeral = Epoch(rand::random::<u64>() >> 1);
    let bytes_max = (limits.tail_bytes_max, limits.memory_bytes_max);
    let memory = Memory::new(ephemeral, bytes_max, limits.change_s_max);
    let disk = match config.history {
        History::Off => None,
        History::On => {
            let ledger = Sqlite::open(&home.ledger_file(), limits.change_s_max)?;
            let reader = ledger.reader();
            Some((Box::new(ledger) as _, Box::new(reader) as _))
        }
    };
    Ok(SplitLedger::new(disk, memory, config.retentions()))
}

/// Opens the place of encrypted files, unless nothing is stored.
fn open_files(
    home: &Home,
    config: &Config,
    stop: &Arc<Stop>,
) -> anyhow::Result<Option<Arc<Files>>> {
    match config.history {
        History::Off => Ok(None),
        History::On => {
            let store = FolderStore::open(home.files_dir())?;
            Files::start(Arc::new(store), stop).map(Some)
        }
    }
}

/// Starts the threads that read the ledger, each with its own reader.
fn read_for(
    hub: &Arc<Hub>,
    reader: Arc<SplitReader>,
    stop: &Arc<Stop>,
) -> anyhow::Result<Arc<Readers>> {
    let readers = Arc::new(Readers::default());
    let (delivery, own) = (Arc::clone(&hub.delivery), reader.another());
    essential("backfill", stop, move || backfill::run(&*delivery, &*own))?;
    let (own_readers, own) = (Arc::clone(&readers), reader.another());
    essential("history", stop, move || readers::run(&own_readers.history, &*own))?;
    let own_readers = Arc::clone(&readers);
    essential("search", stop, move || {
        // Searches have a lower priority, on systems that support it.
        let _ = rustix::process::nice(SEARCH_NICE);
        readers::run(&own_readers.search, &*reader);
    })?;
    Ok(readers)
}

/// Creates the registry from the ledger's state.
fn registry(ledger: &SplitLedger, config: &Config, users: &Users) -> anyhow::Result<Registry> {
    let random = || Epoch(rand::random::<u64>() >> 1);
    let ids = Epochs { persistent: ledger.epoch(), ephemeral: random(), next: random() };
    let mut registry = Registry::new(hub::rules(config), ids, ledger.floor());
    for known in ledger.remembered(config.limits.mailbox_messages_max)? {
        registry.remember(known.spelled(|name| users.find(name).cloned()));
    }
    Ok(registry)
}
