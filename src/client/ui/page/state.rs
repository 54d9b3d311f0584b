//! What pages see: objects for those that are attached, and the state for those that attach later.
//! Pure but for the list of open rooms, which is stored.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::answers::Answers;
use super::carried::Carried;
use super::outgoing::Outgoing;
use super::room::Room;
use crate::chat::operator_commands::Usage;
use crate::chat::{ChannelName, Event, FileRules, Message, MsgId, Seq, Target, UserName};
use crate::client::model::{Origin, Output, State as Connection};
use crate::client::slash::{self, Notify};
use crate::client::transfer::TransferId;
use crate::client::ui::Person;
use crate::client::ui::objects::Objects;
use crate::client::ui::rooms::{NotifySettings, Rooms};
use crate::limits::{Limits, PAGE_FILES_MAX, PAGE_MEMORY_BYTES_MAX, TEXT_BYTES_MAX};
use crate::page;

/// Objects about new keys that a page gets when it attaches.
const KEY_CHANGES_MAX: usize = 50;

pub struct State {
    objects: Objects,
    name: UserName,
    server: String,
    fingerprint: String,
    admission: Vec<String>,
    stored: Rooms,
    notify: NotifySettings,
    /// The lobby, channels, then people.
    rooms: Vec<Room>,
    connection: Option<Value>,
    hello: Option<Value>,
    text_bytes_max: usize,
    /// The server's rules, once it has stated them; `None` inside if it keeps no files.
    files: Option<Option<FileRules>>,
    /// The open request for a password.
    password: Option<Value>,
    /// The channels whose keys are being derived, if there are any.
    deriving: Option<Value>,
    outgoing: Outgoing,
    carried: Carried,
    answers: Answers,
    key_changes: VecDeque<Value>,
    /// Channels of the last list, for completion.
    listed: Vec<String>,
    /// The last error, which the terminal shows at the end.
    error: Option<(Origin, String)>,
    bye: Option<String>,
}

impl State {
    /// `server` is its address and its fingerprint.
    pub fn new(person: Person, (server, fingerprint): (String, String)) -> State {
        let Person { name, admission, outbox, rooms } = person;
        let mut state = State {
            objects: Objects::new(fingerprint.clone()),
            name,
            server,
            fingerprint,
            admission,
            notify: rooms.notify().clone(),
            stored: rooms,
            rooms: vec![Room::new(Target::Channel(ChannelName::lobby()))],
            connection: None,
            hello: None,
            text_bytes_max: TEXT_BYTES_MAX,
            files: None,
            password: None,
            deriving: None,
            outgoing: Outgoing::default(),
            carried: Carried::default(),
            answers: Answers::default(),
            key_changes: VecDeque::new(),
            listed: Vec::new(),
            error: None,
            bye: None,
        };
        for to in state.stored.open().to_vec() {
            state.room(&to);
        }
        outbox.iter().for_each(|message| drop(state.outgoing.sends(message)));
        state
    }

    /// Takes an output. Returns the objects for the attached pages.
    pub fn take(&mut self, output: &Output) -> Vec<Value> {
        let mut objects = self.objects.of(output);
        match output {
            Output::Message(message) => self.message(message, &mut objects),
            Output::Outgoing(message) => objects.extend(self.outgoing.sends(message)),
            Output::Ack { id, .. } => self.outgoing.is_acknowledged(*id, objects.first()),
            Output::Dropped(id) => {
                self.outgoing.settles(*id);
                objects.push(json!({"type": "dropped", "id": id, "origin": "client"}));
            }
            Output::Pending { id, .. } | Output::Saved { id, .. } => {
                objects.iter().for_each(|pending| self.outgoing.waits(*id, pending));
            }
            Output::Conversation { to, last, read } => {
                if let Some(room) = self.find(to) {
                    room.learn(*last, *read);
                    objects.extend([room.positions(), room.unread()]);
                }
            }
            // What is read opens no conversation.
            Output::Unread { to, messages: 0, .. } if self.find(to).is_none() => {}
            Output::Unread { to, upto, messages, .. } => {
                let room = self.room(to);
                room.counts(*upto, *messages);
                objects = vec![room.unread()];
            }
            Output::Renumbered { to, after } => {
                if let Some(room) = self.find(to) {
                    room.renumbers(*after);
                }
            }
            Output::State(connection) => self.connection(connection, &mut objects),
            Output::Latency(ms) => {
                objects.push(json!({"type": "latency", "ms": ms, "origin": "client"}));
            }
            Output::Deriving(channels) => {
                let object = json!({"type": "deriving", "channels": channels, "origin": "client"});
                self.deriving = (!channels.is_empty()).then(|| object.clone());
                objects.push(object);
            }
            Output::Violation { to, seq, .. } => {
                let room = self.room(to);
                objects.iter().for_each(|object| room.violates(*seq, object));
            }
            Output::KeyChanged { .. } => self.key_changes.extend(objects.iter().cloned()),
            Output::Event(_, event) => self.event(event, &mut objects),
            Output::Presence(event) => {
                objects = self.objects.of(&Output::Event(Origin::Server, event.clone()));
                objects.iter_mut().for_each(|object| object["quiet"] = true.into());
                self.event(event, &mut objects);
            }
            Output::Target(to) => {
                if matches!(to, Target::User(_)) {
                    self.room(to);
                }
                objects.push(json!({"type": "target", "to": to, "origin": "client"}));
            }
            Output::Gone(channel) => self.room(&Target::Channel(channel.clone())).is_gone(),
            Output::Transfer(progress) => self.carried.moves(progress, &objects),
            Output::Error(text) => self.error = Some((Origin::Client, text.clone())),
            Output::Secret(_) => self.password = None,
            Output::Bye(reason) => self.bye = Some(reason.clone()),
            _ => {}
        }
        self.bound();
        objects
    }

    fn connection(&mut self, connection: &Connection, objects: &mut [Value]) {
        match connection {
            Connection::Connected { name } => {
                self.name = name.clone();
                self.password = None;
                objects.iter_mut().for_each(|object| object["name"] = json!(name));
            }
            Connection::Silent { .. } => {}
            _ => self.answers.lost(),
        }
        self.connection = objects.last().cloned();
    }

    fn message(&mut self, message: &Message, objects: &mut Vec<Value>) {
        let Some(object) = objects.first().cloned() else { return };
        let to = message.conversation(Some(&self.name));
        if message.reference.is_some() {
            return self.answers.gathers(to, message, object);
        }
        let is_own = message.from == self.name;
        let room = self.room(&to);
        if room.arrives(message, &object, is_own) {
            objects.push(room.unread());
        }
    }

    /// Takes an event, whose object is the first one.
    fn event(&mut self, event: &Event, objects: &mut Vec<Value>) {
        let Some(object) = objects.first_mut() else { return };
        match event {
            Event::Welcome { text_bytes_max, files, .. } => {
                (self.text_bytes_max, self.files) = (*text_bytes_max, Some(*files));
                object["limits"] = self.limits();
                self.hello = Some(object.clone());
            }
            Event::Password { .. } => self.password = Some(object.clone()),
            Event::Entered { channel, last, read, people, omitted, topic, retention, .. } => {
                let room = self.room(&Target::Channel(channel.clone()));
                room.learn(*last, *read);
                room.enters(object, people, *omitted);
                room.sets_topic(topic.as_deref(), *retention);
                objects.push(room.unread());
            }
            Event::Parted { channel, .. } => self.closes(&Target::Channel(channel.clone())),
            Event::Joined { to, who, .. } => self.moves(to, who, true),
            Event::Left { to, who, .. } => self.moves(to, who, false),
            Event::People { channel, people, omitted, .. } => {
                if let Some(room) = self.find(&Target::Channel(channel.clone())) {
                    room.sets_people(people, *omitted);
                }
            }
            Event::Channels { channels, .. } => {
                self.listed = channels.iter().map(|row| row.channel.to_string()).collect();
            }
            Event::Topic { to, text, retention, .. } if !to.has_pin() => {
                if let Some(room) = self.find(&Target::Channel(to.clone())) {
                    room.sets_topic(text.as_deref(), *retention);
                }
            }
            Event::Gap { to, to_seq, .. } => self.room(to).omits(*to_seq, object),
            Event::Read { to, seq } => {
                if let Some(room) = self.find(to) {
                    room.reads(*seq);
                    objects.push(room.unread());
                }
            }
            Event::History { to: Some(to), reference, .. } => {
                let (answer, own) =
                    (self.answers.ends(to, reference.as_deref()), self.name.clone());
                if let (Some((before, messages)), Some(room)) = (answer, self.find(to)) {
                    room.loads(before, &messages, &own);
                }
            }
            Event::Refused { id: Some(id), .. } => self.outgoing.is_refused(*id, object),
            Event::Refused { reference, .. } => self.answers.is_refused(reference.as_deref()),
            Event::Goodbye { reason, .. } => self.error = Some((Origin::Server, reason.clone())),
            _ => {}
        }
    }

    fn moves(&mut self, channel: &ChannelName, who: &UserName, came: bool) {
        if let Some(room) = self.find(&Target::Channel(channel.clone())) {
            room.moves(who, came);
        }
    }

    fn find(&mut self, to: &Target) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.to() == to)
    }

    /// The room of a conversation, which is opened if it is not open. Channels precede people.
    fn room(&mut self, to: &Target) -> &mut Room {
        let at = self.rooms.iter().position(|room| room.to() == to).unwrap_or_else(|| {
            let is_channel = |room: &&Room| matches!(room.to(), Target::Channel(_));
            let at = match to {
                Target::Channel(_) => self.rooms.iter().filter(is_channel).count(),
                Target::User(_) => self.rooms.len(),
            };
            self.rooms.insert(at, Room::new(to.clone()));
            at
        });
        &mut self.rooms[at]
    }

    fn closes(&mut self, to: &Target) {
        let lobby = Target::Channel(ChannelName::lobby());
        self.rooms.retain(|room| room.to() != to || *to == lobby);
    }

    /// Bounds the memory of all rooms.
    fn bound(&mut self) {
        while self.key_changes.len() > KEY_CHANGES_MAX {
            self.key_changes.pop_front();
        }
        while self.rooms.iter().map(Room::bytes).sum::<usize>() > PAGE_MEMORY_BYTES_MAX {
            let fullest = self.rooms.iter_mut().max_by_key(|room| room.bytes());
            fullest.expect("the lobby is there").drops_some();
        }
    }

    fn limits(&self) -> Value {
        let bytes_max = self.files.map(|files| files.map(|files| files.bytes_max));
        json!({
            "text_bytes": self.text_bytes_max, "file_bytes": bytes_max.flatten(),
            "files": PAGE_FILES_MAX,
        })
    }

    /// The largest file that a page may hand over; `None` if the server keeps none.
    pub fn file_bytes_max(&self) -> Option<u64> {
        let usual = Limits::default().file_bytes_max as u64;
        self.files.map_or(Some(usual), |files| files.map(|files| files.bytes_max.0))
    }

    /// What a page gets that attaches.
    pub fn snapshot(&self) -> VecDeque<Arc<str>> {
        let mut texts = VecDeque::new();
        let told = |object: &Value| Arc::from(object.to_string());
        texts.extend(self.connection.iter().chain(&self.hello).map(told));
        self.rooms.iter().for_each(|room| room.snapshot(&mut texts));
        texts.extend(self.notify.iter().map(|(to, level)| told(&notify_object(to, *level))));
        texts.extend(self.key_changes.iter().map(told));
        texts.extend(self.outgoing.objects().map(told));
        texts.extend(self.carried.objects().map(told));
        texts.extend(self.password.iter().map(told));
        texts.extend(self.deriving.iter().map(told));
        texts.push_back(told(&self.ready()));
        texts
    }

    /// The end of the snapshot.
    fn ready(&self) -> Value {
        let with_slash = |name: &&str| format!("/{name}");
        let command = |usage: &Usage| {
            json!({
                "name": format!("/{}", usage.name),
                "aliases": usage.aliases.iter().map(with_slash).collect::<Vec<_>>(),
                "usage": format!("/{} {}", usage.name, usage.operands).trim_end(),
                "help": usage.does,
                "example": format!("/{}", usage.example),
            })
        };
        json!({
            "type": "ready", "commands": slash::all().map(command).collect::<Vec<_>>(),
            "server": self.server, "fingerprint": self.fingerprint, "name": self.name,
            "admission": self.admission, "limits": self.limits(), "page": page::tag(),
            "origin": "client",
        })
    }

    /// Takes a line of a page, as `Outgoing` does.
    pub fn takes(&mut self, id: MsgId) -> Result<(), Vec<Value>> {
        self.outgoing.takes(id)
    }

    /// A page asks for older messages.
    pub fn asks(&mut self, to: Target, before: Option<Seq>, reference: Option<&str>) {
        self.answers.asks(to, before, reference);
    }

    /// A page has shown messages to the user. Returns the position, and the object for all pages.
    pub fn reads(&mut self, to: &Target, seq: Seq) -> Option<(Seq, Value)> {
        let room = self.find(to)?;
        Some((room.reads(seq), room.unread()))
    }

    /// Closes a private conversation. Returns the object for all pages.
    pub fn close(&mut self, to: &Target) -> Value {
        self.closes(to);
        json!({"type": "closed", "to": to, "origin": "client"})
    }

    /// Chooses which messages of a conversation notify the user, or shows it. Returns the object
    /// for all pages.
    pub fn notifies(&mut self, to: &Target, wanted: Option<Notify>) -> Value {
        let name = to.to_string();
        let now = wanted.or_else(|| self.notify.get(&name).copied()).unwrap_or(Notify::Mentions);
        match now {
            Notify::Mentions => drop(self.notify.remove(&name)),
            now => drop(self.notify.insert(name.clone(), now)),
        }
        notify_object(&name, now)
    }

    /// Stores the open rooms where they have changed. Returns the object about a failure.
    pub fn store(&mut self) -> Option<Value> {
        let words = self.stored.highlights().clone();
        let rooms = self.rooms.iter().map(Room::to);
        let error = self.stored.save(rooms, &self.notify, &words).err()?;
        let text = format!("the list of open rooms cannot be stored: {error}");
        self.objects.object(&Output::Error(text))
    }

    /// The people and the channels that a word in a conversation may begin, the likely ones first.
    pub fn names(&self, to: &Target) -> (Vec<UserName>, Vec<String>) {
        let lobby = self.rooms.first().filter(|room| room.to() != to);
        let room = self.rooms.iter().find(|room| room.to() == to);
        let mut people: Vec<UserName> = Vec::new();
        for name in room.into_iter().chain(lobby).flat_map(Room::likely_people) {
            if *name != self.name && !people.contains(name) {
                people.push(name.clone());
            }
        }
        let own = self.rooms.iter().map(|room| room.to().to_string());
        let mut channels: Vec<String> = own.filter(|name| name.starts_with('#')).collect();
        let fresh: Vec<_> =
            self.listed.iter().filter(|name| !channels.contains(name)).cloned().collect();
        channels.extend(fresh);
        (people, channels)
    }

    /// The path of a file that this run has fetched.
    pub fn fetched(&self, id: TransferId) -> Option<PathBuf> {
        self.carried.fetched(id)
    }

    /// Transfers that have ended since the last call, with the reference of their command.
    pub fn take_ended(&mut self) -> Vec<(TransferId, Option<String>)> {
        self.carried.take_ended()
    }

    /// The last error, and the reason of an end that was wanted.
    pub fn parting(&mut self) -> (Option<(Origin, String)>, Option<String>) {
        (self.error.take(), self.bye.take())
    }
}

fn notify_object(to: &str, level: Notify) -> Value {
    json!({"type": "notify", "to": to, "level": level, "origin": "client"})
}
