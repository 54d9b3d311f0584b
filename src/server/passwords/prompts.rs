//! Password prompts: connections that wait for a password. Their number is bounded by key and
//! source, so that the thief of a key cannot lock its owner out. Pure: callers pass in the time.

use std::collections::HashMap;

use super::throttle_key::ThrottleKey;
use crate::chat::UserName;
use crate::chat::rate::Stamp;
use crate::crypto::Fingerprint;
use crate::sync::{Mutex, MutexGuard, Rank};

/// All unknown sources of a user together may have this many times the prompts of one source.
const SOURCES: usize = 4;
/// The age in milliseconds before which a source's only prompt, and the prompts of one source and
/// key, are not closed for another one: the time to type a password.
const AGE_MS_MIN: u64 = 10_000;

/// A connection that waits for a password.
#[derive(Clone)]
pub struct Prompt<H> {
    pub user: UserName,
    pub key: Fingerprint,
    pub counted_by: ThrottleKey,
    /// It is the person's own: they have logged in from there lately, or the device has a ticket.
    pub known: bool,
    pub since: Stamp,
    /// Ends the connection.
    pub handle: H,
}

/// All prompts, the oldest first.
pub struct Prompts<H> {
    open: Mutex<Open<H>>,
}

struct Open<H> {
    prompts: Vec<(u64, Prompt<H>)>,
    next: u64,
}

/// An open prompt, removed on drop.
pub struct Slot<'a, H> {
    prompts: &'a Prompts<H>,
    id: u64,
}

/// No slot is available for this many milliseconds.
#[derive(Debug, PartialEq, Eq)]
pub struct Wait(pub u64);

impl<H> Default for Prompts<H> {
    fn default() -> Self {
        Prompts { open: Mutex::new(Rank::Prompts, Open { prompts: Vec::new(), next: 0 }) }
    }
}

impl<H> Prompts<H> {
    /// Opens a prompt, and returns the one that was closed for it. A key may have `max` prompts per
    /// source; the oldest yields to a new one. A user may have four times as many from all unknown
    /// sources; the oldest of the source with the most yields.
    ///
    /// # Errors
    ///
    /// Refuses if the prompt that would yield is too young.
    pub fn open(&self, prompt: Prompt<H>, max: usize) -> Result<(Slot<'_, H>, Option<H>), Wait> {
        let mut open = self.lock();
        let closed = match open.victim(&prompt, max)? {
            Some(id) => open.remove(id),
            None => None,
        };
        let id = open.next;
        open.next += 1;
        open.prompts.push((id, prompt));
        Ok((Slot { prompts: self, id }, closed))
    }

    fn lock(&self) -> MutexGuard<'_, Open<H>> {
        self.open.lock()
    }
}

impl<H> Open<H> {
    /// Returns the prompt that has to be closed for a new one, if any.
    fn victim(&self, candidate: &Prompt<H>, max: usize) -> Result<Option<u64>, Wait> {
        let of_user = || self.prompts.iter().filter(|(_, one)| one.user == candidate.user);
        let mut same = of_user()
            .filter(|(_, one)| (one.key, one.counted_by) == (candidate.key, candidate.counted_by));
        let ripe = |(id, one): &(u64, Prompt<H>)| match AGE_MS_MIN
            .saturating_sub(candidate.since.ms_since(one.since))
        {
            0 => Ok(Some(*id)),
            wait_ms => Err(Wait(wait_ms)),
        };
        if same.clone().count() >= max {
            return same.next().map_or(Ok(None), ripe);
        }
        let unknown = || of_user().filter(|(_, one)| !one.known);
        if candidate.known || unknown().count() < SOURCES.saturating_mul(max) {
            return Ok(None);
        }
        let mut sources = HashMap::new();
        unknown().for_each(|(_, one)| *sources.entry(one.counted_by).or_insert(0usize) += 1);
        let count = |source| sources.get(&source).copied().unwrap_or(0);
        let most = unknown().map(|(_, one)| count(one.counted_by)).max().unwrap_or(0);
        let Some(oldest) = unknown().find(|(_, one)| count(one.counted_by) == most) else {
            return Ok(None);
        };
        if most > count(candidate.counted_by) + 1 { Ok(Some(oldest.0)) } else { ripe(oldest) }
    }

    fn remove(&mut self, id: u64) -> Option<H> {
        let index = self.prompts.iter().position(|(one, _)| *one == id)?;
        Some(self.prompts.remove(index).1.handle)
    }
}

impl<H> Drop for Slot<'_, H> {
    fn drop(&mut self) {
        self.prompts.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Ticket;
    use crate::crypto::ticket::Digest;
    use proptest::prelude::*;

    fn prompt(key: u8, source: &str, known: bool, since: u64) -> Prompt<u64> {
        let (user, key) = ("bob".parse().unwrap(), Fingerprint([key; 32]));
        let counted_by = ThrottleKey::Source(source.parse().unwrap());
        Prompt { user, key, counted_by, known, since: Stamp(since), handle: since }
    }

    #[test]
    fn within_a_source_the_oldest_prompt_yields_after_the_typing_time() {
        let prompts = Prompts::default();
        let open = |prompt| prompts.open(prompt, 10);
        let held: Vec<_> =
            (0..10).map(|since| open(prompt(1, "192.0.2.1", true, since)).unwrap()).collect();
        let late = |since| open(prompt(1, "192.0.2.1", true, since));
        assert_eq!(late(4_000).map(drop), Err(Wait(6_000)));
        for other in [prompt(2, "192.0.2.1", false, 9), prompt(1, "192.0.2.2", false, 9)] {
            assert!(matches!(open(other), Ok((_, None))), "another key, or another source");
        }
        assert_eq!(late(10_000).map(|(_, closed)| closed), Ok(Some(0)));
        drop(held);
        assert!(prompts.lock().prompts.is_empty());
    }

    #[test]
    fn the_source_with_the_most_prompts_yields_its_oldest() {
        let prompts = Prompts::default();
        let mut held = Vec::new();
        let mut open = |source: &str, known, since| {
            let (slot, closed) = prompts.open(prompt(1, source, known, since), 2)?;
            held.push(slot);
            Ok(closed)
        };
        assert_eq!(open("192.0.2.1", true, 0), Ok(None));
        for (number, since) in (1..=4).flat_map(|number| [(number, number), (number, 10 + number)])
        {
            assert_eq!(open(&format!("10.0.0.{number}"), false, since), Ok(None));
        }
        // A new source gets in at once; a prompt of a known source is never closed for it.
        assert_eq!(open("203.0.113.1", false, 20), Ok(Some(1)));
        assert_eq!(open("203.0.113.2", false, 21), Ok(Some(2)));
        assert_eq!(open("203.0.113.3", false, 22), Ok(Some(3)));
        assert_eq!(open("203.0.113.4", false, 23), Ok(Some(4)));
        // Now each source has one, which is too young.
        assert_eq!(open("203.0.113.5", false, 24), Err(Wait(9_987)));
        assert_eq!(open("203.0.113.5", false, 10_011), Ok(Some(11)));
        assert_eq!(open("192.0.2.1", true, 10_012), Ok(None), "no prompt yields to a known source");
    }

    #[test]
    fn prompts_without_the_ticket_close_none_of_the_device_that_has_it() {
        let prompts = Prompts::default();
        // All from one address, as behind a proxy.
        let open = |ticket: bool, since| {
            let prompt = prompt(1, "127.0.0.1", ticket, since);
            let digest = Digest::of(&Ticket::new([7; 32]));
            let counted_by = if ticket { ThrottleKey::Ticket(digest) } else { prompt.counted_by };
            prompts.open(Prompt { counted_by, ..prompt }, 2)
        };
        let mut held = Vec::new();
        for since in 0..100 {
            held.extend(open(false, since).ok().map(|(slot, _)| slot));
        }
        assert!(open(false, 100).is_err(), "the thief has what one source may have");
        let (_slot, closed) = open(true, 100).map_err(|_| "the device").unwrap();
        assert_eq!(closed, None);
        for since in (10_000..100_000).step_by(1_000) {
            if let Ok((slot, closed)) = open(false, since) {
                held.push(slot);
                assert_ne!(closed, Some(100), "at {since}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_owner_keeps_a_prompt_at_home_and_typing_time_elsewhere(
            thief in prop::collection::vec((0u32..500, 0u64..2_000), 1..400),
            max in 1usize..12,
        ) {
            let prompts = Prompts::default();
            let opened = prompts.open(prompt(1, "192.0.2.1", true, 0), max);
            let _home = opened.map_err(|_| "home").unwrap();
            let (mut held, mut now, mut fresh) = (Vec::new(), 1, None);
            for (number, pause) in thief {
                now += pause;
                let source = format!("10.0.{}.{}", number >> 8, number & 255);
                if let Ok((slot, closed)) = prompts.open(prompt(1, &source, false, now), max) {
                    held.push(slot);
                    prop_assert!(closed != Some(0), "the prompt at home");
                    prop_assert!(fresh.is_none_or(|since| closed != Some(since)
                        || now >= since + AGE_MS_MIN), "the prompt elsewhere");
                }
                if fresh.is_none() {
                    now += 1;
                    match prompts.open(prompt(1, "203.0.113.1", false, now), max) {
                        Ok((slot, _)) => {
                            held.push(slot);
                            fresh = Some(now);
                            now += 1;
                        }
                        Err(Wait(ms)) => prop_assert!(ms <= AGE_MS_MIN),
                    }
                }
                let unknown = prompts.lock().prompts.iter().filter(|(_, one)| !one.known).count();
                prop_assert!(unknown <= SOURCES * max);
            }
        }
    }
}
