//! One run: members in rooms. Some of them send, with a fixed window of lines in flight or at a
//! fixed rate. The run measures the cost for the server.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::client::{Client, Subject};
use crate::line;

/// Lines that a sender hands over at once at most.
const AT_ONCE: u64 = 64;
/// Members whose every line is timed; all others only count.
const TIMED: usize = 10;
/// A room that is silent for this long has nothing more to come.
const SILENCE: Duration = Duration::from_millis(300);
/// A line that has not come home after this long of silence never will.
const LOST: Duration = Duration::from_secs(20);
/// Threads of the load.
const THREADS: usize = 2;

/// What is asked of the server.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub rooms: usize,
    /// Of each room.
    pub members: usize,
    /// Of each room.
    pub senders: usize,
    /// Lines of a sender that have not come to the next member yet.
    pub window: usize,
    /// Lines a second of each sender, instead of as many as can be.
    pub pace: Option<f64>,
    pub seconds: f64,
    /// Members whose number in all is a multiple of this do not read until the time is over.
    pub stop_every: Option<usize>,
}

/// What it took.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    pub per_second: f64,
    pub cpu_us: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Of each line and each member who stopped, the part that came when they read again.
    pub caught_up: f64,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measurement { per_second, cpu_us, p50_ms, p99_ms, .. } = self;
        write!(f, "{per_second:.0} | {cpu_us:.3} | {p50_ms:.2} | {p99_ms:.2}")
    }
}

/// Everybody who takes part, one room after the other.
pub struct Crew {
    members: Vec<Box<dyn Client>>,
    per_room: usize,
}

/// What a member does in a run.
struct Part {
    room: String,
    /// Their number among all.
    number: usize,
    /// How many lines they have sent, if they do.
    sender: Option<u64>,
    /// Somebody on another thread acknowledges their lines as well.
    seen_afar: bool,
    /// Whose lines come home when they arrive here.
    acknowledges: Option<usize>,
    timed: bool,
    /// They do not read.
    stopped: bool,
}

/// What the threads of a run share.
struct Run {
    began: Instant,
    plan: Plan,
    /// Lines delivered of each sender: to a member on the sender's own load thread, and to one on
    /// another thread. The window counts both, so that a thread without a core cannot fall behind.
    home: Vec<[AtomicU64; 2]>,
    deliveries: AtomicU64,
    /// Threads whose lines are not all home.
    under_way: AtomicUsize,
    measuring: AtomicBool,
    over: AtomicBool,
}

fn room(index: usize, rooms: usize) -> String {
    if rooms == 1 { "#lobby".into() } else { format!("#r{rooms}-{index}") }
}

impl Crew {
    /// Members come in, from all threads at once.
    pub fn enter(subject: &dyn Subject, rooms: usize, per_room: usize) -> Crew {
        let count = rooms * per_room;
        let share = count.div_ceil(THREADS);
        let mut members = thread::scope(|scope| {
            let part = |from: usize| {
                let enter =
                    move |number: usize| subject.enter(number, &room(number / per_room, rooms));
                move || (from..count.min(from + share)).map(enter).collect::<Vec<_>>()
            };
            let threads: Vec<_> =
                (0..count).step_by(share).map(|from| scope.spawn(part(from))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        settle(&mut members, |_, _| ());
        Crew { members, per_room }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// One run: a moment to get going, then the time that counts.
    pub fn run(&mut self, subject: &dyn Subject, plan: Plan) -> Measurement {
        assert_eq!((self.per_room, self.len()), (plan.members, plan.rooms * plan.members));
        let count = self.len();
        let share = count.div_ceil(THREADS);
        let run = Run {
            began: Instant::now(),
            plan,
            home: (0..count).map(|_| Default::default()).collect(),
            deliveries: AtomicU64::new(0),
            under_way: AtomicUsize::new(count.div_ceil(share)),
            measuring: AtomicBool::new(false),
            over: AtomicBool::new(false),
        };
        let mut parts = parts(plan, share);
        let mut measured = thread::scope(|scope| {
            let shares = self.members.chunks_mut(share).zip(parts.chunks_mut(share));
            let threads: Vec<_> = shares
                .map(|(members, parts)| {
                    let run = &run;
                    scope.spawn(move || play(members, parts, run))
                })
                .collect();
            thread::sleep(Duration::from_secs(1));
            run.measuring.store(true, Ordering::Relaxed);
            let deliveries = || run.deliveries.load(Ordering::Relaxed);
            let look = || (Instant::now(), deliveries(), subject.process().cpu());
            let (began, deliveries, cpu) = look();
            thread::sleep(Duration::from_secs_f64(plan.seconds));
            let (ended, deliveries_after, cpu_after) = look();
            run.over.store(true, Ordering::Relaxed);
            let latencies = threads.into_iter().flat_map(|thread| thread.join().unwrap());
            let mut latencies_us: Vec<u32> = latencies.collect();
            latencies_us.sort_unstable();
            let ms = |part: usize| {
                let index = latencies_us.len() * part / 100;
                latencies_us.get(index).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
            };
            let deliveries = (deliveries_after - deliveries) as f64;
            Measurement {
                per_second: deliveries / (ended - began).as_secs_f64(),
                cpu_us: (cpu_after - cpu).as_secs_f64() * 1e6 / deliveries,
                p50_ms: ms(50),
                p99_ms: ms(99),
                caught_up: f64::NAN,
            }
        });
        let mut late = 0;
        settle(&mut self.members, |index, body| {
            late += if parts[index].stopped { line::count(body) } else { 0 };
        });
        let said: u64 = parts.iter().filter_map(|part| part.sender).sum();
        let stopped = parts.iter().filter(|part| part.stopped).count() as u64;
        measured.caught_up = late as f64 / (said * stopped) as f64;
        measured
    }

    /// From the moment a member says a line until everybody has it, and the server's CPU for it.
    pub fn broadcast(&mut self, subject: &dyn Subject) -> (Duration, Duration) {
        let cpu = subject.process().cpu();
        let began = Instant::now();
        self.members[0].say("#lobby", &[line::text(0, 0)]);
        // A server that does not tell a sender their own line leaves them out.
        let least = self.len() as u64 - 1;
        let mut got = 0;
        let epoll = watch(&self.members, |_| true);
        while got < least {
            for index in ready(&epoll, 100) {
                self.members[index].receive(&mut |body| got += line::count(body));
            }
        }
        let took = began.elapsed();
        settle(&mut self.members, |_, _| ());
        (took, subject.process().cpu() - cpu)
    }
}

/// The middle of each figure.
pub fn middle(runs: &[Measurement]) -> Measurement {
    let of = |figure: fn(&Measurement) -> f64| middle_of(runs.iter().map(figure));
    Measurement {
        per_second: of(|run| run.per_second),
        cpu_us: of(|run| run.cpu_us),
        p50_ms: of(|run| run.p50_ms),
        p99_ms: of(|run| run.p99_ms),
        caught_up: of(|run| run.caught_up),
    }
}

pub fn middle_of(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Who does what. A sender and whoever acknowledges their lines are on one thread of the load, so
/// that none has to be woken for the other.
fn parts(plan: Plan, share: usize) -> Vec<Part> {
    let count = plan.rooms * plan.members;
    let timed_every = count.div_ceil(TIMED.min(count));
    let sends_every = plan.members.div_ceil(plan.senders.min(plan.members));
    let stops = |number: usize| plan.stop_every.is_some_and(|every| number % every == every - 1);
    let mut parts: Vec<Part> = (0..count)
        .map(|number| Part {
            room: room(number / plan.members, plan.rooms),
            number,
            sender: (number % plan.members).is_multiple_of(sends_every).then_some(0),
            seen_afar: false,
            acknowledges: None,
            timed: number % timed_every == 1 % timed_every,
            stopped: stops(number),
        })
        .collect();
    let senders: Vec<usize> = (0..count).filter(|one| parts[*one].sender.is_some()).collect();
    let fits = |parts: &[Part], sender: usize, other: usize| {
        let together = other / plan.members == sender / plan.members;
        together && !stops(other) && parts[other].acknowledges.is_none()
    };
    for sender in &senders {
        let near = |other: &usize| other / share == sender / share && fits(&parts, *sender, *other);
        let other = [sender + 1, sender.wrapping_sub(1), *sender].into_iter().find(near);
        parts[other.expect("a sender has a neighbour")].acknowledges = Some(*sender);
    }
    for sender in senders.into_iter().filter(|_| plan.window > 1) {
        let first = sender / plan.members * plan.members;
        let far = |other: &usize| other / share != sender / share && fits(&parts, sender, *other);
        if let Some(far) = (first..first + plan.members).find(far) {
            parts[far].acknowledges = Some(sender);
            parts[sender].seen_afar = true;
        }
    }
    parts
}

/// Reads for some members and sends for those who do, until the run is over and every line is home.
/// Gives the timed lines' latencies.
fn play(members: &mut [Box<dyn Client>], parts: &mut [Part], run: &Run) -> Vec<u32> {
    let mut latencies_us = Vec::new();
    let first = parts[0].number;
    let own = first..first + parts.len();
    let epoll = watch(members, |index| !parts[index].stopped);
    let senders: Vec<usize> = (0..parts.len()).filter(|one| parts[*one].sender.is_some()).collect();
    let mut turn: Vec<usize> = senders.clone();
    let (mut heard, mut home) = (Instant::now(), false);
    loop {
        let over = run.over.load(Ordering::Relaxed);
        if !over {
            turn.iter().for_each(|index| say(&mut *members[*index], &mut parts[*index], run));
        } else {
            if !home && senders.iter().all(|index| in_flight(&parts[*index], run) == 0) {
                home = true;
                run.under_way.fetch_sub(1, Ordering::Relaxed);
            }
            // Others may wait for what is read here.
            if run.under_way.load(Ordering::Relaxed) == 0 {
                return latencies_us;
            }
        }
        // At a pace, or where others may acknowledge them, all senders are looked at in every turn;
        // else those whose lines came home.
        turn.clear();
        let measuring = run.measuring.load(Ordering::Relaxed);
        let mut deliveries = 0;
        assert!(!over || heard.elapsed() < LOST, "lines are lost: what is in flight never comes");
        for index in ready(&epoll, 1) {
            heard = Instant::now();
            let part = &parts[index];
            members[index].receive(&mut |body| {
                deliveries += line::count(body);
                if !part.timed && part.acknowledges.is_none() {
                    return;
                }
                let now_us = run.began.elapsed().as_micros() as u64;
                for (sender, sent_us) in line::stamps(body) {
                    if part.acknowledges == Some(sender) {
                        let afar = usize::from(!own.contains(&sender));
                        run.home[sender][afar].fetch_add(1, Ordering::Relaxed);
                    }
                    if part.timed && measuring && !over {
                        latencies_us.push(now_us.saturating_sub(sent_us) as u32);
                    }
                }
            });
            let sender = part.acknowledges.filter(|sender| own.contains(sender));
            turn.extend(sender.map(|sender| sender - first));
        }
        if run.plan.pace.is_some() || run.plan.rooms == 1 {
            turn.clone_from(&senders);
        }
        run.deliveries.fetch_add(deliveries, Ordering::Relaxed);
    }
}

fn in_flight(part: &Part, run: &Run) -> u64 {
    let [near, afar] = &run.home[part.number];
    let near = near.load(Ordering::Relaxed);
    let home = if part.seen_afar { near.min(afar.load(Ordering::Relaxed)) } else { near };
    part.sender.unwrap_or(0) - home
}

/// Sends what the window or the pace allows.
fn say(member: &mut dyn Client, part: &mut Part, run: &Run) {
    let flying = in_flight(part, run);
    let Some(sent) = &mut part.sender else { return };
    let elapsed = run.began.elapsed();
    let mut lines = (run.plan.window as u64).saturating_sub(flying);
    if let Some(pace) = run.plan.pace {
        // Those of a room, and the rooms, take turns.
        let phase = (part.number * 7_919 % 1_000) as f64 / 1_000.0;
        lines = lines.min(((elapsed.as_secs_f64() * pace + phase) as u64).saturating_sub(*sent));
    }
    *sent += lines;
    while lines > 0 {
        let now = lines.min(AT_ONCE);
        let text = line::text(part.number, elapsed.as_micros() as u64);
        member.say(&part.room, &vec![text; now as usize]);
        lines -= now;
    }
}

/// Reads on until nobody has got anything for a while.
fn settle(members: &mut [Box<dyn Client>], mut take: impl FnMut(usize, &[u8])) {
    let epoll = watch(members, |_| true);
    let mut last = Instant::now();
    while last.elapsed() < SILENCE {
        for index in ready(&epoll, SILENCE.as_millis() as i64) {
            members[index].receive(&mut |body| take(index, body));
            last = Instant::now();
        }
    }
}

fn watch(members: &[Box<dyn Client>], which: impl Fn(usize) -> bool) -> rustix::fd::OwnedFd {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (index, member) in members.iter().enumerate().filter(|one| which(one.0)) {
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&epoll, member.stream(), data, epoll::EventFlags::IN).unwrap();
    }
    epoll
}

/// Who has something to read; waits for the first.
fn ready(epoll: &rustix::fd::OwnedFd, ms: i64) -> Vec<usize> {
    let mut events = Vec::with_capacity(1_024);
    let patience = Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
    match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&patience)) {
        Ok(_) => events.iter().map(|event| event.data.u64() as usize).collect(),
        Err(rustix::io::Errno::INTR) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}
