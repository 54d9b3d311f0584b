//! Lost connections, what is typed meanwhile, and the end of the client.

use super::*;

#[test]
fn a_wrong_server_ends_only_a_client_that_was_never_logged_in() {
    let (mut inside, mut warnings) = (connected(), 0);
    for _ in 0..10 {
        let actions = inside.update(Input::Lost(Loss::WrongServer), [0; 16]);
        assert!(matches!(actions.last(), Some(Action::Dial(_))));
        warnings +=
            actions.iter().filter(|a| matches!(a, Action::Output(Output::Error(_)))).count();
    }
    assert_eq!(warnings, 1, "once");
    let actions = model(LIVE).update(Input::Lost(Loss::WrongServer), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Quit(6)));
    let mut once = model_once();
    let actions = once.update(Input::Lost(Loss::WrongServer), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Quit(6)));
}

#[test]
fn a_version_claim_ends_only_a_client_that_was_never_logged_in() {
    let loss = || Input::Lost(Loss::Version("2-3".into()));
    let (mut inside, mut told) = (connected(), 0);
    for _ in 0..10 {
        let actions = inside.update(loss(), [0; 16]);
        assert!(matches!(actions.last(), Some(Action::Dial(_))));
        told += actions.iter().filter(|a| matches!(a, Action::Output(Output::Error(_)))).count();
    }
    assert_eq!(told, 1, "once");
    assert_eq!(model(LIVE).update(loss(), [0; 16]).last(), Some(&Action::Quit(7)));
}

#[test]
fn backoff_grows_and_is_bounded() {
    let mut model = connected();
    for _ in 0..50 {
        let actions = model.update(Input::Lost(Loss::Cut), [0xff; 16]);
        let Some(Action::Dial(ms)) = actions.last() else { panic!("no dial") };
        assert!(*ms < 30_000);
    }
}

#[test]
fn the_end_of_input_waits_for_pending_messages() {
    let mut model = connected();
    typed(&mut model, "hi", 7);
    assert_eq!(model.update(Input::InputEnd, [0; 16]), vec![]);
    let actions = model.update(Input::Event(Event::Message(message(7, "bob", "#lobby"))), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Quit(0)));
}

#[test]
fn the_end_of_input_waits_for_answers() {
    let mut model = connected();
    typed(&mut model, "/list", 7);
    assert_eq!(model.update(Input::InputEnd, [0; 16]), vec![Action::Echo]);
    let actions = model.update(Input::Echoed, [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Quit(0)));
    // The same holds for requests before the first connection.
    let mut model = self::model(LIVE);
    typed(&mut model, "/list", 7);
    assert_eq!(model.update(Input::InputEnd, [0; 16]), vec![]);
    let actions = model.update(Input::Event(welcome()), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Echo));
    // A lost answer is a failure.
    let actions = model.update(Input::Lost(Loss::Cut), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Quit(8)));
}

#[test]
fn joined_channels_are_joined_again_after_a_reconnect() {
    let mut model = connected();
    let tea: ChannelName = "#tea".parse().unwrap();
    goes(&mut model, "#tea");
    assert_eq!(model.exchange.target, Target::Channel(tea.clone()));
    model.update(Input::Lost(Loss::Cut), [0; 16]);
    let actions = model.update(Input::Event(welcome()), [0; 16]);
    let joins = |action: &&Action| matches!(action, Action::Send(Request { command: Command::Join { channel, .. }, .. }) if *channel == tea);
    assert_eq!(actions.iter().filter(joins).count(), 1, "{actions:?}");
}

#[test]
fn messages_typed_offline_are_sent_on_connecting() {
    let mut model = model_once();
    let actions = typed(&mut model, "hi", 7);
    assert!(matches!(&actions[..], [Action::Keep(_), Action::Output(Output::Outgoing(_))]));
    assert_eq!(model.unsynced(), Some(1));
    let actions = model.update(Input::OutboxSynced(Ok(())), [0; 16]);
    assert!(matches!(&actions[..], [Action::Output(Output::Pending { stored: true, .. })]));
    assert_eq!(model.unsynced(), None);
    assert_eq!(model.update(Input::InputEnd, [0; 16]), vec![]);
    let actions = model.update(Input::Event(welcome()), [0; 16]);
    assert!(matches!(actions.last(), Some(Action::Send(Request { command: Command::Say(_), .. }))));
}

#[test]
fn a_message_is_called_stored_only_after_a_sync() {
    let mut model = connected();
    model.update(Input::Lost(Loss::Cut), [0; 16]);
    let actions = typed(&mut model, "one", 1);
    let claims = |action: &Action| {
        matches!(action, Action::Output(Output::Pending { .. } | Output::Saved { .. }))
    };
    assert!(!actions.iter().any(claims), "{actions:?}");
    // The disk is full ...
    let actions = model.update(Input::OutboxSynced(Err(())), [0; 16]);
    assert!(matches!(&actions[..], [Action::Output(Output::Pending { stored: false, .. })]));
    // ... and is no longer.
    typed(&mut model, "two", 2);
    let actions = model.update(Input::OutboxSynced(Ok(())), [0; 16]);
    assert!(matches!(
        &actions[..],
        [
            Action::Output(Output::Pending { stored: true, id: MsgId([2, ..]), .. }),
            Action::Output(Output::Notice(_)),
            Action::Output(Output::Saved { id: MsgId([1, ..]), .. }),
        ]
    ));
    // The end waits for a sync.
    typed(&mut model, "three", 3);
    assert_eq!(typed(&mut model, "/exit", 9), vec![Action::Sync]);
    let actions = model.update(Input::OutboxSynced(Ok(())), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Quit(0)), "{actions:?}");
}

#[test]
fn a_channel_that_is_left_offline_is_not_entered_again() {
    let mut model = connected();
    goes(&mut model, "#tea");
    model.update(Input::Lost(Loss::Cut), [9; 16]);
    let left = typed(&mut model, "/part", 1);
    assert!(
        matches!(&left[..], [Action::Output(Output::Event(Origin::Client, Event::Parted { .. })), Action::Output(Output::Target(to))]
        if to.is_lobby())
    );
    let again = model.update(Input::Event(welcome()), [0; 16]);
    let joins = |action: &Action| {
        matches!(action, Action::Send(Request { command: Command::Join { .. }, .. }))
    };
    assert!(!again.iter().any(joins), "{again:?}");
}

#[test]
fn a_last_message_ends_the_client_during_an_upload() {
    const LAST: MsgId = MsgId([7; 16]);
    let stored = |id| {
        let to = Target::Channel(ChannelName::lobby());
        Input::Event(Event::Stored { id, to, seq: Seq(3) })
    };
    let busy = || {
        let mut model = connected();
        typed(&mut model, "/send /tmp/a.txt", 5);
        assert!(!model.exchange.transfers.is_settled(), "an upload runs");
        model.exchange.ending.fails();
        typed(&mut model, "hi", 6);
        let ends = |actions: &[Action]| actions.iter().any(|one| matches!(one, Action::Quit(_)));
        assert!(!ends(&typed(&mut model, "/quit good night", 7)));
        assert!(!ends(&model.update(stored(MsgId([6; 16])), [0; 16])), "that is another message");
        model
    };
    let leaves = |actions: &[Action]| {
        let bye = Action::Output(Output::Bye("you left".into()));
        assert!(actions.ends_with(&[Action::Close, bye, Action::Quit(0)]), "{actions:?}");
    };
    leaves(&busy().update(stored(LAST), [0; 16]));
    let refused = crate::chat::Refusal::Storage.event(Some(LAST), None);
    leaves(&busy().update(Input::Event(refused), [0; 16]));
    let (code, hint) = (Code::InDoubt, String::new());
    let in_doubt = Event::Refused { code, hint, id: Some(LAST), retry_ms: None, reference: None };
    leaves(&busy().update(Input::Answer(in_doubt), [0; 16]));
    let mut model = busy();
    let actions = model.update(Input::Lost(Loss::Cut), [0; 16]);
    assert_eq!(actions.last(), Some(&Action::Sync), "{actions:?}");
    assert!(!actions.iter().any(|one| matches!(one, Action::Dial(_))), "{actions:?}");
    leaves(&model.update(Input::OutboxSynced(Ok(())), [0; 16]));
}
