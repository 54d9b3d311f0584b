//! To deliver is to let cursors catch up with the logs: outside the hub's lock, one thread at a time
//! for each place.

use std::sync::Arc;

use super::Hub;
use crate::server::outlet::{Cursor, Offered, Outlet, PlaceId};
use crate::server::tail::{FellBehind, Span};

/// Passes that one thread delivers for others before the flusher takes over.
const PASSES_MAX: usize = 8;

impl Hub {
    /// Lets a session's cursors catch up with the logs of all its places.
    pub fn catch_up(&self, outlet: &Arc<Outlet>) {
        loop {
            let cursors = outlet.cursors();
            if cursors.iter().any(|(_, cursor)| matches!(cursor, Cursor::Replay(_))) {
                self.replayer.add(outlet);
            }
            let inner = self.lock();
            let next = cursors.iter().find_map(|(place, cursor)| {
                let Cursor::Live { position, .. } = cursor else { return None };
                let tail = &inner.logs.get(place)?.tail;
                let read = tail.read(*position).transpose()?;
                Some((*place, read.map_err(|FellBehind| (tail.seq(), tail.end()))))
            });
            drop(inner);
            match next {
                None => return,
                Some((place, Ok(span))) => match outlet.offer(place, &span) {
                    Offered::Taken => {}
                    Offered::Parked => return self.flusher.park(Arc::clone(outlet)),
                    Offered::StillParked | Offered::Over => return,
                    // The cursor moved, or the place is read no more: look again.
                    Offered::Behind | Offered::Elsewhere => {}
                },
                Some((place, Err((upto, position)))) => outlet.fall_behind(place, upto, position),
            }
        }
    }

    /// The flusher's turn at a place that a sender has delivered for long enough.
    pub fn go_on(&self, place: PlaceId) {
        self.deliver(place, true);
    }

    /// Who fills a place faster than it is delivered waits until it is not.
    pub(super) fn hold_back(&self, place: PlaceId) {
        let mut inner = self.lock();
        while inner.logs.get(&place).is_some_and(|log| log.is_crowded(&self.limits)) {
            inner = self.wait(inner);
        }
    }

    /// Offers what is new in a place to its members, until nothing is. One thread at a time does so
    /// for a place, for all who append meanwhile; after some passes the flusher takes over.
    pub(super) fn deliver(&self, place: PlaceId, mut mine: bool) {
        for _ in 0..PASSES_MAX {
            let Some((span, members)) = self.next_span(place, &mut mine) else { return };
            let mut lagging = false;
            let mut taken = 0;
            for outlet in members.iter() {
                match outlet.offer(place, &span) {
                    Offered::Taken => taken += 1,
                    Offered::Over => {}
                    Offered::Parked => {
                        lagging = true;
                        self.flusher.park(Arc::clone(outlet));
                    }
                    Offered::Behind => self.catch_up(outlet),
                    Offered::StillParked | Offered::Elsewhere => lagging = true,
                }
            }
            self.figures.delivered(taken);
            if lagging && let Some(log) = self.lock().logs.get_mut(&place) {
                log.lagging = true;
            }
        }
        self.flusher.take_over(place);
    }

    /// The next span to offer and to whom; none when all is offered or another thread does it.
    pub(super) fn next_span(
        &self,
        place: PlaceId,
        mine: &mut bool,
    ) -> Option<(Span, Arc<Vec<Arc<Outlet>>>)> {
        let mut inner = self.lock();
        let log = inner.logs.get_mut(&place)?;
        if log.delivering && !*mine {
            return None;
        }
        match log.tail.read(log.offered) {
            Ok(Some(span)) => {
                if log.is_congested(&self.limits) {
                    self.progress.notify_all();
                }
                (log.delivering, *mine) = (true, true);
                log.offered = span.end();
                Some((span, Arc::clone(&log.members)))
            }
            nothing => {
                log.delivering = false;
                if nothing.is_err() {
                    // Appended faster than offered: the members learn it from their own cursors.
                    log.offered = log.tail.end();
                    let members = Arc::clone(&log.members);
                    drop(inner);
                    members.iter().for_each(|outlet| self.catch_up(outlet));
                    return None;
                }
                if !std::mem::take(&mut log.lagging) {
                    let offered = log.offered;
                    log.tail.release(offered);
                }
                None
            }
        }
    }
}
