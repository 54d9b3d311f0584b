use super::*;

fn connected() -> Model {
    let mut model = Model::new(Use::Live, Target::Channel(ChannelName::lobby()), BTreeSet::new());
    model.update(Happening::Event(welcome()), [0; 16]);
    model
}

fn welcome() -> Event {
    Event::Welcome {
        name: "bob".parse().unwrap(),
        device: "main".parse().unwrap(),
        version: "1".into(),
        text_bytes_max: 8192,
        motd: None,
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
        text: "hi\u{1b}[2J".into(),
    }
}

fn typed(model: &mut Model, line: &str, id: u8) -> Vec<Action> {
    model.update(Happening::Line(line.into()), [id; 16])
}

#[test]
fn a_line_is_sent_acknowledged_and_shown_once_and_clean() {
    let mut model = connected();
    assert!(matches!(&typed(&mut model, "hi", 7)[..], [Action::Send(Command::Say { .. })]));
    let actions =
        model.update(Happening::Event(Event::Message(message(7, "bob", "#lobby"))), [0; 16]);
    assert!(
        matches!(&actions[..], [Action::Show(Show::Ack { .. }), Action::Show(Show::Message(shown))]
        if shown.text == "hi[2J")
    );
    let again =
        model.update(Happening::Event(Event::Message(message(7, "bob", "#lobby"))), [0; 16]);
    assert_eq!(again, vec![]);
}

#[test]
fn what_was_not_acknowledged_is_said_and_sent_again_on_demand() {
    let mut model = connected();
    typed(&mut model, "hi", 7);
    let actions = model.update(Happening::Lost(Loss::Cut), [9; 16]);
    assert!(matches!(actions[0], Action::Show(Show::Error(_))));
    assert!(matches!(actions.last(), Some(Action::Dial(_))));
    model.update(Happening::Event(welcome()), [0; 16]);
    let again = typed(&mut model, "/retry", 8);
    assert!(matches!(&again[..], [Action::Send(Command::Say { id, .. })] if *id == MsgId([7; 16])));
}

#[test]
fn joined_channels_are_joined_again_after_a_reconnect() {
    let mut model = connected();
    let tea: ChannelName = "#tea".parse().unwrap();
    let entered =
        Event::Entered { channel: tea.clone(), people: vec![], topic: None, reference: None };
    model.update(Happening::Event(entered), [0; 16]);
    assert_eq!(model.target, Target::Channel(tea.clone()));
    model.update(Happening::Lost(Loss::Cut), [0; 16]);
    let actions = model.update(Happening::Event(welcome()), [0; 16]);
    assert!(actions.contains(&Action::Send(Command::Join { channel: tea, reference: None })));
}

#[test]
fn a_wrong_server_ends_it_and_is_not_tried_again() {
    let mut model = connected();
    let actions = model.update(Happening::Lost(Loss::WrongServer), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Quit(6)));
}

#[test]
fn backoff_grows_and_is_bounded() {
    let mut model = connected();
    for _ in 0..50 {
        let actions = model.update(Happening::Lost(Loss::Cut), [0xff; 16]);
        let Some(Action::Dial(ms)) = actions.last() else { panic!("no dial") };
        assert!(*ms < 30_000);
    }
}

#[test]
fn every_command_of_the_table_is_known() {
    for slash in slash::SLASHES {
        typed(&mut connected(), &format!("/{} x", slash.name), 1);
        typed(&mut connected(), &format!("/{}", slash.name), 1);
    }
}

#[test]
fn the_end_of_input_waits_for_what_is_pending() {
    let mut model = connected();
    typed(&mut model, "hi", 7);
    assert_eq!(model.update(Happening::InputEnd, [0; 16]), vec![]);
    let actions =
        model.update(Happening::Event(Event::Message(message(7, "bob", "#lobby"))), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Quit(0)));
}

#[test]
fn what_was_typed_before_the_connection_is_sent_with_it() {
    let lobby = Target::Channel(ChannelName::lobby());
    let mut model = Model::new(Use::Once, lobby, BTreeSet::new());
    assert_eq!(typed(&mut model, "hi", 7), vec![]);
    assert_eq!(model.update(Happening::InputEnd, [0; 16]), vec![]);
    let actions = model.update(Happening::Event(welcome()), [0; 16]);
    assert!(matches!(actions.last(), Some(Action::Send(Command::Say { .. }))));
}
