//! Ledger jobs beside chat messages: expiry, erasing, counts, and liveness checks.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::hub::Hub;
use super::liveness::{self, Asked, Question};
use super::readers::Readers;
use crate::chat::{ChannelName, Conversation, UserName};
use crate::config::Config;
use crate::home::Reserve;
use crate::ledger::{Erased, LedgerError, SplitLedger, Swept, Tidied};
use crate::sync::{Mutex, Rank, Snapshot};

/// Access to the ledger's threads.
pub struct LedgerJobs {
    config: Arc<Snapshot<Config>>,
    hub: Arc<Hub>,
    readers: Arc<Readers>,
    reserve: Reserve,
    /// The question to the commit thread that is not answered yet.
    asked: Mutex<Asked>,
    erasing: Snapshot<Option<(UserName, usize)>>,
}

/// After a turn of a long job, others have the ledger for this many times its duration, if anybody
/// writes.
const YIELD: u32 = 3;
/// A message within this time counts as writing.
const RECENT: Duration = Duration::from_secs(1);
/// Mailboxes that are counted in one turn, of at most `mailbox_messages_max` messages each.
const COUNTED_AT_ONCE: usize = 10;
/// Interval of the checks for other readers of the ledger.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// What an erasure of a user's texts has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Number of erased texts.
    pub messages: usize,
    /// Number of texts on damaged pages, which cannot be erased.
    pub unreadable: usize,
}

/// Detects whether others write during a long job.
#[derive(Default)]
struct Turns {
    messages: Option<u64>,
    until: Option<Instant>,
    /// The job has already been tried again after another one has released the reserve.
    retried: bool,
}

impl Turns {
    /// `messages` is the number of messages stored so far.
    fn others_write(&mut self, messages: u64) -> bool {
        let now = Instant::now();
        if self.messages.replace(messages).is_some_and(|before| before < messages) {
            self.until = Some(now + RECENT);
        }
        self.until.is_some_and(|until| now < until)
    }
}

impl LedgerJobs {
    pub fn new(
        config: Arc<Snapshot<Config>>,
        hub: Arc<Hub>,
        readers: Arc<Readers>,
        reserve: Reserve,
    ) -> LedgerJobs {
        let asked = Mutex::new(Rank::Reader, Asked::default());
        LedgerJobs { config, hub, readers, reserve, asked, erasing: Snapshot::new(None) }
    }

    /// Releases the reserve after an error of a job that removes messages. Returns whether to try
    /// again: another job may have released it in between.
    fn releases_reserve(&self, turns: &mut Turns, error: &LedgerError) -> bool {
        if !error.is_of_the_disk() {
            return false;
        }
        if self.reserve.release() {
            log::warn!("{error}: releasing data/reserve to remove messages");
            return true;
        }
        !std::mem::replace(&mut turns.retried, true)
    }

    /// Runs a job on the commit thread and waits for its result; `None` if the server stops first.
    pub fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut SplitLedger) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = mpsc::channel();
        self.hub.ledger.add_job(Box::new(move |ledger| {
            // The caller may have given up.
            let _ = done.send(job(ledger));
        }));
        result.recv().ok()
    }

    /// Checks whether each thread of the ledger answers in time: the commit thread and the readers
    /// for history, search and backfill.
    pub fn answers(&self, patience: Duration) -> [(&'static str, bool); 4] {
        let before = self.hub.counters().turns();
        let deadline = Instant::now() + patience;
        let asked = [
            ("ledger", self.ask_commit_thread()),
            ("history", self.readers.history.ask()),
            ("search", self.readers.search.ask()),
            ("replay", self.hub.delivery.backfill.ask()),
        ];
        let progresses = |name| name == "ledger" && self.hub.counters().turns() > before;
        asked
            .map(|(name, answer)| (name, liveness::answers(&answer, deadline, || progresses(name))))
    }

    /// A question to the commit thread, one at a time. A full queue drops it: the check then waits
    /// for progress of the queue.
    fn ask_commit_thread(&self) -> Question {
        let (question, is_new) = self.asked.lock().ask();
        let answer = question.clone();
        if is_new && !self.hub.ledger.try_job(Box::new(move |_| answer.answer())) {
            self.asked.lock().take();
        }
        question
    }

    /// Removes messages older than their conversation's retention, or only counts them if `dry`. It
    /// works in short turns between commits. `None` if the server stops first.
    pub fn sweep(&self, now_ms: i64, dry: bool) -> Option<Result<Swept, LedgerError>> {
        let mut all = Swept::default();
        let swept = self.in_turns(
            move |ledger| if dry { ledger.count_old(now_ms) } else { ledger.sweep(now_ms) },
            |swept| {
                all.messages += swept.messages;
                all.conversations += swept.conversations;
                self.hub.emptied(swept.emptied);
                swept.more
            },
        );
        match swept? {
            Ok(()) if all.messages > 0 && !dry => self.recount_mailboxes(),
            Ok(()) => {}
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(all))
    }

    /// Removes the messages of forgotten conversations, in short turns between commits. `None` if
    /// the server stops first, after which its next start continues.
    pub fn remove_detached(&self) -> Option<Result<(), LedgerError>> {
        self.in_turns(SplitLedger::remove_detached, |more| more)
    }

    /// Indexes the words of new messages, in short turns between commits. `None` if the server
    /// stops first, which indexes the rest.
    pub fn index(&self) -> Option<Result<(), LedgerError>> {
        let mut turns = Turns::default();
        loop {
            match self.turn(&mut turns, SplitLedger::index_some)? {
                Ok(true) => {}
                Ok(false) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Overwrites the remains of removed messages, in short turns between commits. Returns false if
    /// another process reads the ledger for longer than `patience`; `None` if the server stops
    /// first. `now_ms` is the trusted time, by which ids of removed messages expire.
    pub fn tidy(&self, now_ms: i64, patience: Duration) -> Option<Result<bool, LedgerError>> {
        let (mut turns, mut blocked) = (Turns::default(), None::<Instant>);
        loop {
            match self.turn(&mut turns, move |ledger| ledger.tidy(now_ms))? {
                Ok(Tidied::Done) => {
                    self.reserve.keep();
                    return Some(Ok(true));
                }
                Ok(Tidied::More) => blocked = None,
                Ok(Tidied::Blocked) => {
                    if blocked.get_or_insert_with(Instant::now).elapsed() >= patience {
                        return Some(Ok(false));
                    }
                    thread::sleep(READ_PAUSE);
                }
                Err(error) if self.releases_reserve(&mut turns, &error) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Erases the texts of all messages of a user, in short turns between commits. Returns what it
    /// has done; `None` if the server stops first: its next start then continues. Calls `on_begun`
    /// when the ledger has recorded the erasure.
    pub fn erase(
        &self,
        user: &UserName,
        on_begun: impl FnOnce(),
    ) -> Option<Result<Erasure, LedgerError>> {
        let begin = || {
            let own = user.clone();
            self.ask(move |ledger| ledger.begin_erasing(&own))
        };
        let mut turns = Turns::default();
        while let Err(error) = begin()? {
            if !self.releases_reserve(&mut turns, &error) {
                return Some(Err(error));
            }
        }
        on_begun();
        self.hub.forget_texts(user);
        self.go_on_erasing(user, Erasure::default())
    }

    /// Erases the topic and all messages of a channel, and sends `notice` to its members. Calls
    /// `on_begun` when nobody can read the messages any more. Removes them in short turns between
    /// commits; `None` if the server stops first: its next start then continues.
    pub fn erase_channel(
        &self,
        channel: &ChannelName,
        notice: &str,
        on_begun: impl FnOnce(),
    ) -> Option<Result<(), LedgerError>> {
        let conversation = Conversation::Channel(channel.clone());
        let detach = || {
            let own = conversation.clone();
            self.ask(move |ledger| ledger.detach(&own))
        };
        let mut turns = Turns::default();
        let last = loop {
            match detach()? {
                Ok(last) => break last,
                Err(error) if self.releases_reserve(&mut turns, &error) => {}
                Err(error) => return Some(Err(error)),
            }
        };
        on_begun();
        self.hub.forget_topic(channel);
        // Messages may have been read into memory in the meantime.
        self.hub.forget_messages(channel, notice);
        if let Err(error) = self.remove_detached()? {
            return Some(Err(error));
        }
        self.hub.emptied(last.map(|last| (conversation.clone(), last)).into_iter().collect());
        Some(Ok(()))
    }

    /// Continues an erasure that was interrupted by the end of the server.
    pub fn resume_erasing(&self) {
        let erased = self.ask(|ledger| ledger.erase_some());
        if let Some(Ok(Some(erased))) = erased {
            log::info!("the erasure of {} continues", erased.user);
            self.hub.forget_texts(&erased.user);
            let Erased { ref user, messages, unreadable, .. } = erased;
            if let Some(Err(error)) = self.go_on_erasing(user, Erasure { messages, unreadable }) {
                log::error!("the erasure stops until the next start: {error}");
            }
        }
    }

    /// Erases the rest of a user's texts. Adds what it has done to `done`.
    fn go_on_erasing(
        &self,
        user: &UserName,
        mut done: Erasure,
    ) -> Option<Result<Erasure, LedgerError>> {
        let erased = self.in_turns(SplitLedger::erase_some, |erased| {
            let Some(erased) = erased else { return false };
            let so_far = if erased.user == *user {
                // Memory and disk count their own texts each.
                done.messages += erased.part;
                done.unreadable += erased.unreadable;
                // The ledger has no spelling of names.
                (user.clone(), done.messages)
            } else {
                (erased.user, erased.messages)
            };
            self.erasing.set(erased.more.then_some(so_far));
            true
        });
        if let Err(error) = erased? {
            return Some(Err(error));
        }
        // Reads from memory get these messages from the ledger again.
        self.hub.forget_texts(user);
        self.recount_mailboxes();
        Some(Ok(done))
    }

    /// Returns the user whose texts are being erased, and the number of messages so far.
    pub fn erasing(&self) -> Option<(UserName, usize)> {
        (*self.erasing.get()).clone()
    }

    /// Runs a long job part by part, each in a turn of its own on the commit thread, until
    /// `goes_on` returns false. Every job whose work grows with what is stored runs like this or
    /// like `tidy`.
    fn in_turns<T: Send + 'static>(
        &self,
        part: impl Fn(&mut SplitLedger) -> Result<T, LedgerError> + Copy + Send + 'static,
        mut goes_on: impl FnMut(T) -> bool,
    ) -> Option<Result<(), LedgerError>> {
        let mut turns = Turns::default();
        loop {
            match self.turn(&mut turns, part)? {
                Ok(done) => {
                    if !goes_on(done) {
                        return Some(Ok(()));
                    }
                }
                Err(error) if self.releases_reserve(&mut turns, &error) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Runs one turn of a long job. While users write, they have the ledger most of the time.
    fn turn<T: Send + 'static>(
        &self,
        turns: &mut Turns,
        job: impl FnOnce(&mut SplitLedger) -> T + Send + 'static,
    ) -> Option<T> {
        let timed = move |ledger: &mut SplitLedger| {
            let began = Instant::now();
            (job(ledger), began.elapsed())
        };
        let (done, took) = self.ask(timed)?;
        if turns.others_write(self.hub.stats().messages) {
            thread::sleep(took * YIELD);
        }
        Some(done)
    }

    /// Counts the waiting messages again, without removed ones, some mailboxes in each turn.
    pub fn recount_mailboxes(&self) {
        let messages_max = self.config.get().limits.mailbox_messages_max;
        let (mut mailboxes, mut turns) = (self.hub.ledger.mailboxes(), Turns::default());
        while !mailboxes.is_empty() {
            let part = mailboxes.split_off(mailboxes.len().saturating_sub(COUNTED_AT_ONCE));
            match self.turn(&mut turns, move |ledger| ledger.waiting(part, messages_max)) {
                Some(Ok(counts)) => self.hub.ledger.recount(counts),
                // The others keep their counts.
                Some(Err(_)) | None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::registry::{Epochs, Registry, Rules};
    use crate::chat::{Body, Epoch, Kind, MsgId, Retention, Seq};
    use crate::ledger::{Memory, Record, SentMessage, Sqlite};
    use crate::server::commit;
    use crate::server::delivery::flusher::Flusher;
    use crate::server::hub::Waiting;
    use crate::server::readers;

    /// No answer takes longer.
    const LONG: Duration = Duration::from_secs(60);

    fn jobs() -> (Arc<LedgerJobs>, SplitLedger) {
        let config = Config::default();
        let memory = Memory::new(Epoch(1), (1 << 20, 1 << 30), 60);
        let (ledger, _) = SplitLedger::new(None, memory, config.retentions());
        let ids = Epochs { persistent: Epoch(1), ephemeral: Epoch(2), next: Epoch(3) };
        let rules = Rules {
            limits: config.limits.clone(),
            retention: Box::new(|_| Retention::Off),
            configured: Box::new(|_| false),
            forgets: Box::new(|_| false),
        };
        let (flusher, _ear) = Flusher::new().unwrap();
        let hub = Hub::new(Registry::new(rules, ids, Seq(0)), &config.limits, flusher);
        let config = Arc::new(Snapshot::new(config));
        let reserve = Reserve::new("/nowhere/reserve".into());
        (Arc::new(LedgerJobs::new(config, Arc::new(hub), Arc::default(), reserve)), ledger)
    }

    /// The answer of a job, on another thread; an error where none comes.
    fn asks(jobs: &Arc<LedgerJobs>, job: fn(&mut SplitLedger)) -> mpsc::Receiver<Option<()>> {
        let (done, result) = mpsc::channel();
        let own = Arc::clone(jobs);
        thread::spawn(move || done.send(own.ask(job)));
        result
    }

    #[test]
    fn each_reader_has_its_own_liveness_check() {
        for part in ["history", "search"] {
            let (jobs, _ledger) = jobs();
            let memory = Memory::new(Epoch(1), (1 << 20, 1 << 20), 60);
            let queues = &jobs.readers;
            let queue = if part == "history" { &queues.history } else { &queues.search };
            let answers = thread::scope(|scope| {
                scope.spawn(|| readers::run(queue, &memory));
                let until = Instant::now() + LONG;
                loop {
                    let answers = jobs.answers(Duration::from_millis(50));
                    if answers.contains(&(part, true)) || Instant::now() > until {
                        queues.close();
                        return answers;
                    }
                }
            });
            let expected = answers.map(|(name, _)| (name, name == part));
            assert_eq!(answers, expected, "only {part} runs");
        }
    }

    #[test]
    fn after_the_end_of_the_commit_thread_no_job_waits() {
        let (jobs, ledger) = jobs();
        let waits = asks(&jobs, |_| panic!("a test"));
        let too = asks(&jobs, |_| ());
        let hub = Arc::clone(&jobs.hub);
        let commits = thread::spawn(move || commit::run(&hub, ledger));
        assert!(commits.join().is_err());
        assert_eq!(waits.recv_timeout(LONG), Ok(None));
        // It may have come before the panic.
        assert!(too.recv_timeout(LONG).is_ok());
        assert_eq!(asks(&jobs, |_| ()).recv_timeout(LONG), Ok(None));
    }

    #[test]
    fn a_commit_thread_that_is_stuck_collects_no_questions() {
        let (jobs, _ledger) = jobs();
        for _ in 0..20 {
            assert!(!jobs.answers(Duration::ZERO)[0].1);
        }
        assert_eq!(jobs.hub.ledger.take_waiting().entries.len(), 1);
    }

    fn says(conversation: &str, from: &str, number: u128) -> Record {
        Record::message(SentMessage {
            conversation: conversation.parse().unwrap(),
            from: from.parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId(number.to_be_bytes()),
            time_ms: 1_000,
            kind: Kind::Say,
            body: Body::Text(format!("message {number}")),
        })
    }

    /// Runs a job on a ledger of 3,000 messages of bob, in each of whose parts another message
    /// arrives. It waits for one part and its commit, and for its own commit: the bound of the wait
    /// in commits, whatever they take. Returns the number of parts, and the ledger with its folder.
    fn parts_between_commits(
        job: impl FnOnce(&LedgerJobs) + Send + 'static,
    ) -> (usize, SplitLedger, tempfile::TempDir) {
        let (jobs, _) = jobs();
        let folder = tempfile::tempdir().unwrap();
        let disk = Sqlite::open(&folder.path().join("ledger.db"), 60).unwrap();
        let reader = disk.reader();
        let memory = Memory::new(Epoch(1), (1 << 20, 1 << 30), 60);
        let halves = Some((Box::new(disk) as _, Box::new(reader) as _));
        let (mut ledger, _reader) =
            SplitLedger::new(halves, memory, Config::default().retentions());
        let says = |from: &str, number: u128| says("#tea", from, number);
        ledger.commit((0..3_000).map(|number| says("bob", number)).collect());
        let own = Arc::clone(&jobs);
        let works = thread::spawn(move || job(&own));
        let mut parts = 0;
        while !works.is_finished() {
            let mut waiting = jobs.hub.ledger.take_waiting();
            let arrived = waiting.entries.len();
            assert!(arrived <= 1, "{arrived} parts wait");
            parts += arrived;
            if arrived == 0 {
                thread::park_timeout(Duration::from_millis(1));
                continue;
            }
            waiting.entries.push(Waiting::Record(says("alice", 1 << 64 | parts as u128)));
            commit::work(&jobs.hub, &mut ledger, &mut waiting);
        }
        works.join().unwrap();
        (parts, ledger, folder)
    }

    #[test]
    fn an_erasure_counts_texts_on_disk_and_in_memory_also_those_before_a_restart() {
        let bob: UserName = "bob".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let disk = Sqlite::open(&folder.path().join("ledger.db"), 60).unwrap();
            let reader = disk.reader();
            let memory = Memory::new(Epoch(1), (1 << 20, 1 << 30), 60);
            let config = r##"{"channels": {"#aside": {"retention": "off"}}}"##;
            let retentions = serde_json::from_str::<Config>(config).unwrap().retentions();
            let halves = Some((Box::new(disk) as _, Box::new(reader) as _));
            SplitLedger::new(halves, memory, retentions).0
        };
        let works = |mut ledger: SplitLedger, job: &(dyn Fn(&LedgerJobs) + Sync)| {
            let (jobs, _) = jobs();
            thread::scope(|scope| {
                let job = scope.spawn(|| job(&jobs));
                while !job.is_finished() {
                    commit::work(&jobs.hub, &mut ledger, &mut jobs.hub.ledger.take_waiting());
                }
                job.join().unwrap();
            });
            ledger
        };
        let erases = |jobs: &LedgerJobs| jobs.erase(&bob, || ()).unwrap().unwrap().messages;
        let mut ledger = open();
        let stored = (0..2).map(|number| says("#tea", "bob", number));
        ledger.commit(stored.chain((2..7).map(|number| says("#aside", "bob", number))).collect());
        let ledger = works(ledger, &|jobs| assert_eq!(erases(jobs), 7));
        let mut ledger = works(ledger, &|jobs| assert_eq!(erases(jobs), 0));
        ledger.commit((7..12).map(|number| says("#aside", "bob", number)).collect());
        let mut ledger = works(ledger, &|jobs| assert_eq!(erases(jobs), 5));
        // Some parts before the restart, the rest after it.
        ledger.commit((12..5_012).map(|number| says("#tea", "bob", number)).collect());
        ledger.begin_erasing(&bob).unwrap();
        let before = loop {
            // Those in memory come first.
            let erased = ledger.erase_some().unwrap().unwrap();
            if erased.part > 0 {
                break erased;
            }
        };
        assert!(before.more, "the control");
        drop(ledger);
        works(open(), &|jobs| {
            let erased = jobs.ask(|ledger| ledger.erase_some()).unwrap().unwrap().unwrap();
            assert!(erased.messages > before.part && erased.more, "the control");
            let Erased { user, messages, unreadable, .. } = erased;
            let all = jobs.go_on_erasing(&user, Erasure { messages, unreadable });
            assert_eq!(all.unwrap().unwrap(), Erasure { messages: 5_000, unreadable: 0 });
        });
    }

    #[test]
    fn one_part_of_an_erasure_at_most_comes_between_two_commits_of_messages() {
        let (parts, ..) = parts_between_commits(|jobs| {
            let erased = jobs.erase(&"bob".parse().unwrap(), || ());
            assert_eq!(erased.unwrap().unwrap().messages, 3_000);
        });
        assert!(parts > 5, "the control: {parts}");
    }

    #[test]
    fn one_part_of_indexing_at_most_comes_between_two_commits_of_messages() {
        let (parts, mut ledger, _folder) =
            parts_between_commits(|jobs| jobs.index().unwrap().unwrap());
        assert!(parts > 4, "the control: {parts}");
        let more = ledger.index_some().unwrap();
        assert!(!more, "a last part has the messages that came during the others");
    }
}
