use super::*;
use crate::chat::{Code, Event, Kind, Message, MsgId, NewMessage, Seq};

#[path = "connection_tests.rs"]
mod connection;
#[path = "hostile_tests.rs"]
mod hostile;

use std::collections::HashSet;

const LIVE: Use =
    Use { once: false, resumes: true, reads: true, is_program: false, secrets: Giver::Person };

fn model(usage: Use) -> Model {
    let lobby = Target::Channel(ChannelName::lobby());
    Model::new(usage, lobby, BTreeSet::new(), Outbox::default(), Conversations::default())
}

fn model_once() -> Model {
    model(Use {
        once: true,
        resumes: false,
        reads: false,
        is_program: false,
        secrets: Giver::Nobody,
    })
}

fn connected() -> Model {
    let mut model = model(LIVE);
    model.update(Input::Event(welcome()), [0; 16]);
    model
}

fn welcome() -> Event {
    Event::Welcome {
        name: "bob".parse().unwrap(),
        device: "main".parse().unwrap(),
        version: "1".into(),
        text_bytes_max: 8192,
        time_ms: 0,
        motd: None,
        files: None,
    }
}

fn message(id: u8, from: &str, to: &str) -> Message {
    Message {
        seq: Seq(1),
        to: to.parse().unwrap(),
        from: from.parse().unwrap(),
        device: "main".parse().unwrap(),
        id: MsgId([id; 16]),
        time_ms: 0,
        kind: Kind::Say,
        body: "hi\u{1b}[2J".into(),
        confidentiality: crate::chat::Confidentiality::Open,
        edited: false,
        deleted: false,
        replay: false,
        reference: None,
    }
}

fn said(id: u8) -> NewMessage {
    NewMessage::text(Target::Channel(ChannelName::lobby()), MsgId([id; 16]), "hi")
}

fn typed(model: &mut Model, line: &str, id: u8) -> Vec<Action> {
    model.update(Input::Line(line.into()), [id; 16])
}

#[test]
fn a_tail_holds_no_more_than_it_shows() {
    let to = "#lobby".parse().unwrap();
    let options = TailOptions { to, messages: 2, follows: false };
    let mut model = model_once().with_tail(Some(options));
    model.update(Input::Event(welcome()), [0; 16]);
    for number in 0..5_000 {
        for reference in [Some("tail".to_owned()), None] {
            let message = Message { reference, ..message((number % 250) as u8, "alice", "#lobby") };
            model.update(Input::Event(Event::Message(message)), [0; 16]);
        }
    }
    let tail = model.exchange.tail.unwrap();
    assert_eq!(tail.held(), (2, super::tail::MEANWHILE_MAX));
}

#[test]
fn a_message_is_sent_acknowledged_and_shown_once_and_clean() {
    let mut model = connected();
    let actions = typed(&mut model, "hi", 7);
    assert!(matches!(
        &actions[..],
        [
            Action::Keep(_),
            Action::Output(Output::Outgoing(_)),
            Action::Send(Request { command: Command::Say(_), .. })
        ]
    ));
    let actions = model.update(Input::Event(Event::Message(message(7, "bob", "#lobby"))), [0; 16]);
    assert!(
        matches!(&actions[..], [Action::Drop(_), Action::Output(Output::Ack { .. }), Action::Output(Output::Message(shown))]
        if shown.body.text() == "hi[2J")
    );
    let again = model.update(Input::Event(Event::Message(message(7, "bob", "#lobby"))), [0; 16]);
    assert_eq!(again, vec![]);
}

#[test]
fn an_unacknowledged_message_is_sent_again_with_its_id() {
    let mut model = connected();
    typed(&mut model, "hi", 7);
    let actions = model.update(Input::Lost(Loss::Cut), [9; 16]);
    assert!(matches!(actions.last(), Some(Action::Dial(_))));
    let again = model.update(Input::Event(welcome()), [0; 16]);
    assert!(
        matches!(again.last(), Some(Action::Send(Request { command: Command::Say(message), .. })) if message.id == MsgId([7; 16]))
    );
    let (id, to) = (MsgId([7; 16]), "#lobby".parse().unwrap());
    let stored = Event::Stored { id, to, seq: Seq(3) };
    let actions = model.update(Input::Event(stored), [0; 16]);
    assert!(matches!(&actions[..], [Action::Drop(_), Action::Output(Output::Ack { .. })]));
}

#[test]
fn a_refused_message_waits_for_retry_or_cancel() {
    let mut model = connected();
    let refuse = |model: &mut Model, id: u8| {
        let refused = crate::chat::Refusal::Storage.event(Some(MsgId([id; 16])), None);
        model.update(Input::Event(refused), [0; 16])
    };
    typed(&mut model, "hi", 7);
    refuse(&mut model, 7);
    let again = typed(&mut model, "/retry", 8);
    assert!(matches!(
        &again[..],
        [Action::Retry(_), Action::Output(Output::Outgoing(_)), Action::Send(Request { command: Command::Say(message), .. })]
            if message.id == MsgId([7; 16])
    ));
    refuse(&mut model, 7);
    let dropped = typed(&mut model, "/cancel", 9);
    assert_eq!(dropped[0], Action::Drop(MsgId([7; 16])));
    assert_eq!(dropped[1], Action::Output(Output::Dropped(MsgId([7; 16]))));
    assert!(matches!(&typed(&mut model, "/retry", 8)[..], [Action::Output(Output::Notice(_))]));
}

#[test]
fn a_message_refused_in_an_earlier_run_is_sent_only_by_retry() {
    let (line, refused) = (said(7), HashSet::from([MsgId([7; 16])]));
    let outbox = Outbox::of(vec![line, said(8)], &refused);
    let mut model = Model::new(
        LIVE,
        Target::Channel(ChannelName::lobby()),
        BTreeSet::new(),
        outbox,
        Conversations::default(),
    );
    let actions = model.update(Input::Event(welcome()), [0; 16]);
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send(Request { command: Command::Say(message), .. }) => Some(message.id),
        _ => None,
    });
    assert_eq!(sent.collect::<Vec<_>>(), [MsgId([8; 16])]);
    assert!(
        matches!(actions.last(), Some(Action::Output(Output::Notice(text))) if text.contains("/retry"))
    );
    assert!(typed(&mut model, "/retry", 9).contains(&Action::Send(Command::Say(said(7)).into())));
}

#[test]
fn a_message_that_may_be_stored_is_not_cancelled() {
    let mut model = connected();
    typed(&mut model, "sent", 7);
    model.update(Input::Lost(Loss::Cut), [0; 16]);
    typed(&mut model, "typed offline", 8);
    let dropped = typed(&mut model, "/cancel", 9);
    assert_eq!(dropped[0], Action::Drop(MsgId([8; 16])));
    let again = typed(&mut model, "/cancel", 9);
    assert!(
        matches!(&again[..], [Action::Output(Output::Notice(text))] if text.contains("may be stored"))
    );
    let actions = model.update(Input::Event(welcome()), [0; 16]);
    assert!(
        actions.iter().any(
            |a| matches!(a, Action::Send(Request { command: Command::Say(message), .. }) if message.id == MsgId([7; 16]))
        )
    );
}

#[test]
fn a_received_message_is_not_shown_again_and_a_gap_is_skipped() {
    let mut model = connected();
    let info = |epoch, last, read| crate::chat::ConversationInfo {
        to: "#lobby".parse().unwrap(),
        epoch: crate::chat::Epoch(epoch),
        last: Seq(last),
        read: Seq(read),
        retention: crate::chat::Retention::Forever,
    };
    let mut tell = |event| model.update(Input::Event(event), [0; 16]);
    let line = |id, seq| Event::Message(Message { seq: Seq(seq), ..message(id, "ana", "#lobby") });
    tell(Event::Conversations { conversations: vec![info(1, 4, 2)] });
    let shows = |actions: &[Action]| {
        actions.iter().filter(|action| matches!(action, Action::Output(Output::Message(_)))).count()
    };
    assert_eq!(shows(&tell(line(1, 1))), 1);
    let to: Target = "#lobby".parse().unwrap();
    let gap = Event::Gap { to: to.clone(), from_seq: Seq(2), to_seq: Seq(2), stored: false };
    tell(gap);
    assert_eq!(shows(&tell(line(2, 2))), 0);
    let first_new = tell(line(3, 3));
    assert_eq!(first_new[0], Action::Output(Output::Divider(to)));
    assert_eq!(shows(&tell(line(3, 3))), 0);
    let last = tell(line(4, 4));
    assert_eq!((shows(&last), last.len()), (1, 1), "one divider is enough");
    // The server has lost its log: its messages are new even under old seqs.
    tell(Event::Conversations { conversations: vec![info(2, 1, 0)] });
    assert_eq!(shows(&tell(line(9, 1))), 1);
}

#[test]
fn read_positions_are_stored_and_sent_together() {
    let mut model = connected();
    let conversation = crate::chat::ConversationInfo {
        to: "#lobby".parse().unwrap(),
        epoch: crate::chat::Epoch(1),
        last: Seq(0),
        read: Seq(0),
        retention: crate::chat::Retention::Forever,
    };
    model.update(Input::Event(Event::Conversations { conversations: vec![conversation] }), [0; 16]);
    for seq in 1..=3 {
        let line = Message { seq: Seq(seq), ..message(seq as u8, "ana", "#lobby") };
        model.update(Input::Event(Event::Message(line)), [0; 16]);
    }
    assert!(model.wants_tick());
    let actions = model.update(Input::Tick, [0; 16]);
    let [
        Action::Remember(positions),
        Action::Send(Request { command: Command::Read { conversations }, .. }),
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((positions[0].point.seq, conversations[0].seq), (Seq(3), Seq(3)));
    assert!(!model.wants_tick());
}

/// The reference of the request among these actions.
fn reference(actions: &[Action]) -> Option<String> {
    let asks = |action: &Action| match action {
        Action::Send(Request {
            command: Command::Join { .. } | Command::Part { .. },
            reference,
        }) => reference.clone(),
        _ => None,
    };
    actions.iter().find_map(asks)
}

fn entered(channel: &str, reference: Option<String>) -> Input {
    let people = vec!["bob".parse().unwrap()];
    let (epoch, retention) = (crate::chat::Epoch(1), crate::chat::Retention::Forever);
    let (channel, topic) = (channel.parse().unwrap(), None);
    let (last, read) = (Seq(0), Seq(0));
    Input::Event(Event::Entered {
        channel,
        epoch,
        last,
        read,
        retention,
        people,
        omitted: 0,
        topic,
        reference,
    })
}

/// Bob enters a channel.
fn goes(model: &mut Model, channel: &str) -> Vec<Action> {
    let asked = typed(model, &format!("/join {channel}"), 1);
    model.update(entered(channel, reference(&asked)), [0; 16])
}

#[test]
fn every_command_of_the_table_is_known() {
    for slash in slash::SLASHES {
        typed(&mut connected(), &format!("/{} x", slash.usage.name), 1);
        typed(&mut connected(), &format!("/{}", slash.usage.name), 1);
    }
}

#[test]
fn a_slash_command_of_a_program_is_never_a_password() {
    let mut model = model(LIVE);
    let asks = Event::Password { wrong: false, retry_ms: None };
    model.update(Input::Event(asks), [0; 16]);
    assert_eq!(model.update(Input::Slash("/list".into()), [0; 16]), vec![]);
    let actions = model.update(Input::Secret(SecretText::new("tall tree".into())), [0; 16]);
    assert!(matches!(
        actions.last(),
        Some(Action::Send(Request { command: Command::Password { .. }, .. }))
    ));
}

#[test]
fn ignoring_a_user_ignores_case() {
    let mut model = connected();
    typed(&mut model, "/ignore ALICE", 7);
    let line = Input::Event(Event::Message(message(1, "alice", "#lobby")));
    assert_eq!(model.update(line, [0; 16]), vec![]);
    typed(&mut model, "/ignore Alice", 7);
    let line = Input::Event(Event::Message(message(2, "alice", "#lobby")));
    assert!(matches!(model.update(line, [0; 16])[..], [Action::Output(Output::Message(_))]));
}

#[test]
fn a_full_ignore_list_is_an_error_that_says_what_to_do() {
    let mut model = connected();
    for number in 0..crate::limits::IGNORED_MAX {
        let actions = typed(&mut model, &format!("/ignore user{number}"), 7);
        assert!(matches!(actions[0], Action::Ignore(_)), "{actions:?}");
    }
    let actions = typed(&mut model, "/ignore alice", 7);
    let [Action::Output(Output::Error(text))] = &actions[..] else { panic!("{actions:?}") };
    assert!(text.contains("/ignore NAME removes one"), "{text}");
    let line = Input::Event(Event::Message(message(1, "alice", "#lobby")));
    assert!(matches!(model.update(line, [0; 16])[..], [Action::Output(Output::Message(_))]));
}

#[test]
fn a_rate_limited_message_is_sent_later_and_later_ones_wait() {
    let mut model = connected();
    typed(&mut model, "one", 1);
    let refused = |id| {
        let refusal = crate::chat::Refusal::Rate { retry_ms: 3_500 };
        Input::Event(refusal.event(Some(MsgId([id; 16])), None))
    };
    let actions = model.update(refused(1), [0; 16]);
    assert!(matches!(&actions[..], [Action::Output(Output::Notice(_)), Action::Wait(3_500)]));
    typed(&mut model, "two", 2);
    let actions = model.update(Input::OutboxSynced(Ok(())), [0; 16]);
    assert!(matches!(actions.last(), Some(Action::Output(Output::Pending { .. }))), "{actions:?}");
    let sent = model.update(Input::Waited, [0; 16]);
    let texts = sent.iter().map(|action| match action {
        Action::Send(Request { command: Command::Say(message), .. }) => message.body.text(),
        other => panic!("{other:?}"),
    });
    assert_eq!(texts.collect::<Vec<_>>(), ["one", "two"]);
    // Waiting messages of a lost connection are sent over the next one.
    model.update(refused(2), [0; 16]);
    model.update(Input::Lost(Loss::Cut), [0; 16]);
    let actions = model.update(Input::Event(welcome()), [0; 16]);
    let said =
        |action: &&Action| matches!(action, Action::Send(Request { command: Command::Say(_), .. }));
    assert_eq!(actions.iter().filter(said).count(), 2);
}

#[test]
fn the_last_message_of_an_earlier_run_can_be_edited_once_loaded() {
    let mut model = connected();
    assert!(matches!(&typed(&mut model, "/edit tea", 1)[..], [Action::Output(Output::Error(_))]));
    for (seq, from, deleted) in
        [(5, "bob", false), (4, "bob", false), (6, "ana", false), (7, "bob", true)]
    {
        let reference = Some("older #lobby".into());
        let line =
            Message { seq: Seq(seq), reference, deleted, ..message(seq as u8, from, "#lobby") };
        model.update(Input::Event(Event::Message(line)), [0; 16]);
    }
    let edited = typed(&mut model, "/edit tea", 2);
    let five = |action: &Action| {
        let Action::Send(Request { command: Command::Say(message), .. }) = action else {
            return false;
        };
        message.kind == Kind::Edit { of: Seq(5) }
    };
    assert!(edited.iter().any(five), "{edited:?}");
}

#[test]
fn joining_a_channel_again_makes_it_the_target() {
    let mut model = connected();
    goes(&mut model, "#tea");
    typed(&mut model, "/query #lobby", 1);
    let again = typed(&mut model, "/join tea", 2);
    let tea: Target = "#tea".parse().unwrap();
    assert_eq!(again.last(), Some(&Action::Output(Output::Target(tea))));
}

#[test]
fn a_change_waits_for_its_message() {
    let sent = |actions: &[Action]| {
        let targets = actions.iter().filter_map(|action| match action {
            Action::Send(Request { command: Command::Say(message), .. }) => Some(message.kind.of()),
            _ => None,
        });
        targets.collect::<Vec<_>>()
    };
    let lobby = Target::Channel(ChannelName::lobby());
    let stored = |id, seq| {
        let (id, to) = (MsgId([id; 16]), lobby.clone());
        Input::Event(Event::Stored { id, to, seq: Seq(seq) })
    };
    let mut model = connected();
    typed(&mut model, "first", 1);
    model.update(stored(1, 1), [0; 16]);
    typed(&mut model, "second", 2);
    assert_eq!(typed(&mut model, "/edit the second", 3), []);
    assert_eq!(typed(&mut model, "/edit second", 4), []);
    assert_eq!(sent(&model.update(stored(2, 2), [0; 16])), [Some(Seq(2)), Some(Seq(2))]);
    // It is the last one even before the server has delivered it.
    assert_eq!(sent(&typed(&mut model, "/delete", 5)), [Some(Seq(2))]);

    typed(&mut model, "third", 6);
    assert_eq!(typed(&mut model, "/delete", 7), []);
    let refused = crate::chat::Refusal::Storage.event(Some(MsgId([6; 16])), None);
    let actions = model.update(Input::Event(refused), [0; 16]);
    let told = |text: &str| text.contains("nothing to change");
    assert!(
        actions.iter().any(|it| matches!(it, Action::Output(Output::Error(text)) if told(text)))
    );
    assert_eq!(typed(&mut model, "/retry", 8).len(), 3);
    assert_eq!(sent(&model.update(stored(6, 3), [0; 16])), []);
}

/// The notices about a PIN, when it is derived and when the channel is entered.
fn pin_notices(model: &mut Model, line: &str, made: bool) -> [String; 2] {
    let derive = typed(model, line, 7);
    assert!(!format!("{derive:?}").contains("1234"), "{derive:?}");
    let pin = derive.into_iter().find_map(|action| match action {
        Action::Derive { pin, .. } => Some(pin),
        _ => None,
    });
    let channel: ChannelName = format!("#tea~{}", "0".repeat(26)).parse().unwrap();
    let made = pin.filter(|_| made);
    let words = |actions: Vec<Action>| {
        let text = |action| match action {
            Action::Output(Output::Notice(text)) => Some(text),
            Action::Output(Output::Target(target)) => Some(format!("to {target}")),
            _ => None,
        };
        actions.into_iter().filter_map(text).collect::<Vec<_>>().join("\n")
    };
    let opened = Input::Opened { channel: Ok(channel.clone()), made };
    let mut before = model.update(opened, [0; 16]);
    if !model.exchange.connection.is_up() {
        before.extend(model.update(Input::Event(welcome()), [0; 16]));
    }
    let entered = entered(channel.as_str(), reference(&before));
    [words(before), words(model.update(entered, [0; 16]))]
}

#[test]
fn the_notice_about_a_pin_is_shown_in_its_channel() {
    for mut model in [connected(), model(LIVE)] {
        let [made, inside] = pin_notices(&mut model, "/create tea", true);
        let (to, line) = made.split_once('\n').unwrap();
        assert!(to.starts_with("to #tea") && line.contains("\n/join #tea "), "{made}");
        assert_eq!(inside, "");
    }
    let [given, inside] = pin_notices(&mut connected(), "/join tea 1234", false);
    let (to, told) = given.split_once('\n').unwrap();
    assert!(to.starts_with("to #tea") && told.contains("20 minutes"), "{given}");
    assert!(inside.ends_with("check the PIN"), "{inside}");
    let [given, inside] =
        pin_notices(&mut connected(), "/join tea a long one of many words", false);
    assert!(!given.contains("20 minutes") && inside.contains("check the PIN"), "{given} {inside}");
}

#[test]
fn the_silence_of_a_server_is_shown_while_connected() {
    let mut model = connected();
    let shown = |actions: Vec<Action>| match &actions[..] {
        [Action::Output(Output::State(state))] => Some(state.clone()),
        _ => None,
    };
    let silent = Input::Silent { for_ms: Some(4_000) };
    assert_eq!(shown(model.update(silent, [0; 16])), Some(State::Silent { for_ms: 4_000 }));
    let heard = Input::Silent { for_ms: None };
    let state = shown(model.update(heard, [0; 16]));
    assert!(matches!(state, Some(State::Connected { .. })), "{state:?}");
    model.update(Input::Lost(Loss::Cut), [0; 16]);
    let late = Input::Silent { for_ms: Some(9_000) };
    assert_eq!(model.update(late, [0; 16]), vec![], "the connection is gone");
}
