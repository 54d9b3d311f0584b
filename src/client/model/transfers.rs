//! All transfers: the stage of each, and the next requests to the server and the engine. Transfers
//! continue after a lost connection.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::action::Action;
use super::listing::Listing;
use super::output::{Origin, Output};
use super::transfer::{Job, Stage, Transfer, described, id_of, request};
use crate::chat::{
    BlobId, Body, Code, Command, Event, FileBytes, FileRules, Kind, Message, MsgId, NewMessage,
    Seq, Target,
};
use crate::client::files::name;
use crate::client::transfer::{
    Direction, Failure, Left, Report, ToGet, TransferId, TransferState, Wish, Work,
};
use crate::crypto::file::file_bytes_in;
use crate::fault::code;

/// Transfers of each direction at a time; a server accepts 3 unfinished uploads of a person.
const AT_ONCE_MAX: usize = 3;
/// Delay before a request is repeated that the server had no room for.
const AGAIN_MS: u64 = 5_000;

#[derive(Default)]
pub struct Transfers {
    newest: u32,
    /// Those up to this number are of an earlier run: the end of this one does not wait for them.
    restored: u32,
    all: BTreeMap<TransferId, Transfer>,
    is_up: bool,
    /// The size of the largest file that the server accepted at the login.
    largest: Option<u64>,
    /// Uploads that were cancelled without a connection: the server removes them.
    drops: Vec<(TransferId, BlobId)>,
    /// Downloads that ended before the answer to their `get`.
    unanswered: BTreeSet<TransferId>,
    /// The exit code of the last failure.
    exit: Option<u8>,
    listing: Listing,
}

impl Transfers {
    /// Restores what an earlier run has left; `outbox` has the messages that it has left.
    pub fn of(left: Left, outbox: &[MsgId]) -> Transfers {
        let mut transfers = Transfers::default();
        for left in left.uploads {
            let message = left.recorded.message;
            let stage = if outbox.contains(&message) { Stage::Announced } else { Stage::Waiting };
            let (name, of) = (left.recorded.file.name.clone(), left.recorded.file.bytes.0);
            let recorded = Some(Box::new(left.recorded));
            let job = Job::Up { to: left.to, message, unread: None, recorded };
            transfers.restore(left.id, Transfer { name, of, ..Transfer::new(job, stage, None) });
        }
        for left in left.downloads {
            let job = Job::Down { get: left.get, file: None, found: None };
            transfers.restore(left.id, Transfer::new(job, Stage::Waiting, None));
        }
        transfers
    }

    fn restore(&mut self, id: TransferId, transfer: Transfer) {
        self.newest = self.newest.max(id.0);
        self.restored = self.newest;
        self.all.insert(id, transfer);
    }

    /// Returns whether nothing is sent or fetched that was begun in this run.
    pub fn is_settled(&self) -> bool {
        self.all.keys().all(|id| self.is_restored(*id))
    }

    fn is_restored(&self, id: TransferId) -> bool {
        id.0 <= self.restored
    }

    /// The exit code of the last failure.
    pub fn exit(&self) -> Option<u8> {
        self.exit
    }

    /// The state of every transfer.
    pub fn list(&self) -> Vec<Action> {
        let progress =
            |(id, transfer): (&TransferId, &Transfer)| transfer.of_state(*id, transfer.state());
        vec![Action::Output(Output::Transfers(self.all.iter().map(progress).collect()))]
    }

    /// Begins a list of the files of a conversation. Returns the reference of its request.
    pub fn lists(&mut self, to: Target) -> String {
        self.listing.begin(to)
    }

    /// Begins a transfer. `message` is the id of the message of a file that is sent.
    pub fn begin(
        &mut self,
        wish: Wish,
        message: MsgId,
        reference: Option<String>,
    ) -> Result<Vec<Action>, String> {
        if let Wish::Get(get) = &wish
            && let Some(id) = self.fetches(get)
        {
            return Err(format!("message {} of {} is fetched already: {id}", get.seq, get.from));
        }
        if let Wish::Send(_) = &wish
            && let Some(id) = self.sends(message)
        {
            return Err(format!("another file is being sent with this id: {id}"));
        }
        self.newest += 1;
        let id = TransferId(self.newest);
        let transfer = match wish {
            Wish::Send(file) => {
                let own_name = file.path.file_name().unwrap_or_default().to_string_lossy();
                let name = name::cleaned(&own_name);
                let to = file.to.clone();
                let job = Job::Up { to, message, unread: Some(file), recorded: None };
                Transfer { name, ..Transfer::new(job, Stage::New, reference) }
            }
            Wish::Get(get) => {
                let job = Job::Down { get, file: None, found: None };
                Transfer::new(job, Stage::Waiting, reference)
            }
        };
        self.all.insert(id, transfer);
        let reads = self.reads();
        let shown = self.all.get(&id).map(|one| one.progress(id, one.state()));
        Ok(shown.into_iter().chain(reads).chain(self.go()).collect())
    }

    /// Begins first passes, each of which has a thread, a picture in memory and a decoder.
    fn reads(&mut self) -> Vec<Action> {
        let reading = self.all.values().filter(|one| one.stage == Stage::Reading).count();
        let new = self.all.iter_mut().filter(|(_, one)| one.stage == Stage::New);
        let new = new.take(AT_ONCE_MAX.saturating_sub(reading));
        new.filter_map(|(id, one)| one.read(*id)).collect()
    }

    /// The transfer that fetches the file of the same message.
    fn fetches(&self, wanted: &ToGet) -> Option<TransferId> {
        let is = |transfer: &Transfer| {
            matches!(&transfer.job, Job::Down { get, .. } if get.from == wanted.from
                && get.seq == wanted.seq)
        };
        self.all.iter().find(|(_, transfer)| is(transfer)).map(|(id, _)| *id)
    }

    /// Returns the transfer whose file this message will announce.
    fn sends(&self, wanted: MsgId) -> Option<TransferId> {
        let is = |one: &Transfer| matches!(&one.job, Job::Up { message, .. } if *message == wanted);
        self.all.iter().find(|(_, one)| is(one)).map(|(id, _)| *id)
    }

    /// Stores the server's rules for files, which it states at each login.
    pub fn accepts(&mut self, rules: Option<FileRules>) {
        self.largest = rules.map(|rules| file_bytes_in(rules.bytes_max.0, u64::MAX));
    }

    /// Returns a failure if the server does not accept a file of this size, which is then not read
    /// to its end.
    fn too_large(&self, bytes: u64) -> Option<Failure> {
        let largest = self.largest.filter(|largest| bytes > *largest)?;
        let (bytes, largest) = (FileBytes(bytes), FileBytes(largest));
        let hint = format!(
            "the file has {bytes}, and at the login this server accepted at most {largest}"
        );
        Some(Failure::local("file_too_large", hint, code::NOT_ACKNOWLEDGED))
    }

    /// Handles a new connection.
    pub fn connected(&mut self) -> Vec<Action> {
        self.is_up = true;
        let drops = std::mem::take(&mut self.drops).into_iter();
        let drops = drops.map(|(id, blob)| Action::Send(request(id, Command::Drop { blob })));
        drops.chain(self.go()).collect()
    }

    pub fn lost(&mut self) -> Vec<Action> {
        self.is_up = false;
        self.unanswered.clear();
        let mut actions = Vec::new();
        for (id, transfer) in &mut self.all {
            if transfer.is_running() && !transfer.is_being_saved() {
                (transfer.stage, transfer.rate) = (Stage::Waiting, 0);
                actions.push(transfer.progress(*id, TransferState::Waiting));
            }
        }
        actions
    }

    /// Starts waiting transfers, at most `AT_ONCE_MAX` in each direction.
    pub fn go(&mut self) -> Vec<Action> {
        let mut actions = self.reads();
        if !self.is_up {
            return actions;
        }
        for direction in [Direction::Up, Direction::Down] {
            let own = |transfer: &Transfer| transfer.direction() == direction;
            let running = self.all.values().filter(|one| own(one) && one.is_running()).count();
            let waiting = self.all.iter_mut().filter(|(_, one)| own(one));
            let waiting = waiting.filter(|(_, one)| one.stage == Stage::Waiting);
            for (id, transfer) in waiting.take(AT_ONCE_MAX.saturating_sub(running)) {
                actions.push(transfer.ask(*id));
            }
        }
        actions
    }

    /// Handles a report of the engine.
    pub fn report(&mut self, id: TransferId, report: Report) -> Vec<Action> {
        if let Report::Read { of, .. } = report
            && self.all.contains_key(&id)
            && let Some(failure) = self.too_large(of)
        {
            return self.fail(id, failure);
        }
        let Some(transfer) = self.all.get_mut(&id) else { return Vec::new() };
        match report {
            Report::Read { bytes, of } => {
                (transfer.bytes, transfer.of) = (bytes, of);
                vec![transfer.progress(id, TransferState::Reading)]
            }
            Report::Recorded(read) => {
                (transfer.bytes, transfer.of) = (0, read.file.bytes.0);
                transfer.name.clone_from(&read.file.name);
                transfer.stage = Stage::Waiting;
                if let Job::Up { recorded, message, .. } = &mut transfer.job {
                    *message = read.message;
                    *recorded = Some(read);
                }
                let shown = transfer.progress(id, TransferState::Waiting);
                [shown].into_iter().chain(self.go()).collect()
            }
            Report::Opened { from } => match &transfer.job {
                // An answer to what was asked before the connection was lost comes first.
                Job::Down { get, file: Some(file), .. } if transfer.stage == Stage::Opening => {
                    let (to, blob, from) = (get.from.clone(), file.blob, FileBytes(from));
                    transfer.stage = Stage::Asked;
                    vec![Action::Send(request(id, Command::Get { to, blob, from }))]
                }
                _ => Vec::new(),
            },
            Report::Moved { bytes, rate } => {
                (transfer.bytes, transfer.rate) = (bytes, rate);
                match transfer.stage {
                    Stage::Going(_) => vec![transfer.progress(id, TransferState::Going)],
                    _ => Vec::new(),
                }
            }
            Report::Written => {
                let Stage::Going(number) = transfer.stage else { return Vec::new() };
                transfer.stage = Stage::Storing(number);
                transfer.bytes = transfer.of;
                vec![transfer.progress(id, TransferState::Storing)]
            }
            Report::Saved(path) => {
                transfer.bytes = transfer.of;
                self.end(id, TransferState::Saved(path))
            }
            Report::Viewed(picture) => {
                let (to, seq) = match &transfer.job {
                    Job::Down { get, .. } => (get.from.clone(), get.seq),
                    Job::Up { .. } => return Vec::new(),
                };
                let mut actions = self.end(id, TransferState::Saved(PathBuf::new()));
                actions.push(Action::Output(Output::Picture { seq, to, picture }));
                actions
            }
            Report::Failed(failure) => self.fail(id, failure),
        }
    }

    /// Handles the answer to `put`.
    pub fn uploads(
        &mut self,
        reference: Option<&str>,
        blob: BlobId,
        (number, have, limit): (u32, u64, u64),
    ) -> Vec<Action> {
        let Some((id, transfer)) = self.asked(reference) else { return Vec::new() };
        if transfer.blob() != Some(blob) {
            return Vec::new();
        }
        transfer.stage = Stage::Going(number);
        let work = Action::Transfer(Work::Upload { id, number, have, limit });
        vec![transfer.progress(id, TransferState::Going), work]
    }

    /// Handles the answer to `get`. If the transfer has ended meanwhile, its download ends at the
    /// server too.
    pub fn downloads(
        &mut self,
        reference: Option<&str>,
        blob: BlobId,
        (number, bytes): (u32, u64),
    ) -> Vec<Action> {
        if reference.and_then(id_of).is_some_and(|id| self.unanswered.remove(&id)) {
            return vec![Action::Transfer(Work::Stop { number })];
        }
        let Some((id, transfer)) = self.asked(reference) else { return Vec::new() };
        let Job::Down { file: Some(file), .. } = &transfer.job else { return Vec::new() };
        if file.blob != blob {
            return Vec::new();
        }
        transfer.stage = Stage::Going(number);
        let work = Action::Transfer(Work::Download { id, number, bytes });
        vec![transfer.progress(id, TransferState::Going), work]
    }

    /// Handles `kept`: the server has the whole file. Returns the message that announces it.
    pub fn kept(&mut self, blob: BlobId) -> Option<(Vec<Action>, NewMessage)> {
        let is = |transfer: &Transfer| transfer.blob() == Some(blob) && transfer.is_running();
        let (id, transfer) = self.all.iter_mut().find(|(_, transfer)| is(transfer))?;
        // The bytes may have arrived in an earlier run.
        let is_shown = matches!(transfer.stage, Stage::Storing(_));
        transfer.stage = Stage::Announced;
        transfer.bytes = transfer.of;
        let Job::Up { to, message, recorded: Some(recorded), .. } = &transfer.job else {
            return None;
        };
        let body = Body::Text(recorded.file.text());
        let message = NewMessage { to: to.clone(), id: *message, kind: Kind::File { blob }, body };
        let stops = Action::Transfer(Work::Pause { id: *id });
        let shown = (!is_shown).then(|| transfer.progress(*id, TransferState::Storing));
        let actions = [stops].into_iter().chain(shown).chain(self.go()).collect();
        Some((actions, message))
    }

    /// Handles `stopped`.
    pub fn stopped(&mut self, number: u32, code: Code, hint: String) -> Vec<Action> {
        let is =
            |stage: Stage| matches!(stage, Stage::Going(of) | Stage::Storing(of) if of == number);
        let waits = |one: &Transfer| is(one.stage) && !one.is_being_saved();
        let Some((id, transfer)) = self.all.iter_mut().find(|(_, one)| waits(one)) else {
            return Vec::new();
        };
        let id = *id;
        match code {
            // The server will accept it again.
            Code::Storage | Code::Unavailable | Code::Shutdown | Code::Slow | Code::Rate => {
                transfer.stage = Stage::Waiting;
                let shown = transfer.progress(id, TransferState::Waiting);
                vec![Action::Transfer(Work::Pause { id }), shown, Action::Wait(AGAIN_MS)]
            }
            code => self.fail(id, Failure::refused(code, hint)),
        }
    }

    /// Handles the refusal of a request. `None`: it is about another one.
    pub fn refused(
        &mut self,
        reference: Option<&str>,
        (code, hint): (Code, &str),
        retry_ms: Option<u64>,
    ) -> Option<Vec<Action>> {
        let id = id_of(reference?)?;
        self.unanswered.remove(&id);
        // A program may use the same reference for a request of its own.
        let asked = self.all.get_mut(&id).filter(|one| one.stage == Stage::Asked);
        let Some(transfer) = asked else { return Some(Vec::new()) };
        transfer.stage = Stage::Waiting;
        Some(match code {
            Code::Rate | Code::Busy => {
                let wait_ms = retry_ms.unwrap_or(AGAIN_MS);
                let is_news = code == Code::Busy && !transfer.is_busy;
                transfer.is_busy |= is_news;
                let (hint, reference) = (hint.to_owned(), transfer.reference.clone());
                let busy =
                    Event::Refused { code, hint, id: None, retry_ms: Some(wait_ms), reference };
                let busy = Action::Output(Output::Event(Origin::Server, busy));
                [Action::Wait(wait_ms)].into_iter().chain(is_news.then_some(busy)).collect()
            }
            code => self.fail(id, Failure::refused(code, hint.to_owned())),
        })
    }

    /// Takes the message that announces a file, which was asked for.
    pub fn takes(&mut self, message: &Message) -> bool {
        if self.listing.takes(message) {
            return true;
        }
        let Some((_, transfer)) = self.asked(message.reference.as_deref()) else { return false };
        match &mut transfer.job {
            Job::Down { get, found, .. } if get.seq == message.seq => {
                *found = Some(Box::new(message.clone()));
            }
            _ => {}
        }
        true
    }

    /// Handles the end of the answer that has this message. `None`: it is another answer.
    pub fn found(&mut self, reference: Option<&str>) -> Option<Vec<Action>> {
        if let Some(actions) = self.listing.ends(reference) {
            return Some(actions);
        }
        let id = id_of(reference?)?;
        let Some(transfer) = self.all.get_mut(&id) else { return Some(Vec::new()) };
        let Job::Down { get, file, found } = &mut transfer.job else { return Some(Vec::new()) };
        match described(get, found.take().as_deref()) {
            Ok(descriptor) => {
                transfer.name = name::cleaned(&descriptor.name);
                transfer.of = descriptor.bytes.0;
                *file = Some(Box::new(descriptor));
                Some(vec![transfer.ask(id)])
            }
            Err(failure) => Some(self.fail(id, failure)),
        }
    }

    /// Handles the acknowledgement of a message, which may announce a file.
    pub fn announced(&mut self, message: MsgId, seq: Seq) -> Vec<Action> {
        let Some(id) = self.of_message(message) else { return Vec::new() };
        let mut actions = self.end(id, TransferState::Sent);
        for action in &mut actions {
            if let Action::Output(Output::Transfer(progress)) = action
                && progress.id == id
            {
                progress.seq = Some(seq);
            }
        }
        actions
    }

    /// Handles the refusal of a message. Returns `None` if it announces no file.
    pub fn not_announced(&mut self, message: MsgId, code: Code, hint: &str) -> Option<Vec<Action>> {
        let id = self.of_message(message)?;
        let is_continued = |one: &Transfer| matches!(&one.job, Job::Up { recorded: Some(recorded), .. } if recorded.is_continued);
        // An earlier run has sent the message and did not learn that it is stored. Only this user
        // can have used its id.
        if code == Code::IdConflict && self.all.get(&id).is_some_and(is_continued) {
            return Some(self.end(id, TransferState::Sent));
        }
        Some(self.fail(id, Failure::refused(code, hint.to_owned())))
    }

    /// A message was dropped by the user before it was sent.
    pub fn dropped(&mut self, message: MsgId) -> Vec<Action> {
        let id = self.of_message(message);
        id.map_or(Vec::new(), |id| {
            let drops = self.drops(id);
            drops.into_iter().chain(self.end(id, TransferState::Cancelled)).collect()
        })
    }

    /// Cancels a transfer. Returns an error text if it is too late.
    pub fn cancel(&mut self, id: TransferId) -> Result<Vec<Action>, String> {
        let Some(transfer) = self.all.get(&id) else {
            return Err(format!("there is no transfer {id}: /transfers lists them"));
        };
        if let (Direction::Down, Stage::Storing(_)) = (transfer.direction(), transfer.stage) {
            return Err(format!("it is too late to cancel {id}: the file is there, and is stored"));
        }
        if transfer.stage == Stage::Announced {
            return Err(format!(
                "it is too late to cancel {id}: its message is on its way. /delete removes the \
                 message and the file"
            ));
        }
        let drops = self.drops(id);
        Ok(drops.into_iter().chain(self.end(id, TransferState::Cancelled)).collect())
    }

    /// Lets the server remove what it has of an upload.
    fn drops(&mut self, id: TransferId) -> Option<Action> {
        let transfer = self.all.get(&id)?;
        let blob = transfer.blob().filter(|_| transfer.stage != Stage::Reading)?;
        if self.is_up {
            // A refusal is about a transfer that is over, so it is not shown.
            return Some(Action::Send(request(id, Command::Drop { blob })));
        }
        self.drops.push((id, blob));
        None
    }

    fn fail(&mut self, id: TransferId, failure: Failure) -> Vec<Action> {
        if !self.is_restored(id) {
            let is_up = self.all.get(&id).is_some_and(|one| one.direction() == Direction::Up);
            // The server may have removed an upload that took too long.
            let exit = if is_up { failure.exit_of_upload() } else { failure.exit };
            self.exit = Some(exit);
        }
        // A whole file whose message was refused would count against the quota for a day.
        let is_stored = |transfer: &Transfer| {
            matches!(transfer.stage, Stage::Going(_) | Stage::Storing(_) | Stage::Announced)
        };
        let drops = match self.all.get(&id).is_some_and(is_stored) {
            true => self.drops(id),
            false => None,
        };
        drops.into_iter().chain(self.end(id, TransferState::Failed(failure))).collect()
    }

    fn end(&mut self, id: TransferId, state: TransferState) -> Vec<Action> {
        let Some(mut transfer) = self.all.remove(&id) else { return Vec::new() };
        let is_get = matches!(&transfer.job, Job::Down { file: Some(_), .. });
        if is_get && transfer.stage == Stage::Asked {
            self.unanswered.insert(id);
        }
        transfer.rate = 0;
        let keeps = matches!(&state, TransferState::Failed(failure) if failure.keeps());
        let forgets = Action::Transfer(Work::Forget { id, keeps });
        let shown = transfer.progress(id, state);
        [forgets, shown].into_iter().chain(self.go()).collect()
    }

    /// The transfer that a reference of an open request names.
    fn asked(&mut self, reference: Option<&str>) -> Option<(TransferId, &mut Transfer)> {
        let id = id_of(reference?)?;
        let transfer = self.all.get_mut(&id).filter(|one| one.stage == Stage::Asked)?;
        Some((id, transfer))
    }

    fn of_message(&self, id: MsgId) -> Option<TransferId> {
        let is = |transfer: &Transfer| {
            matches!(&transfer.job, Job::Up { message, .. } if *message == id)
                && transfer.stage == Stage::Announced
        };
        self.all.iter().find(|(_, transfer)| is(transfer)).map(|(id, _)| *id)
    }
}
