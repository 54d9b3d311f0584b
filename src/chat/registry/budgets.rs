//! What a person may do over time, whichever of their sessions does it: one budget for each kind of
//! cost. A budget outlives the session, so that a reconnect refills nothing.

use std::collections::VecDeque;

use crate::chat::ChannelName;
use crate::chat::rate::{Bucket, Stamp};
use crate::limits::Limits;

/// An hour, for budgets that refill slowly.
const HOUR_MS: u64 = 3_600_000;

/// The token buckets of one person.
pub(super) struct Budgets {
    /// Messages and topics: whatever others are shown.
    pub lines: Bucket,
    /// Bytes of those.
    pub bytes: Bucket,
    pub requests: Bucket,
    pub histories: Bucket,
    /// Bytes that were sent in answer to requests. It may fall below zero.
    pub answers: Bucket,
    /// Joins that do not wait for `answers`: a client that comes back joins all its channels.
    pub rejoins: Bucket,
    /// Joins that are announced.
    pub notices: Bucket,
    pub logins: Bucket,
    /// Conversations and channels in which this person is the first to write.
    pub conversations: Bucket,
}

/// Burst and rate per second of each bucket, in the order of the fields.
fn sizes(limits: &Limits) -> [(f64, f64); 9] {
    let tenfold = |per_s: f64| (per_s * 10.0, per_s);
    let hourly = |per_h: f64| (per_h, per_h / 3_600.0);
    [
        (limits.lines_burst.into(), limits.lines_per_s),
        tenfold(limits.bytes_per_s),
        tenfold(limits.requests_per_s),
        tenfold(limits.histories_per_s),
        tenfold(limits.answer_bytes_per_s),
        hourly(limits.channels_per_user_max as f64),
        tenfold(limits.notices_per_s),
        tenfold(limits.logins_per_s),
        hourly(limits.conversations_per_h),
    ]
}

impl Budgets {
    pub fn new(limits: &Limits, now: Stamp) -> Budgets {
        let buckets = sizes(limits).map(|(burst, per_s)| Bucket::new(burst, per_s, now));
        let [lines, bytes, requests, histories, answers, rejoins, notices, logins, conversations] =
            buckets;
        Budgets {
            lines,
            bytes,
            requests,
            histories,
            answers,
            rejoins,
            notices,
            logins,
            conversations,
        }
    }

    /// Whether nothing is spent or owed, so that forgetting them gives nobody anything.
    pub fn are_full(&self, now: Stamp) -> bool {
        let Budgets { lines, bytes, requests, histories, answers, .. } = self;
        let Budgets { rejoins, notices, logins, conversations, .. } = self;
        let all =
            [lines, bytes, requests, histories, answers, rejoins, notices, logins, conversations];
        all.into_iter().all(|bucket| bucket.is_full(now))
    }

    /// Other limits from now on; what was taken stays taken.
    pub fn retune(&mut self, limits: &Limits) {
        for (bucket, (burst, per_s)) in self.all().into_iter().zip(sizes(limits)) {
            bucket.retune(burst, per_s);
        }
    }

    /// All buckets, in the order of the fields.
    pub fn all(&mut self) -> [&mut Bucket; 9] {
        let Budgets { lines, bytes, requests, histories, answers, .. } = self;
        let Budgets { rejoins, notices, logins, conversations, .. } = self;
        [lines, bytes, requests, histories, answers, rejoins, notices, logins, conversations]
    }
}

/// The channels with a PIN that a person has joined within the last hour and did not know before. A
/// join tells whether a PIN is right, so that their number bounds how fast PINs can be tried.
#[derive(Default)]
pub(super) struct PinJoins {
    joined: VecDeque<(Stamp, ChannelName)>,
    /// Refusals since a join was last allowed.
    refused: u32,
}

/// The budget is spent.
pub(super) struct Spent {
    pub retry_ms: u64,
    /// Refusals so far, this one included.
    pub refused: u32,
}

impl PinJoins {
    /// Counts a join of a channel that was not known before, at most `max` in any hour. The same
    /// channel again costs nothing.
    pub fn take(&mut self, channel: &ChannelName, max: usize, now: Stamp) -> Result<(), Spent> {
        self.expire(now);
        if self.joined.iter().any(|(_, known)| known == channel) {
            return Ok(());
        }
        if self.joined.len() >= max {
            self.refused = self.refused.saturating_add(1);
            let oldest = self.joined.front().map_or(now, |(since, _)| *since);
            let retry_ms = HOUR_MS.saturating_sub(now.ms_since(oldest));
            return Err(Spent { retry_ms, refused: self.refused });
        }
        self.refused = 0;
        self.joined.push_back((now, channel.clone()));
        Ok(())
    }

    /// Forgets joins that no longer count. True where none is left.
    pub fn expire(&mut self, now: Stamp) -> bool {
        self.joined.retain(|(since, _)| now.ms_since(*since) < HOUR_MS);
        self.joined.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_new_channels_with_a_pin_as_may_be_in_any_hour() {
        let tag = |number: usize| -> ChannelName {
            format!("#tea~{}{number:02}0", "0".repeat(23)).parse().unwrap()
        };
        let mut joins = PinJoins::default();
        for number in 0..10 {
            assert!(joins.take(&tag(number), 10, Stamp(1_000 * number as u64)).is_ok());
        }
        assert!(joins.take(&tag(3), 10, Stamp(10_000)).is_ok(), "it is known by now");
        for count in 1..=3 {
            let spent = joins.take(&tag(10), 10, Stamp(10_000)).err().unwrap();
            assert_eq!((spent.refused, spent.retry_ms), (count, HOUR_MS - 10_000));
        }
        assert!(joins.take(&tag(10), 10, Stamp(HOUR_MS - 1)).is_err());
        assert!(joins.take(&tag(10), 10, Stamp(HOUR_MS)).is_ok(), "the first was an hour ago");
        assert_eq!(joins.take(&tag(11), 10, Stamp(HOUR_MS)).err().unwrap().refused, 1);
        assert!(!joins.expire(Stamp(2 * HOUR_MS - 1)) && joins.expire(Stamp(2 * HOUR_MS)));
    }
}
