//! The connection of a page against a hostile server, at each of its steps.

use std::path::Path;
use std::sync::mpsc::Receiver;

use proptest::prelude::*;

use super::*;
use crate::chat::{Opaque, Ticket};
use crate::client::connection::inbox::{self, Entry};
use crate::client::connection::transfers::Desk;
use crate::client::files::picture::Decoded;
use crate::client::storage::data_folder::{DataFolder, Server};
use crate::client::storage::transfer_folder::TransferFolder;
use crate::client::transfer::Shown;
use crate::crypto::Identity;
use crate::crypto::handshake::{Gated, ServerHello};
use crate::crypto::hello::Greeting;
use crate::crypto::session_ticket::SESSION_TICKET_BYTES;
use crate::crypto::test_keys::{ana, bob};
use crate::suite::Suites;

const WELCOME: &str = r#"{"type":"welcome","name":"bob","device":"main","version":"0","text_bytes_max":8192,"time_ms":1764079391123}"#;

struct NoDesk;

impl Desk for NoDesk {
    fn preview(&self, _chosen: &Path, _sent: &Path) -> Option<Decoded> {
        None
    }

    fn view(&self, _picture: &Path) -> Result<Shown, Failure> {
        unreachable!("nothing is shown")
    }

    fn open(&self, _file: &Path) -> Result<(), String> {
        unreachable!("nothing is opened")
    }
}

/// The steps of a connection, each of which awaits a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Asks,
    Greets,
    Proves,
    LogsIn,
    Live,
}

/// A connection, and the server at its other end.
struct Double {
    hop: Hop,
    inputs: Receiver<Entry>,
    ciphers: Option<(Sealer, Opener)>,
    _home: tempfile::TempDir,
}

impl Double {
    fn new() -> Double {
        let home = tempfile::tempdir().unwrap();
        let (inbox, inputs) = inbox::open();
        let own = Identity::from_pem(&bob().to_pem(None), None).unwrap();
        let pinned = ana().public().fingerprint();
        let server = Server::new("chat.example".to_owned(), 5_000, &pinned, None);
        let folder = DataFolder::at(home.path()).unwrap();
        let profile = Arc::new(Profile::of(folder, own, server, "bob".parse().unwrap()));
        let stem = home.path().join("files");
        let transfers = TransferFolder::new(&stem, Zeroizing::new([7; 32]));
        let (steps, _) = Steps::new(transfers, Arc::new(NoDesk), inbox.clone());
        let hop = Hop::new(profile, inbox, (steps, stem));
        Double { hop, inputs, ciphers: None, _home: home }
    }

    /// Brings a new connection to a step, with an honest server.
    fn at(step: Step) -> Double {
        let mut double = Double::new();
        double.goes_to(step);
        double
    }

    fn goes_to(&mut self, step: Step) {
        self.hop.dial(0);
        if !self.hop.profile.is_known() && self.hop.server.is_none() {
            self.opens();
            let ask = self.record();
            if step == Step::Asks {
                return;
            }
            self.hop.record(lineage::answer(ana().public(), &[], &ask).unwrap());
        }
        self.opens();
        let r0 = self.record();
        if step == Step::Greets {
            return;
        }
        let server = Arc::new(Identity::from_pem(&ana().to_pem(None), None).unwrap());
        let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [&server]) else { panic!("no R0") };
        let (hello, r1) = ServerHello::start(hello, Suites::default());
        self.hop.record(r1);
        let r2 = self.record();
        if step == Step::Proves {
            return;
        }
        let (_, r3, transport) = hello.gate(&r2).unwrap().finish().unwrap();
        self.hop.record(r3.to_vec());
        let (mut opener, mut login) = (transport.opener, self.record());
        assert_eq!(opener.open(&mut login).unwrap().0, RecordType::Login);
        self.ciphers = Some((transport.sealer, opener));
        if step == Step::Live {
            self.tells(RecordType::Json, format!("{WELCOME}\n").as_bytes());
            assert!(matches!(self.hop.stage, Stage::Live(_)), "it is logged in");
        }
    }

    /// Gives the session a ticket with the secret 8, ends it, and reads the next R2 or T2.
    fn comes_back(&mut self, gets_ticket: bool) -> Gated {
        if gets_ticket {
            let ticket = Opaque::new(&[9; SESSION_TICKET_BYTES]).unwrap();
            let event = Event::SessionTicket { ticket, secret: Ticket::new([8; 32]) };
            let mut body = Vec::new();
            codec::encode(&event, &mut body);
            self.tells(RecordType::Json, &body);
        }
        self.hop.cut();
        assert!(self.has_closed());
        self.hop.dial(0);
        self.opens();
        let r0 = self.record();
        let server = Arc::new(Identity::from_pem(&ana().to_pem(None), None).unwrap());
        let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [&server]) else { panic!("no R0") };
        let (hello, r1) = ServerHello::start(hello, Suites::default());
        self.hop.record(r1);
        hello.read(&self.record()).unwrap()
    }

    /// Finishes the login over these keys.
    fn welcomes(&mut self, transport: Transport) {
        let (mut opener, mut login) = (transport.opener, self.record());
        assert_eq!(opener.open(&mut login).unwrap().0, RecordType::Login);
        self.ciphers = Some((transport.sealer, opener));
        self.tells(RecordType::Json, format!("{WELCOME}\n").as_bytes());
        assert!(matches!(self.hop.stage, Stage::Live(_)), "it is logged in");
    }

    fn opens(&mut self) {
        assert_eq!(self.hop.take(), Some(Carry::Open));
        self.hop.opened();
    }

    fn record(&mut self) -> Vec<u8> {
        match self.hop.take() {
            Some(Carry::Record(record)) => record,
            other => panic!("no record: {other:?}"),
        }
    }

    fn sealed(&mut self, kind: RecordType, body: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        let (sealer, _) = self.ciphers.as_mut().unwrap();
        sealer.seal(kind, body, &mut record).unwrap();
        record
    }

    fn tells(&mut self, kind: RecordType, body: &[u8]) {
        let record = self.sealed(kind, body);
        self.hop.record(record);
    }

    /// The loss that the model gets; `None` while the connection is open.
    fn loss(&self) -> Option<Loss> {
        self.inputs.try_iter().find_map(|entry| match entry.input {
            Input::Lost(loss) => Some(loss),
            _ => None,
        })
    }

    fn has_closed(&mut self) -> bool {
        std::iter::from_fn(|| self.hop.take()).any(|carry| carry == Carry::Close)
    }
}

const STEPS: [Step; 5] = [Step::Asks, Step::Greets, Step::Proves, Step::LogsIn, Step::Live];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// A record of any content ends and closes the connection, and another one can begin.
    #[test]
    fn bytes_that_no_server_sends_end_the_connection(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
    ) {
        for step in STEPS {
            let mut double = Double::at(step);
            double.hop.record(bytes.clone());
            prop_assert!(double.loss().is_some(), "{step:?}");
            prop_assert!(double.has_closed(), "{step:?}");
            double.hop.record(bytes.clone());
            prop_assert!(double.loss().is_none() && double.hop.take().is_none(), "{step:?}: again");
            double.goes_to(Step::Live);
        }
    }

    /// A server with the session's keys sends any body in any record.
    #[test]
    fn a_sealed_record_of_any_content_changes_no_more_than_the_connection(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
    ) {
        let kinds = [
            RecordType::Login, RecordType::Json, RecordType::Ping, RecordType::Pong,
            RecordType::Binary, RecordType::Close,
        ];
        for kind in kinds {
            let mut double = Double::at(Step::Live);
            for body in &bodies {
                double.tells(kind, body);
                double.hop.looks();
            }
            prop_assert!(kind != RecordType::Close || double.has_closed());
        }
    }
}

#[test]
fn a_record_that_was_changed_repeated_or_left_out_ends_the_session() {
    let changes: [fn(&mut Double) -> Vec<u8>; 3] = [
        |double| {
            let mut record = double.sealed(RecordType::Ping, b"");
            record[0] ^= 1;
            record
        },
        |double| {
            let record = double.sealed(RecordType::Ping, b"");
            double.hop.record(record.clone());
            record
        },
        |double| {
            double.sealed(RecordType::Ping, b"");
            double.sealed(RecordType::Ping, b"")
        },
    ];
    for change in changes {
        let mut double = Double::at(Step::Live);
        let record = change(&mut double);
        assert!(double.loss().is_none());
        double.hop.record(record);
        assert!(matches!(double.loss(), Some(Loss::Cut)) && double.has_closed());
    }
}

#[test]
fn a_login_with_too_many_events_ends_the_connection() {
    let mut double = Double::at(Step::LogsIn);
    let told = (0..=EVENTS_FIRST_MAX).take_while(|_| {
        double.tells(RecordType::Json, b"{\"type\":\"notice\",\"text\":\"wait\"}\n");
        double.loss().is_none()
    });
    assert_eq!(told.count(), EVENTS_FIRST_MAX);
    assert!(double.has_closed());
}

#[test]
fn status_words_in_the_clear_are_accepted_before_the_keys_only() {
    for step in [Step::Asks, Step::Greets, Step::Proves] {
        let mut double = Double::at(step);
        double.hop.record(b"PYCHAT!busy".to_vec());
        let loss = double.loss();
        assert!(matches!(loss, Some(Loss::Busy)), "{step:?}: {loss:?}");
    }
    for step in [Step::LogsIn, Step::Live] {
        let mut double = Double::at(step);
        double.hop.record(b"PYCHAT!busy".to_vec());
        let loss = double.loss();
        assert!(matches!(loss, Some(Loss::Cut)), "{step:?}: {loss:?}");
    }
}

#[test]
fn the_next_login_is_by_the_ticket_of_the_last_session_and_the_one_after_it_by_the_key() {
    let mut double = Double::at(Step::Live);
    let Gated::Ticket(ticket) = double.comes_back(true) else { panic!("no ticket") };
    assert_eq!(ticket.ticket(), [9; SESSION_TICKET_BYTES]);
    let (t3, transport) = ticket.accept(&[8; 32]).unwrap();
    double.hop.record(t3.to_vec());
    double.welcomes(transport);
    // No ticket is used twice.
    assert!(matches!(double.comes_back(false), Gated::Keys(_)));
}

#[test]
fn a_refused_ticket_is_followed_by_the_key_in_the_same_connection() {
    let mut double = Double::at(Step::Live);
    let Gated::Ticket(ticket) = double.comes_back(true) else { panic!("no ticket") };
    let (t3, at_gate) = ticket.refuse();
    double.hop.record(t3.to_vec());
    let t4 = double.record();
    let (_, r3, transport) = at_gate.gate(&t4).unwrap().finish().unwrap();
    double.hop.record(r3.to_vec());
    double.welcomes(transport);
    assert!(double.loss().is_some_and(|loss| matches!(loss, Loss::Cut)), "of the first session");
}

#[test]
fn a_server_that_cannot_open_the_ticket_does_not_prove_itself() {
    for (t3, is_busy) in [(&[0; 16][..], false), (&[0; 416], false), (b"PYCHAT!busy", true)] {
        let mut double = Double::at(Step::Live);
        assert!(matches!(double.comes_back(true), Gated::Ticket(_)));
        assert!(matches!(double.loss(), Some(Loss::Cut)));
        double.hop.record(t3.to_vec());
        let loss = double.loss();
        match is_busy {
            true => assert!(matches!(loss, Some(Loss::Busy)), "{loss:?}"),
            false => assert!(matches!(loss, Some(Loss::WrongServer)), "{loss:?}"),
        }
        assert!(double.has_closed());
    }
}

#[test]
fn another_server_does_not_prove_the_pinned_key() {
    let mut double = Double::at(Step::Asks);
    // It answers the question with its own key.
    let ask = lineage::ask(&bob().public().fingerprint(), [1; NONCE_BYTES]);
    double.hop.record(lineage::answer(bob().public(), &[], &ask).unwrap());
    assert!(matches!(double.loss(), Some(Loss::Unreachable(_))));
    assert!(double.has_closed() && double.hop.server.is_none());
}

#[test]
fn a_record_before_the_connection_is_open_ends_it() {
    let mut double = Double::new();
    double.hop.dial(0);
    double.hop.record(vec![0; 32]);
    assert!(double.loss().is_some() && double.has_closed());
    // Events of a connection that has ended change nothing.
    double.hop.opened();
    double.hop.closed();
    assert!(double.loss().is_none() && double.hop.take().is_none());
}
