//! The course of a world: random steps, and what is checked once it has settled.

use super::checker::check;
use super::*;

impl World {
    fn any_session(&mut self, which: impl Fn(&Session) -> bool) -> Option<usize> {
        let sessions = self.server.sessions.iter().enumerate();
        let found: Vec<usize> =
            sessions.filter(|(_, session)| which(session)).map(|(index, _)| index).collect();
        (!found.is_empty()).then(|| found[self.chance.random_range(0..found.len())])
    }

    pub(super) fn step(&mut self) {
        let device = self.chance.random_range(0..self.devices.len());
        match self.chance.random_range(0..1_000) {
            0..200 => self.types(device),
            200..400 => {
                if let Some(session) = self.any_session(|session| !session.pipe.is_empty()) {
                    self.takes(session);
                }
            }
            400..550 => self.writes(),
            550..650 => drop(self.replays()),
            650..700 => self.flushes(),
            700..880 => {
                let bytes = self.chance.random_range(1..4_000);
                self.arrives(device, bytes);
            }
            880..910 => self.breaks(device),
            910..930 => drop(self.notices(device)),
            930..945 => {
                if let Some(session) = self.any_session(|session| session.pipe.is_cut()) {
                    self.leaves(session);
                }
            }
            945..970 if self.devices[device].dials => self.connects(device),
            970..980 => self.happens(device, Input::Tick),
            980..985 => self.happens(device, Input::Line("/retry".into())),
            985..990 => self.joins(device),
            990..994 => self.restarts(device),
            994..996 => self.is_killed(),
            _ => {}
        }
    }

    fn joins(&mut self, number: usize) {
        let tea: ChannelName = "#tea".parse().unwrap();
        let device = &self.devices[number];
        if device.model.name().is_some() && !device.joined.contains(&tea) {
            self.happens(number, Input::Line("/join #tea".into()));
        }
    }

    /// No more faults: everything that is under way arrives.
    pub(super) fn settles(&mut self) {
        self.fails.lock().unwrap().one_in = 0;
        if self.fails.lock().unwrap().poisoned {
            self.is_killed();
        }
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "seed {}: it never settles", self.seed);
            let mut busy = false;
            while let Some(session) = self.any_session(|session| !session.pipe.is_empty()) {
                self.takes(session);
                busy = true;
            }
            while let Some(session) = self.any_session(|session| session.pipe.is_cut()) {
                self.leaves(session);
                busy = true;
            }
            self.writes();
            while self.replays() {
                busy = true;
            }
            self.flushes();
            busy |= !self.server.blocked.is_empty();
            for number in 0..self.devices.len() {
                busy |= self.arrives(number, usize::MAX);
                busy |= self.notices(number);
                if self.devices[number].dials {
                    self.connects(number);
                    busy = true;
                }
                self.joins(number);
                self.happens(number, Input::Tick);
            }
            busy |= self.server.sessions.iter().any(|session| !session.pipe.is_empty());
            if !busy {
                return;
            }
        }
    }

    pub(super) fn check(mut self) {
        for device in &self.devices {
            let open = device.outbox.iter().filter(|message| {
                let id = message.id.to_string();
                !self.runs.values().any(|run| run.refused.contains(&id))
            });
            assert_eq!(open.count(), 0, "seed {}: lines never answered", self.seed);
        }
        for (conversation, run) in &mut self.runs {
            let stored = self.reader.read(conversation, Seq(0), Seq(u64::MAX), PAGE).unwrap();
            let line = |line: crate::chat::Message| ShownMessage {
                seq: line.seq.0,
                id: line.id.to_string(),
                text: line.body.text().to_owned(),
            };
            run.stored = stored.into_iter().map(line).collect();
            let others = |user: &str| {
                conversation.people().is_some_and(|p| p.iter().all(|p| p.as_str() != user))
            };
            for number in (0..PEOPLE.len()).rev().filter(|number| others(PEOPLE[*number])) {
                let shown = run.shown.remove(number);
                assert!(
                    shown.is_empty(),
                    "seed {}: {conversation} was shown to another",
                    self.seed
                );
            }
            let faults = check(run);
            assert!(faults.is_empty(), "seed {}: {conversation}: {faults:?}", self.seed);
        }
    }
}
