//! Rate limits per user, shared by all their sessions: one budget for each kind of cost. A budget
//! outlives the session, so that a reconnect refills nothing.

use std::collections::VecDeque;

use crate::chat::rate::{Bucket, Stamp, take_both};
use crate::chat::{ChannelName, Command, Refusal};
use crate::limits::Limits;

/// Channels that `/channels` may scan for the price of one request.
const CHANNELS_PER_REQUEST: usize = 1_000;
/// Read positions that a session may move for the price of one request.
const READS_PER_REQUEST: usize = 10;

/// An hour, for budgets that refill slowly.
const HOUR_MS: u64 = 3_600_000;

/// Burst and rate per second of a limit per second.
fn tenfold(per_s: f64) -> (f64, f64) {
    (per_s * 10.0, per_s)
}

/// Burst and rate per second of a limit per hour.
fn hourly(per_h: f64) -> (f64, f64) {
    (per_h, per_h / 3_600.0)
}

/// One row for each bucket: its name, and its burst and rate per second.
macro_rules! budgets {
    ($limits:ident; $($(#[$doc:meta])* $name:ident: $size:expr,)+) => {
        /// The token buckets of one user.
        pub(super) struct Budgets {
            $($(#[$doc])* pub $name: Bucket,)+
        }

        impl Budgets {
            pub fn new($limits: &Limits, now: Stamp) -> Budgets {
                let bucket = |(burst, per_s)| Bucket::new(burst, per_s, now);
                Budgets { $($name: bucket($size),)+ }
            }

            /// Changes the limits; what was taken stays taken.
            pub fn retune(&mut self, $limits: &Limits) {
                $(
                    let (burst, per_s) = $size;
                    self.$name.retune(burst, per_s);
                )+
            }

            /// Whether nothing is spent or owed. Only then can the budgets be dropped without a
            /// refill.
            pub fn are_full(&self, now: Stamp) -> bool {
                [$(&self.$name),+].into_iter().all(|bucket| bucket.is_full(now))
            }

            /// Returns all buckets.
            #[cfg(test)]
            pub fn all(&mut self) -> Vec<&mut Bucket> {
                vec![$(&mut self.$name),+]
            }
        }
    };
}

budgets! {
    limits;
    /// Messages and topics, which others see.
    messages: (limits.messages_burst.into(), limits.messages_per_s),
    /// Bytes of messages and topics.
    bytes: tenfold(limits.bytes_per_s),
    requests: tenfold(limits.requests_per_s),
    histories: tenfold(limits.histories_per_s),
    /// Bytes sent in answer to requests. May fall below zero.
    answers: tenfold(limits.answer_bytes_per_s),
    /// Bytes of files, sent and fetched. May fall below zero.
    files: (limits.file_burst_bytes as f64, limits.file_bytes_per_s),
    /// Joins that are exempt from `answers`: a client that reconnects joins all its channels.
    rejoins: hourly(limits.channels_per_user_max as f64),
    /// Joins that are announced to others.
    announced_joins: tenfold(limits.joins_announced_per_s),
    logins: tenfold(limits.logins_per_s),
    /// Conversations and channels in which this user writes the first message.
    conversations: hourly(limits.conversations_per_h),
}

impl Budgets {
    /// A request with an answer waits until earlier answers are paid.
    pub fn draw(&mut self, command: &Command, now: Stamp) -> Result<(), Refusal> {
        let draws = match command {
            Command::Join { .. } => self.rejoins.take(1.0, now).is_err(),
            Command::Topic { text, .. } => text.is_none(),
            Command::People { .. }
            | Command::Channels
            | Command::Whois { .. }
            | Command::Keys { .. }
            | Command::History { .. }
            | Command::Search { .. }
            | Command::Count { .. }
            | Command::Usage
            | Command::Operate { .. } => true,
            _ => false,
        };
        let drawn = if draws { self.answers.take(0.0, now) } else { Ok(()) };
        drawn.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Charges for a message or a topic of so many bytes, which others see.
    pub fn pay_shown(&mut self, bytes: usize, now: Stamp) -> Result<(), Refusal> {
        let paid = take_both((&mut self.messages, 1.0), (&mut self.bytes, bytes as f64), now);
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Charges for a command other than a message, on a server with so many `channels`.
    pub fn pay(&mut self, command: &Command, channels: usize, now: Stamp) -> Result<(), Refusal> {
        let parts = |count: usize, per_request| (1 + count / per_request) as f64;
        let paid = match command {
            // Stored at once, like a message.
            Command::Put { .. } => self.messages.take(1.0, now),
            // A topic is shown to others like a message.
            Command::Topic { text: Some(text), .. } => return self.pay_shown(text.len(), now),
            Command::History { .. } | Command::Search { .. } | Command::Count { .. } => {
                self.histories.take(1.0, now)
            }
            Command::Channels => self.requests.take(parts(channels, CHANNELS_PER_REQUEST), now),
            Command::Read { conversations } => {
                self.requests.take(parts(conversations.len(), READS_PER_REQUEST), now)
            }
            Command::Quit => Ok(()),
            _ => self.requests.take(1.0, now),
        };
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }
}

/// The channels with a PIN that were new to a user and joined within the last hour. A join reveals
/// whether a PIN is right, so this number bounds how fast PINs can be guessed.
#[derive(Default)]
pub(super) struct PinJoins {
    joined: VecDeque<(Stamp, ChannelName)>,
    /// Refused joins since the last allowed one.
    refused: u32,
}

/// The budget is used up.
pub(super) struct Spent {
    pub retry_ms: u64,
    /// Refused joins so far, this one included.
    pub refused: u32,
}

impl PinJoins {
    /// Counts a join of a channel that is new to the user. The same channel counts once.
    ///
    /// # Errors
    ///
    /// Refuses more than `max` channels in any hour.
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

    /// Drops joins that no longer count. Returns true if none is left.
    pub fn expire(&mut self, now: Stamp) -> bool {
        self.joined.retain(|(since, _)| now.ms_since(*since) < HOUR_MS);
        self.joined.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_channels_with_a_pin_are_limited_in_any_hour() {
        let tag = |number: usize| -> ChannelName {
            format!("#tea~{}{number:02}0", "0".repeat(23)).parse().unwrap()
        };
        let mut joins = PinJoins::default();
        for number in 0..10 {
            assert!(joins.take(&tag(number), 10, Stamp(1_000 * number as u64)).is_ok());
        }
        assert!(joins.take(&tag(3), 10, Stamp(10_000)).is_ok(), "it was joined before");
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
