//! Tests of the numbers of unread messages.

use super::super::*;
use crate::chat::{ConversationInfo, Epoch, Event, MessageCount, Retention, SenderCount, Seq};

fn connected() -> Model {
    let usage =
        Use { once: false, resumes: true, reads: false, is_program: false, secrets: Giver::Person };
    let lobby = Target::Channel(ChannelName::lobby());
    let mut model =
        Model::new(usage, lobby, BTreeSet::new(), Outbox::default(), Conversations::default());
    let (name, device) = ("bob".parse().unwrap(), "main".parse().unwrap());
    let version = "1".into();
    let welcome = Event::Welcome {
        name,
        device,
        version,
        text_bytes_max: 8192,
        time_ms: 0,
        motd: None,
        files: None,
    };
    model.update(Input::Event(welcome), [0; 16]);
    model
}

/// Conversations with people, of which nothing was read, as the server tells them.
fn conversations_of(model: &mut Model, names: impl Iterator<Item = String>) -> Vec<Action> {
    let info = |name: String| ConversationInfo {
        to: format!("@{name}").parse().unwrap(),
        epoch: Epoch(1),
        last: Seq(9),
        read: Seq(2),
        retention: Retention::Forever,
    };
    let conversations = names.map(info).collect();
    model.update(Input::Event(Event::Conversations { conversations }), [0; 16])
}

/// The requests: their references, and how many conversations each names.
fn counts(actions: &[Action]) -> Vec<(String, usize)> {
    let count = |action: &Action| match action {
        Action::Send(Request { command: Command::Count { conversations }, reference }) => {
            Some((reference.clone().unwrap(), conversations.len()))
        }
        _ => None,
    };
    actions.iter().filter_map(count).collect()
}

fn unread(actions: &[Action]) -> Vec<(String, u64)> {
    let count = |action: &Action| match action {
        Action::Output(Output::Unread { to, messages, .. }) => Some((to.to_string(), *messages)),
        _ => None,
    };
    actions.iter().filter_map(count).collect()
}

fn answered(model: &mut Model, reference: &str, messages: u64, by: &[(&str, u64)]) -> Vec<Action> {
    let sender = |(name, messages): &(&str, u64)| SenderCount {
        name: name.parse().unwrap(),
        messages: *messages,
    };
    let conversations = vec![MessageCount {
        to: "@alice".parse().unwrap(),
        after: Seq(2),
        upto: Seq(9),
        messages,
        by: by.iter().map(sender).collect(),
        partial: false,
    }];
    let event = Event::Count { conversations, reference: Some(reference.into()) };
    model.update(Input::Event(event), [0; 16])
}

#[test]
fn ignored_people_do_not_count_and_no_number_exceeds_the_seqs() {
    for (ignored, messages, by, wanted) in [
        ("", 6, &[("alice", 4), ("carol", 2)][..], 6),
        ("/ignore carol", 6, &[("alice", 4), ("Carol", 2)], 4),
        ("/ignore carol", 6, &[("carol", u64::MAX)], 0),
        ("", u64::MAX, &[], 7),
    ] {
        let mut model = connected();
        model.update(Input::Line(ignored.into()), [0; 16]);
        let asked = counts(&conversations_of(&mut model, ["alice".to_owned()].into_iter()));
        assert_eq!(asked.len(), 1);
        let actions = answered(&mut model, &asked[0].0, messages, by);
        assert_eq!(unread(&actions), [("@alice".to_owned(), wanted)], "{ignored}");
        assert_eq!(answered(&mut model, &asked[0].0, 3, &[]).len(), 1, "another's, passed on");
    }
}

#[test]
fn one_request_at_a_time_names_twenty_conversations_and_a_refused_one_is_estimated() {
    let mut model = connected();
    let asked =
        counts(&conversations_of(&mut model, (0..50).map(|number| format!("user{number}"))));
    assert_eq!(asked.iter().map(|(_, names)| *names).collect::<Vec<_>>(), [1]);
    let mut reference = asked[0].0.clone();
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let refused = Event::Refused {
            code: crate::chat::Code::Rate,
            hint: "too fast".into(),
            id: None,
            retry_ms: Some(1_000),
            reference: Some(reference.clone()),
        };
        let actions = model.update(Input::Event(refused), [0; 16]);
        assert!(!format!("{actions:?}").contains("too fast"), "nobody asked: {actions:?}");
        found.extend(unread(&actions));
        let Some((next, names)) = counts(&actions).into_iter().next() else { break };
        (reference, sizes) = (next, [sizes, vec![names]].concat());
    }
    assert_eq!(sizes, [20, 20, 9]);
    assert_eq!(found.len(), 50);
    assert!(found.iter().all(|(_, messages)| *messages == 7), "{found:?}");
    // A lost connection forgets them: the next one tells again.
    conversations_of(&mut model, ["carol".to_owned()].into_iter());
    model.update(Input::Lost(Loss::Cut), [9; 16]);
    assert_eq!(counts(&conversations_of(&mut model, ["alice".to_owned()].into_iter())).len(), 1);
}
