//! Servers that state another number for an own message, or acknowledge one that was not stored.

use super::*;

/// What the engine of alice wants.
#[derive(Default)]
struct Wants {
    sent: Vec<NewMessage>,
    troubles: usize,
    stored: usize,
    shown: usize,
    violations: Vec<Violation>,
    refused: Vec<String>,
}

fn wants(next: Vec<Output>) -> Wants {
    let mut wants = Wants::default();
    for one in next {
        match one {
            Output::Send(Request { command: Command::Say(message), .. }) => {
                wants.sent.push(message);
            }
            Output::Trouble(_) => wants.troubles += 1,
            Output::Event(Event::Stored { .. }) => wants.stored += 1,
            Output::Event(Event::Message(_)) => wants.shown += 1,
            Output::Violation { violation, .. } => wants.violations.push(violation),
            Output::Answer(Event::Refused { hint, .. }) => wants.refused.push(hint),
            _ => {}
        }
    }
    wants
}

impl Story {
    fn alice_sends(&mut self, text: &str, kind: Kind, chosen: Option<MsgId>) -> (MsgId, Wants) {
        self.server.ids += 1;
        let id = MsgId(u128::from(self.server.ids).to_be_bytes());
        let to: Target = self.conversation.parse().unwrap();
        if let Some(of) = kind.of() {
            self.alice.engine.choose(Choice { change: id, to: to.clone(), of, chosen });
        }
        let say = Command::Say(NewMessage { to, id, kind, body: text.into() });
        (id, wants(self.alice.engine.send(say.into(), NOW_MS + self.server.ids as i64)))
    }

    fn alice_hears(&mut self, event: Event) -> Wants {
        wants(self.alice.engine.received(event, NOW_MS))
    }

    fn is_stored(&mut self, id: MsgId, seq: u64) -> Wants {
        let to = self.conversation.parse().unwrap();
        self.alice_hears(Event::Stored { id, to, seq: Seq(seq) })
    }

    /// An own message, as the server delivers it under this number.
    fn own(&self, message: &NewMessage, seq: u64) -> Message {
        let NewMessage { to, id, kind, body } = message.clone();
        Message { seq: Seq(seq), to, id, kind, body, ..self.server.messages[0].clone() }
    }

    /// Alice forgets the numbers, which this double has not counted.
    fn alice_forgets(&mut self) {
        let to = self.conversation.parse().unwrap();
        self.alice.engine.ids.forget(&to);
        self.alice.engine.sequences.forget(&to);
    }

    /// Delivers it to alice.
    fn returns(&mut self, message: &NewMessage, seq: u64) -> Wants {
        self.alice_hears(Event::Message(self.own(message, seq)))
    }
}

#[test]
fn a_number_belongs_to_one_message_and_a_change_to_the_chosen_one() {
    in_both(|story| {
        let contract = story.messages(1).remove(0);
        let (id, taken) = (contract.id, contract.seq.0);
        let (eats, wants) = story.alice_sends("shall we eat?", Kind::Say, None);
        let sealed = wants.sent[0].clone();
        // The server acknowledges it under the number of the contract, in both ways.
        let told = story.is_stored(eats, taken);
        assert_eq!((told.stored, told.troubles), (0, 1));
        let told = story.returns(&sealed, taken);
        assert_eq!((told.shown, told.violations), (0, vec![Violation::Spliced]));
        // It still counts as not stored: the next one waits.
        let (next, waits) = story.alice_sends("and drink?", Kind::Say, None);
        assert!(waits.sent.is_empty());
        let (true_seq, told) = (taken + 1, story.is_stored(eats, taken + 1));
        assert_eq!((told.stored, told.troubles, told.sent.len()), (1, 0, 1));
        // A number that was acknowledged stays.
        let told = story.returns(&sealed, taken + 5);
        assert_eq!((told.shown, told.violations.last()), (0, Some(&Violation::Again)));
        story.is_stored(next, taken + 2);
        // Changes whose number and message differ are not signed.
        for kind in [Kind::Edit { of: Seq(taken) }, Kind::Delete { of: Seq(taken) }] {
            let (_, wants) = story.alice_sends("no, I do not", kind, Some(eats));
            assert!(wants.sent.is_empty() && wants.refused[0].contains("another one"));
        }
        // The control: of the chosen message, and of the one under the number.
        let chosen = [(true_seq, Some(eats)), (true_seq, None), (taken, Some(id))];
        for (at, (of, chosen)) in (10..).zip(chosen) {
            let (_, wants) = story.alice_sends("at noon", Kind::Edit { of: Seq(of) }, chosen);
            assert_eq!(wants.refused, [""; 0]);
            assert_eq!(story.is_stored(wants.sent[0].id, taken + at).stored, 1);
        }
        story.alice_forgets();
    });
}

#[test]
fn an_acknowledgement_needs_the_own_message_in_its_conversation() {
    in_both(|story| {
        let free = story.messages(1).remove(0).seq.0 + 1;
        let (id, wants) = story.alice_sends("one", Kind::Say, None);
        let sealed = wants.sent[0].clone();
        let (next, wants) = story.alice_sends("two", Kind::Say, None);
        assert!(wants.sent.is_empty(), "it waits for the first one");
        // In another conversation, sealed or open, and of a message that waits.
        for to in ["#lobby", "#tea", "@mallory"] {
            let told =
                story.alice_hears(Event::Stored { id, to: to.parse().unwrap(), seq: Seq(7) });
            assert_eq!(told.sent.len(), 0, "{to}");
        }
        assert_eq!(story.is_stored(next, free).stored, 0);
        // In the clear, altered, and as a message of an open channel.
        let clear = Message { body: "one".into(), ..story.own(&sealed, free + 7) };
        let open = Message { to: "#lobby".parse().unwrap(), ..clear.clone() };
        let mut bytes = sealed.body.sealed().unwrap().bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let altered = Body::Sealed(Opaque::new(&bytes).unwrap());
        let altered = Message { body: altered, ..story.own(&sealed, free + 8) };
        for (message, is_shown) in [(clear, false), (altered, false), (open, true)] {
            let told = story.alice_hears(Event::Message(message));
            assert_eq!((told.sent.len(), told.shown > 0), (0, is_shown));
        }
        // The control.
        let told = story.is_stored(id, free);
        assert_eq!((told.stored, told.sent.len()), (1, 1));
        assert_eq!(story.is_stored(next, free + 1).stored, 1);
        story.alice_forgets();
    });
}
