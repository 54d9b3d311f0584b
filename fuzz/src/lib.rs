//! Every decoder that meets bytes of others, or of a disk, as a function of bytes that must neither
//! panic nor hang. Plain functions, so that they compile with the stable toolchain and suit any
//! fuzzer; `main.rs` runs one on a file or on stdin, as AFL++ and honggfuzz want it.
#![forbid(unsafe_code)]

use std::io::Read;
use std::sync::{Arc, LazyLock, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pychat::chat::{
    ChannelName, Conversation, Descriptor, Epoch, Event, Opaque, Request, Seq, Target, TimeSpan,
    UserName,
};
use pychat::client::files::metadata::{self, Format};
use pychat::client::files::{name, thumb};
use pychat::client::storage::Folder;
use pychat::client::storage::data_folder::{self, DataFolder};
use pychat::client::storage::ignore_list::IgnoreList;
use pychat::client::storage::journal::Journal;
use pychat::config::{Config, IpRange, WebOrigin, host_of};
use pychat::crypto::certificate::{Certificate, OpeningKey};
use pychat::crypto::context::Context;
use pychat::crypto::handshake::{ClientSent, ClientStart, Gated, ServerGated, ServerHello};
use pychat::crypto::header::{ChainLink, claimed_sender};
use pychat::crypto::hello::{self, Greeting};
use pychat::crypto::pin_channel::PinChannel;
use pychat::crypto::private::Parsed;
use pychat::crypto::session_ticket::{HeldTicket, Issuer, TicketKey};
use pychat::crypto::succession::{Succession, Whose};
use pychat::crypto::{Fingerprint, Identity, PublicKey, at_rest, key_request};
use pychat::e2e::device_keys::DeviceKeys;
use pychat::e2e::search_log::{self, SearchLog};
use pychat::e2e::sequence::{Sequences, Signed};
use pychat::e2e::storage::{Account, Storage};
use pychat::e2e::trust::TrustStore;
use pychat::e2e::trust_file::TrustFile;
use pychat::home::known::Known;
use pychat::home::sanctions::Decisions;
use pychat::home::{Audit, Decision, Home, Settings, Users};
use pychat::invite::{Invite, read_key_line};
use pychat::ledger::{Jobs, Sqlite, jobs};
use pychat::net::http;
use pychat::server::accounts::directory::Directory;
use pychat::server::operator::ctl;
use pychat::suite::{Suite, Suites};
use pychat::wire::codec::{self, Login, Parts};
use pychat::wire::record::RecordReader;
use pychat::wire::transfer::TransferRecord;
use pychat::wire::websocket::{self, MessageReader};
use pychat::wire::{http as request, proxy};

/// The server of everything here.
const SERVER: Fingerprint = Fingerprint([9; 32]);

/// A decoder and its name.
pub type Decoder = (&'static str, fn(&[u8]));

pub const TARGETS: &[Decoder] = &[
    ("commands", fuzz_commands),
    ("events", fuzz_events),
    ("login", fuzz_login),
    ("parts", fuzz_parts),
    ("frames", fuzz_frames),
    ("websocket", fuzz_websocket),
    ("http_head", fuzz_http_head),
    ("proxy_header", fuzz_proxy_header),
    ("transfer", fuzz_transfer),
    ("record", fuzz_record),
    ("handshake", fuzz_handshake),
    ("session_ticket", fuzz_session_ticket),
    ("key_request", fuzz_key_request),
    ("certificate", fuzz_certificate),
    ("private", fuzz_private),
    ("pin_channel", fuzz_pin_channel),
    ("kept", fuzz_kept),
    ("succession", fuzz_succession),
    ("home", fuzz_home),
    ("ledger", fuzz_ledger),
    ("data_folder", fuzz_data_folder),
    ("secrets", fuzz_secrets),
    ("sequences", fuzz_chains),
    ("lines", fuzz_lines),
    ("outbox", fuzz_outbox),
    ("metrics", fuzz_metrics),
    ("ctl", fuzz_ctl),
    ("keys", fuzz_keys),
    ("texts", fuzz_texts),
    ("descriptor", fuzz_descriptor),
    ("file_name", fuzz_file_name),
    ("jpeg", fuzz_jpeg),
    ("png", fuzz_png),
    ("webp", fuzz_webp),
    ("gif", fuzz_gif),
    ("thumb", fuzz_thumb),
];

static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate()));

fn identity() -> &'static Identity {
    &IDENTITY
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn fuzz_commands(bytes: &[u8]) {
    codec::decode::<Request>(bytes).for_each(drop);
}

pub fn fuzz_events(bytes: &[u8]) {
    codec::decode::<Event>(bytes).for_each(drop);
}

pub fn fuzz_login(bytes: &[u8]) {
    codec::decode::<Login>(bytes).for_each(drop);
}

/// Pieces of one message over several records: the first byte says how long each is.
pub fn fuzz_parts(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else { return };
    let mut parts = Parts::default();
    for piece in rest.chunks(usize::from(*size) + 1) {
        if parts.join(piece).is_none() {
            return;
        }
    }
}

pub fn fuzz_frames(bytes: &[u8]) {
    let mut reader = RecordReader::new(bytes, 16_500);
    while let Ok(Some(_)) = reader.read() {}
}

/// WebSocket frames of a client.
pub fn fuzz_websocket(bytes: &[u8]) {
    let mut reader = MessageReader::new(bytes, 16_400);
    loop {
        let _ = reader.has_message();
        match reader.read() {
            Ok(websocket::Received::Message) => assert!(reader.message().len() <= 16_400),
            Ok(websocket::Received::Ping) => assert!(reader.pong().len() <= 127),
            Ok(websocket::Received::Close) => {}
            Ok(websocket::Received::End) | Err(_) => return,
        }
    }
}

/// The head of a request to the web port.
pub fn fuzz_http_head(bytes: &[u8]) {
    if let Ok(Some(end)) = request::head_bytes(bytes, 0)
        && let Ok(request) = request::parse(&bytes[..end])
    {
        assert!(!request.host.is_empty() || request.only("host") == Ok(Some("")));
        let _ = (host_of(request.host), request.has_token("connection", "upgrade"));
        let _ = request.only("origin").map(|origin| origin.map(str::parse::<WebOrigin>));
    }
}

/// The header of the PROXY protocol.
pub fn fuzz_proxy_header(bytes: &[u8]) {
    if let Ok(Some(header)) = proxy::parse(bytes) {
        assert!(header.bytes <= bytes.len());
    }
}

/// The body of a record of type 2, which is one record in one form only.
pub fn fuzz_transfer(bytes: &[u8]) {
    if let Ok(record) = TransferRecord::parse(bytes) {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(bytes.get(..again.len()), Some(&again[..]));
    }
}

/// A server's and a client's first two steps, which nothing was wrong with.
fn two_steps<T>(
    suite: Suite,
    go_on: impl FnOnce(ServerHello, ClientSent<'static>, &[u8]) -> T,
) -> T {
    let suites = Suites::only(suite);
    let (start, r0) = ClientStart::new(identity(), identity().public(), suites);
    let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [&*IDENTITY]) else {
        unreachable!("R0 is what it is")
    };
    let (hello, r1) = ServerHello::start(hello, suites);
    let (sent, r2) = start.answer(&r1).expect("a whole R1");
    go_on(hello, sent, &r2)
}

pub fn fuzz_record(bytes: &[u8]) {
    let finished =
        two_steps(Suite::Classic, |hello, _, r2| hello.gate(r2).and_then(|gated| gated.finish()));
    let (_, _, mut transport) = finished.expect("a whole handshake");
    let _ = transport.opener.open(&mut bytes.to_vec());
}

pub fn fuzz_handshake(bytes: &[u8]) {
    let _ = Greeting::read(bytes, [&*IDENTITY]);
    let print = identity().public().fingerprint();
    let head = [b"PYCHAT/", bytes].concat();
    let _ = Greeting::read(&[&head[..], &hello::mac(&print, &head)].concat(), [&*IDENTITY]);
    for suite in Suite::ALL {
        let suites = Suites::only(suite);
        let _ = ClientStart::new(identity(), identity().public(), suites).0.answer(bytes);
        two_steps(suite, |hello, sent, _| {
            let _ = hello.read(bytes);
            let _ = sent.finish(bytes);
        });
    }
}

/// A ticket that a client presents to a server, and what a server answers to one.
pub fn fuzz_session_ticket(bytes: &[u8]) {
    let key = TicketKey::from_bytes([7; 32]);
    let _ = key.open(&Issuer { server: SERVER, epoch: 7 }, bytes);
    let Some(held) = HeldTicket::new((bytes, &[7; 32]), SERVER, SERVER) else { return };
    for suite in Suite::ALL {
        let suites = Suites::only(suite);
        let (start, r0) = ClientStart::new(identity(), identity().public(), suites);
        let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [&*IDENTITY]) else {
            unreachable!("R0 is what it is")
        };
        let (hello, r1) = ServerHello::start(hello, suites);
        let (presented, t2) = start.present(&r1, &held).expect("a whole R1");
        let Ok(Gated::Ticket(ticket)) = hello.read(&t2) else { panic!("a whole T2") };
        assert_eq!(ticket.ticket(), bytes);
        let (_, at_gate) = ticket.refuse();
        let _ = at_gate.gate(bytes).and_then(ServerGated::finish);
        let _ = presented.finish(bytes);
    }
}

pub fn fuzz_key_request(bytes: &[u8]) {
    let _ = key_request::answer(identity().public(), bytes);
    let _ = key_request::read_answer(&identity().public().fingerprint(), Default::default(), bytes);
}

pub fn fuzz_certificate(bytes: &[u8]) {
    let _ = Certificate::verify(bytes, identity().public(), &SERVER);
    let _ = claimed_sender(bytes).map(Certificate::issuer);
}

/// What alice says there.
fn context(to: &str) -> Context {
    let (alice, to) = ("alice".parse().expect("a name"), to.parse().expect("a conversation"));
    Context::new(&SERVER, &alice, &to)
}

fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let signing = pychat::crypto::certificate::SigningKey::from_seed(&[7; 32]);
        Certificate::issue(
            identity(),
            &SERVER,
            &signing,
            &OpeningKey::from_bytes(&[7; 32]),
            1_000_000,
        )
    })
}

pub fn fuzz_private(bytes: &[u8]) {
    let own = [(certificate().hash, OpeningKey::from_bytes(&[7; 32]))];
    if let Ok(parsed) = Parsed::parse(bytes) {
        let _ = parsed.open(&context("@bob"), identity(), &own, certificate());
    }
}

pub fn fuzz_pin_channel(bytes: &[u8]) {
    static CHANNEL: OnceLock<PinChannel> = OnceLock::new();
    let channel = CHANNEL.get_or_init(|| PinChannel::from_root([7; 32].into()));
    let _ = channel.open(&context("#tea"), bytes, certificate());
}

pub fn fuzz_kept(bytes: &[u8]) {
    let _ = at_rest::open_by(identity(), bytes);
    let _ = at_rest::unlock(&[7; 32], bytes);
}

/// What two keys say of each other.
pub fn fuzz_succession(bytes: &[u8]) {
    let old = identity().public();
    let new = PublicKey::from_modulus(&[0xff; 384]).expect("an odd number of 3072 bits");
    if let Some(succession) = Succession::from_bytes(bytes) {
        let _ = succession.holds(old, Whose::Server, &new);
    }
}

/// Every file that a server reads, one after the other.
pub fn fuzz_home(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for files");
    let home = Home::new(folder.path());
    home.make_folders().expect("its folders");
    let (actor, action, target) = ("alice", "mute", "bob");
    let decision = Decision { actor, action, target, reason: None, until_ms: None };
    Audit::of(&home).add(&decision).expect("a trail to be read");
    let [users, keys, data] = ["users", "keys", "data"].map(|name| folder.path().join(name));
    let files = [
        home.config_file(),
        home.decisions_file(),
        home.known_file(),
        home.certificates_file(),
        users.join("alice.pem"),
        users.join("alice.json"),
        home.server_key_file(),
        keys.join("server.json"),
        keys.join("tickets.key"),
        keys.join("audit.head"),
        data.join("audit.jsonl"),
    ];
    for file in files {
        let before = std::fs::read(&file);
        std::fs::write(&file, bytes).expect("its bytes");
        let _ = Config::load(&home.config_file());
        let _ = Decisions::load(&home.decisions_file());
        let _ = Known::load(&home.known_file());
        let _ = home.ticket_keys(identity());
        let _ = Directory::open(home.certificates_file());
        let _ = Users::load(&users);
        let _ = Settings::read(&users.join("alice.json"));
        let _ = home.server_keys();
        let _ = Audit::of(&home).verify();
        match before {
            Ok(before) => std::fs::write(&file, before).expect("its own bytes"),
            Err(_) => std::fs::remove_file(&file).expect("it is there"),
        }
    }
}

/// The file of a server's lines.
pub fn fuzz_ledger(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for a file");
    let path = folder.path().join("ledger.db");
    std::fs::write(&path, bytes).expect("its bytes");
    let _ = jobs(&path).verify();
    let _ = Sqlite::open(&path, 60);
}

/// What a client keeps in clear.
pub fn fuzz_data_folder(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Vec<data_folder::Server>>(bytes);
    let _ = serde_json::from_slice::<data_folder::Settings>(bytes);
    let _ = serde_json::from_slice::<IgnoreList>(bytes);
}

/// Whose client it is.
struct Alice;

impl Account for Alice {
    fn name(&self) -> &UserName {
        static NAME: LazyLock<UserName> = LazyLock::new(|| "alice".parse().expect("a name"));
        &NAME
    }

    fn founding(&self) -> &Fingerprint {
        &SERVER
    }

    fn own(&self) -> Arc<Identity> {
        Arc::clone(&IDENTITY)
    }

    fn openers(&self) -> Vec<Arc<Identity>> {
        vec![self.own()]
    }

    fn keepers(&self) -> Vec<PublicKey> {
        vec![identity().public().clone()]
    }
}

/// An empty profile.
fn profile() -> (tempfile::TempDir, Folder) {
    let profile = tempfile::tempdir().expect("a folder for files");
    let data_folder = DataFolder::at(profile.path()).expect("a folder for files");
    let folder = Folder::open(&data_folder, &SERVER).expect("a folder for files");
    (profile, folder)
}

/// What it keeps sealed to the person's key, once that is open: people and channels, and its
/// device's keys.
pub fn fuzz_secrets(bytes: &[u8]) {
    let (_profile, mut folder) = profile();
    let sealed = at_rest::seal_for(&[identity().public()], bytes);
    folder.update_trust(&mut |_| Ok(sealed.clone())).expect("its bytes");
    if let Ok(store) = TrustFile::open(&mut folder, &Alice) {
        let people = TrustStore::of(SERVER, store.kept.people.iter());
        for known in &store.kept.people {
            let mut joined = known.clone();
            joined.merge(known);
            known.name.iter().for_each(|name| drop(people.prints(name)));
        }
        store.channels().for_each(drop);
        let _ = store.key();
    }
    folder.add_device_key("one", &sealed).expect("its bytes");
    let _ = DeviceKeys::default().refresh(&mut folder, &Alice);
}

/// Up to where it has been told each sealed conversation, and what follows then.
pub fn fuzz_chains(bytes: &[u8]) {
    let Ok(mut sequences) = serde_json::from_slice::<Sequences>(bytes) else { return };
    let (to, who) = ("@bob".parse().expect("a conversation"), "bob".parse().expect("a name"));
    let epoch = Epoch(u64::MAX);
    for seq in [Seq(0), Seq(1), Seq(u64::MAX)] {
        let _ = sequences.arrives(&to, seq, None);
        let tombstones = sequences.tombstones(&to);
        tombstones.add(&who, false);
        tombstones.add_unsigned_edit(&who, seq);
        tombstones.meets(&who);
        tombstones.is_deleted(&who, seq);
        let _ = tombstones.excuse(&who, true, u64::MAX);
        for n in [0, 1, u64::MAX] {
            let link = ChainLink { session: [7; 16], n, prev: [7; 32] };
            let line = Signed { link: &link, changes: n == 0, time_ms: i64::MAX, hash: [7; 32] };
            let _ = sequences.check(&to, &who, "x", line);
        }
        let _ =
            (sequences.stated_ms(&to), sequences.may_replay(&to), sequences.newest(&to, "x", true));
        sequences.skip(&to, seq);
        let _ = sequences.take_unexplained(&to, i64::MAX);
        let _ = sequences.begin(&to, epoch, seq, i64::MAX);
    }
}

/// The sealed lines that it has opened, for `/search`: each line of the file is under a key.
pub fn fuzz_lines(bytes: &[u8]) {
    let ((_profile, mut folder), key) = (profile(), [7; 32]);
    let locked = |line| STANDARD_NO_PAD.encode(at_rest::lock(&key, line)) + "\n";
    let text: String = bytes.split(|byte| *byte == b'\n').map(locked).collect();
    folder.replace_search_log(text.as_bytes()).expect("its bytes");
    if let Ok((index, _damaged)) = search_log::read(&folder, &key.into()) {
        let conversation = "@bob".parse().expect("a conversation");
        let _ = index.search(&conversation, "tea", i64::MAX, None);
        let _ = index.search(&conversation, "tea", i64::MIN, None);
    }
    let _ = SearchLog::open(&mut folder, key.into(), 1_000_000, 512);
}

/// Its own messages that are not stored yet, and its positions.
pub fn fuzz_outbox(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for files");
    let (stem, key) = (folder.path().join("server"), [7; 32]);
    let locked = |line: &[u8]| {
        let locked = Opaque::new(&at_rest::lock(&key, line)).expect("a salt at least");
        serde_json::json!(locked).as_str().expect("base64").to_owned()
    };
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').map(locked).collect();
    let own = |line: &String| format!("{{\"locked\":\"{line}\"}}\n");
    let sealed = (lines.iter().map(own).collect::<String>(), lines.join("\n") + "\n");
    for (outbox, positions) in [(bytes, bytes), (sealed.0.as_bytes(), sealed.1.as_bytes())] {
        std::fs::write(stem.with_extension("outbox"), outbox).expect("its bytes");
        std::fs::write(stem.with_extension("positions"), positions).expect("its bytes");
        let _ = Journal::open(&stem, key.into());
    }
}

/// A question to the listener for metrics, in pieces.
pub fn fuzz_metrics(bytes: &[u8]) {
    let mut rest = bytes;
    let _ = http::is_wanted("/metrics", |part| rest.read(part));
}

/// A request to the control socket.
pub fn fuzz_ctl(bytes: &[u8]) {
    let _ = ctl::read(bytes);
}

pub fn fuzz_keys(bytes: &[u8]) {
    let _ = PublicKey::from_der(bytes);
    let _ = PublicKey::from_pem(&text(bytes));
    let _ = Identity::from_pem(&text(bytes), Some("passphrase"));
}

pub fn fuzz_texts(bytes: &[u8]) {
    let text = text(bytes);
    let _ = text.parse::<UserName>();
    let _ = text.parse::<ChannelName>();
    let _ = text.parse::<Target>();
    let _ = text.parse::<Conversation>();
    let _ = text.parse::<TimeSpan>();
    let _ = text.parse::<IpRange>();
    let _ = text.parse::<Invite>();
    let _ = read_key_line(&text);
    let _ = Fingerprint::from_url(&text);
    let _ = serde_json::from_str::<Opaque>(&text);
    let _ = pychat::clean::text(&text);
    let _ = pychat::client::slash::read(&text);
}

/// What a message says of its file.
pub fn fuzz_descriptor(bytes: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Descriptor>(bytes) {
        let _ = Descriptor::read(&text(bytes), read.blob);
    }
}

/// The name of a file, which stays what it is once it is clean.
pub fn fuzz_file_name(bytes: &[u8]) {
    let clean = name::cleaned(&text(bytes));
    assert_eq!(name::cleaned(&clean), clean);
    let numbered = name::numbered(&clean, u32::MAX);
    assert_eq!(name::cleaned(&numbered), numbered);
}

/// A picture whose metadata is removed: once, and with nothing added but an orientation that is
/// written longer.
fn rewrite(format: Format, bytes: &[u8]) {
    if let Ok(clean) = metadata::rewritten(format, bytes) {
        assert!(clean.len() <= bytes.len() + 26);
        assert_eq!(metadata::rewritten(format, &clean), Ok(clean));
    }
}

pub fn fuzz_jpeg(bytes: &[u8]) {
    rewrite(Format::Jpeg, bytes);
}

pub fn fuzz_png(bytes: &[u8]) {
    rewrite(Format::Png, bytes);
}

pub fn fuzz_webp(bytes: &[u8]) {
    rewrite(Format::Webp, bytes);
}

pub fn fuzz_gif(bytes: &[u8]) {
    rewrite(Format::Gif, bytes);
}

pub fn fuzz_thumb(bytes: &[u8]) {
    let _ = thumb::preview(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_takes_some_bytes() {
        let mut state = 7u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        for round in 0..60 {
            let bytes: Vec<u8> = (0..round * 35).map(|_| byte()).collect();
            TARGETS.iter().for_each(|(_, target)| target(&bytes));
        }
    }
}
