//! The one thread that reads for others from the ledger: sessions that come back, and readers that
//! fell behind a tail. A page for each in turn, so that nobody waits for another's long absence.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::hub::Hub;
use super::outlet::{Cursor, Offered, Outlet, PlaceId, Replay};
use super::readers::{self, Asks};
use crate::chat::{Event, Place, Seq};
use crate::ledger::{LedgerError, Page, Reader};
use crate::wire::codec;

/// A page: enough to fill some records, little enough to be a short turn.
const PAGE: Page = Page { lines_max: 200, bytes_max: 48 * 1024 };

/// A ledger that cannot be read now is tried again after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Without anybody to wait for it looks again after this.
const IDLE: Duration = Duration::from_secs(3_600);

/// Who waits for a page.
#[derive(Default)]
pub struct Replayer {
    waiting: Mutex<Waiting>,
    added: Condvar,
}

#[derive(Default)]
struct Waiting {
    now: VecDeque<Arc<Outlet>>,
    /// Nothing could be read for these: they are next again then, in this order.
    later: VecDeque<(Instant, Arc<Outlet>)>,
    /// The last look failed, and the log says so.
    failing: bool,
    asks: Asks,
    closed: bool,
}

impl Replayer {
    /// This session has places that it reads from the ledger.
    pub fn add(&self, outlet: &Arc<Outlet>) {
        if !outlet.queued.swap(true, Ordering::SeqCst) {
            self.lock().now.push_back(Arc::clone(outlet));
            self.added.notify_one();
        }
    }

    /// Nothing can be read for this session now (no descriptor left, say): nothing is a gap because
    /// of that, and nobody else waits for it.
    fn put_off(&self, outlet: &Arc<Outlet>, error: &LedgerError) {
        let mut waiting = self.lock();
        if !std::mem::replace(&mut waiting.failing, true) {
            log::error!("lines cannot be read, which is tried again: {error}");
        }
        if !outlet.queued.swap(true, Ordering::SeqCst) {
            waiting.later.push_back((Instant::now() + RETRY_AFTER, Arc::clone(outlet)));
        }
    }

    /// Asks whether the replayer does its work: it says so before its next page.
    pub fn ask(&self) -> Receiver<()> {
        let (answer, answered) = channel();
        self.lock().asks.push(answer);
        self.added.notify_one();
        answered
    }

    /// The thread may end.
    pub fn close(&self) {
        self.lock().closed = true;
        self.added.notify_all();
    }

    /// What comes next: questions, and whose page is to be read. None once it is closed.
    fn next(&self) -> Option<(Asks, Option<Arc<Outlet>>)> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let asks = std::mem::take(&mut waiting.asks);
            let now = Instant::now();
            while let Some((_, outlet)) = waiting.later.pop_front_if(|(due, _)| *due <= now) {
                waiting.now.push_back(outlet);
            }
            let outlet = pop(&mut waiting.now);
            if !asks.is_empty() || outlet.is_some() {
                return Some((asks, outlet));
            }
            let due = waiting.later.front().map_or(IDLE, |(due, _)| due.duration_since(now));
            let waited = self.added.wait_timeout(waiting, due);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Who is next, if anybody waits, and for however long.
    #[cfg(test)]
    pub fn try_next(&self) -> Option<Arc<Outlet>> {
        let mut waiting = self.lock();
        let later = std::mem::take(&mut waiting.later);
        waiting.now.extend(later.into_iter().map(|(_, outlet)| outlet));
        pop(&mut waiting.now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pop(waiting: &mut VecDeque<Arc<Outlet>>) -> Option<Arc<Outlet>> {
    let outlet = waiting.pop_front()?;
    outlet.queued.store(false, Ordering::SeqCst);
    Some(outlet)
}

/// Runs until the replayer is closed.
pub fn run(hub: &Hub, reader: &dyn Reader) {
    while let Some((asks, outlet)) = hub.replayer().next() {
        readers::answer(asks, reader);
        outlet.iter().for_each(|outlet| turn(hub, outlet, reader));
    }
}

/// One page of the first place that wants one.
pub fn turn(hub: &Hub, outlet: &Arc<Outlet>, reader: &dyn Reader) {
    let wants = |(place, cursor): &(PlaceId, Cursor)| match cursor {
        Cursor::Replay(replay) => Some((*place, *replay)),
        Cursor::Live { .. } => None,
    };
    let Some((id, replay)) = outlet.cursors().iter().find_map(wants) else { return };
    let Some(place) = hub.place_of(id) else { return outlet.unfollow(id) };
    let (bytes, after) = match page(hub, outlet, &place, replay, reader) {
        Ok(page) => page,
        Err(error) => return hub.replayer().put_off(outlet, &error),
    };
    hub.replayer().lock().failing = false;
    match outlet.tell_again(id, replay, &bytes, after) {
        Offered::Taken => {
            if replay.fell_behind && after >= replay.upto {
                hub.tell_people(outlet, &place);
            }
            hub.catch_up(outlet);
        }
        Offered::Parked => hub.flusher().park(Arc::clone(outlet)),
        // The flusher brings it back once its socket is writable.
        Offered::StillParked | Offered::Over => {}
        Offered::Elsewhere | Offered::Behind => hub.catch_up(outlet),
    }
}

/// The next lines as their reader is told them, with the gaps between them, and the last one's seq.
fn page(
    hub: &Hub,
    outlet: &Outlet,
    place: &Place,
    replay: Replay,
    reader: &dyn Reader,
) -> Result<(Vec<u8>, Seq), LedgerError> {
    let Some(user) = hub.user_of(outlet.id) else { return Ok((Vec::new(), replay.upto)) };
    let to = place.as_seen_by(&user);
    let lines = reader.read(place, replay.after, replay.upto, PAGE)?;
    let mut bytes = Vec::new();
    let gap = |bytes: &mut Vec<u8>, from: Seq, upto: Seq, kept| {
        if from < upto && !replay.fresh {
            let (from_seq, to_seq) = (Seq(from.0 + 1), upto);
            codec::encode(&Event::Gap { to: to.clone(), from_seq, to_seq, kept }, bytes);
        }
    };
    gap(&mut bytes, replay.told, replay.after, true);
    let mut last = replay.after;
    for (number, line) in lines.iter().enumerate() {
        if line.seq.0 > last.0 + 1 && !(number == 0 && replay.fresh) {
            gap(&mut bytes, last, Seq(line.seq.0 - 1), false);
        }
        codec::encode(&Event::Message(line.clone()), &mut bytes);
        last = line.seq;
    }
    if lines.is_empty() {
        gap(&mut bytes, last, replay.upto, false);
        last = replay.upto;
    }
    Ok((bytes, last))
}
