//! The parts of long jobs: each does a bounded amount of work, however much is stored, and the job
//! goes on after a kill.

use std::sync::atomic::{AtomicU64, Ordering};

use super::contract_tests::{found_on_disk, on_disk, sent};
use super::*;

const CHANGE_S_MAX: u64 = 60;
/// Rows that a part may touch in these tests.
const ROWS: usize = 16;
/// Steps of the database engine for a part. A row of the most expensive job takes about 1,000; a
/// whole job on what is stored here takes at least five times as many as this.
const STEPS_MAX: u64 = 50_000;
const MANY: u32 = 3_000;

/// A file for each message: those of #tea are there in part, all others were removed.
const FILES: &str = "INSERT INTO blobs \
     (stored, blob, owner, holder, conversation, bytes, state, made_ms, until_ms, last_ms, message) \
     SELECT randomblob(16), id, sender, 0, name, 10, iif(name = '#tea' AND message % 4 < 2, 1, 3), \
     0, 0, 0, message FROM messages JOIN conversations USING (conversation)";

/// A ledger with many messages in a channel and in a mailbox, and many other conversations.
struct Full {
    ledger: Sqlite,
    _folder: tempfile::TempDir,
    path: PathBuf,
    steps: Arc<AtomicU64>,
}

impl Full {
    fn new() -> Full {
        let (mut ledger, _folder, path) = on_disk();
        let message = |(conversation, from, number): (&str, &str, u32)| {
            let id = MsgId(u128::from(number).to_be_bytes());
            Record::message(SentMessage { id, ..sent(conversation, from, 0, "zebramarker") })
        };
        let tea = (0..MANY).map(|number| ("#tea", ["alice", "bob"][number as usize % 2], number));
        let mailbox = (0..MANY).map(|number| ("@alice@bob", "bob", number));
        let messages: Vec<Record> = tea.chain(mailbox).map(message).collect();
        ledger.commit(&messages).unwrap();
        let others: Vec<String> = (0..MANY).map(|number| format!("#c{number}")).collect();
        let others: Vec<Record> = others.iter().map(|name| message((name, "bob", 0))).collect();
        ledger.commit(&others).unwrap();
        ledger.break_with(FILES);
        while ledger.index_some().unwrap() {}
        let mut full = Full { ledger, _folder, path, steps: Arc::default() };
        full.counts();
        full
    }

    fn counts(&mut self) {
        let steps = Arc::clone(&self.steps);
        self.ledger.count_steps(ROWS, move || {
            steps.fetch_add(100, Ordering::Relaxed);
        });
    }

    /// Runs one part and checks its work.
    #[track_caller]
    fn part<T>(&mut self, part: impl FnOnce(&mut Sqlite) -> Result<T, LedgerError>) -> T {
        self.steps.store(0, Ordering::Relaxed);
        let done = part(&mut self.ledger).unwrap();
        let steps = self.steps.load(Ordering::Relaxed);
        assert!(steps <= STEPS_MAX, "{steps} steps");
        done
    }

    /// A kill, and the next start.
    fn killed(mut self) -> Full {
        self.ledger = Sqlite::open(&self.path, CHANGE_S_MAX).unwrap();
        self.counts();
        self
    }
}

fn tea() -> Conversation {
    "#tea".parse().unwrap()
}

#[test]
fn each_part_of_a_sweep_and_of_its_count_is_bounded() {
    let mut full = Full::new();
    let (mut counted, mut place) = (0, None);
    loop {
        let (messages, next) = full.part(|ledger| ledger.count_old(&tea(), i64::MAX, place));
        assert!(messages <= ROWS, "{messages} messages at once");
        (counted, place) = (counted + messages, next);
        if place.is_none() {
            break;
        }
    }
    assert_eq!(counted, MANY as usize);
    let mut gone = 0;
    while {
        let (messages, more) = full.part(|ledger| ledger.expire(&tea(), i64::MAX));
        gone += messages;
        more
    } {}
    assert_eq!(gone, MANY as usize);
    // The ids of removed messages are forgotten after a week.
    let week = 8 * 86_400_000;
    let mut parts = 0;
    while full.ledger.ask::<bool>("SELECT EXISTS (SELECT 1 FROM used_ids)") {
        full.part(|ledger| ledger.tidy(week));
        parts += 1;
    }
    assert!(parts >= MANY as usize / ROWS, "{parts} parts");
}

#[test]
fn each_part_of_forgetting_a_channel_is_bounded_and_it_goes_on_after_a_kill() {
    for kept in [false, true] {
        let mut full = Full::new();
        let last = Seq(u64::from(MANY));
        let says = |full: &mut Full, id: u32, text: &str| {
            let id = MsgId(u128::from(id).to_be_bytes());
            let message = SentMessage { id, ..sent("#tea", "alice", 0, text) };
            full.ledger.commit(&[Record::message(message)]).unwrap()[0]
        };
        let texts = |full: &Full| {
            let page = Page { messages_max: 9, bytes_max: 1 << 20 };
            let messages = full.ledger.reader().read(&tea(), Seq(0), Seq(1 << 30), page).unwrap();
            messages.into_iter().map(|message| message.body.text().to_owned()).collect::<Vec<_>>()
        };
        full.part(|ledger| ledger.detach(&tea(), kept));
        assert_eq!(texts(&full), [""; 0], "nobody reads them from now on");
        assert!(full.part(|ledger| ledger.remove_detached()));
        // Those who come back meanwhile, and one whose message was stored before that.
        assert_eq!(says(&mut full, 999_999, "new"), Outcome::Stored(Seq(last.0 + 1)));
        let repeated = says(&mut full, MANY - 2, "zebramarker");
        assert_eq!(repeated, Outcome::Known(Seq(last.0 - 1)));
        jobs(&full.path).verify().expect("the file is sound meanwhile");
        let mut full = full.killed();
        assert_eq!(full.ledger.stored_ever(), 3 * u64::from(MANY) + 1);
        let names = full.ledger.remembered(1).unwrap();
        assert_eq!(names.len(), MANY as usize + 2);
        let mut parts = 1;
        while full.part(|ledger| ledger.remove_detached()) {
            parts += 1;
        }
        assert!(parts >= MANY as usize / ROWS, "{parts} parts");
        assert_eq!(texts(&full), ["new"]);
        assert_eq!(says(&mut full, MANY - 2, "zebramarker"), repeated);
        let rows: i64 = full.ledger.ask("SELECT count(*) FROM messages WHERE text = 'zebramarker'");
        assert_eq!(rows, 2 * i64::from(MANY));
        assert_eq!(full.killed().ledger.stored_ever(), 3 * u64::from(MANY) + 1);
    }
}

#[test]
fn each_part_of_an_erasure_is_bounded_and_it_goes_on_after_a_kill() {
    let mut full = Full::new();
    let alice: UserName = "alice".parse().unwrap();
    full.ledger.begin_erasing(&alice).unwrap();
    let (mut parts, mut erased) = (0, 0);
    while let Some(part) = full.part(Ledger::erase_some) {
        (parts, erased) = (parts + 1, part.messages);
        if parts == 20 {
            full = full.killed();
        }
    }
    assert_eq!(erased, MANY as usize / 2);
    // Conversations without a message of hers are looked at in parts, too.
    assert!(parts >= (MANY as usize / 2 + MANY as usize) / ROWS, "{parts} parts");
}

#[test]
fn each_part_of_indexing_is_bounded_and_it_goes_on_after_a_kill() {
    let mut full = Full::new();
    let message = |(conversation, number): (&str, u32)| {
        let id = MsgId((1 << 64 | u128::from(number)).to_be_bytes());
        Record::message(SentMessage { id, ..sent(conversation, "bob", 0, "zebramarker") })
    };
    let others: Vec<String> = (0..MANY).map(|number| format!("#c{number}")).collect();
    let others = others.iter().map(|name| (name.as_str(), 0));
    let tea = (0..MANY).map(|number| ("#tea", number));
    let messages: Vec<Record> = tea.chain(others).map(message).collect();
    full.ledger.commit(&messages).unwrap();
    let mut parts = 0;
    full.ledger.index_in_parts_of(ROWS);
    while full.part(Ledger::index_some) {
        parts += 1;
        if parts == 20 {
            full = full.killed();
            full.ledger.index_in_parts_of(ROWS);
        }
    }
    assert!(parts >= 2 * MANY as usize / ROWS, "{parts} parts");
    let left: i64 = full.ledger.ask("SELECT count(*) FROM conversations WHERE indexed < last");
    assert_eq!(left, 0);
}

#[test]
fn each_part_of_counting_mailboxes_is_bounded() {
    let mut full = Full::new();
    let [alice, bob]: [UserName; 2] = ["alice", "bob"].map(|name| name.parse().unwrap());
    let conversation = Conversation::private(alice.clone(), bob.clone());
    let waiting = |ledger: &mut Sqlite, user: &UserName| ledger.waiting(&conversation, user, 100);
    assert_eq!(full.part(|ledger| waiting(ledger, &alice)), 100);
    assert_eq!(full.part(|ledger| waiting(ledger, &bob)), 0);
}

#[test]
fn the_texts_of_a_forgotten_channel_are_nowhere_on_the_disk() {
    let (mut ledger, folder, _path) = on_disk();
    let message = |id| Record::message(sent("#tea", "alice", id, "zebramarker"));
    let topic = Topic { text: "zebramarker".into(), by: "alice".parse().unwrap() };
    ledger
        .commit(&[message(1), message(2), Record::Topic("#tea".parse().unwrap(), Some(topic))])
        .unwrap();
    assert!(found_on_disk(folder.path(), "zebramarker") > 0, "the control");
    ledger.detach(&tea(), false).unwrap();
    while ledger.remove_detached().unwrap() {}
    assert!(ledger.scrub(1_000).unwrap());
    assert_eq!(found_on_disk(folder.path(), "zebramarker"), 0);
}
