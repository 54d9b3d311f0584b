//! Key lists of users: requested before a message can be verified, recorded, stored, and shown to a
//! user who compares them.

use std::collections::BTreeMap;

use super::device_keys::DeviceKeys;
use super::key_compare::{change_notice, describe, list};
use super::key_requests::KeyRequests;
use super::opening;
use super::output::Output;
use super::storage::{Account, Storage};
use super::trust::{Called, Confirmed, Learned, Part, TrustState, TrustStore};
use super::trust_file::TrustFile;
use crate::chat::{Event, UserName};

/// Time in milliseconds after which the user is notified that the server has not sent keys.
const KEYS_WITHIN_MS: u64 = 10_000;

const COPIED: &str = "a copy of your key is in use elsewhere, and private messages are sealed for that copy \
     alone: give each device a key of its own (pychat keygen)";

/// Open `/fingerprint` commands and notices already given.
#[derive(Default)]
pub struct KeySync {
    /// `/fingerprint` commands that wait for keys, each with its start time.
    looked_up: BTreeMap<UserName, i64>,
    /// The notice that another profile has this key was given.
    copied: bool,
}

/// The state that key lists change.
pub struct Keys<'a> {
    pub account: &'a dyn Account,
    pub storage: &'a mut dyn Storage,
    pub own: &'a UserName,
    pub trust: &'a mut TrustStore,
    pub file: &'a mut TrustFile,
    pub devices: &'a mut DeviceKeys,
    pub requests: &'a mut KeyRequests,
    pub now_ms: i64,
}

/// Returns the user whose keys are needed to verify this event.
pub fn missing_keys(event: &Event, trust: &TrustStore) -> Option<UserName> {
    let Event::Message(message) = event else { return None };
    let print = opening::claimed(message)?;
    let known = trust.trust_state(&message.from, &print);
    let asks = known == TrustState::Unknown && !trust.is_listed(&message.from);
    let asks = asks && trust.may_pin(&message.from);
    asks.then(|| message.from.clone())
}

impl KeySync {
    /// Takes a part of a user's key list. Returns whether the list is complete.
    pub fn learn(
        &mut self,
        name: &UserName,
        part: Part,
        with: &mut Keys,
        next: &mut Vec<Output>,
    ) -> bool {
        let Some(learned) = with.trust.learn(name, part, with.now_ms) else { return false };
        if learned.pinned {
            with.file.is_learned(name, with.now_ms);
            if name == with.own {
                with.save(next);
            }
        }
        if let Some(text) = change_notice(name, &learned, with.own) {
            next.push(Output::KeyChanged { name: name.clone(), text });
        }
        if name == with.own && !self.copied && with.is_copied() {
            self.copied = true;
            next.push(Output::Trouble(COPIED.into()));
        }
        if self.looked_up.remove(name).is_some() {
            next.push(Output::Reply(describe(name, with.trust, with.own)));
        }
        true
    }

    /// Runs `/fingerprint NAME`. Returns whether trust may have changed.
    pub fn look_up(
        &mut self,
        name: &UserName,
        confirms: bool,
        with: &mut Keys,
        next: &mut Vec<Output>,
    ) -> bool {
        if let Err(problem) = with.refresh() {
            next.push(Output::Trouble(problem));
            return false;
        }
        let name = with.trust.spelled(name);
        if !with.trust.is_listed(&name) {
            let text = format!("asking the server for the keys of {name} ...");
            next.push(Output::Reply(text));
            self.looked_up.insert(name.clone(), with.now_ms);
            with.requests.request_named(name, with.trust, next);
            return false;
        }
        let text = match confirms {
            true => with.confirm(&name, next),
            false => describe(&name, with.trust, with.own),
        };
        next.push(Output::Reply(text));
        confirms
    }

    /// Time until the first open `/fingerprint` command expires, in milliseconds.
    pub fn rest_ms(&self, now_ms: i64) -> Option<u64> {
        let rest = |since_ms: &i64| KEYS_WITHIN_MS.saturating_sub(now_ms.abs_diff(*since_ms));
        self.looked_up.values().map(rest).min()
    }

    /// Ends expired `/fingerprint` commands with an error, so that a silent server cannot answer
    /// later with other text.
    pub fn give_up(&mut self, now_ms: i64, next: &mut Vec<Output>) {
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
}

impl Keys<'_> {
    /// Takes the name that the server gave at login.
    pub fn login(&mut self, next: &mut Vec<Output>) {
        // The key may have changed since the last login.
        let saved = self.file.save(self.storage, self.account, self.trust, |_| {});
        next.extend(saved.err().map(Output::Trouble));
        let mine = self.account.openers().iter().map(|key| key.public().fingerprint()).collect();
        let (own, called) = (self.own, self.trust.is_own(self.own, mine));
        let text = match called {
            Called::Known => None,
            Called::Renamed => Some(format!(
                "the server calls you {own}, and you had another name here. If the operator has \
                 renamed you: /fingerprint {own}, and then with confirm. If not, do not trust this \
                 server"
            )),
            Called::Anothers => Some(format!(
                "the server calls you {own}, but for this name you have pinned other keys than yours: \
                 the client does not use them as your own. If the operator has not given you that \
                 name, do not trust this server. If the operator has, move the .trust file in your \
                 folder away: the client then pins everybody's keys again"
            )),
        };
        next.extend(text.map(Output::Trouble));
    }

    /// Takes over what another client of this data folder has stored.
    pub fn refresh(&mut self) -> Result<(), String> {
        self.file.refresh(self.storage, self.account, self.trust, self.now_ms)
    }

    /// Reports keys that are not pinned any more because another client had met their owner before.
    pub fn report_set_back(&mut self, next: &mut Vec<Output>) {
        for (name, changed) in self.trust.take_set_back() {
            let learned = Learned { changed, ..Learned::default() };
            let text = change_notice(&name, &learned, self.own);
            next.extend(text.map(|text| Output::KeyChanged { name, text }));
        }
    }

    /// Stores pending changes of trust.
    pub fn save(&mut self, next: &mut Vec<Output>) {
        let saved = self.file.save_learned(self.storage, self.account, self.trust);
        next.extend(saved.err().map(Output::Trouble));
    }

    /// Returns whether another profile uses this key. Private messages are sealed for the newest
    /// certificate of a key, so only one of two such profiles can open them.
    fn is_copied(&mut self) -> bool {
        let print = self.account.own().public().fingerprint();
        let devices = self.trust.own_devices(self.own, self.now_ms).into_iter();
        let own = devices.filter(|one| one.key.fingerprint() == print);
        let Some(other) = own.filter_map(|one| one.certificate).next() else { return false };
        // A client that cannot read its profile has already reported it.
        let _ = self.devices.refresh(self.storage, self.account);
        !self.devices.has(&other)
    }

    /// Confirms the compared keys of a user. Returns the reply.
    fn confirm(&mut self, name: &UserName, next: &mut Vec<Output>) -> String {
        let (losers, bare) = match self.trust.confirm(name, self.now_ms) {
            Confirmed::News(losers) => (losers, Vec::new()),
            Confirmed::Bare(bare) => (Vec::new(), bare),
            Confirmed::Anothers => {
                return format!("the keys of {name} are another person's: nothing is confirmed");
            }
            Confirmed::Own => {
                return format!("the server lists your own key for {name}: nothing is confirmed");
            }
            Confirmed::Unseen => {
                return format!(
                    "this list of keys of {name} was not shown yet, and nothing is confirmed: compare, \
                     then type it again\n{}",
                    describe(name, self.trust, self.own)
                );
            }
        };
        // The user may have been pinned by this very command.
        self.file.is_learned(name, self.now_ms);
        losers.iter().for_each(|loser| self.file.is_learned(loser, self.now_ms));
        let holds = match self.file.save_learned(self.storage, self.account, self.trust) {
            Ok(()) => "",
            Err(problem) => {
                next.push(Output::Trouble(problem));
                " as long as this client runs"
            }
        };
        let lost = losers.iter().map(|loser| format!(". No key of {name} is {loser}'s any more"));
        let lost: String = lost.collect();
        let bare = (!bare.is_empty()).then(|| {
            format!(
                ". Until this client ends, private messages for {name} may be sealed to the RSA key alone, \
                 without device keys: {}",
                list(&bare)
            )
        });
        let bare = bare.unwrap_or_default();
        format!(
            "the keys of {name} are confirmed{holds}: /retry sends the refused messages again{lost}{bare}"
        )
    }
}
