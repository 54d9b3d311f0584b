//! The one lock: the registry, the places' logs and the sessions' outlets. Decide and append under
//! it; seal, send and wait outside. A thread never holds it together with an outlet's lock.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::flusher::Flusher;
use super::outlet::{Offered, Outlet, PlaceId};
use super::tail::{FellBehind, Span, Tail};
use crate::chat::rate::Stamp;
use crate::chat::registry::{Directory, Effect, Place, Presence, Registry};
use crate::chat::{
    ChannelName, Code, Command, DeviceName, Event, Refusal, SessionId, Target, UserName,
};
use crate::crypto::Fingerprint;
use crate::limits::Limits;
use crate::wire::codec;

/// Passes that one thread delivers for others before the flusher takes over.
const PASSES_MAX: usize = 8;

/// A sender that waits for deliveries to make progress looks again after this time.
const PROGRESS_WAIT: Duration = Duration::from_millis(50);

/// Everything that sessions share.
pub struct Hub {
    inner: Mutex<Inner>,
    /// A span of some congested place was offered.
    progress: Condvar,
    flusher: Flusher,
    limits: Limits,
    began: Instant,
}

struct Inner {
    registry: Registry,
    places: HashMap<Place, PlaceId>,
    logs: HashMap<PlaceId, Log>,
    outlets: HashMap<SessionId, Arc<Outlet>>,
    places_made: u64,
    lines: u64,
}

/// A place's log and who reads it.
struct Log {
    tail: Tail,
    members: Arc<Vec<Arc<Outlet>>>,
    /// Up to here the members have been offered what there is.
    offered: u64,
    /// Somebody is delivering: others only append.
    delivering: bool,
    /// Some member has not got all that was offered.
    lagging: bool,
}

/// What is left to do once the lock is free.
#[derive(Default)]
struct After {
    answers: Vec<Event>,
    follows: Vec<(Arc<Outlet>, PlaceId, u64)>,
    unfollows: Vec<(Arc<Outlet>, PlaceId)>,
    deliver: Vec<PlaceId>,
}

/// Figures for people and for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HubStats {
    pub sessions: usize,
    pub people: usize,
    pub channels: usize,
    pub lines: u64,
    pub uptime_ms: u64,
}

impl Hub {
    pub fn new(limits: Limits, flusher: Flusher) -> Self {
        let inner = Inner {
            registry: Registry::new(limits.clone()),
            places: HashMap::new(),
            logs: HashMap::new(),
            outlets: HashMap::new(),
            places_made: 0,
            lines: 0,
        };
        Hub {
            inner: Mutex::new(inner),
            progress: Condvar::new(),
            flusher,
            limits,
            began: Instant::now(),
        }
    }

    pub fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    /// The monotonic clock of this server's run.
    pub fn now(&self) -> Stamp {
        Stamp(self.began.elapsed().as_millis() as u64)
    }

    /// A session begins: `welcome` and the lobby are told to it, the lobby is told of it.
    pub fn enter(
        &self,
        outlet: &Arc<Outlet>,
        user: UserName,
        device: DeviceName,
        welcome: Event,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let mut inner = self.lock();
        let effects = inner.registry.enter(outlet.id, user, device, now)?;
        inner.outlets.insert(outlet.id, Arc::clone(outlet));
        let mut after = inner.carry_out(effects, None, &self.limits);
        drop(inner);
        after.answers.insert(0, welcome);
        self.finish(outlet, after);
        Ok(())
    }

    /// A command of a session; `fields` is a line's JSON from `to` on (see `Tail::append_line`).
    pub fn apply(
        &self,
        outlet: &Arc<Outlet>,
        command: &Command,
        fields: Option<&[u8]>,
        directory: Directory,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let mut inner = self.lock();
        // Its end may have come between the read and this.
        if inner.registry.who(outlet.id).is_none() {
            return Ok(());
        }
        let effects = inner.registry.apply(outlet.id, command, directory, now)?;
        let after = inner.carry_out(effects, fields, &self.limits);
        drop(inner);
        self.finish(outlet, after);
        Ok(())
    }

    /// A session is over. Told to the channels it was in, with `reason` where one was given.
    pub fn leave(&self, outlet: &Arc<Outlet>, reason: Option<&str>) {
        let now = self.now();
        let read = outlet.retire();
        let mut inner = self.lock();
        let effects = inner.registry.leave(outlet.id, reason, now);
        let after = inner.carry_out(effects, None, &self.limits);
        inner.outlets.remove(&outlet.id);
        for place in read {
            inner.remove_member(place, outlet.id);
        }
        drop(inner);
        self.finish(outlet, after);
    }

    /// Ends all sessions of a person; gives how many there were.
    pub fn end_user(&self, name: &UserName, code: Code, reason: &str) -> usize {
        let sessions = self.lock().registry.sessions_of(name).to_vec();
        self.end_some(code, reason, |outlet| sessions.contains(&outlet.id))
    }

    /// Ends all sessions of a key; gives how many there were.
    pub fn end_key(&self, key: &Fingerprint, code: Code, reason: &str) -> usize {
        self.end_some(code, reason, |outlet| outlet.key == *key)
    }

    fn end_some(&self, code: Code, reason: &str, which: impl Fn(&Outlet) -> bool) -> usize {
        let event = Event::Goodbye { code, reason: reason.to_owned(), retry_ms: None };
        let mut outlets = self.outlets();
        outlets.retain(|outlet| which(outlet));
        outlets.iter().for_each(|outlet| outlet.end(Some(&event), &word(code)));
        outlets.len()
    }

    /// Ends every session; `last` says why and when to come back.
    pub fn end_all(&self, last: &Event, reason: &str) {
        self.outlets().iter().for_each(|outlet| outlet.end(Some(last), reason));
    }

    /// A word to everybody.
    pub fn notice_all(&self, text: &str) {
        let event = Event::Notice { text: text.to_owned() };
        for outlet in self.outlets() {
            if outlet.answer(&event) {
                self.flusher.park(outlet);
            }
        }
    }

    /// Forgets what has been empty for long enough.
    pub fn sweep(&self) {
        let now = self.now();
        let mut inner = self.lock();
        for effect in inner.registry.sweep(now) {
            if let Effect::Forget(place) = effect {
                inner.forget(&place);
            }
        }
    }

    pub fn presence(&self, name: &UserName, asker: SessionId) -> Option<Presence> {
        let now = self.now();
        self.lock().registry.presence(name, asker, now)
    }

    /// Channels and the people in them, in the order of their names.
    pub fn channels(&self) -> Vec<(ChannelName, Vec<UserName>)> {
        let inner = self.lock();
        let own = |people: Vec<&UserName>| people.into_iter().cloned().collect();
        inner.registry.channels().map(|(name, people)| (name.clone(), own(people))).collect()
    }

    /// Who is connected: name, device, session.
    pub fn people(&self) -> Vec<(UserName, DeviceName, SessionId)> {
        let inner = self.lock();
        let who = |id: &SessionId| {
            let (user, device) = inner.registry.who(*id)?;
            Some((user.clone(), device.clone(), *id))
        };
        inner.outlets.keys().filter_map(who).collect()
    }

    pub fn stats(&self) -> HubStats {
        let uptime_ms = self.now().0;
        let inner = self.lock();
        let lobby = inner.registry.channels().find(|(name, _)| name.is_lobby());
        HubStats {
            sessions: inner.outlets.len(),
            people: lobby.map_or(0, |(_, people)| people.len()),
            channels: inner.registry.channels().count(),
            lines: inner.lines,
            uptime_ms,
        }
    }

    /// Lets a session's cursors catch up with the logs of all its places.
    pub fn catch_up(&self, outlet: &Arc<Outlet>) {
        loop {
            let cursors = outlet.cursors();
            let inner = self.lock();
            let next = cursors.iter().find_map(|(place, position)| {
                let read = inner.logs.get(place)?.tail.read(*position);
                read.transpose().map(|span| (*place, span))
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
                Some((_, Err(FellBehind))) => {
                    let reason = "you read too slowly and missed lines that are not kept".into();
                    let event = Event::Goodbye { code: Code::Slow, reason, retry_ms: Some(1_000) };
                    return outlet.end(Some(&event), "slow");
                }
            }
        }
    }

    /// The flusher's turn at a place that a sender has delivered for long enough.
    pub fn go_on(&self, place: PlaceId) {
        self.deliver(place, true);
    }

    /// Answers, then cursors, then the logs: outside the lock.
    fn finish(&self, outlet: &Arc<Outlet>, after: After) {
        for (outlet, place) in after.unfollows {
            outlet.unfollow(place);
        }
        for event in after.answers {
            if outlet.answer(&event) {
                self.flusher.park(Arc::clone(outlet));
            }
        }
        for (outlet, place, position) in after.follows {
            outlet.follow(place, position);
            self.catch_up(&outlet);
        }
        after.deliver.into_iter().for_each(|place| self.deliver(place, false));
    }

    /// Offers what is new in a place to its members, until nothing is. One thread at a time does so
    /// for a place, for all who append meanwhile; after some passes the flusher takes over.
    fn deliver(&self, place: PlaceId, mut mine: bool) {
        for _ in 0..PASSES_MAX {
            let Some((span, members)) = self.next_span(place, &mut mine) else { return };
            let mut lagging = false;
            for outlet in members.iter() {
                match outlet.offer(place, &span) {
                    Offered::Taken | Offered::Over => {}
                    Offered::Parked => {
                        lagging = true;
                        self.flusher.park(Arc::clone(outlet));
                    }
                    Offered::Behind => self.catch_up(outlet),
                    Offered::StillParked | Offered::Elsewhere => lagging = true,
                }
            }
            if lagging && let Some(log) = self.lock().logs.get_mut(&place) {
                log.lagging = true;
            }
        }
        self.flusher.take_over(place);
    }

    /// The next span to offer and to whom; none when all is offered or another thread does it.
    fn next_span(&self, place: PlaceId, mine: &mut bool) -> Option<(Span, Arc<Vec<Arc<Outlet>>>)> {
        let mut inner = self.lock();
        // A place that is filled faster than it is delivered holds up those who fill it.
        let congested =
            |log: &Log| log.tail.end() - log.offered > self.limits.tail_bytes_max as u64 / 2;
        while !*mine && inner.logs.get(&place).is_some_and(|log| log.delivering && congested(log)) {
            let waited = self.progress.wait_timeout(inner, PROGRESS_WAIT);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let log = inner.logs.get_mut(&place)?;
        if log.delivering && !*mine {
            return None;
        }
        match log.tail.read(log.offered) {
            Ok(Some(span)) => {
                if congested(log) {
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

    fn outlets(&self) -> Vec<Arc<Outlet>> {
        self.lock().outlets.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under this lock is whole before the next can panic: the maps stay usable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Appends, follows and answers as the registry decided.
    fn carry_out(&mut self, effects: Vec<Effect>, fields: Option<&[u8]>, limits: &Limits) -> After {
        let mut after = After::default();
        for effect in effects {
            match effect {
                Effect::Line(place) => {
                    let fields = fields.expect("only a line makes a line");
                    let id = self.place(place, limits);
                    self.log(id).tail.append_line(fields);
                    self.lines += 1;
                    after.deliver.push(id);
                }
                Effect::Notice(channel, event) => {
                    let id = self.place(Place::Channel(channel), limits);
                    let mut entry = Vec::with_capacity(96);
                    codec::encode(&event, &mut entry);
                    self.log(id).tail.append(&entry);
                    after.deliver.push(id);
                }
                Effect::Follow(place, sessions) => {
                    let private = matches!(place, Place::Private(..));
                    let id = self.place(place, limits);
                    for session in sessions {
                        let Some(outlet) = self.outlets.get(&session).cloned() else { continue };
                        if let Some(position) = self.add_member(id, &outlet, private) {
                            after.follows.push((outlet, id, position));
                        }
                    }
                }
                Effect::Unfollow(place, session) => {
                    let id = self.place(place, limits);
                    self.remove_member(id, session);
                    if let Some(outlet) = self.outlets.get(&session) {
                        after.unfollows.push((Arc::clone(outlet), id));
                    }
                }
                Effect::Answer(event) => after.answers.push(event),
                Effect::Forget(place) => self.forget(&place),
            }
        }
        after
    }

    fn place(&mut self, place: Place, limits: &Limits) -> PlaceId {
        *self.places.entry(place).or_insert_with(|| {
            self.places_made += 1;
            let id = PlaceId(self.places_made);
            let log = Log {
                tail: Tail::new(limits.tail_bytes_max),
                members: Arc::default(),
                offered: 0,
                delivering: false,
                lagging: false,
            };
            self.logs.insert(id, log);
            id
        })
    }

    fn log(&mut self, id: PlaceId) -> &mut Log {
        self.logs.get_mut(&id).expect("a place that has an id has a log")
    }

    /// Where the new member begins to read; none where it is a member already, which only a private
    /// conversation's may be.
    fn add_member(&mut self, id: PlaceId, outlet: &Arc<Outlet>, private: bool) -> Option<u64> {
        let log = self.log(id);
        if private && log.members.iter().any(|member| member.id == outlet.id) {
            return None;
        }
        Arc::make_mut(&mut log.members).push(Arc::clone(outlet));
        Some(log.tail.end())
    }

    fn remove_member(&mut self, id: PlaceId, session: SessionId) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        if let Some(index) = log.members.iter().position(|member| member.id == session) {
            Arc::make_mut(&mut log.members).swap_remove(index);
        }
        if log.members.is_empty() {
            // Nobody is left who could read it.
            let end = log.tail.end();
            log.tail.release(end);
        }
    }

    fn forget(&mut self, place: &Place) {
        if let Some(id) = self.places.remove(place) {
            self.logs.remove(&id);
        }
    }
}

/// The word of a code, as it is on the wire.
fn word(code: Code) -> String {
    let text = serde_json::to_string(&code).expect("a code is a word");
    text.trim_matches('"').to_owned()
}

/// The fields of a line after its seq, as `Tail::append_line` wants them.
pub fn line_fields(
    to: &Target,
    from: &UserName,
    device: &DeviceName,
    time_ms: i64,
    command: &Command,
) -> Option<Vec<u8>> {
    #[derive(serde::Serialize)]
    struct Fields<'a> {
        to: &'a Target,
        from: &'a UserName,
        device: &'a DeviceName,
        id: &'a crate::chat::MsgId,
        time_ms: i64,
        kind: crate::chat::Kind,
        text: &'a str,
    }
    let Command::Say { id, text, kind, .. } = command else { return None };
    let mut fields = Vec::with_capacity(text.len() + 160);
    let value = Fields { to, from, device, id, time_ms, kind: *kind, text };
    codec::encode(&value, &mut fields);
    fields.remove(0);
    Some(fields)
}
