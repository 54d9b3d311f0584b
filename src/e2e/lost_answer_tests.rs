//! An honest server whose answer to a message is lost: the next message is linked to that one,
//! in whatever order the server's events come after the next login.

use super::*;
use crate::chat::{ConversationInfo, Epoch};

/// What the server sends to alice after her next login.
enum Coming {
    /// A message of the channel, replayed.
    Message(Message),
    Stored(MsgId, Seq),
}

struct Return {
    story: Story,
    to: Target,
    /// What the server has stored in the channel.
    log: Vec<Message>,
    /// Answers to requests for keys, which may be late.
    answers: VecDeque<Event>,
}

impl Return {
    fn new(seed: u64) -> Return {
        let mut story = Story::new("@bob");
        story.chance = StdRng::seed_from_u64(seed);
        let (channel, _) = tag(7);
        let to = Target::Channel(channel);
        Return { story, to, log: Vec::new(), answers: VecDeque::new() }
    }

    /// Alice's requests reach the server. It stores her messages, and answers nothing yet.
    fn follows(&mut self, next: Vec<Output>) {
        for one in next {
            match one {
                Output::Send(Request { command: Command::Say(message), .. })
                    if !self.log.iter().any(|stored| stored.id == message.id) =>
                {
                    let name = self.story.alice.name.clone();
                    self.stores(name, Command::Say(message));
                }
                Output::Send(Request { command: Command::Say(_), .. }) => {}
                Output::Send(request) => {
                    let name = self.story.alice.name.clone();
                    self.answers.extend(self.story.server.runs(&name, request));
                }
                Output::Violation { violation, .. } => panic!("{violation:?}"),
                _ => {}
            }
        }
    }

    fn stores(&mut self, name: UserName, say: Command) {
        let message = self.story.server.runs(&name, say.into()).into_iter();
        self.log.extend(message.filter_map(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        }));
    }

    fn says(&mut self, id: u8, text: &str) {
        let (to, id) = (self.to.clone(), MsgId([id; 16]));
        let say = Command::Say(NewMessage { to, id, kind: Kind::Say, body: text.into() });
        let next = self.story.alice.engine.send(say.into(), NOW_MS);
        self.follows(next);
    }

    fn hears(&mut self, event: Event) {
        let next = self.story.alice.engine.received(event, NOW_MS);
        self.follows(next);
    }

    /// Alice logs in again, sends what is not acknowledged, and the server's events come in one of
    /// their orders.
    fn comes_back(&mut self, sent: &[(u8, &str)], have: u64) {
        let Story { server, alice, chance, .. } = &mut self.story;
        alice.enters(server);
        let conversation = ConversationInfo {
            to: self.to.clone(),
            epoch: Epoch(1),
            last: Seq(self.log.len() as u64),
            read: Seq(have),
            retention: Retention::Forever,
        };
        let messages = self.log[have as usize..].iter().cloned();
        let mut coming: VecDeque<_> =
            messages.map(|message| Coming::Message(Message { replay: true, ..message })).collect();
        let first = self.log.last().unwrap();
        let at = chance.random_range(0..=coming.len());
        coming.insert(at, Coming::Stored(first.id, first.seq));
        self.hears(Event::Conversations { conversations: vec![conversation] });
        sent.iter().for_each(|(id, text)| self.says(*id, text));
        loop {
            let late = self.story.chance.random_bool(0.6) && !coming.is_empty();
            if !late && let Some(answer) = self.answers.pop_front() {
                self.hears(answer);
                continue;
            }
            match coming.pop_front() {
                Some(Coming::Message(message)) => self.hears(Event::Message(message)),
                Some(Coming::Stored(id, seq)) => {
                    let to = self.to.clone();
                    self.hears(Event::Stored { id, to, seq });
                }
                None if self.answers.is_empty() => return,
                None => {}
            }
        }
    }
}

#[test]
fn after_a_lost_answer_the_next_message_is_linked_to_the_one_that_was_stored() {
    for seed in 0..TRIES as u64 {
        let mut back = Return::new(seed);
        // Of what came before, alice has all.
        let before = back.story.chance.random_range(0..3u8);
        for id in 1..=before {
            back.says(id, "before");
            let message = back.log.last().unwrap().clone();
            back.hears(Event::Message(message));
        }
        // Somebody speaks whom she has not met.
        let to = back.to.clone();
        let mallory = &mut back.story.mallory;
        let say = NewMessage { to, id: MsgId([90; 16]), kind: Kind::Say, body: "hello".into() };
        let next = mallory.engine.send(Command::Say(say).into(), NOW_MS);
        let name = mallory.name.clone();
        for one in next {
            if let Output::Send(Request { command: say @ Command::Say(_), .. }) = one {
                back.stores(name.clone(), say);
            }
        }
        back.says(100, "first");
        back.says(101, "second");
        assert_eq!(back.log.len(), usize::from(before) + 2, "seed {seed}: one is under way");
        back.comes_back(&[(100, "first"), (101, "second")], u64::from(before));
        assert_eq!(back.log.len(), usize::from(before) + 3, "seed {seed}");
        for message in back.log {
            let seen = back.story.bob.receives(&mut back.story.server, Event::Message(message));
            assert_eq!((seen.texts.len(), seen.violations), (1, vec![]), "seed {seed}");
        }
    }
}
