//! The window of a connection and direction: how many bytes of files may be on their way, so that
//! the link is full and its queue short. Routers queue seconds of bytes, and a chat message waits
//! behind all of them.
//!
//! An upload counts bytes as sent when they are sent and as acknowledged by HAVE. The reader of a
//! download counts them as sent when its WANT accepts them, and as acknowledged when they arrive.
//!
//! The rate is measured as in BBR ("BBR: Congestion-Based Congestion Control", ACM Queue 2016):
//! bytes acknowledged between two sent pieces, over the longer of the times in which they were sent
//! and acknowledged; of the last rounds the largest counts.

use std::collections::VecDeque;

use crate::limits::RECORD_PLAIN_BYTES_MAX;

/// The smallest piece: 128 ms at 64 kbit/s.
const PIECE_BYTES_MIN: u64 = 1_024;
/// The largest piece: one record of DATA.
pub const PIECE_BYTES_MAX: u64 = RECORD_PLAIN_BYTES_MAX as u64 - 16;
/// Pieces for each second: a chat message waits 31 ms for the piece in front of it.
const PIECES_PER_S: u64 = 32;
/// The window before anything is measured.
const FIRST_BYTES: u64 = 4 * PIECE_BYTES_MIN;
/// At the start the window grows by the acknowledged bytes, divided by this number. A link may
/// begin with a burst: then the whole window is in its queue before an acknowledgement is late. A
/// window that grew by all acknowledged bytes would be up to twice as large by then.
const GROWTH: u64 = 2;
/// Minimum number of pieces in a window, also at the rate of a burst: one piece of the largest size
/// takes half a second at 256 kbit/s.
const PIECES_MIN: u64 = 2;
const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// A reader reports the room of a window in this many steps: the link stays full. Steps above
/// 64 KiB would save little.
const STEPS: u64 = 8;
const STEP_BYTES_MAX: u64 = 64 << 10;
/// The queue that a transfer keeps in the link is worth this time: 64 KiB, but within bounds. Below
/// 25 ms, delays of the systems on both sides would empty it. 80 ms hold two pieces and a half, and
/// more of them would delay messages and carry nothing more.
const QUEUE_BYTES: u64 = 64 << 10;
const QUEUE_US: (u64, u64) = (25_000, 80_000);
/// The shortest round trip is measured again after this time, since a route may change.
const ROUND_TRIP_US: u64 = 60_000_000;
/// Pieces that measure it, one after the other: a pause of the other side spoils one.
const PROBES: u8 = 3;
/// Rounds whose largest rate counts.
const ROUNDS: usize = 6;

const SECOND_US: u64 = 1_000_000;

/// A piece on its way, and what was acknowledged when it was sent.
#[derive(Debug)]
struct Piece {
    transfer: u32,
    upto: u64,
    bytes: u64,
    sent_us: u64,
    acknowledged: u64,
    acknowledged_us: u64,
    /// When the last piece that was acknowledged then had been sent.
    previous_us: u64,
    /// The window was full: what arrives until its acknowledgement shows the rate of the link.
    is_full: bool,
    /// Nothing else was on the way, and so nothing of this window in the link's queue.
    is_alone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Grows by a part of the acknowledged bytes.
    Start,
    Steady,
    /// Sends so many single pieces to measure the shortest round trip.
    Probe(u8),
}

/// The window of one connection and direction. Times are in microseconds of any clock that does not
/// go back.
#[derive(Debug)]
pub struct Window {
    phase: Phase,
    bytes: u64,
    pieces: VecDeque<Piece>,
    on_the_way: u64,
    /// Bytes acknowledged in all, and when the last ones were.
    acknowledged: u64,
    acknowledged_us: u64,
    previous_us: u64,
    /// The largest rates of the last rounds, in bytes per second, the newest last.
    rates: VecDeque<u64>,
    /// A round ends when a piece that was sent after its begin is acknowledged.
    round_end: u64,
    /// The shortest round trip, and when it was measured.
    round_trip: Option<(u64, u64)>,
    /// The shortest one of the pieces of this probe.
    probed_us: u64,
}

impl Default for Window {
    fn default() -> Self {
        Window {
            phase: Phase::Start,
            bytes: FIRST_BYTES,
            pieces: VecDeque::new(),
            on_the_way: 0,
            acknowledged: 0,
            acknowledged_us: 0,
            previous_us: 0,
            rates: VecDeque::new(),
            round_end: 0,
            round_trip: None,
            probed_us: u64::MAX,
        }
    }
}

impl Window {
    /// Returns the size of the next piece; `None` while the window is full.
    pub fn piece(&self) -> Option<u64> {
        let piece = self.piece_bytes();
        (self.on_the_way == 0 || self.on_the_way + piece <= self.bytes).then_some(piece)
    }

    /// Returns whether a reader should report the room of the window. If it reported each piece, a
    /// fast download would cost both sides a record for each record.
    pub fn has_step(&self) -> bool {
        let step = (self.bytes / STEPS).min(STEP_BYTES_MAX);
        self.on_the_way == 0 || self.on_the_way + step <= self.bytes
    }

    /// Returns the bytes that are on their way.
    pub fn on_the_way(&self) -> u64 {
        self.on_the_way
    }

    /// Returns the rate of the link in bytes per second, as far as it is known.
    pub fn rate(&self) -> Option<u64> {
        self.rates.iter().copied().max().filter(|rate| *rate > 0)
    }

    /// Records a sent piece: the bytes of `transfer` before `upto`, `bytes` of them for the first
    /// time.
    pub fn sent(&mut self, now_us: u64, transfer: u32, upto: u64, bytes: u64) {
        let is_alone = self.on_the_way == 0;
        if is_alone {
            // The pause is not the link's.
            (self.acknowledged_us, self.previous_us) = (now_us, now_us);
        }
        self.on_the_way += bytes;
        let is_full = self.piece().is_none() && !matches!(self.phase, Phase::Probe(_));
        self.pieces.push_back(Piece {
            transfer,
            upto,
            bytes,
            sent_us: now_us,
            acknowledged: self.acknowledged,
            acknowledged_us: self.acknowledged_us,
            previous_us: self.previous_us,
            is_full,
            is_alone,
        });
    }

    /// Records that all bytes of `transfer` before `upto` have arrived.
    pub fn acknowledged(&mut self, now_us: u64, transfer: u32, upto: u64) {
        let mut newest = None;
        let mut bytes = 0;
        for piece in self.take(|piece| piece.transfer == transfer && piece.upto <= upto) {
            bytes += piece.bytes;
            newest = Some(piece);
        }
        let Some(piece) = newest else { return };
        self.acknowledged += bytes;
        self.acknowledged_us = now_us;
        self.previous_us = self.previous_us.max(piece.sent_us);
        let rate = self.measure_rate(now_us, &piece);
        let round_trip_us = now_us.saturating_sub(piece.sent_us).max(1);
        self.measure_round_trip(now_us, round_trip_us, piece.is_alone);
        self.resize(bytes, round_trip_us, rate);
    }

    /// Forgets a transfer that has stopped: what is on its way is not acknowledged any more.
    pub fn forget(&mut self, transfer: u32) {
        self.take(|piece| piece.transfer == transfer);
    }

    /// Takes pieces off the way.
    fn take(&mut self, is_wanted: impl Fn(&Piece) -> bool) -> Vec<Piece> {
        let mut taken = Vec::new();
        let mut index = 0;
        while index < self.pieces.len() {
            match is_wanted(&self.pieces[index]) {
                true => taken.extend(self.pieces.remove(index)),
                false => index += 1,
            }
        }
        self.on_the_way -= taken.iter().map(|piece| piece.bytes).sum::<u64>();
        taken
    }

    /// Returns the rate that a piece shows.
    fn measure_rate(&mut self, now_us: u64, piece: &Piece) -> u64 {
        let sending = piece.sent_us - piece.previous_us;
        let acknowledging = now_us.saturating_sub(piece.acknowledged_us);
        let time = sending.max(acknowledging).max(1);
        let rate = (self.acknowledged - piece.acknowledged).saturating_mul(SECOND_US) / time;
        // A window with room shows what was to be sent, not what the link carries.
        if !piece.is_full && self.rate().is_some_and(|known| rate < known) {
            return rate;
        }
        if piece.acknowledged >= self.round_end || self.rates.is_empty() {
            self.round_end = self.acknowledged + self.on_the_way;
            self.rates.push_back(0);
            if self.rates.len() > ROUNDS {
                self.rates.pop_front();
            }
        }
        let round = self.rates.back_mut().expect("a round has begun");
        *round = rate.max(*round);
        rate
    }

    fn measure_round_trip(&mut self, now_us: u64, round_trip_us: u64, is_alone: bool) {
        match self.phase {
            // Pieces from before the probe have waited in the link's queue.
            Phase::Probe(_) if !is_alone => {}
            Phase::Probe(left) => {
                self.probed_us = self.probed_us.min(round_trip_us);
                self.phase = Phase::Probe(left - 1);
                if left == 1 {
                    self.round_trip = Some((self.probed_us, now_us));
                    self.phase = Phase::Steady;
                }
            }
            Phase::Start | Phase::Steady => match self.round_trip {
                Some((shortest, _)) if round_trip_us > shortest => {}
                _ => self.round_trip = Some((round_trip_us, now_us)),
            },
        }
        let is_old = |(_, at_us)| now_us.saturating_sub(at_us) > ROUND_TRIP_US;
        if self.phase == Phase::Steady && self.round_trip.is_some_and(is_old) {
            (self.phase, self.probed_us) = (Phase::Probe(PROBES), u64::MAX);
        }
    }

    fn resize(&mut self, bytes: u64, round_trip_us: u64, piece_rate: u64) {
        let Some((shortest, _)) = self.round_trip else { return };
        let (rate, queue) = (self.rate().unwrap_or(0), self.queue_us());
        let late = round_trip_us.saturating_sub(shortest);
        if self.phase == Phase::Start {
            if late <= queue / 2 && self.bytes < WINDOW_BYTES_MAX {
                self.bytes = (self.bytes + bytes / GROWTH).min(WINDOW_BYTES_MAX);
                return;
            }
            self.phase = Phase::Steady;
            if late > queue / 2 {
                // Only now the link is full. Some links begin with a burst, at another rate.
                self.rates = [piece_rate].into();
            }
        }
        if let Phase::Probe(_) = self.phase {
            // Single pieces of the smallest size.
            self.bytes = 0;
            return;
        }
        if late > 3 * queue {
            // The link has become slower: only the last round shows its rate, and of a first round
            // only this piece. Some links begin with a burst.
            match self.rates.len() {
                0 | 1 => self.rates = [piece_rate].into(),
                rounds => drop(self.rates.drain(..rounds - 1)),
            }
        }
        let rate = self.rate().unwrap_or(rate);
        let time = u128::from(shortest + queue);
        let bytes = u128::from(rate) * time / u128::from(SECOND_US);
        let least = PIECES_MIN * PIECE_BYTES_MIN;
        self.bytes = bytes.min(u128::from(WINDOW_BYTES_MAX)).max(u128::from(least)) as u64;
    }

    fn piece_bytes(&self) -> u64 {
        let piece = self.rate().unwrap_or(0) / PIECES_PER_S;
        piece.min(self.bytes / PIECES_MIN).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX)
    }

    fn queue_us(&self) -> u64 {
        let time = QUEUE_BYTES * SECOND_US / self.rate().unwrap_or(1);
        time.clamp(QUEUE_US.0, QUEUE_US.1)
    }
}
