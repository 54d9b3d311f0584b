//! A hostile server against the real client: what it floods, what it makes the client send, and the
//! texts that it makes the client show.

mod world;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use world::DEADLINE;
use world::double::{Double, Guest, line, welcome};
use world::program::memory_kib;

/// Whoever takes nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(2);

/// More than this is on its way nowhere: the sockets' buffers, and what the client holds.
const FLOOD_BYTES: usize = 96 << 20;

/// A client of which nobody reads stdout.
struct Unread(Child);

impl Unread {
    fn start(mut command: Command) -> Unread {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Unread(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    #[track_caller]
    fn ends(&mut self) -> Option<i32> {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        panic!("it goes on");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tells messages until the client takes no more. How many it has taken, and of how many bytes.
fn floods(guest: &mut Guest, mut record: impl FnMut(u64) -> String) -> (u64, usize) {
    let (mut records, mut bytes) = (0, 0);
    while bytes < FLOOD_BYTES {
        let one = record(records);
        if !guest.tells(&one, STUCK) {
            break;
        }
        records += 1;
        bytes += one.len();
    }
    (records, bytes)
}

/// The messages of a record with this number.
type Flood = fn(u64) -> String;

/// A record of short lines.
fn lines(record: u64) -> String {
    (0..100).map(|n| line(record * 100 + n + 1, "flood")).collect::<Vec<_>>().join("\n")
}

/// A record of what takes more in memory than on the wire: a list of people.
fn people(record: u64) -> String {
    let names: Vec<_> = (0..2_000).map(|n| format!("\"p{n}\"")).collect();
    let names = names.join(",");
    format!(r##"{{"type":"people","channel":"#lobby","people":[{names}],"ref":"{record}"}}"##)
}

#[track_caller]
fn stays_small(pid: Pid, before_kib: u64, bytes: usize, (what, most_kib): (&str, u64)) {
    let grown = memory_kib(pid).saturating_sub(before_kib);
    assert!(bytes < FLOOD_BYTES, "{what}: the client took {bytes} bytes that nobody reads");
    assert!(grown < most_kib, "{what}: {grown} KiB more after {bytes} bytes");
    println!("{what}: {grown} KiB more, {bytes} bytes taken");
}

#[test]
fn a_face_that_nobody_reads_holds_the_server_and_not_the_memory() {
    let faces: [(&str, Flood, bool); 3] =
        [("--json", lines, true), ("--json", people, false), ("--plain", lines, false)];
    for (face, flood, reads_on) in faces {
        let double = Double::new();
        let mut client = Unread::start(double.command("alice", &[face]));
        let mut guest = double.lets_in();
        guest.welcomes("alice");
        guest.is_asked("resume");
        let before_kib = memory_kib(client.pid());
        let (records, bytes) = floods(&mut guest, flood);
        stays_small(client.pid(), before_kib, bytes, (face, 16 << 10));
        // Whoever reads again has all of it.
        if reads_on {
            let mut out = client.0.stdout.take().unwrap();
            let mut text = Vec::new();
            let last = format!("\"seq\":\"{}\"", records * 100).into_bytes();
            let mut piece = vec![0; 1 << 16];
            while !text.windows(last.len()).any(|window| window == last) {
                text.drain(..text.len().saturating_sub(last.len()));
                let read = out.read(&mut piece).unwrap();
                assert!(read > 0, "it ended");
                text.extend_from_slice(&piece[..read]);
            }
        }
    }
}

#[test]
fn whoever_is_not_read_can_still_send_and_quit() {
    let double = Double::new();
    let mut client = Unread::start(double.command("alice", &["--json"]));
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    guest.is_asked("resume");
    floods(&mut guest, lines);
    let mut stdin = client.0.stdin.take().unwrap();
    use std::io::Write;
    writeln!(stdin, r##"{{"type":"say","to":"#lobby","text":"help"}}"##).unwrap();
    assert_eq!(guest.is_asked("say")["text"], "help");
    // The server hears that the client lives, too.
    assert!(guest.is_pinged(DEADLINE));
    writeln!(stdin, r#"{{"type":"quit"}}"#).unwrap();
    assert_eq!(client.ends(), Some(0));
    let mut client = Unread::start(double.command("alice", &["--plain"]));
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    guest.is_asked("resume");
    floods(&mut guest, lines);
    kill_process(client.pid(), Signal::INT).unwrap();
    assert_eq!(client.ends(), Some(130));
}

#[test]
fn a_terminal_that_takes_nothing_holds_the_server_too() {
    let double = Double::new();
    let command = double.command("alice", &[]);
    let size = PtySize { rows: 40, cols: 100, pixel_width: 0, pixel_height: 0 };
    let pty = native_pty_system().openpty(size).unwrap();
    let mut inside = CommandBuilder::new(command.get_program());
    inside.args(command.get_args());
    for (name, value) in command.get_envs() {
        inside.env(name, value.unwrap());
    }
    inside.env("TERM", "xterm-256color");
    let mut child = pty.slave.spawn_command(inside).unwrap();
    let pid = Pid::from_raw(child.process_id().unwrap() as i32).unwrap();
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    guest.is_asked("resume");
    let before_kib = memory_kib(pid);
    let (_, bytes) = floods(&mut guest, lines);
    // It shows many before its terminal is full, and keeps what it has shown.
    stays_small(pid, before_kib, bytes, ("screen", 64 << 10));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What a hostile server says to make a client send.
const LURES: [&str; 20] = [
    r#"{"type":"password","wrong":false}"#,
    r#"{"type":"password","wrong":false,"retry_ms":0}"#,
    r##"{"type":"entered","channel":"#lobby","epoch":"LOG","last":"9","read":"0","retention":"forever","people":["NAME"]}"##,
    r##"{"type":"entered","channel":"TEA","epoch":"LOG","last":"9","read":"0","retention":"forever","people":["NAME","NAMEx"]}"##,
    r##"{"type":"joined","to":"TEA","who":"NAME","here":3}"##,
    r##"{"type":"parted","channel":"#lobby"}"##,
    r##"{"type":"gap","to":"#lobby","from_seq":"1","to_seq":"SEQ","stored":true}"##,
    r##"{"type":"gap","to":"@NAME","from_seq":"1","to_seq":"SEQ","stored":true}"##,
    r##"{"type":"history","to":"#lobby","messages":0,"more":true,"ref":"older #lobby"}"##,
    r##"{"type":"conversations","conversations":[{"to":"@NAME","epoch":"LOG","last":"SEQ","read":"0","retention":"forever"}]}"##,
    r#"{"type":"keys","name":"NAME","keys":[]}"#,
    r#"{"type":"keys","name":"alice","keys":[]}"#,
    r#"{"type":"successor","key":"AAAA","signatures":"AAAA"}"#,
    r##"["SEQ","#lobby","NAME","main","00000000000000000000000000000SEQ",1764079391123,"hi"]"##,
    r##"["SEQ","@alice","NAME","main","00000000000000000000000000000SEQ",1764079391123,"hi"]"##,
    r##"{"type":"read","to":"#lobby","seq":"SEQ"}"##,
    r#"{"type":"refused","code":"rate","hint":"no","retry_ms":0}"#,
    r##"{"type":"topic","to":"TEA","retention":"1s"}"##,
    r##"{"type":"topic","to":"TEA","retention":"forever"}"##,
    r#"{"type":"welcome","name":"alice","device":"main","version":"0","text_bytes_max":8192,"time_ms":1764079391123}"#,
];

/// So many requests may go out at once, and so many each second after that.
const REQUESTS: (usize, usize) = (60, 6);

/// Answers whatever is asked in the way that makes a client ask again.
fn answer(asked: &serde_json::Value, rng: &mut StdRng) -> Option<String> {
    let field = |name: &str| asked[name].to_string();
    match asked["type"].as_str()? {
        "say" => Some(format!(
            r#"{{"type":"refused","code":"rate","hint":"no","id":{},"retry_ms":0}}"#,
            field("id")
        )),
        "keys" if rng.random() => Some(format!(
            r#"{{"type":"refused","code":"rate","hint":"no","ref":{},"retry_ms":0}}"#,
            field("ref")
        )),
        "keys" => Some(format!(
            r#"{{"type":"keys","name":{},"keys":[],"ref":{}}}"#,
            asked["names"][0],
            field("ref")
        )),
        "history" => Some(format!(
            r#"{{"type":"history","to":{},"messages":0,"more":true,"ref":{}}}"#,
            field("to"),
            field("ref")
        )),
        _ => None,
    }
}

/// Counts what a client sends in some seconds while a server says what lures it.
fn lures(seed: u64, screen: bool) {
    let (double, started) = (Double::new(), Instant::now());
    let (mut program, mut terminal) = (None, None);
    match screen {
        true => terminal = Some(double.screen("alice")),
        false => program = Some(double.client("alice", &["--plain"])),
    }
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    guest.is_asked("resume");
    let typed = ["/join #tea 4711", "one", "two", "three", "/msg bob four"];
    for text in typed {
        program.iter_mut().for_each(|program| program.types(text));
        terminal.iter_mut().for_each(|terminal| terminal.types(&format!("{text}\r")));
    }
    let tea = guest.is_asked("join")["channel"].as_str().unwrap().to_owned();
    let mut rng = StdRng::seed_from_u64(seed);
    let (began, mut sent, mut told) = (Instant::now(), 0, 0_u32);
    let lasts = Duration::from_secs(8);
    while began.elapsed() < lasts {
        let lure: Vec<_> = (0..rng.random_range(1..40))
            .map(|_| {
                told += 1;
                LURES
                    .choose(&mut rng)
                    .unwrap()
                    .replace("NAME", &format!("p{told}"))
                    .replace("SEQ", &format!("{:03}", told % 1_000))
                    .replace("LOG", &format!("{told:016x}"))
                    .replace("TEA", &tea)
            })
            .collect();
        // It need not be read at once.
        guest.tells(&lure.join("\n"), Duration::from_secs(1));
        while let Some(asked) = guest.hears(Duration::from_millis(2)) {
            sent += asked.len();
            let answers: Vec<_> = asked.iter().filter_map(|one| answer(one, &mut rng)).collect();
            if !answers.is_empty() {
                guest.tells(&answers.join("\n"), Duration::from_secs(1));
            }
        }
        if rng.random_ratio(1, 400) {
            // Or it cuts right after the welcome, again and again.
            drop(guest);
            let Some(next) = double.lets_in_before(began + lasts) else { break };
            guest = next;
            guest.says(&welcome("alice"));
        }
    }
    // By a clock that began before the client's.
    let took = started.elapsed();
    let most = REQUESTS.0 + (REQUESTS.1 as f64 * took.as_secs_f64()) as usize;
    println!("seed {seed}: {sent} requests, {told} events");
    assert!(sent <= most, "seed {seed}: {sent} requests in {took:?}, after {told} events");
}

#[test]
fn a_hostile_server_cannot_make_a_client_send_more_than_a_few_requests_a_second() {
    for seed in 0..2 {
        lures(seed, false);
    }
}

#[test]
fn nor_a_full_screen() {
    lures(7, true);
}

#[test]
fn a_refused_line_is_not_sent_again_without_a_pause() {
    let double = Double::new();
    let mut client = double.client("alice", &["--plain"]);
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    guest.is_asked("resume");
    (0..50).for_each(|number| client.types(&format!("line {number}")));
    // All of them are sent before the first one is refused, however slow this machine is.
    let mut refused = Vec::new();
    while refused.len() < 50 {
        let asked = guest.hears(DEADLINE).expect("all lines are sent").into_iter();
        refused.extend(asked.filter(|one| one["type"] == "say").map(|one| one["id"].clone()));
    }
    let refuse = |guest: &mut Guest, id: &serde_json::Value| {
        guest.says(&format!(
            r#"{{"type":"refused","code":"rate","hint":"no","id":{id},"retry_ms":0}}"#
        ));
    };
    refused.iter().for_each(|id| refuse(&mut guest, id));
    // For ten seconds, and until it has sent some again.
    let (began, mut says) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(10) || (says < 10 && began.elapsed() < DEADLINE) {
        for asked in guest.hears(Duration::from_millis(100)).unwrap_or_default() {
            if asked["type"] == "say" {
                says += 1;
                refuse(&mut guest, &asked["id"]);
            }
        }
    }
    let most = 3 * (began.elapsed().as_secs() + 1);
    assert!((10..=most).contains(&says), "{says} of {most}");
}

#[test]
fn a_server_that_cuts_after_each_welcome_is_not_called_again_and_again() {
    let double = Double::new();
    let _client = double.client("alice", &["--plain"]);
    // For fifteen seconds, and until it has come again.
    let began = Instant::now();
    let mut logins = 0;
    let until = |logins| began + if logins < 2 { DEADLINE } else { Duration::from_secs(15) };
    while let Some(mut guest) = double.lets_in_before(until(logins)) {
        logins += 1;
        guest.welcomes("alice");
    }
    assert!((2..=12).contains(&logins), "{logins}");
}

/// Every event with a text that acts on a screen and is far too long, and with a reference that
/// nobody has made.
const DIRTY: [&str; 14] = [
    r##"{"type":"notice","text":"DIRTY","ref":"DIRTY"}"##,
    r##"{"type":"refused","code":"rate","hint":"DIRTY","retry_ms":0,"ref":"DIRTY"}"##,
    r##"{"type":"topic","to":"#lobby","who":"bob","text":"DIRTY","retention":"2d","ref":"DIRTY"}"##,
    r##"{"type":"left","to":"#lobby","who":"bob","here":1,"after_ms":5,"reason":"DIRTY"}"##,
    r##"{"type":"whois","name":"bob","fingerprints":["DIRTY"],"devices":["main"],"idle_ms":5,"away":"DIRTY","channels":[],"ref":"DIRTY"}"##,
    r##"{"type":"channels","channels":[{"channel":"#tea","here":1,"member":true,"topic":"DIRTY"}],"ref":"DIRTY"}"##,
    r##"{"type":"people","channel":"#lobby","people":["bob"],"ref":"DIRTY"}"##,
    r##"{"type":"entered","channel":"#lobby","epoch":"00000000000000ff","last":"0","read":"0","retention":"2d","people":["bob"],"topic":"DIRTY","ref":"DIRTY"}"##,
    r##"{"type":"parted","channel":"#tea","ref":"DIRTY"}"##,
    r##"{"type":"history","to":"#lobby","messages":1,"more":false,"ref":"DIRTY"}"##,
    r##"{"type":"keys","name":"bob","keys":[],"ref":"DIRTY"}"##,
    r##"{"type":"message","seq":"1","to":"#lobby","from":"bob","device":"main","id":"00000000000000000000000000000001","time_ms":1764079391123,"text":"asked DIRTY","ref":"DIRTY"}"##,
    r##"{"type":"message","seq":"2","to":"#lobby","from":"bob","device":"main","id":"00000000000000000000000000000002","time_ms":1764079391123,"text":"said DIRTY"}"##,
    r##"{"type":"DIRTY","text":"DIRTY"}"##,
];

#[test]
fn no_text_of_a_server_reaches_a_face_as_it_is() {
    let dirty = r"a\u001b[2J\u0007\u009b31m\u202eb\u200b\u2066c\rd".repeat(2_000);
    for face in ["--json", "--plain"] {
        let double = Double::new();
        let mut client = double.client("alice", &[face]);
        let mut guest = double.lets_in();
        guest
            .says(&welcome("alice").replace("\"0\"", &format!("\"{dirty}\",\"motd\":\"{dirty}\"")));
        guest.is_asked("resume");
        DIRTY.iter().for_each(|event| guest.says(&event.replace("DIRTY", &dirty)));
        guest.says(&line(3, "the last one"));
        guest.says(&format!(r#"{{"type":"goodbye","code":"kicked","reason":"{dirty}"}}"#));
        client.sees("the last one");
        drop(guest);
        assert_eq!(client.ends().code(), Some(5));
        let lines = client.shown();
        assert!(lines.iter().any(|line| line.contains("said a[2J")));
        for line in lines.iter().chain(&client.told()) {
            let acts = line.chars().find(|c| pychat::clean::acts(*c));
            assert_eq!(acts, None, "{face}: {}", &line[..line.len().min(200)]);
            assert!(line.len() < 300 << 10, "{face}: {} bytes", line.len());
            assert!(!line.contains("\"ref\"") && !line.contains("asked a"), "{face}");
        }
    }
}
