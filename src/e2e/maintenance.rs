//! What is done at each login and then by this client's own clock, so that no server has to help
//! with it, nor can hinder it: the keys of this device are made anew each week, those for which
//! nothing can wait any more are deleted, and it is asked which keys one's own other devices have.

use std::collections::BTreeMap;

use super::storage::StorageError;
use super::trust::Called;
use super::{Engine, KEPT_BYTES_PER_MS, LEARNED_MS, Output};
use crate::chat::{Command, Opaque};

/// Between two looks at the device's keys.
const TENDED_EVERY_MS: u64 = 60 * 60 * 1000;
/// Whoever wants to see keys is told after this time that the server has brought none.
const KEYS_WITHIN_MS: u64 = 10_000;

impl Engine {
    /// A login.
    pub(super) fn present(&mut self, now_ms: i64, next: &mut Vec<Output>) {
        // The key may be another one since the last login.
        if let Err(problem) = self.keep(|_| {}) {
            next.push(Output::Trouble(problem));
        }
        let mine = self.account.openers().iter().map(|key| key.public().fingerprint()).collect();
        let own = self.own.clone();
        let text = match self.trust.is_own(&own, mine) {
            Called::Known => None,
            Called::Renamed => Some(format!(
                "the server calls you {own}, and you had another name here. If the operator has renamed you: \
                 /fingerprint {own}, and then with confirm. If not, do not trust this server"
            )),
            Called::Anothers => Some(format!(
                "the server calls you {own}, whom you know with other keys than yours: none of them is taken \
                 for your own. If the operator has not given you that name, do not trust this server; if \
                 so, meet everybody anew (move the .secrets file in your folder away)"
            )),
        };
        next.extend(text.map(Output::Trouble));
        self.is_in = true;
        self.renew(now_ms, next);
        self.meet(&[own], next);
    }

    /// In how many milliseconds `tend` has something to do, at the latest.
    pub fn rests_ms(&self, now_ms: i64) -> u64 {
        let again_ms = self.key_requests.rests_ms(now_ms);
        let waits_ms = again_ms.into_iter().chain(self.unkept_rest_ms(now_ms));
        let waits_ms = waits_ms.chain(self.tidy_rest_ms(now_ms));
        let waits_ms = waits_ms.chain(self.look_up_rest_ms(now_ms));
        waits_ms.fold(self.key_rest_ms(now_ms), u64::min)
    }

    /// Until what was learned of people is written.
    fn unkept_rest_ms(&self, now_ms: i64) -> Option<u64> {
        let rest_ms = LEARNED_MS.max(self.store.bytes / KEPT_BYTES_PER_MS);
        self.unkept_ms.map(|since_ms| rest_ms.saturating_sub(now_ms.abs_diff(since_ms)))
    }

    /// Until somebody who wants to see keys is told that there are none.
    fn look_up_rest_ms(&self, now_ms: i64) -> Option<u64> {
        let rest = |since_ms: &i64| KEYS_WITHIN_MS.saturating_sub(now_ms.abs_diff(*since_ms));
        self.looked_up.values().map(rest).min()
    }

    /// A server that brings no keys leaves no hole that other words of its could fill.
    fn give_up_look_ups(&mut self, now_ms: i64, next: &mut Vec<Output>) {
        let late = |since_ms: i64| now_ms.abs_diff(since_ms) >= KEYS_WITHIN_MS;
        let looked_up = std::mem::take(&mut self.looked_up).into_iter();
        let (over, open): (BTreeMap<_, _>, _) =
            looked_up.partition(|(_, since_ms)| late(*since_ms));
        self.looked_up = open;
        next.extend(over.into_keys().map(|name| {
            let text = format!(
                "the server has not told the keys of {name}: no number can be shown. What else it \
                 says is no answer; /fingerprint {name} asks again"
            );
            Output::Trouble(text)
        }));
    }

    /// Until the device's keys are looked at.
    fn key_rest_ms(&self, now_ms: i64) -> u64 {
        let since_ms = self.tended_ms.map_or(TENDED_EVERY_MS, |then| now_ms.abs_diff(then));
        TENDED_EVERY_MS.saturating_sub(since_ms)
    }

    /// Time has passed.
    pub fn tend(&mut self, now_ms: i64) -> Vec<Output> {
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        if self.unkept_rest_ms(now_ms) == Some(0) {
            self.keep_now(&mut next);
        }
        self.give_up_look_ups(now_ms, &mut next);
        if self.tidy_rest_ms(now_ms) == Some(0) {
            self.tidy_lines(now_ms);
        }
        self.request(Vec::new(), &mut next);
        if self.key_rest_ms(now_ms) == 0 {
            self.renew(now_ms, &mut next);
            if self.is_in {
                self.request(vec![self.own.clone()], &mut next);
            }
        }
        next
    }

    /// The device's keys that are over are deleted; where there is a server to tell, those in use
    /// are renewed and published.
    fn renew(&mut self, now_ms: i64, next: &mut Vec<Output>) {
        self.tended_ms = Some(now_ms);
        if let Err(error) = self.renew_on_disk(now_ms) {
            let text = format!("the keys of this device cannot be kept: {error}");
            next.push(Output::Trouble(text));
        }
        if let Some((certificate, _)) = self.devices.signing().filter(|_| self.is_in) {
            let certificate = Opaque::new(certificate.bytes()).expect("a certificate has bytes");
            next.push(Output::Send(Command::Certify { certificate }));
        }
    }

    fn renew_on_disk(&mut self, now_ms: i64) -> Result<(), StorageError> {
        let now_s = (now_ms / 1000).max(0) as u64;
        if !self.is_in {
            return self.devices.expire(&mut *self.storage, now_s);
        }
        self.devices.refresh(&*self.storage, &*self.account)?;
        self.devices.renew(&mut *self.storage, &*self.account, now_s)
    }
}
