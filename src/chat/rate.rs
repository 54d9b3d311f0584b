//! Token buckets, which limit bursts and sustained rates.

/// A time of the monotonic clock, passed in as a value: milliseconds since the server's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Milliseconds from `earlier` to this moment; 0 where `earlier` is later.
    pub fn ms_since(self, earlier: Stamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A bucket of `burst` tokens that refills at `per_s`. It starts full.
#[derive(Clone, Debug)]
pub struct Bucket {
    burst: f64,
    per_s: f64,
    tokens: f64,
    filled: Stamp,
}

impl Bucket {
    pub fn new(burst: f64, per_s: f64, now: Stamp) -> Self {
        Bucket { burst, per_s, tokens: burst, filled: now }
    }

    /// Changes burst and rate; tokens already taken stay taken.
    pub fn retune(&mut self, burst: f64, per_s: f64) {
        let debt = self.tokens.min(0.0);
        self.tokens = (self.tokens + burst - self.burst).clamp(debt, burst);
        (self.burst, self.per_s) = (burst, per_s);
    }

    /// Takes `amount` tokens (at most `burst`).
    ///
    /// # Errors
    ///
    /// Returns the wait in milliseconds. A refused call takes nothing.
    pub fn take(&mut self, amount: f64, now: Stamp) -> Result<(), u64> {
        let amount = amount.min(self.burst);
        self.fill(now);
        if self.tokens >= amount {
            self.tokens -= amount;
            return Ok(());
        }
        let wait_ms = (amount - self.tokens) / self.per_s * 1000.0;
        Err((wait_ms.ceil() as u64).max(1))
    }

    /// Returns `amount` tokens that were taken for work that was not done.
    pub fn give_back(&mut self, amount: f64) {
        self.tokens = (self.tokens + amount).min(self.burst);
    }

    /// Takes `amount` tokens for work already done, below zero if need be: the next `take` waits
    /// until the debt is paid.
    pub fn owe(&mut self, amount: f64, now: Stamp) {
        self.fill(now);
        self.tokens -= amount;
    }

    /// Whether the bucket is in the state of a new one.
    pub fn is_full(&self, now: Stamp) -> bool {
        let mut bucket = self.clone();
        bucket.fill(now);
        bucket.tokens >= bucket.burst
    }

    fn fill(&mut self, now: Stamp) {
        let gained = now.ms_since(self.filled) as f64 / 1000.0 * self.per_s;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.filled = self.filled.max(now);
    }
}

/// Takes from two buckets at once, or from neither.
///
/// # Errors
///
/// Returns the longer wait in milliseconds.
pub fn take_both(
    (one, of_one): (&mut Bucket, f64),
    (other, of_other): (&mut Bucket, f64),
    now: Stamp,
) -> Result<(), u64> {
    let (mut one_after, mut other_after) = (one.clone(), other.clone());
    match (one_after.take(of_one, now), other_after.take(of_other, now)) {
        (Ok(()), Ok(())) => {
            (*one, *other) = (one_after, other_after);
            Ok(())
        }
        (of_one, of_other) => Err(of_one.err().max(of_other.err()).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pair_is_taken_from_atomically_and_returns_the_longer_wait() {
        let mut messages = Bucket::new(2.0, 1.0, Stamp(0));
        let mut bytes = Bucket::new(100.0, 10.0, Stamp(0));
        let mut both = |size, ms| take_both((&mut messages, 1.0), (&mut bytes, size), Stamp(ms));
        both(60.0, 0).unwrap();
        for _ in 0..5 {
            assert_eq!(both(60.0, 0), Err(2_000), "a refused call takes nothing");
        }
        both(40.0, 0).unwrap();
        assert_eq!(both(5.0, 0), Err(1_000), "the longer of both waits");
        both(5.0, 1_000).unwrap();
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::new(5.0, 2.0, Stamp(0));
        for _ in 0..5 {
            bucket.take(1.0, Stamp(0)).unwrap();
        }
        assert_eq!(bucket.take(1.0, Stamp(0)), Err(500));
        assert!(bucket.take(1.0, Stamp(499)).is_err());
        bucket.take(1.0, Stamp(500)).unwrap();
    }

    #[test]
    fn debt_is_paid_before_the_next_take() {
        let mut bucket = Bucket::new(4.0, 2.0, Stamp(0));
        bucket.take(1.0, Stamp(0)).unwrap();
        bucket.owe(5.0, Stamp(0));
        assert_eq!(bucket.take(1.0, Stamp(0)), Err(1_500));
        bucket.take(1.0, Stamp(1_500)).unwrap();
        bucket.owe(200.0, Stamp(1_500));
        assert_eq!(bucket.take(1.0, Stamp(1_500)), Err(100_500), "the whole debt counts");
        bucket.retune(4.0, 2.0);
        assert_eq!(bucket.take(1.0, Stamp(1_500)), Err(100_500), "the debt outlives a retune");
        assert!(!bucket.is_full(Stamp(103_499)) && bucket.is_full(Stamp(103_500)));
    }

    #[test]
    fn returned_tokens_can_be_taken_again_up_to_the_burst() {
        let mut bucket = Bucket::new(2.0, 1.0, Stamp(0));
        bucket.take(1.0, Stamp(0)).unwrap();
        bucket.give_back(1.0);
        bucket.give_back(1.0);
        bucket.take(2.0, Stamp(0)).unwrap();
        assert_eq!(bucket.take(1.0, Stamp(0)), Err(1_000));
    }

    #[test]
    fn retuning_refills_nothing() {
        let mut bucket = Bucket::new(5.0, 2.0, Stamp(0));
        bucket.take(5.0, Stamp(0)).unwrap();
        bucket.retune(7.0, 1.0);
        bucket.take(2.0, Stamp(0)).unwrap();
        assert_eq!(bucket.take(1.0, Stamp(0)), Err(1000));
        bucket.retune(1.0, 1.0);
        assert!(bucket.take(1.0, Stamp(999)).is_err());
        bucket.take(1.0, Stamp(1000)).unwrap();
    }

    #[test]
    fn a_clock_set_back_refills_nothing() {
        let mut bucket = Bucket::new(1.0, 1.0, Stamp(10_000));
        bucket.take(1.0, Stamp(10_000)).unwrap();
        assert!(bucket.take(1.0, Stamp(0)).is_err());
        assert!(bucket.take(1.0, Stamp(10_500)).is_err());
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            steps in prop::collection::vec((0u64..2_000, 0.1f64..4.0), 1..200),
        ) {
            let mut bucket = Bucket::new(5.0, 2.0, Stamp(0));
            let (mut now, mut taken) = (0, 0.0);
            for (pause, amount) in steps {
                now += pause;
                match bucket.take(amount, Stamp(now)) {
                    Ok(()) => taken += amount,
                    Err(wait) => {
                        prop_assert!(bucket.clone().take(amount, Stamp(now + wait)).is_ok());
                    }
                }
                prop_assert!(taken <= 5.0 + now as f64 / 1000.0 * 2.0 + 1e-6);
            }
        }
    }
}
