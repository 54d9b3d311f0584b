//! Compares file transfers in both directions: pychat, scp (AES-256-GCM), and curl with nginx
//! (TLS 1.3), in turn. Measures the delay of other members' messages during transfers.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use pychat::crypto::Identity;

use crate::load::{Crew, Plan, middle_of};
use crate::peer::Host;
use crate::process::Process;
use crate::server::{BUILD, Crowd, NO_LIMITS, Server};

#[derive(Parser)]
pub struct Options {
    /// Size of the file, in MiB.
    #[arg(long, default_value_t = 256)]
    mib: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Uploads, and as many downloads, beside the chat of others.
    #[arg(long, default_value_t = 4)]
    beside: usize,
    /// Measures pychat without the other programs and without chat.
    #[arg(long)]
    alone: bool,
    /// Transfers at the same time, one half of them uploads; nothing else is measured.
    #[arg(long)]
    at_once: Option<usize>,
}

/// One transfer of the whole file.
#[derive(Clone, Copy)]
struct Transfer {
    seconds: f64,
    server_cpu_s: f64,
    client_cpu_s: f64,
    /// The client's largest memory.
    client_kib: u64,
    /// Growth of the server's largest memory.
    server_grew_kib: u64,
}

/// A program that moves the file to its server and back.
trait Courier {
    fn server(&self) -> &Process;
    /// The command that moves the file to the server, or from it.
    fn command(&self, up: bool, file: &Path) -> Command;

    fn moves(&self, up: bool, file: &Path) -> Transfer {
        let high = || self.server().high_water_kib().unwrap();
        let (cpu, memory, began) = (self.server().cpu_with_children(), high(), Instant::now());
        let mut command = self.command(up, file);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let (client_cpu, client_kib) = Process(child).ends();
        let seconds = began.elapsed().as_secs_f64();
        // A session of sshd ends a moment after its client.
        thread::sleep(Duration::from_millis(100));
        Transfer {
            seconds,
            server_cpu_s: (self.server().cpu_with_children() - cpu).as_secs_f64(),
            client_cpu_s: client_cpu.as_secs_f64(),
            client_kib,
            server_grew_kib: high() - memory,
        }
    }
}

struct Pychat {
    server: Server,
    invite: String,
    folder: tempfile::TempDir,
}

impl Pychat {
    fn start() -> Pychat {
        Pychat::start_at("127.0.0.1:0")
    }

    fn start_at(listen: &str) -> Pychat {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir_all(home.join("users")).unwrap();
        let crowd = Crowd::new();
        let identity = Identity::generate();
        fs::write(home.join("users/alice.pem"), identity.public().to_pem()).unwrap();
        let data = folder.path().join("data/pychat");
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&data).unwrap();
        let mut options = OpenOptions::new();
        let mut key =
            options.write(true).create_new(true).mode(0o600).open(data.join("id.pem")).unwrap();
        key.write_all(identity.to_pem(None).as_bytes()).unwrap();
        let bytes = 1u64 << 40;
        let limits = format!(
            r#"{NO_LIMITS}, "file_bytes_max": {bytes}, "files_per_user_bytes_max": {bytes},
            "files_bytes_max": {bytes}, "file_reserve_bytes": 0, "uploads_unfinished_max": 100"#
        );
        let config = format!(r#"{{"history": "on", "limits": {{{limits}}}}}"#);
        let server = Server::start_at(&home, &config, &crowd, listen);
        let invite = server.invite.clone();
        Pychat { server, invite, folder }
    }

    fn client(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BUILD);
        command.args(["client", &self.invite, "--name", "alice"]).args(args);
        command.env("XDG_DATA_HOME", self.folder.path().join("data"));
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.stderr(Stdio::null());
        command
    }
}

impl Courier for Pychat {
    fn server(&self) -> &Process {
        &self.server.process
    }

    fn command(&self, up: bool, file: &Path) -> Command {
        let file = file.to_str().unwrap();
        // The first message of a server announces the file.
        match up {
            true => self.client(&["--send-file", file, "--to", "#lobby"]),
            false => self.client(&["--get", "1", "--from", "#lobby", "-o", file]),
        }
    }
}

struct Scp(Host);

impl Courier for Scp {
    fn server(&self) -> &Process {
        &self.0.process
    }

    fn command(&self, up: bool, file: &Path) -> Command {
        let folder = self.0.folder.path();
        let (host, port) = self.0.address.split_once(':').unwrap();
        let there = format!("{host}:{}", folder.join("file").display());
        let mut command = Command::new("scp");
        command.args(["-q", "-P", port, "-c", "aes256-gcm@openssh.com", "-i"]);
        command.arg(folder.join("client")).args(["-o", "StrictHostKeyChecking=no"]);
        command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
        let here = file.display().to_string();
        let ends = if up { [here, there] } else { [there, here] };
        command.args(ends);
        command
    }
}

struct Nginx(Host);

impl Courier for Nginx {
    fn server(&self) -> &Process {
        &self.0.process
    }

    fn command(&self, up: bool, file: &Path) -> Command {
        let mut command = Command::new("curl");
        command.args(["-s", "-S", "-f", "--cacert"]).arg(self.0.folder.path().join("cert.pem"));
        command.arg(if up { "-T" } else { "-o" }).arg(file);
        command.arg(format!("https://{}/file", self.0.address));
        command
    }
}

pub fn measure(options: &Options) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    write_random(&file, options.mib << 10);
    if let Some(transfers) = options.at_once {
        return at_once(&file, transfers);
    }
    let mut couriers: Vec<(&str, Box<dyn Courier>)> = vec![("pychat", Box::new(Pychat::start()))];
    if !options.alone {
        couriers.push(("scp, AES-256-GCM", Box::new(Scp(Host::start("sshd")))));
        couriers.push(("curl and nginx, TLS 1.3", Box::new(Nginx(Host::start("nginx")))));
    }
    println!(
        "{} MiB, medians of {} turns\n\n| | direction | MiB/s | server CPU s/GiB | client CPU s/GiB \
         | client KiB | server grew KiB |\n|---|---|---|---|---|---|---|",
        options.mib, options.rounds
    );
    let gib = options.mib as f64 / 1_024.0;
    let mut all: Vec<Vec<Transfer>> = (0..2 * couriers.len()).map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (index, (name, courier)) in couriers.iter().enumerate() {
            for (up, offset) in [(true, 0), (false, 1)] {
                let back = folder.path().join("back");
                let path: &PathBuf = if up { &file } else { &back };
                all[2 * index + offset].push(courier.moves(up, path));
                if !up {
                    assert!(is_same(&back, &file), "{name}");
                    fs::remove_file(back).unwrap();
                }
            }
        }
    }
    for (row, transfers) in all.iter().enumerate() {
        let of = |figure: fn(&Transfer) -> f64| middle_of(transfers.iter().map(figure));
        let (rate, server) = (of(|it| 1.0 / it.seconds), of(|it| it.server_cpu_s));
        let (client, memory) = (of(|it| it.client_cpu_s), of(|it| it.client_kib as f64));
        println!(
            "| {} | {} | {:.0} | {:.2} | {:.2} | {memory:.0} | {:.0} |",
            couriers[row / 2].0,
            ["up", "down"][row % 2],
            rate * options.mib as f64,
            server / gib,
            client / gib,
            transfers.iter().map(|it| it.server_grew_kib).max().unwrap_or(0),
        );
    }
    drop(couriers);
    if !options.alone {
        // With 2 cores, 8 clients at the priority of the server take most of its time. Clients of
        // real users run on other computers.
        beside_chat(options, &file, "0");
        beside_chat(options, &file, "19");
    }
}

/// Compares two files without reading them whole.
fn is_same(one: &Path, other: &Path) -> bool {
    let [mut one, mut other] = [one, other].map(|path| File::open(path).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let length = one.metadata().unwrap().len();
    if other.metadata().unwrap().len() != length {
        return false;
    }
    let mut rest = length;
    while rest > 0 {
        let part = rest.min(1 << 20) as usize;
        one.read_exact(&mut left[..part]).unwrap();
        other.read_exact(&mut right[..part]).unwrap();
        if left[..part] != right[..part] {
            return false;
        }
        rest -= part as u64;
    }
    true
}

/// Measures how equally transfers that begin together share the server.
fn at_once(file: &Path, transfers: usize) {
    let pychat = Pychat::start();
    let mut first = pychat.command(true, file).spawn().unwrap();
    assert!(first.wait().unwrap().success());
    let folder = tempfile::tempdir().unwrap();
    let before_kib = pychat.server.process.high_water_kib().unwrap();
    let began = Instant::now();
    let running: Vec<_> = (0..transfers)
        .map(|number| {
            let is_up = number % 2 == 0;
            let back = folder.path().join(number.to_string());
            let mut command = pychat.command(is_up, if is_up { file } else { &back });
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
            let ends = thread::spawn(move || {
                Process(child).ends();
                began.elapsed().as_secs_f64()
            });
            (is_up, back, ends)
        })
        .collect();
    let mut seconds = [Vec::new(), Vec::new()];
    for (is_up, back, ends) in running {
        seconds[usize::from(is_up)].push(ends.join().unwrap());
        assert!(is_up || is_same(&back, file));
    }
    for (way, mut seconds) in ["down", "up"].into_iter().zip(seconds) {
        seconds.sort_by(f64::total_cmp);
        let (Some(middle), Some(slowest)) = (seconds.get(seconds.len() / 2), seconds.last()) else {
            continue;
        };
        println!(
            "{} {way}: median {middle:.1} s, slowest {slowest:.1} s, {:.2} times the median",
            seconds.len(),
            slowest / middle
        );
    }
    let grew = pychat.server.process.high_water_kib().unwrap() - before_kib;
    println!("the server's memory grew by {grew} KiB");
}

/// Measures the delay of other members' messages during uploads and downloads by clients of this
/// priority (`nice`).
fn beside_chat(options: &Options, file: &Path, nice: &str) {
    let pychat = Pychat::start();
    let mut first = pychat.command(true, file).spawn().unwrap();
    assert!(first.wait().unwrap().success());
    let mut crew = Crew::enter(&pychat.server, 1, 10);
    let plan = Plan {
        rooms: 1,
        members: 10,
        senders: 5,
        window: usize::MAX,
        pace: Some(10.0),
        seconds: 10.0,
        stop_every: None,
    };
    let idle = crew.run(&pychat.server, plan);
    let folder = tempfile::tempdir().unwrap();
    let transfers: Vec<_> = (0..options.beside)
        .flat_map(|number| {
            let back = folder.path().join(number.to_string());
            [pychat.command(true, file), pychat.command(false, &back)]
        })
        .map(|command| {
            let mut command = under(nice, command);
            Process(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
        })
        .collect();
    let busy = crew.run(&pychat.server, plan);
    let alive = transfers.into_iter().map(|mut it| it.0.try_wait().unwrap().is_none());
    println!(
        "\nOthers' messages, p50 / p99 ms: {:.2} / {:.2} idle, {:.2} / {:.2} beside {} uploads and as \
         many downloads of clients with nice {nice} ({} of {} still under way at the end)",
        idle.p50_ms,
        idle.p99_ms,
        busy.p50_ms,
        busy.p99_ms,
        options.beside,
        alive.filter(|it| *it).count(),
        2 * options.beside,
    );
}

#[derive(Parser)]
pub struct LinkOptions {
    /// Size of the file, in KiB.
    #[arg(long, default_value_t = 2_560)]
    kib: usize,
    /// Seconds without a transfer.
    #[arg(long, default_value_t = 20)]
    idle_s: u64,
}

/// Measures a client's own messages while it sends a file and fetches it, on a link that the caller
/// has made slow. Packets to the server have the address 127.0.0.2, so that each direction can have
/// a queue of its own.
pub fn measure_link(options: &LinkOptions) {
    let pychat = Pychat::start_at("127.0.0.2:0");
    let file = pychat.folder.path().join("file");
    write_random(&file, options.kib);
    let mut talker = Talker::start(&pychat);
    println!("| | kB/s | own messages | p50 ms | p99 ms | slowest ms |\n|---|---|---|---|---|---|");
    let until = Instant::now() + Duration::from_secs(options.idle_s);
    let idle = talker.talks(|_| Instant::now() >= until);
    report("idle", 0.0, idle);
    let up = r##"{"type":"send_file","path":"file","to":"#lobby"}"##;
    let down = r##"{"type":"get_file","to":"#lobby","seq":"SEQ","path":"back"}"##;
    for (what, request, state) in [("up", up, "sent"), ("down", down, "saved")] {
        let end = format!("\"state\":\"{state}\"");
        talker.writes(&request.replace("SEQ", &talker.sent));
        let began = Instant::now();
        let delays = talker.talks(|line| line.contains(&end));
        let seconds = began.elapsed().as_secs_f64();
        report(what, options.kib as f64 * 1.024 / seconds, delays);
    }
    assert!(fs::read(pychat.folder.path().join("back")).unwrap() == fs::read(&file).unwrap());
}

fn report(what: &str, rate: f64, mut delays: Vec<f64>) {
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    let (p50, p99, last) = (at(0.5), at(0.99), at(1.0));
    println!("| {what} | {rate:.1} | {} | {p50:.0} | {p99:.0} | {last:.0} |", delays.len());
}

/// A program that sends a message five times a second.
struct Talker {
    stdin: ChildStdin,
    lines: Receiver<String>,
    /// The number of the message that announces the file.
    sent: String,
    _process: Process,
}

impl Talker {
    const PAUSE: Duration = Duration::from_millis(200);

    fn start(pychat: &Pychat) -> Talker {
        let mut command = pychat.client(&["--json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (read, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut all = BufReader::new(stdout).lines().map_while(Result::ok);
            all.all(|line| read.send(line).is_ok())
        });
        let connected = |line: &String| line.contains("\"connected\"");
        assert!(lines.iter().any(|line| connected(&line)));
        Talker { stdin, lines, sent: String::new(), _process: Process(child) }
    }

    fn writes(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Sends messages until `ends` accepts a printed line, or the time is over. Returns the
    /// milliseconds until each message was acknowledged.
    fn talks(&mut self, ends: impl Fn(&str) -> bool) -> Vec<f64> {
        let (mut waiting, mut delays) = (VecDeque::new(), Vec::new());
        let mut next = Instant::now();
        let mut is_over = false;
        while !is_over || !waiting.is_empty() {
            if !is_over && Instant::now() >= next {
                waiting.push_back(Instant::now());
                self.writes(r##"{"type":"say","to":"#lobby","text":"how long does it take"}"##);
                next += Talker::PAUSE;
            }
            let left = if is_over { Talker::PAUSE } else { next - Instant::now() };
            let line = self.lines.recv_timeout(left).unwrap_or_default();
            is_over |= ends(&line);
            if line.contains("\"type\":\"ack\"") {
                let said: Option<Instant> = waiting.pop_front();
                delays.extend(said.map(|said| said.elapsed().as_secs_f64() * 1_000.0));
            }
            if line.contains("\"state\":\"sent\"") {
                let sent: serde_json::Value = serde_json::from_str(&line).unwrap();
                self.sent = sent["seq"].as_str().unwrap().to_owned();
            }
        }
        delays
    }
}

/// The same command with a priority.
fn under(nice: &str, command: Command) -> Command {
    let mut niced = Command::new("nice");
    niced.args(["-n", nice]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        niced.env(name, value.expect("none is removed"));
    }
    if let Some(folder) = command.get_current_dir() {
        niced.current_dir(folder);
    }
    niced.stderr(Stdio::null());
    niced
}

/// Writes a file of incompressible bytes.
fn write_random(path: &Path, kib: usize) {
    let mut file = File::create(path).unwrap();
    for _ in 0..kib {
        let part: Vec<u8> = (0..1 << 7).flat_map(|_| rand::random::<u64>().to_le_bytes()).collect();
        file.write_all(&part).unwrap();
    }
    file.sync_all().unwrap();
}
