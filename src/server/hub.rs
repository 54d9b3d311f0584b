//! The one lock: the registry, the places' logs and the sessions' outlets. Decide and append under
//! it; seal, send and wait outside. A thread never holds it together with an outlet's lock.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::figures::Figures;
use super::flusher::Flusher;
use super::outlet::{Cursor, Offered, Outlet, PlaceId};
use super::replayer::Replayer;
use super::tail::{FellBehind, Span, Tail};
use super::writer::Job;
use crate::chat::rate::Stamp;
use crate::chat::registry::{Directory, Effect, Fact, Presence, Registry, Start};
use crate::chat::{
    ChannelName, Code, Command, DeviceName, Event, Kind, MsgId, Opaque, Place, Refusal, Seq,
    SessionId, Target, UserName,
};
use crate::config::Config;
use crate::crypto::Fingerprint;
use crate::ledger::{Draft, Record, Verdict};
use crate::limits::Limits;
use crate::wire::codec;

/// Passes that one thread delivers for others before the flusher takes over.
const PASSES_MAX: usize = 8;

/// A sender that waits for deliveries to make progress looks again after this time.
const PROGRESS_WAIT: Duration = Duration::from_millis(50);

/// Everything that sessions share.
pub struct Hub {
    inner: Mutex<Inner>,
    /// A span of some congested place was offered, or the ledger has decided.
    progress: Condvar,
    /// Something waits for the ledger.
    written: Condvar,
    flusher: Flusher,
    replayer: Replayer,
    figures: Figures,
    limits: Limits,
    began: Instant,
}

struct Inner {
    registry: Registry,
    places: HashMap<Place, PlaceId>,
    logs: HashMap<PlaceId, Log>,
    outlets: HashMap<SessionId, Arc<Outlet>>,
    /// For the ledger, in the order of the decisions.
    waiting: Vec<Waiting>,
    /// Nothing more will wait.
    closed: bool,
    places_made: u64,
    lines: u64,
}

/// What waits for the ledger.
#[expect(clippy::large_enum_variant, reason = "nearly all are lines, and each is moved once")]
pub enum Waiting {
    /// A record; a line with what its place's members will get.
    Record(Record, Option<Line>),
    /// Something else, for which all that was decided before is written first.
    Job(Job),
}

/// A line on its way through the ledger.
pub struct Line {
    place: Place,
    from: UserName,
    to: Target,
    id: MsgId,
    /// Its JSON from `to` on (see `Tail::append_line`).
    fields: Vec<u8>,
    outlet: Arc<Outlet>,
}

/// A place's log and who reads it.
struct Log {
    place: Place,
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
    tells: Vec<(Arc<Outlet>, Event)>,
    follows: Vec<(Arc<Outlet>, PlaceId, Start, u64)>,
    unfollows: Vec<(Arc<Outlet>, PlaceId)>,
    deliver: Vec<PlaceId>,
    /// A line's place: who fills it faster than it is delivered is held back.
    said: Option<PlaceId>,
}

/// A line as a session hands it in: its command, and its JSON from `to` on.
pub struct Said<'a> {
    pub to: &'a Target,
    pub time_ms: i64,
    pub fields: Vec<u8>,
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
    pub fn new(registry: Registry, limits: Limits, flusher: Flusher) -> Self {
        let inner = Inner {
            registry,
            places: HashMap::new(),
            logs: HashMap::new(),
            outlets: HashMap::new(),
            waiting: Vec::new(),
            closed: false,
            places_made: 0,
            lines: 0,
        };
        Hub {
            inner: Mutex::new(inner),
            progress: Condvar::new(),
            written: Condvar::new(),
            flusher,
            replayer: Replayer::default(),
            figures: Figures::default(),
            limits,
            began: Instant::now(),
        }
    }

    pub fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Bytes that wait for sockets that do not take them.
    pub fn queued_bytes(&self) -> usize {
        self.outlets().iter().map(|outlet| outlet.queued_bytes()).sum()
    }

    pub fn replayer(&self) -> &Replayer {
        &self.replayer
    }

    /// The monotonic clock of this server's run.
    pub fn now(&self) -> Stamp {
        Stamp(self.began.elapsed().as_millis() as u64)
    }

    /// A session begins: `welcome` and the lobby are told to it, the lobby is told of it. One that
    /// `resumes` says what it has before it reads anything.
    pub fn enter(
        &self,
        outlet: &Arc<Outlet>,
        user: UserName,
        device: DeviceName,
        resumes: bool,
        welcome: Event,
    ) -> Result<(), Refusal> {
        let now = self.now();
        outlet.hold();
        let mut inner = self.lock();
        let effects = inner.registry.enter(outlet.id, user, device, resumes, now)?;
        inner.outlets.insert(outlet.id, Arc::clone(outlet));
        let after = inner.carry_out(effects, &self.limits);
        drop(inner);
        if outlet.welcome(&welcome) {
            self.flusher.park(Arc::clone(outlet));
        }
        self.finish(outlet, after);
        // Others may have made it a reader of something meanwhile.
        self.catch_up(outlet);
        Ok(())
    }

    /// A line of a session goes to the ledger. It comes back when it is stored.
    pub fn say(
        &self,
        outlet: &Arc<Outlet>,
        command: &Command,
        said: Said,
        directory: Directory,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let mut inner = self.lock();
        while inner.waiting.len() >= self.limits.ledger_waiting_max && !inner.closed {
            inner = self.wait(inner);
        }
        // Its end may have come between the read and this.
        let Some((from, device)) = inner.registry.who(outlet.id) else { return Ok(()) };
        let (from, device) = (from.clone(), device.clone());
        let effects = inner.registry.apply(outlet.id, command, directory, now)?;
        let line = effects.iter().find_map(|effect| match effect {
            Effect::Line(place) => Some(place.clone()),
            _ => None,
        });
        let mut after = inner.carry_out(effects, &self.limits);
        if let (Some(place), Command::Say { id, text, sealed, kind, target, .. }) = (line, command)
        {
            if inner.closed {
                return Err(Refusal::Storage);
            }
            after.said = Some(inner.place(place.clone(), &self.limits));
            let line = Line {
                place: place.clone(),
                from: from.clone(),
                to: said.to.clone(),
                id: *id,
                fields: said.fields,
                outlet: Arc::clone(outlet),
            };
            let draft = Draft {
                place,
                from,
                device,
                id: *id,
                time_ms: said.time_ms,
                kind: *kind,
                target: *target,
                text: text.clone(),
                sealed: sealed.clone(),
            };
            outlet.undecided.fetch_add(1, Ordering::Relaxed);
            inner.waiting.push(Waiting::Record(Record::Line(draft), Some(line)));
        }
        drop(inner);
        self.written.notify_one();
        self.finish(outlet, after);
        Ok(())
    }

    /// Takes the price of a request that was no command. A refusal says how long to wait.
    pub fn pay(&self, outlet: &Outlet) -> Result<(), Refusal> {
        let now = self.now();
        self.lock().registry.pay_request(outlet.id, now)
    }

    /// Any other command of a session; its lines of before are decided first.
    pub fn apply(
        &self,
        outlet: &Arc<Outlet>,
        command: &Command,
        directory: Directory,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let mut inner = self.when_decided(outlet);
        if inner.registry.who(outlet.id).is_none() {
            return Ok(());
        }
        let effects = inner.registry.apply(outlet.id, command, directory, now)?;
        let after = inner.carry_out(effects, &self.limits);
        drop(inner);
        self.written.notify_one();
        self.finish(outlet, after);
        Ok(())
    }

    /// A session is over. Told to the channels it was in, with `reason` where one was given; where it
    /// was `cut`, only if it does not come back soon.
    pub fn leave(&self, outlet: &Arc<Outlet>, reason: Option<&str>, cut: bool) {
        outlet.retire();
        let mut inner = self.when_decided(outlet);
        let read = inner.registry.readable(outlet.id);
        let effects = inner.registry.leave(outlet.id, reason, cut, self.now());
        let after = inner.carry_out(effects, &self.limits);
        inner.outlets.remove(&outlet.id);
        for place in read {
            if let Some(id) = inner.places.get(&place).copied() {
                inner.remove_member(id, outlet.id);
            }
        }
        drop(inner);
        self.written.notify_one();
        self.finish(outlet, after);
    }

    /// The lock, once the ledger has decided about all lines of a session: what it does next comes
    /// after them for everybody.
    fn when_decided(&self, outlet: &Outlet) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        while outlet.undecided.load(Ordering::Relaxed) > 0 {
            inner = self.wait(inner);
        }
        inner
    }

    fn wait<'a>(&self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        let waited = self.progress.wait_timeout(inner, PROGRESS_WAIT);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What waits for the ledger, as soon as something does; none once nothing more will come.
    pub fn next_waiting(&self) -> Option<Vec<Waiting>> {
        let mut inner = self.lock();
        while inner.waiting.is_empty() {
            if inner.closed {
                return None;
            }
            inner = self.written.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut inner.waiting))
    }

    /// What waits for the ledger now.
    #[cfg(test)]
    pub fn take_waiting(&self) -> Vec<Waiting> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Something for the ledger's owner to do.
    pub fn add_job(&self, job: Job) {
        let mut inner = self.lock();
        if !inner.closed {
            inner.waiting.push(Waiting::Job(job));
        }
        drop(inner);
        self.written.notify_one();
    }

    /// Nothing more goes to the ledger; what waits is still written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.written.notify_one();
        self.replayer.close();
    }

    /// The ledger has decided about these lines: the stored ones go into their places' tails, in the
    /// ledger's order, and out to the members; the others are refused to their senders.
    pub fn decided(&self, lines: Vec<Option<Line>>, verdicts: Vec<Verdict>) {
        let mut deliver = Vec::new();
        let mut answers = Vec::new();
        let mut inner = self.lock();
        for (line, verdict) in lines.into_iter().zip(verdicts) {
            let Some(line) = line else { continue };
            line.outlet.undecided.fetch_sub(1, Ordering::Relaxed);
            match verdict {
                Verdict::Stored(seq) => {
                    let id = inner.place(line.place.clone(), &self.limits);
                    inner.log(id).tail.append_line(seq, &line.fields);
                    inner.registry.committed(&line.place, seq);
                    inner.lines += 1;
                    if !deliver.contains(&id) {
                        deliver.push(id);
                    }
                }
                // No answer is an honest one.
                Verdict::InDoubt => {}
                other => {
                    inner.registry.refused(&line.place, &line.from);
                    answers.push((line.outlet, self.verdict(other, line.id, line.to)));
                }
            }
        }
        let more = !inner.waiting.is_empty();
        drop(inner);
        self.progress.notify_all();
        for (outlet, event) in answers {
            self.answer(&outlet, &event);
        }
        for place in deliver {
            // A lone line goes out on the spot; where more waits, it is committed meanwhile.
            if more { self.flusher.take_over(place) } else { self.deliver(place, false) }
        }
    }

    /// What the sender of a line is told that was not stored now.
    fn verdict(&self, verdict: Verdict, id: MsgId, to: Target) -> Event {
        let refusal = match verdict {
            Verdict::Known(seq) | Verdict::Stored(seq) => return Event::Stored { id, to, seq },
            Verdict::Conflict => Refusal::IdConflict,
            Verdict::NoSuchLine => Refusal::NoSuchLine,
            Verdict::NotOwn => Refusal::NotOwn,
            Verdict::TooLate => Refusal::TooLate(self.limits.change_s_max),
            Verdict::Failed | Verdict::InDoubt => Refusal::Storage,
        };
        refusal.event(Some(id), None)
    }

    /// Every session with its person.
    pub fn sessions(&self) -> Vec<(UserName, Arc<Outlet>)> {
        let inner = self.lock();
        let who = |outlet: &Arc<Outlet>| {
            let (user, _) = inner.registry.who(outlet.id)?;
            Some((user.clone(), Arc::clone(outlet)))
        };
        inner.outlets.values().filter_map(who).collect()
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
        let event = Event::Notice { text: text.to_owned(), reference: None };
        self.outlets().iter().for_each(|outlet| self.answer(outlet, &event));
    }

    /// An event for one session.
    pub fn answer(&self, outlet: &Arc<Outlet>, event: &Event) {
        if outlet.answer(event) {
            self.flusher.park(Arc::clone(outlet));
        }
    }

    /// Who is in a channel, for a session that may have missed it.
    pub fn tell_people(&self, outlet: &Arc<Outlet>, place: &Place) {
        let Place::Channel(channel) = place else { return };
        let people = self.lock().registry.people_of(channel);
        let channel = channel.clone();
        self.answer(outlet, &Event::People { channel, people, reference: None });
    }

    /// Other limits and retentions from now on, under which no place moves between disk and memory.
    pub fn retune(&self, config: &Config) {
        let (limits, retentions) = (config.limits.clone(), config.retentions());
        let retention = {
            let retentions = retentions.clone();
            move |place: &Place| retentions.of(place)
        };
        self.lock().registry.retune(limits, Box::new(retention));
        self.add_job(Box::new(move |ledger| ledger.set_retentions(retentions)));
    }

    /// Forgets what has been over for long enough.
    pub fn sweep(&self) {
        let now = self.now();
        let mut inner = self.lock();
        let effects = inner.registry.sweep(now);
        let after = inner.carry_out(effects, &self.limits);
        drop(inner);
        self.written.notify_one();
        self.finish_for_all(after);
    }

    pub fn user_of(&self, id: SessionId) -> Option<UserName> {
        self.lock().registry.who(id).map(|(user, _)| user.clone())
    }

    pub fn place_of(&self, id: PlaceId) -> Option<Place> {
        self.lock().logs.get(&id).map(|log| log.place.clone())
    }

    /// The place that a session means, if it may read it.
    pub fn may_read(
        &self,
        id: SessionId,
        to: &Target,
        directory: Directory,
    ) -> Result<Place, Refusal> {
        self.lock().registry.may_read(id, to, directory)
    }

    /// All places that a session may read.
    pub fn readable(&self, id: SessionId) -> Vec<Place> {
        self.lock().registry.readable(id)
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
        HubStats {
            sessions: inner.outlets.len(),
            people: inner.registry.people(),
            channels: inner.registry.channels().count(),
            lines: inner.lines,
            uptime_ms,
        }
    }

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

    /// Answers, then cursors, then the logs: outside the lock.
    fn finish(&self, outlet: &Arc<Outlet>, mut after: After) {
        for (outlet, place) in std::mem::take(&mut after.unfollows) {
            outlet.unfollow(place);
        }
        for event in std::mem::take(&mut after.answers) {
            self.answer(outlet, &event);
        }
        self.finish_for_all(after);
    }

    fn finish_for_all(&self, after: After) {
        for (outlet, event) in after.tells {
            self.answer(&outlet, &event);
        }
        for (outlet, place, start, position) in after.follows {
            outlet.follow(place, start, position);
            self.catch_up(&outlet);
        }
        after.deliver.into_iter().for_each(|place| self.deliver(place, false));
        if let Some(place) = after.said {
            self.hold_back(place);
        }
    }

    /// Who fills a place faster than it is delivered waits until it is not.
    fn hold_back(&self, place: PlaceId) {
        let mut inner = self.lock();
        while inner.logs.get(&place).is_some_and(|log| log.delivering && self.congested(log)) {
            inner = self.wait(inner);
        }
    }

    fn congested(&self, log: &Log) -> bool {
        log.tail.end() - log.offered > self.limits.tail_bytes_max as u64 / 2
    }

    /// Offers what is new in a place to its members, until nothing is. One thread at a time does so
    /// for a place, for all who append meanwhile; after some passes the flusher takes over.
    fn deliver(&self, place: PlaceId, mut mine: bool) {
        for _ in 0..PASSES_MAX {
            let Some((span, members)) = self.next_span(place, &mut mine) else { return };
            let _release = Release { hub: self, place };
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
    fn next_span(&self, place: PlaceId, mine: &mut bool) -> Option<(Span, Arc<Vec<Arc<Outlet>>>)> {
        let mut inner = self.lock();
        let log = inner.logs.get_mut(&place)?;
        if log.delivering && !*mine {
            return None;
        }
        match log.tail.read(log.offered) {
            Ok(Some(span)) => {
                if self.congested(log) {
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

/// A panic in a delivery leaves the place to the next one who delivers.
struct Release<'a> {
    hub: &'a Hub,
    place: PlaceId,
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(log) = self.hub.lock().logs.get_mut(&self.place)
        {
            log.delivering = false;
        }
    }
}

impl Inner {
    /// Appends, follows and answers as the registry decided.
    fn carry_out(&mut self, effects: Vec<Effect>, limits: &Limits) -> After {
        let mut after = After::default();
        for effect in effects {
            match effect {
                // Whoever has the line puts it into the ledger's queue.
                Effect::Line(_) => {}
                Effect::Notice(channel, event) => {
                    let id = self.place(Place::Channel(channel), limits);
                    let mut entry = Vec::with_capacity(96);
                    codec::encode(&event, &mut entry);
                    self.log(id).tail.append(&entry);
                    after.deliver.push(id);
                }
                Effect::Follow(place, sessions, start) => {
                    let private = matches!(place, Place::Private(..));
                    let id = self.place(place, limits);
                    for session in sessions {
                        let Some(outlet) = self.outlets.get(&session).cloned() else { continue };
                        if let Some(position) = self.add_member(id, &outlet, private) {
                            after.follows.push((outlet, id, start, position));
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
                Effect::Tell(sessions, event) => {
                    let outlets = sessions.iter().filter_map(|id| self.outlets.get(id));
                    after.tells.extend(outlets.map(|one| (Arc::clone(one), event.clone())));
                }
                Effect::Remember(fact) => {
                    let record = match fact {
                        Fact::Topic(channel, topic) => Record::Topic(channel, topic),
                        Fact::Read(user, place, seq) => Record::Read(user, place, seq),
                        Fact::Away(user, places) => Record::Away(user, places),
                    };
                    self.waiting.push(Waiting::Record(record, None));
                }
                Effect::Forget(place) => self.forget(place),
            }
        }
        after
    }

    fn place(&mut self, place: Place, limits: &Limits) -> PlaceId {
        *self.places.entry(place.clone()).or_insert_with(|| {
            self.places_made += 1;
            let id = PlaceId(self.places_made);
            let log = Log {
                tail: Tail::new(limits.tail_bytes_max, self.registry.last(&place)),
                place,
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

    fn forget(&mut self, place: Place) {
        if let Some(id) = self.places.remove(&place) {
            self.logs.remove(&id);
        }
        self.waiting.push(Waiting::Job(Box::new(move |ledger| {
            let now_ms = jiff::Timestamp::now().as_millisecond();
            if let Err(error) = ledger.forget(&place, now_ms) {
                log::error!("{place} is empty and its lines stay for now: {error}");
            }
        })));
    }
}

/// The word of a code, as it is on the wire.
pub fn word(code: Code) -> String {
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
        id: &'a MsgId,
        time_ms: i64,
        kind: Kind,
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<Seq>,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sealed: Option<&'a Opaque>,
    }
    let Command::Say { id, text, sealed, kind, target, .. } = command else { return None };
    let sealed = sealed.as_ref();
    let bytes = text.len() + sealed.map_or(0, Opaque::wire_len);
    let mut fields = Vec::with_capacity(bytes + 160);
    let value =
        Fields { to, from, device, id, time_ms, kind: *kind, target: *target, text, sealed };
    codec::encode(&value, &mut fields);
    fields.remove(0);
    Some(fields)
}
