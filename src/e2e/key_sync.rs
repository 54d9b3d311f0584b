//! Whose keys are whose, as far as the server tells: asked for before a line can be judged,
//! learned, kept, and shown to a person who compares them.

use super::trust::{Confirmed, Learned, Part, Prints, TrustState, safety_number};
use super::{Engine, Output, incoming};
use crate::chat::look::{Alike, odd_letters};
use crate::chat::{Event, UserName};
use crate::crypto::Fingerprint;

impl Engine {
    /// Whose keys must be asked for before this can be judged.
    pub(super) fn wants(&self, event: &Event) -> Option<UserName> {
        let Event::Message(message) = event else { return None };
        let print = incoming::claimed(message)?;
        let known = self.trust.standing(&message.from, &print);
        let asks = known == TrustState::Unknown && !self.trust.is_listed(&message.from);
        let asks = asks && self.trust.may_meet(&message.from);
        asks.then(|| message.from.clone())
    }

    /// The person of this client wants to know them.
    pub(super) fn ask(&mut self, name: UserName, next: &mut Vec<Output>) {
        if self.trust.ask(&name) {
            self.key_requests.want_first(name);
            self.request(Vec::new(), next);
        }
    }

    /// The server has brought them up.
    pub(super) fn meet(&mut self, names: &[UserName], next: &mut Vec<Output>) {
        let names: Vec<_> = names.iter().filter(|name| self.trust.meet(name)).cloned().collect();
        self.request(names, next);
    }

    pub(super) fn request(&mut self, names: Vec<UserName>, next: &mut Vec<Output>) {
        self.key_requests.want(names);
        next.extend(std::iter::from_fn(|| self.key_requests.next_request()).map(Output::Send));
    }

    pub(super) fn learn(
        &mut self,
        name: &UserName,
        part: Part,
        now_ms: i64,
        next: &mut Vec<Output>,
    ) {
        let Some(learned) = self.trust.learn(name, part, now_ms) else { return };
        if learned.pinned {
            self.is_learned(name, now_ms);
            if *name == self.own {
                self.keep_now(next);
            }
        }
        if let Some(text) = self.told_changes(name, &learned) {
            next.push(Output::KeyChanged { name: name.clone(), text });
        }
        if *name == self.own {
            self.look_for_copies(now_ms, next);
        }
        if self.looked_up.remove(name).is_some() {
            next.push(Output::Told(self.describe(name)));
        }
        while let Some(event) = self.pending.pop() {
            if let Some(name) = self.wants(&event) {
                self.pending.push_back_in_front(event);
                self.meet(&[name], next);
                break;
            }
            self.pass(event, now_ms, next);
        }
        self.pump_all(now_ms, next);
    }

    /// Private messages are sealed for the newest certificate of a key: of two folders with one key
    /// only one can open them.
    fn look_for_copies(&mut self, now_ms: i64, next: &mut Vec<Output>) {
        let print = self.account.own().public().fingerprint();
        let devices = self.trust.own_devices(&self.own, now_ms).into_iter();
        let own = devices.filter(|one| one.key.fingerprint() == print);
        let Some(other) = own.filter_map(|one| one.certificate).next() else { return };
        // A client that cannot read its folder has told so.
        let _ = self.devices.refresh(&*self.storage, &*self.account);
        if !self.devices.has(&other) && !std::mem::replace(&mut self.copied, true) {
            let text = "a copy of your key is in use elsewhere, and private messages are sealed for that \
                 copy alone: give each device a key of its own (pychat keygen)";
            next.push(Output::Trouble(text.into()));
        }
    }

    /// Something of a person is to be written, soon.
    pub(super) fn is_learned(&mut self, name: &UserName, now_ms: i64) {
        self.unkept.insert(name.clone());
        self.unkept_ms.get_or_insert(now_ms);
    }

    /// All that was learned of people is written now.
    pub fn keep_people(&mut self) -> Result<(), String> {
        if self.unkept.is_empty() { Ok(()) } else { self.keep(|_| {}) }
    }

    pub(super) fn keep_now(&mut self, next: &mut Vec<Output>) {
        let problem = self.keep_people().err();
        next.extend(problem.map(Output::Trouble));
    }

    /// What is told of another list of a person's keys, if anything.
    fn told_changes(&self, name: &UserName, learned: &Learned) -> Option<String> {
        let is_own = *name == self.own;
        let whose = if is_own { "your".to_owned() } else { format!("{name}'s") };
        let mut told = Vec::new();
        let alike = learned.alike.as_ref().filter(|_| !learned.changed.is_empty());
        if let Some(alike) = alike {
            let named = told_alike(name, alike, &self.own);
            told.push(format!(
                "{named}. Its keys are not trusted at the first meeting: nothing is sealed for it and \
                 none of its messages are shown. If this is another person whom you know: compare \
                 /fingerprint {name} with them, then type /fingerprint {name} confirm. If not, do not \
                 trust this server"
            ));
        }
        if !learned.changed.is_empty() && alike.is_none() {
            let prints = list(&learned.changed);
            let what = match is_own {
                true => format!("a key of another device is registered for your name: {prints}"),
                false => {
                    format!("a key that was not there before is registered for {name}: {prints}")
                }
            };
            told.push(format!(
                "{what}. Nothing is sealed for it and none of its messages are shown until you have \
                 compared /fingerprint {name} and typed /fingerprint {name} confirm"
            ));
        }
        // Of one's own other name the login has told.
        for (print, owner) in learned.anothers.iter().filter(|_| !is_own) {
            told.push(format!(
                "the server lists {owner}'s key {print} as {whose} key: it is not accepted. If the \
                 operator has renamed {owner} to {name}: compare /fingerprint {name}, then type \
                 /fingerprint {name} confirm. If not, do not trust this server"
            ));
        }
        if !learned.retired.is_empty() {
            told.push(format!(
                "the server no longer lists {whose} key {}: nothing is sealed for it and no new message \
                 by it is shown. If the server lists it again, it waits for your confirmation",
                list(&learned.retired)
            ));
        }
        (!told.is_empty()).then(|| told.join(". "))
    }

    /// `/fingerprint NAME`: whose keys these are, and the number to compare.
    pub fn look_up(&mut self, name: &UserName, confirms: bool, now_ms: i64) -> Vec<Output> {
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        let name = self.trust.spelled(name);
        if !self.trust.is_listed(&name) {
            let text = format!("asking the server for the keys of {name} ...");
            next.push(Output::Told(text));
            self.looked_up.insert(name.clone(), now_ms);
            self.ask(name, &mut next);
            return next;
        }
        let text = match confirms {
            true => self.confirm(&name, now_ms, &mut next),
            false => self.describe(&name),
        };
        next.push(Output::Told(text));
        if confirms {
            self.pump_all(now_ms, &mut next);
        }
        next
    }

    /// The user has compared the keys of a person. Gives what is told.
    fn confirm(&mut self, name: &UserName, now_ms: i64, next: &mut Vec<Output>) -> String {
        let (losers, bare) = match self.trust.confirm(name, now_ms) {
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
                    self.describe(name)
                );
            }
        };
        // Also where they were met just now.
        self.is_learned(name, now_ms);
        losers.iter().for_each(|loser| self.is_learned(loser, now_ms));
        let holds = match self.keep_people() {
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
            "the keys of {name} are confirmed{holds}: what was refused goes with /retry{lost}{bare}"
        )
    }

    /// What is said of somebody who was not met because they look like somebody else.
    pub(super) fn looks_like(&self, name: &UserName) -> Option<String> {
        Some(told_alike(name, &self.trust.alike(name)?, &self.own))
    }

    /// The number is of the keys that are in use, so that it is the same for somebody who was met
    /// under an older one; of one's own, those that one has confirmed.
    fn describe(&mut self, name: &UserName) -> String {
        let (own, Prints { theirs, news, gone }) =
            (self.trust.prints(&self.own), self.trust.shows(name));
        let in_use = [&theirs[..], &news].concat();
        let alike = self.looks_like(name).filter(|_| !in_use.is_empty());
        let mut text = alike.map_or(String::new(), |alike| format!("{alike}\n"));
        if in_use.is_empty() {
            text = format!("nobody here is called {name}\n");
        } else if *name != self.own {
            let number = safety_number(&own.theirs, &in_use);
            text.push_str(&format!(
                "compare this with {name}, over the phone or face to face; it is the same on both \
                 sides only if nobody is between you:\n{number}\n"
            ));
            if !own.news.is_empty() {
                text.push_str(&format!(
                    "it is another one there until you have confirmed your own name's keys: \
                     /fingerprint {}\n",
                    self.own
                ));
            }
        }
        let whose = if *name == self.own { "yours" } else { "theirs" };
        theirs.iter().for_each(|print| text.push_str(&format!("{name}: {print}\n")));
        for print in &news {
            let what = match self.trust.other_owner(name, print) {
                Some(owner) => format!("is {owner}'s, as far as you know"),
                None => "is new".to_owned(),
            };
            text.push_str(&format!(
                "{name}: {print} {what}: /fingerprint {name} confirm, if it is {whose}\n"
            ));
        }
        for print in &gone {
            text.push_str(&format!(
                "{name}: {print} is not in use any more; old messages are signed by it\n"
            ));
        }
        text.trim_end().to_owned()
    }
}

/// The two names, and the letters by which they differ.
fn told_alike(name: &UserName, alike: &Alike, own: &UserName) -> String {
    let (other, is) = match alike {
        Alike::Person(other) if other == own => (other.as_str(), "your own name"),
        Alike::Person(other) => (other.as_str(), "whom you know"),
        Alike::Word(word) => (*word, "a word that names no person"),
    };
    let odd = odd_letters(name, other);
    let with = if odd.is_empty() { odd } else { format!(" (with {odd})") };
    format!("the name {name}{with} looks like {other}, {is}, and is another name")
}

fn list(prints: &[Fingerprint]) -> String {
    let prints: Vec<_> = prints.iter().map(ToString::to_string).collect();
    prints.join(" ")
}
