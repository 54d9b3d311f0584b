//! A client whose output is not read, or cannot be written.

mod world;

use std::fs;
use std::io::{BufRead, BufReader, PipeWriter, Write, pipe};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use world::double::{Double, line};
use world::program::is_asleep;
use world::pty::unread;
use world::{DEADLINE, Program, World};

/// A pipe that takes nothing, whose other end stays open.
fn full_pipe() -> (std::io::PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 1]).is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// Ends a client by a signal; it may take a few seconds.
#[track_caller]
fn signal_ends(mut client: Program, signal: Signal, what: &str) {
    client.signal(signal);
    let began = Instant::now();
    assert_eq!(client.ends().code(), Some(130), "{what} {signal:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{what} {signal:?}: {:?}", began.elapsed());
}

#[test]
fn each_signal_ends_each_face_that_nobody_reads() {
    let faces: [&[&str]; 4] =
        [&["--json"], &["--plain"], &["--tail", "5", "--follow"], &["--tail", "5"]];
    thread::scope(|scope| {
        for face in faces {
            scope.spawn(move || {
                let double = Double::new();
                for signal in SIGNALS {
                    let (_reader, writer) = full_pipe();
                    let mut command = double.command("alice", face);
                    command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::null());
                    let client = Program::with_output(command);
                    let mut guest = double.lets_in();
                    guest.welcomes("alice");
                    let lines: Vec<_> = (1..200).map(|seq| line(seq, "flood")).collect();
                    guest.tells(&lines.join("\n"), DEADLINE);
                    signal_ends(client, signal, &format!("{face:?}"));
                }
            });
        }
    });
}

#[test]
fn each_signal_ends_a_client_whose_errors_nobody_reads_either() {
    let double = Double::new();
    for face in [&["--json"][..], &["--plain"], &["--tail", "5"], &["--send", "hi"]] {
        for signal in SIGNALS {
            let (_reader, writer) = full_pipe();
            let mut command = double.command("alice", face);
            let both = writer.try_clone().unwrap();
            command.stdin(Stdio::piped()).stdout(writer).stderr(both);
            let client = Program::with_output(command);
            let until = Instant::now() + DEADLINE;
            while client.cpu_of("ctrl-c").is_none() {
                assert!(Instant::now() < until, "no thread waits for signals");
                thread::park_timeout(Duration::from_millis(10));
            }
            signal_ends(client, signal, &format!("{face:?}"));
        }
    }
}

/// Such as after Ctrl-S, or in a shell over a connection that hangs.
#[test]
#[cfg(target_os = "linux")]
fn each_signal_ends_a_client_on_a_terminal_that_nobody_reads() {
    let world =
        World::with(r#"{"messages_burst": 1000, "messages_per_s": 1e6, "bytes_per_s": 1e9}"#);
    let mut bob = world.enters("bob");
    world.admit("alice");
    for (round, signal) in SIGNALS.into_iter().enumerate() {
        // More than a terminal buffers.
        for number in 0..100 {
            bob.types(&format!("{} {round}-{number}", "x".repeat(800)));
        }
        bob.sees(&format!(" {round}-99"));
        let mut command = world.program("alice");
        command.args(["client", &world.invite, "--name", "alice", "--plain"]);
        let (mut client, _terminal) = unread(&command);
        let pid = Pid::from_raw(client.process_id().unwrap() as i32).unwrap();
        let (until, mut rests) = (Instant::now() + DEADLINE, 0);
        while rests < 20 {
            assert!(Instant::now() < until, "the client does not fall asleep");
            rests = if is_asleep(pid) { rests + 1 } else { 0 };
            thread::park_timeout(Duration::from_millis(100));
        }
        kill_process(pid, signal).unwrap();
        let status = loop {
            if let Some(status) = client.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > until {
                client.kill().unwrap();
                panic!("{signal:?} does not end it");
            }
            thread::park_timeout(Duration::from_millis(20));
        };
        assert_eq!(status.exit_code(), 130, "{signal:?}");
    }
}

const LINES: usize = 40_000;

#[test]
fn a_program_that_reads_no_answers_costs_bounded_memory_and_no_message() {
    let world = World::with(
        r#"{"messages_burst": 1000000, "messages_per_s": 1e9, "bytes_per_s": 1e12, "text_bytes_max": 8192}"#,
    );
    world.admit("alice");
    let mut command = world.program("alice");
    command.args(["client", &world.invite, "--name", "alice", "--json"]);
    let ((input, mut stdin), (out, output)) = (pipe().unwrap(), pipe().unwrap());
    command.stdin(input).stdout(output).stderr(Stdio::null());
    let client = Program::with_output(command);
    let mut out = BufReader::new(out).lines();
    assert!(out.any(|line| line.unwrap().contains(r#""type":"entered""#)));
    let before_kib = client.memory_kib();
    let (count, counted) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let text = "x".repeat(300);
        for _ in 0..LINES {
            writeln!(stdin, r##"{{"type":"say","to":"#lobby","text":"{text}"}}"##).unwrap();
            let _ = count.send(());
        }
    });
    // It takes what it has room for.
    let mut taken = 0;
    let mut rests = 0;
    while rests < 20 {
        rests = match counted.recv_timeout(Duration::from_millis(100)) {
            Ok(()) => {
                taken += 1;
                0
            }
            // Neither the client nor the server has anything to do.
            Err(_) if [client.pid(), world.server.pid()].into_iter().all(is_asleep) => rests + 1,
            Err(_) => 0,
        };
    }
    let grown = client.memory_kib().saturating_sub(before_kib);
    println!("{grown} KiB more after {taken} lines");
    assert!(taken < LINES, "all {taken} lines were taken");
    assert!(grown < 16 << 10, "{grown} KiB more after {taken} lines");
    // Each message gets its answer after reading resumes.
    let acks = out.map_while(Result::ok).filter(|line| line.contains(r#""type":"ack""#));
    assert_eq!(acks.take(LINES).count(), LINES);
}

/// How a face ends whose stdout is this.
fn ended(world: &World, face: &[&str], stdout: impl Into<Stdio>) -> (Option<i32>, String) {
    let mut command = world.program("alice");
    command.args(["client", &world.invite, "--name", "alice"]).args(face);
    command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
    // Its input goes on: only its output can end it.
    let mut client = Program::with_output(command);
    let code = client.ends().code();
    (code, client.told().join("\n"))
}

#[test]
fn output_that_cannot_be_written_is_an_error_in_every_face() {
    let world = World::new();
    let mut bob = world.enters("bob");
    bob.types("something to print");
    bob.sees("something to print");
    world.admit("alice");
    let faces: [&[&str]; 4] =
        [&["--json"], &["--plain"], &["--tail", "1"], &["--tail", "1", "--follow"]];
    for face in faces {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, told) = ended(&world, face, full);
        assert_eq!(code, Some(1), "{face:?}: {told}");
        assert!(told.contains("error: stdout: No space left"), "{face:?}: {told}");
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let (code, told) = ended(&world, face, writer);
        assert_eq!(code, Some(1), "{face:?} into a closed pipe: {told}");
        assert!(!told.contains("panicked"), "{face:?}: {told}");
    }
}

/// A pipeline such as `pychat client --tail 1 --follow | head -1` ends even if no further message
/// arrives.
#[test]
fn a_client_ends_when_its_reader_goes_also_without_a_further_line() {
    let world = World::new();
    let mut bob = world.enters("bob");
    bob.types("the only one");
    bob.sees("the only one");
    world.admit("alice");
    let faces: [(&[&str], &str); 3] = [
        (&["--json"], "\"entered\""),
        (&["--plain"], "you are in #lobby"),
        (&["--tail", "1", "--follow"], "the only one"),
    ];
    for (face, text) in faces {
        let (reader, writer) = pipe().unwrap();
        let mut command = world.program("alice");
        command.args(["client", &world.invite, "--name", "alice"]).args(face);
        command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped());
        let mut client = Program::with_output(command);
        let mut rows = BufReader::new(reader).lines();
        assert!(rows.any(|row| row.unwrap().contains(text)), "{face:?}");
        drop(rows);
        assert_eq!(client.ends().code(), Some(1), "{face:?}: {:?}", client.told());
    }
}

#[test]
fn output_that_is_dropped_at_the_end_is_counted() {
    let double = Double::new();
    let (_reader, writer) = full_pipe();
    let mut command: Command = double.command("alice", &["--json"]);
    command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped());
    let mut client = Program::with_output(command);
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    guest.is_asked("resume");
    client.types(r#"{"type":"quit"}"#);
    assert_eq!(client.ends().code(), Some(0));
    let told = client.told().join("\n");
    assert!(told.contains("lines of output were not written"), "{told}");
}
