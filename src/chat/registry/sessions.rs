//! Sessions: the user and the device of each, its channels, and whether it still has to resume.

use std::collections::{BTreeMap, BTreeSet};

use crate::chat::rate::Stamp;
use crate::chat::{ChannelName, CountedMap, DeviceName, SessionId, UserName};

/// The purpose of a session, from the client's login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The session receives messages from the start.
    Visit,
    /// The client first sends `resume` with its positions, and receives no message before that.
    Resume,
    /// One job of a script: its join and its departure are not announced.
    Job,
}

/// The user, device and purpose of a session.
pub struct Participant {
    pub user: UserName,
    pub device: DeviceName,
    pub purpose: Purpose,
}

pub(super) struct Session {
    pub user: UserName,
    pub device: DeviceName,
    pub is_job: bool,
    channels: BTreeSet<ChannelName>,
    /// When the connection was lost: the session stays in its channels for the resume window.
    cut: Option<Stamp>,
    /// The client has still to send `resume`; until then the session reads nothing.
    resumes: bool,
    /// Users in the lobby and their join times, as announced before the resume.
    announced: BTreeMap<UserName, Stamp>,
}

impl Session {
    pub fn new(Participant { user, device, purpose }: Participant) -> Session {
        Session {
            user,
            device,
            is_job: purpose == Purpose::Job,
            channels: BTreeSet::new(),
            cut: None,
            resumes: purpose == Purpose::Resume,
            announced: BTreeMap::new(),
        }
    }

    pub fn channels(&self) -> &BTreeSet<ChannelName> {
        &self.channels
    }

    /// Adds the session to a channel. Returns whether it was not in it.
    pub fn enter(&mut self, channel: &ChannelName) -> bool {
        self.channels.insert(channel.clone())
    }

    pub fn leave(&mut self, channel: &ChannelName) {
        self.channels.remove(channel);
    }

    /// The connection was lost.
    pub fn cut(&mut self, now: Stamp) {
        self.cut = Some(now);
    }

    /// Whether the connection was lost at least so long ago.
    pub fn is_cut_for(&self, window_ms: u64, now: Stamp) -> bool {
        self.cut.is_some_and(|since| now.ms_since(since) >= window_ms)
    }

    /// Whether the client has still to send `resume`.
    pub fn resumes(&self) -> bool {
        self.resumes
    }

    /// Stores the users that were announced in the lobby, until the client resumes.
    pub fn await_resume(&mut self, lobby: BTreeMap<UserName, Stamp>) {
        self.announced = lobby;
    }

    /// Marks the session as resumed. Returns the users that were announced in the lobby; `None` if
    /// the client resumed before.
    pub fn resume(&mut self) -> Option<BTreeMap<UserName, Stamp>> {
        std::mem::take(&mut self.resumes).then(|| std::mem::take(&mut self.announced))
    }
}

#[derive(Default)]
pub(super) struct Sessions {
    sessions: CountedMap<SessionId, Session>,
}

impl Sessions {
    pub fn add(&mut self, id: SessionId, session: Session) {
        self.sessions.insert(id, session);
    }

    pub fn remove(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// Returns an existing session.
    ///
    /// # Panics
    /// There is no session with this id.
    pub fn of(&self, id: SessionId) -> &Session {
        self.get(id).expect("the hub knows its sessions")
    }

    pub fn of_mut(&mut self, id: SessionId) -> &mut Session {
        self.get_mut(id).expect("the hub knows its sessions")
    }

    /// Returns the sessions whose connection was lost, oldest id first.
    pub fn cut(&self, which: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let cut = self.sessions.iter().filter(|(_, session)| session.cut.is_some());
        let mut ids: Vec<_> = cut.filter(|(_, one)| which(one)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}
