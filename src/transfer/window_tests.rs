//! The window over a simulated link whose router queues without a bound, with chat between.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use proptest::prelude::*;

use super::turns::Turns;
use super::window::Window;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// What decides when the next piece is sent.
trait Paced {
    fn piece(&self) -> Option<u64>;
    fn sent(&mut self, now_us: u64, transfer: u32, upto: u64, bytes: u64);
    fn acknowledged(&mut self, now_us: u64, transfer: u32, upto: u64);
}

impl Paced for Window {
    fn piece(&self) -> Option<u64> {
        Window::piece(self)
    }

    fn sent(&mut self, now_us: u64, transfer: u32, upto: u64, bytes: u64) {
        Window::sent(self, now_us, transfer, upto, bytes);
    }

    fn acknowledged(&mut self, now_us: u64, transfer: u32, upto: u64) {
        Window::acknowledged(self, now_us, transfer, upto);
    }
}

/// The window of a download's reader, who grants bytes in steps.
#[derive(Default)]
struct InSteps {
    window: Window,
    waits: bool,
    pieces: u64,
    steps: u64,
}

impl Paced for InSteps {
    fn piece(&self) -> Option<u64> {
        self.window.piece().filter(|_| !self.waits)
    }

    fn sent(&mut self, now_us: u64, transfer: u32, upto: u64, bytes: u64) {
        self.window.sent(now_us, transfer, upto, bytes);
        self.pieces += 1;
    }

    fn acknowledged(&mut self, now_us: u64, transfer: u32, upto: u64) {
        self.window.acknowledged(now_us, transfer, upto);
        self.waits = !self.window.has_step();
        self.steps += u64::from(!self.waits);
    }
}

/// The control: as many bytes on their way, whatever the link.
struct Fixed {
    bytes: u64,
    on_the_way: u64,
    acknowledged: BTreeMap<u32, u64>,
}

impl Fixed {
    fn new(bytes: u64) -> Fixed {
        Fixed { bytes, on_the_way: 0, acknowledged: BTreeMap::new() }
    }
}

impl Paced for Fixed {
    fn piece(&self) -> Option<u64> {
        (self.on_the_way + 16_368 <= self.bytes).then_some(16_368)
    }

    fn sent(&mut self, _: u64, _: u32, _: u64, bytes: u64) {
        self.on_the_way += bytes;
    }

    fn acknowledged(&mut self, _: u64, transfer: u32, upto: u64) {
        let before = self.acknowledged.insert(transfer, upto).unwrap_or(0);
        self.on_the_way -= upto - before;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Acknowledgement {
        transfer: u32,
        upto: u64,
    },
    Chat {
        sent_us: u64,
    },
    /// Somebody types.
    Types,
}

/// One direction of a link, and the other one without a queue.
struct Link {
    /// Bytes per second, from a time on.
    rates: Vec<(u64, u64)>,
    round_trip_us: u64,
    free_us: u64,
    /// Bytes that pass at once before the rate holds.
    burst: u64,
    /// The longest time that a message would have waited for the link, at any moment.
    queue_us: u64,
}

impl Link {
    fn new(kbit: u64, round_trip_ms: u64) -> Link {
        let rates = vec![(0, kbit * 125)];
        Link { rates, round_trip_us: round_trip_ms * MS, free_us: 0, burst: 0, queue_us: 0 }
    }

    fn rate(&self, now_us: u64) -> u64 {
        self.rates.iter().rev().find(|(from_us, _)| *from_us <= now_us).unwrap().1
    }

    /// When the answer to a message of so many bytes is back.
    fn answer_us(&mut self, now_us: u64, bytes: u64) -> u64 {
        let begin = self.free_us.max(now_us);
        let slow = on_wire(bytes).saturating_sub(self.burst);
        self.burst = self.burst.saturating_sub(on_wire(bytes));
        self.free_us = begin + slow * SECOND / self.rate(begin);
        self.queue_us = self.queue_us.max(self.free_us - now_us);
        self.free_us + self.round_trip_us
    }
}

/// Bytes on the wire of a record with so many bytes of a file, or of a short message: the head of
/// DATA, type, padding, tag, length, and a header of TCP/IPv4 with time stamps for each segment.
fn on_wire(bytes: u64) -> u64 {
    let record = 2 + 16 + (1 + 15 + bytes).next_multiple_of(64);
    record + 52 * record.div_ceil(1_448)
}

/// What a run has shown after its first five seconds.
struct Shown {
    /// Bytes of files for each second.
    rate: u64,
    /// Time from a message to its acknowledgement, in milliseconds, ascending.
    chat_ms: Vec<u64>,
    transfers: BTreeMap<u32, u64>,
}

impl Shown {
    fn percentile(&self, percent: usize) -> u64 {
        self.chat_ms[(self.chat_ms.len() - 1) * percent / 100]
    }
}

fn run(paced: &mut dyn Paced, link: &mut Link, transfers: u32, seconds: u64) -> Shown {
    const WARM_US: u64 = 5 * SECOND;
    let (mut turns, mut sent) = (Turns::default(), BTreeMap::<u32, u64>::new());
    (0..transfers).for_each(|transfer| turns.add(transfer));
    let mut arrivals = BinaryHeap::from([Reverse((0, Arrival::Types))]);
    let (mut chat_ms, mut bytes) = (Vec::new(), 0);
    let (mut random, mut acknowledged) = (7u64, BTreeMap::new());
    while let Some(Reverse((now_us, arrival))) = arrivals.pop() {
        if now_us > seconds * SECOND {
            break;
        }
        match arrival {
            Arrival::Acknowledgement { transfer, upto } => {
                let before = acknowledged.insert(transfer, upto).unwrap_or(0);
                bytes += if now_us > WARM_US { upto - before } else { 0 };
                paced.acknowledged(now_us, transfer, upto);
            }
            Arrival::Chat { sent_us } if sent_us > WARM_US => {
                chat_ms.push((now_us - sent_us) / MS);
            }
            Arrival::Chat { .. } => {}
            Arrival::Types => {
                let back = link.answer_us(now_us, 100);
                arrivals.push(Reverse((back, Arrival::Chat { sent_us: now_us })));
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Few enough to leave a slow link to the file.
                let every_us = (SECOND * 62_500 / link.rate(now_us)).clamp(50 * MS, SECOND);
                let next = now_us + every_us / 2 + (random >> 33) % every_us;
                arrivals.push(Reverse((next, Arrival::Types)));
            }
        }
        while let Some(piece) = paced.piece() {
            let transfer = turns.next(|_| true).unwrap();
            let upto = sent.entry(transfer).or_default();
            *upto += piece;
            let (back, upto) = (link.answer_us(now_us, piece), *upto);
            paced.sent(now_us, transfer, upto, piece);
            let acknowledgement = Arrival::Acknowledgement { transfer, upto };
            arrivals.push(Reverse((back, acknowledgement)));
        }
    }
    chat_ms.sort_unstable();
    Shown { rate: bytes * SECOND / (seconds * SECOND - WARM_US), chat_ms, transfers: acknowledged }
}

/// A link in kbit/s with its round trip in milliseconds, the bytes of files that it must carry in a
/// second, and how long chat may take, in milliseconds for the median and for 99 of 100 messages.
const LINKS: &[(u64, u64, u64, u64, u64)] = &[
    (64, 20, 6_800, 300, 350),
    (256, 20, 27_900, 120, 140),
    (1_000, 20, 117_000, 100, 120),
    (100_000, 2, 11_880_000, 30, 30),
];

/// Whether a link is full and chat quick, and what was shown.
fn is_good(paced: &mut dyn Paced, wanted: (u64, u64, u64, u64, u64)) -> (bool, String) {
    let (kbit, round_trip_ms, rate, median, most) = wanted;
    let seconds = if kbit > 10_000 { 70 } else { 200 };
    let shown = run(paced, &mut Link::new(kbit, round_trip_ms), 1, seconds);
    let (p50, p99) = (shown.percentile(50), shown.percentile(99));
    let is_good = shown.rate >= rate && p50 <= median && p99 <= most;
    let rate = shown.rate;
    (is_good, format!("{kbit} kbit/s: {rate} bytes/s, chat {p50} ms, of 99 in 100 {p99} ms"))
}

#[test]
fn the_link_is_full_and_chat_is_quick() {
    for wanted in LINKS {
        let both: [&mut dyn Paced; 2] = [&mut Window::default(), &mut InSteps::default()];
        for paced in both {
            let (is_good, shown) = is_good(paced, *wanted);
            println!("{shown}");
            assert!(is_good, "{shown}");
        }
    }
}

#[test]
fn a_fast_download_reports_few_of_its_pieces() {
    let mut reader = InSteps::default();
    run(&mut reader, &mut Link::new(1_000_000, 2), 1, 10);
    assert!(reader.steps < reader.pieces / 3, "{} of {}", reader.steps, reader.pieces);
}

#[test]
fn a_fixed_window_fails_where_the_link_is_slow() {
    for wanted in &LINKS[..3] {
        let (is_good, shown) = is_good(&mut Fixed::new(64 << 10), *wanted);
        println!("{shown}");
        assert!(!is_good, "{shown}");
    }
}

#[test]
fn a_far_link_is_filled() {
    for (kbit, round_trip_ms) in [(1_000, 150), (10_000, 80), (100_000, 100)] {
        let shown = run(&mut Window::default(), &mut Link::new(kbit, round_trip_ms), 1, 130);
        assert!(shown.rate > kbit * 125 * 90 / 100, "{kbit}: {}", shown.rate);
        assert!(shown.percentile(99) < round_trip_ms + 160, "{kbit}: {}", shown.percentile(99));
    }
}

#[test]
fn a_link_that_changes_is_followed() {
    // From 10 Mbit/s to 500 kbit/s, and back.
    let rates = vec![(0, 1_250_000), (30 * SECOND, 62_500), (60 * SECOND, 1_250_000)];
    let mut link = Link { rates, round_trip_us: 30 * MS, free_us: 0, burst: 0, queue_us: 0 };
    let shown = run(&mut Window::default(), &mut link, 1, 90);
    let carried = (25 * 1_250_000 + 30 * 62_500 + 30 * 1_250_000) / 85;
    assert!(shown.rate > carried * 85 / 100, "{} of {carried}", shown.rate);
    assert!(shown.percentile(90) < 250, "{} ms", shown.percentile(90));
    assert!(shown.percentile(100) < 2_500, "{} ms", shown.percentile(100));
}

/// A shaper lets its first bytes pass at the rate of the cable.
#[test]
fn a_link_that_begins_with_a_burst_is_not_flooded() {
    for kbit in [256, 1_000, 10_000] {
        let rates = vec![(0, 125_000_000), (2 * MS, kbit * 125)];
        let mut link = Link { rates, round_trip_us: MS, free_us: 0, burst: 0, queue_us: 0 };
        run(&mut Window::default(), &mut link, 1, 10);
        let queue_ms = link.queue_us / MS;
        println!("{kbit} kbit/s: {queue_ms} ms");
        assert!(queue_ms < 300, "{kbit} kbit/s: {queue_ms} ms");
    }
}

/// A token bucket lets its first bytes pass at once. Their rate is not that of the link.
#[test]
fn a_link_with_a_token_bucket_is_not_flooded() {
    for (burst, round_trip_ms, most_ms) in
        [(5_000, 1, 200), (5_000, 20, 200), (20_000, 5, 400), (64_000, 1, 1_000)]
    {
        for kbit in [256, 1_000, 10_000] {
            let both: [&mut dyn Paced; 2] = [&mut Window::default(), &mut InSteps::default()];
            for paced in both {
                let mut link = Link { burst, ..Link::new(kbit, round_trip_ms) };
                run(paced, &mut link, 1, 10);
                let queue_ms = link.queue_us / MS;
                assert!(queue_ms < most_ms, "{kbit} kbit/s, {burst} bytes: {queue_ms} ms");
            }
        }
    }
}

#[test]
fn parallel_transfers_share_one_window() {
    for transfers in [2, 8, 50] {
        let (kbit, round_trip_ms, rate, _, most) = LINKS[2];
        let mut link = Link::new(kbit, round_trip_ms);
        let shown = run(&mut Window::default(), &mut link, transfers, 60);
        assert!(shown.rate >= rate * 97 / 100 && shown.percentile(99) <= most, "{}", shown.rate);
        let (least, most) = (shown.transfers.values().min(), shown.transfers.values().max());
        assert_eq!(shown.transfers.len(), transfers as usize);
        assert!(most.unwrap() - least.unwrap() <= 2 * 16_368, "{least:?} {most:?}");
    }
}

#[test]
fn a_pause_says_nothing_about_the_link() {
    let (mut window, mut link) = (Window::default(), Link::new(1_000, 20));
    run(&mut window, &mut link, 1, 20);
    let before = window.rate().unwrap();
    window.forget(0);
    assert_eq!(window.on_the_way(), 0);
    // A few bytes now and then, as of a reader that waits for its disk.
    for second in 21..80 {
        let now_us = second * SECOND;
        window.sent(now_us, 1, second * 100, 100);
        window.acknowledged(now_us + 21 * MS, 1, second * 100);
    }
    let after = window.rate().unwrap();
    assert!(after > before / 2, "{before} {after}");
}

proptest! {
    #[test]
    fn whatever_is_acknowledged_the_window_stays_within_its_bounds(
        steps in prop::collection::vec((any::<bool>(), 0u64..3_000_000, 0u32..3, 0u64..200_000), 1..300),
    ) {
        let (mut window, mut now_us) = (Window::default(), 0);
        let mut sent = [0; 3];
        for (sends, wait_us, transfer, back) in steps {
            now_us += wait_us;
            let upto = &mut sent[transfer as usize];
            match window.piece() {
                Some(piece) if sends => {
                    prop_assert!((1_024..=16_368).contains(&piece));
                    *upto += piece;
                    window.sent(now_us, transfer, *upto, piece);
                }
                _ => window.acknowledged(now_us, transfer, upto.saturating_sub(back)),
            }
            prop_assert!(window.on_the_way() <= (4 << 20) + 16_368);
        }
        for (transfer, upto) in (0..).zip(sent) {
            window.acknowledged(now_us, transfer, upto);
        }
        prop_assert_eq!(window.on_the_way(), 0);
        prop_assert!(window.piece().is_some());
    }
}
