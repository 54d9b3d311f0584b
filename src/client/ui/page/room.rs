//! One conversation as pages see it: what a page gets when it attaches. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::unread::Unread;
use crate::chat::{Message, Retention, Seq, Target, UserName};
use crate::client::model::is_unsealed;
use crate::limits::PAGE_MESSAGES_MAX;

/// Speakers that completion prefers.
const SPEAKERS_MAX: usize = 50;
/// The places among the objects of a seq: a gap that ends there, violations, and the message.
const GAP: u8 = 0;
const MESSAGE: u8 = u8::MAX;

pub struct Room {
    to: Target,
    /// The answer to the entry into a channel, without its people and topic; `None` while the user
    /// is not in it.
    entered: Option<Value>,
    people: BTreeSet<UserName>,
    omitted: usize,
    topic: Option<Value>,
    is_gone: bool,
    last: u64,
    unread: Unread,
    /// Objects by seq, and their order at a seq.
    held: BTreeMap<(u64, u8), Arc<str>>,
    /// Those that are messages of others.
    of_others: BTreeSet<u64>,
    bytes: usize,
    /// The latest speakers, the last one first.
    speakers: Vec<UserName>,
}

impl Room {
    pub fn new(to: Target) -> Room {
        Room {
            to,
            entered: None,
            people: BTreeSet::new(),
            omitted: 0,
            topic: None,
            is_gone: false,
            last: 0,
            unread: Unread::default(),
            held: BTreeMap::new(),
            of_others: BTreeSet::new(),
            bytes: 0,
            speakers: Vec::new(),
        }
    }

    pub fn to(&self) -> &Target {
        &self.to
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_gone(&mut self) {
        (self.is_gone, self.entered) = (true, None);
    }

    /// Takes the answer to the entry into the channel.
    pub fn enters(&mut self, object: &Value, people: &[UserName], omitted: usize) {
        let mut object = object.clone();
        for field in ["people", "omitted", "topic", "ref"] {
            drop(object.as_object_mut().and_then(|object| object.remove(field)));
        }
        (self.entered, self.is_gone) = (Some(object), false);
        self.sets_people(people, omitted);
    }

    pub fn sets_people(&mut self, people: &[UserName], omitted: usize) {
        (self.people, self.omitted) = (people.iter().cloned().collect(), omitted);
    }

    /// Takes the entry or the departure of a person.
    pub fn moves(&mut self, who: &UserName, came: bool) {
        match came {
            true => drop(self.people.insert(who.clone())),
            false => drop(self.people.remove(who)),
        }
    }

    pub fn sets_topic(&mut self, topic: Option<&str>, retention: Retention) {
        self.topic = topic.map(Value::from);
        if let Some(entered) = &mut self.entered {
            entered["retention"] = json!(retention);
        }
    }

    /// Takes the positions of a login.
    pub fn learn(&mut self, last: Seq, read: Seq) {
        self.last = self.last.max(last.0);
        self.unread.learn(last.0, read.0);
    }

    pub fn counts(&mut self, upto: Seq, messages: u64) {
        self.last = self.last.max(upto.0);
        self.unread.counts(upto.0, messages);
    }

    /// Takes a read position, which is at most the newest message. Returns it.
    pub fn reads(&mut self, seq: Seq) -> Seq {
        let seq = seq.0.min(self.last);
        let is_whole = self.oldest().is_some_and(|oldest| oldest <= seq.saturating_add(1));
        let of_others = &self.of_others;
        let held =
            |upto| is_whole.then(|| of_others.range(seq.saturating_add(1)..=upto).count() as u64);
        self.unread.reads(seq, held);
        Seq(self.unread.read())
    }

    /// Takes a message that has just come. Returns whether it is unread.
    pub fn arrives(&mut self, message: &Message, object: &Value, is_own: bool) -> bool {
        let seq = message.seq.0;
        self.last = self.last.max(seq);
        let counts = !is_own && !message.kind.is_change();
        self.holds(seq, MESSAGE, object, counts && !is_unsealed(message));
        self.speakers.retain(|speaker| *speaker != message.from);
        self.speakers.insert(0, message.from.clone());
        self.speakers.truncate(SPEAKERS_MAX);
        let before = self.unread.messages();
        if counts {
            self.unread.arrives(seq);
        }
        self.unread.messages() != before
    }

    /// Takes that messages up to a seq are left out.
    pub fn omits(&mut self, upto: Seq, object: &Value) {
        self.last = self.last.max(upto.0);
        self.holds(upto.0, GAP, object, false);
    }

    /// Takes what is wrong with a message.
    pub fn violates(&mut self, seq: Seq, object: &Value) {
        let is_free = |place: &u8| !self.held.contains_key(&(seq.0, *place));
        let place = (GAP + 1..MESSAGE).find(is_free);
        self.holds(seq.0, place.unwrap_or(GAP + 1), object, false);
    }

    /// Takes older messages, which end before a seq, or are the newest ones.
    pub fn loads(&mut self, before: Option<Seq>, messages: &[(Message, Value)], own: &UserName) {
        let joins = match (before, self.oldest()) {
            (Some(before), Some(oldest)) => before.0 >= oldest,
            (before, None) => before.is_none(),
            (None, Some(_)) => true,
        };
        let seqs = || messages.iter().map(|(message, _)| message.seq.0);
        let (Some(first), Some(last), true) = (seqs().min(), seqs().max(), joins) else { return };
        // What is missing is here now.
        let held = self.held.range((first, GAP)..=(last, GAP)).map(|(at, _)| *at);
        let gaps: Vec<_> = held.filter(|(_, place)| *place == GAP).collect();
        gaps.iter().for_each(|at| self.drops(*at));
        for (message, object) in messages {
            let of_others = message.from != *own && !message.kind.is_change();
            self.holds(message.seq.0, MESSAGE, object, of_others && !is_unsealed(message));
        }
    }

    /// Forgets the messages after a seq, which names another one now.
    pub fn renumbers(&mut self, after: Seq) {
        let stale: Vec<_> =
            self.held.range((after.0.saturating_add(1), 0)..).map(|(at, _)| *at).collect();
        stale.iter().for_each(|at| self.drops(*at));
        self.last = self.last.min(after.0);
        self.unread.renumbers(after.0);
    }

    /// Drops the older half of what is held.
    pub fn drops_some(&mut self) {
        let half: Vec<_> = self.held.keys().copied().take(self.held.len().div_ceil(2)).collect();
        half.iter().for_each(|at| self.drops(*at));
    }

    /// The seq of the oldest message that is here.
    fn oldest(&self) -> Option<u64> {
        self.held.keys().find(|(_, place)| *place == MESSAGE).map(|(seq, _)| *seq)
    }

    fn holds(&mut self, seq: u64, place: u8, object: &Value, of_others: bool) {
        self.drops((seq, place));
        let mut object = object.clone();
        if place == MESSAGE {
            object["replay"] = true.into();
            drop(object.as_object_mut().and_then(|object| object.remove("ref")));
        }
        let text: Arc<str> = object.to_string().into();
        self.bytes += text.len();
        self.held.insert((seq, place), text);
        if of_others {
            self.of_others.insert(seq);
        }
        while self.held.len() > PAGE_MESSAGES_MAX
            && let Some(oldest) = self.held.keys().next().copied()
        {
            self.drops(oldest);
        }
    }

    fn drops(&mut self, at: (u64, u8)) {
        if let Some(text) = self.held.remove(&at) {
            self.bytes -= text.len();
            if at.1 == MESSAGE {
                self.of_others.remove(&at.0);
            }
        }
    }

    /// The number of unread messages, for pages.
    pub fn unread(&self) -> Value {
        let (messages, read) = (self.unread.messages(), Seq(self.unread.read()));
        json!({"type": "unread", "to": self.to, "messages": messages, "read": read, "origin": "client"})
    }

    /// The positions, for pages.
    pub fn positions(&self) -> Value {
        let (last, read) = (Seq(self.last), Seq(self.unread.read()));
        json!({
            "type": "conversation", "to": self.to, "last": last, "read": read, "origin": "client",
        })
    }

    /// What a page gets that attaches.
    pub fn snapshot(&self, out: &mut impl Extend<Arc<str>>) {
        let told = |object: Value| Arc::from(object.to_string());
        out.extend([told(self.positions())]);
        if let Some(mut entered) = self.entered.clone() {
            entered["people"] = json!(self.people);
            if self.omitted > 0 {
                entered["omitted"] = self.omitted.into();
            }
            if let Some(topic) = &self.topic {
                entered["topic"] = topic.clone();
            }
            let read = Seq(self.unread.read());
            (entered["last"], entered["read"]) = (json!(Seq(self.last)), json!(read));
            out.extend([told(entered)]);
        }
        out.extend(self.held.values().cloned());
        if self.is_gone {
            let gone = json!({"type": "gone", "channel": self.to, "origin": "client"});
            out.extend([told(gone)]);
        }
        out.extend([told(self.unread())]);
    }

    /// People for completion: the latest speakers first.
    pub fn likely_people(&self) -> impl Iterator<Item = &UserName> {
        let partner = match &self.to {
            Target::User(name) => Some(name),
            Target::Channel(_) => None,
        };
        let others = self.people.iter().filter(|name| !self.speakers.contains(name));
        partner.into_iter().chain(&self.speakers).chain(others)
    }
}
