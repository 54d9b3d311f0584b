//! A process of a test, what it has printed, and what it costs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::DEADLINE;

/// What a process has printed, as it comes.
#[derive(Clone, Default)]
struct Lines(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    /// Nothing more can come.
    is_whole: bool,
}

impl Lines {
    /// Collects the lines of a source, if there is one.
    fn follow(&self, source: Option<impl Read + Send + 'static>) {
        let Some(source) = source else {
            self.lock().is_whole = true;
            return;
        };
        let printed = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                printed.lock().lines.push(line);
                printed.0.1.notify_all();
            }
            printed.lock().is_whole = true;
            printed.0.1.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.0.lock().unwrap()
    }

    /// Waits until everything that a process has printed before its end is there.
    #[track_caller]
    fn wait_for_all(&self) {
        let printed = self.lock();
        let waits = self.0.1.wait_timeout_while(printed, DEADLINE, |printed| !printed.is_whole);
        let (printed, _) = waits.unwrap();
        assert!(printed.is_whole, "the process has ended and its output has not");
    }

    /// The first line that holds `text`, now or before the deadline.
    fn find(&self, text: &str, deadline: Duration) -> Option<String> {
        let until = Instant::now() + deadline;
        let mut printed = self.lock();
        loop {
            if let Some(line) = printed.lines.iter().find(|line| line.contains(text)) {
                return Some(line.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            printed = self.0.1.wait_timeout(printed, left).unwrap().0;
        }
    }

    fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }
}

/// A process that is ended with the test.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Lines,
    err: Lines,
}

impl Program {
    pub fn start(mut command: Command) -> Program {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Program::with_output(command)
    }

    /// A command whose stdin, stdout and stderr the test has chosen. Those that are pipes to the
    /// test are read.
    pub fn with_output(mut command: Command) -> Program {
        let mut child = command.spawn().unwrap();
        let (out, err) = (Lines::default(), Lines::default());
        out.follow(child.stdout.take());
        err.follow(child.stderr.take());
        Program { stdin: child.stdin.take(), child, out, err }
    }

    pub fn types(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line that holds `text`.
    #[track_caller]
    pub fn sees(&self, text: &str) -> String {
        self.out.find(text, DEADLINE).unwrap_or_else(|| {
            panic!("never saw {text:?} in\n{:#?}\nstderr\n{:#?}", self.out.all(), self.err.all())
        })
    }

    /// Waits for a line on stderr.
    #[track_caller]
    pub fn is_told(&self, text: &str) -> String {
        let found = self.err.find(text, DEADLINE);
        found.unwrap_or_else(|| panic!("never told {text:?} but\n{:#?}", self.err.all()))
    }

    #[track_caller]
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.out.wait_for_all();
        self.err.wait_for_all();
    }

    /// All lines of stdout so far.
    pub fn shown(&self) -> Vec<String> {
        self.out.all()
    }

    /// The objects of a type that a `--json` client has printed so far.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let objects = self.shown().into_iter().filter_map(|line| serde_json::from_str(&line).ok());
        objects.filter(|object: &Value| object["type"] == kind).collect()
    }

    /// All lines of stderr so far.
    pub fn told(&self) -> Vec<String> {
        self.err.all()
    }

    /// Waits until `enough` of what was shown.
    #[track_caller]
    pub fn shows(&self, what: &str, enough: impl Fn(&[String]) -> bool) {
        let until = Instant::now() + 9 * DEADLINE;
        loop {
            let printed = self.out.lock();
            if enough(&printed.lines) {
                return;
            }
            if Instant::now() >= until {
                let (last, all) = (printed.lines.iter().rev().take(5), printed.lines.len());
                let last = last.collect::<Vec<_>>();
                panic!("never {what}; last of {all} {last:#?}; {:#?}", self.err.all());
            }
            drop(printed);
            // A look at all lines is dear: not at each new one.
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits for a line on stderr, which is not found a second time.
    #[track_caller]
    pub fn forgets(&self, text: &str) {
        let line = self.is_told(text);
        let lines = &mut self.err.lock().lines;
        let index = lines.iter().position(|one| *one == line).unwrap();
        lines.remove(index);
    }

    pub fn seen(&self, text: &str) -> usize {
        self.out.all().iter().filter(|line| line.contains(text)).count()
    }

    pub fn hangs_up(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end, and until all that it has printed is there.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.out.wait_for_all();
                self.err.wait_for_all();
                return status;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        panic!("still running; stderr {:#?}", self.err.all());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        cpu(self.pid())
    }

    /// The same of the thread of this name; none once it has ended.
    pub fn cpu_of(&self, thread: &str) -> Option<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid().as_raw_nonzero())).ok()?;
        let stats =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let own = |stat: &String| stat.contains(&format!(" ({thread}) "));
        stats.into_iter().find(own).map(|stat| spent(&stat))
    }

    /// Visits the memory that the process can write, in pieces.
    pub fn in_memory(&self, visit: &mut dyn FnMut(&[u8])) {
        let maps = proc(self.pid(), "maps");
        let path = format!("/proc/{}/mem", self.pid().as_raw_nonzero());
        let mut memory = fs::File::open(path).unwrap();
        for line in maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with("rw")) {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let (mut at, end) = (number(from), number(to));
            let mut piece = vec![0; 1 << 20];
            while at < end {
                let bytes = piece.len().min((end - at) as usize);
                memory.seek(SeekFrom::Start(at)).unwrap();
                // Some pages are there and cannot be read.
                if memory.read_exact(&mut piece[..bytes]).is_ok() {
                    visit(&piece[..bytes]);
                }
                at += bytes as u64;
            }
        }
    }

    /// Counts the occurrences of each text in the memory of the process.
    pub fn counts_in_memory(&self, texts: &[&[u8]]) -> Vec<usize> {
        let mut found = vec![0; texts.len()];
        self.in_memory(&mut |piece| {
            for (text, found) in texts.iter().zip(&mut found) {
                *found += positions(piece, text).len();
            }
        });
        found
    }

    /// Resident memory.
    pub fn memory_kib(&self) -> u64 {
        memory_kib(self.pid())
    }
}

/// Returns whether no thread of a process runs, wants to run, or waits for a disk.
pub fn is_asleep(pid: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats.into_iter().all(|stat| stat.rsplit(") ").next().unwrap().starts_with('S'))
}

/// Where a text stands in some bytes.
pub fn positions(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    // The standard library looks for a byte quickly, also in a test that is not optimised.
    while let Ok(1..) = rest.skip_until(text[0]) {
        let at = bytes.len() - rest.len() - 1;
        found.extend(bytes[at..].starts_with(text).then_some(at));
    }
    found
}

/// User and system time of a process so far.
pub fn cpu(pid: Pid) -> Duration {
    spent(&proc(pid, "stat"))
}

/// User and system time in a `stat` of a process or a thread.
fn spent(stat: &str) -> Duration {
    let after_name = stat.rsplit(") ").next().unwrap();
    let ticks = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    // Linux shows these in hundredths of a second.
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Resident memory of a process.
pub fn memory_kib(pid: Pid) -> u64 {
    kib(pid, "VmRSS:")
}

/// The most memory that a process has had.
pub fn peak_kib(pid: Pid) -> u64 {
    kib(pid, "VmHWM:")
}

fn kib(pid: Pid, field: &str) -> u64 {
    let status = proc(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn proc(pid: Pid, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap()
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
