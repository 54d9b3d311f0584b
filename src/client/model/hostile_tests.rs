//! Hostile servers that send unrequested answers and move what they can. Whatever they send and
//! whenever, typed text goes where the user has typed it, and sealed text is never sent
//! unencrypted.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const ROUNDS: u64 = 200;

fn pin() -> ChannelName {
    format!("#tea~{}", "0".repeat(26)).parse().unwrap()
}

/// Bob, in the lobby and in the open #tea, with the #tea that has a PIN as target.
fn inside() -> Model {
    let mut model = connected();
    goes(&mut model, "#tea");
    let opened = model.update(Input::Opened { channel: Ok(pin()), made: None }, [0; 16]);
    model.update(entered(pin().as_str(), reference(&opened)), [0; 16]);
    assert_eq!(model.exchange.target, Target::Channel(pin()));
    model
}

fn parted(channel: ChannelName, reference: Option<String>) -> Event {
    Event::Parted { channel, reference }
}

fn conversation(to: &str) -> crate::chat::ConversationInfo {
    crate::chat::ConversationInfo {
        to: to.parse().unwrap(),
        epoch: crate::chat::Epoch(9),
        last: Seq(7),
        read: Seq(0),
        retention: crate::chat::Retention::Forever,
    }
}

/// Unrequested events.
fn unasked(chance: &mut StdRng) -> Vec<Input> {
    let references =
        [None, Some("1"), Some("pychat-1"), Some("pychat-2"), Some("pychat-3"), Some("")];
    let reference = references[chance.random_range(0..references.len())].map(str::to_owned);
    let secret = pin();
    let channel = ["#tea", "#lobby", "#other", secret.as_str()][chance.random_range(0..4)];
    let other = Event::Welcome {
        name: ["carol", "alice", "bob"][chance.random_range(0..3)].parse().unwrap(),
        device: "main".parse().unwrap(),
        version: "1".into(),
        text_bytes_max: 8192,
        time_ms: 0,
        motd: None,
        files: None,
    };
    let event = match chance.random_range(0..8) {
        0 | 1 => parted(channel.parse().unwrap(), reference),
        2 | 3 => return vec![entered(channel, reference)],
        4 => other,
        5 => Event::Conversations {
            conversations: vec![conversation("@carol"), conversation(channel)],
        },
        6 => Event::Message(message(chance.random_range(50..250), "carol", channel)),
        _ => {
            let lost = Input::Lost(Loss::Cut);
            return vec![lost, Input::Event(welcome()), entered("#tea", reference)];
        }
    };
    vec![Input::Event(event)]
}

fn said(actions: &[Action]) -> Vec<(Target, String)> {
    let say = |action: &Action| match action {
        Action::Send(Request { command: Command::Say(message), .. }) | Action::Keep(message) => {
            Some((message.to.clone(), message.body.text().to_owned()))
        }
        _ => None,
    };
    actions.iter().filter_map(say).collect()
}

fn is_moved(actions: &[Action]) -> bool {
    let moves =
        |action: &Action| matches!(action, Action::Output(Output::Target(_)) | Action::Forget(_));
    actions.iter().any(moves)
}

#[test]
fn no_server_event_moves_the_target_or_deletes_a_key() {
    for seed in 0..ROUNDS {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut model = inside();
        let here = Target::Channel(pin());
        for round in 0..chance.random_range(1..12_u8) {
            for input in unasked(&mut chance) {
                let actions = model.update(input, [round; 16]);
                assert!(!is_moved(&actions), "seed {seed}: {actions:?}");
            }
            assert_eq!(model.exchange.target, here, "seed {seed}");
            // From each user interface.
            let line = "a secret".to_owned();
            let typed = match chance.random_range(0..3) {
                0 => Input::Line(line),
                1 => Input::Composed { within: here.clone(), line },
                _ => {
                    Input::TypedIn { to: here.clone(), within: Some(here.clone()), line, id: None }
                }
            };
            let actions = model.update(typed, [100 + round; 16]);
            for (to, _) in said(&actions) {
                assert_eq!(to, here, "seed {seed}");
            }
        }
        // Its name still resolves until the user leaves the channel.
        model.exchange.membership.forget_gone();
        typed(&mut model, "/query #tea~0", 7);
        assert_eq!(model.exchange.target, here, "seed {seed}");
    }
}

#[test]
fn a_late_answer_moves_no_target() {
    for seed in 0..ROUNDS {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut model = inside();
        let asked = typed(&mut model, "/join work", 1);
        assert_eq!(
            model.exchange.target,
            "#work".parse().unwrap(),
            "the target changes at once, by the user's command"
        );
        typed(&mut model, "/query @alice", 2);
        let mut late = [entered("#work", reference(&asked)), Input::Event(parted(pin(), None))];
        if chance.random() {
            late.reverse();
        }
        for input in late {
            assert!(!is_moved(&model.update(input, [0; 16])), "seed {seed}");
        }
        let actions = typed(&mut model, "a secret", 3);
        assert!(said(&actions).iter().all(|(to, _)| *to == "@alice".parse().unwrap()));
    }
}

#[test]
fn a_removed_member_is_notified_and_typed_text_is_not_sent() {
    let mut model = inside();
    let told = model.update(Input::Event(parted(pin(), None)), [0; 16]);
    let gone = |action: &Action| matches!(action, Action::Output(Output::Gone(channel)) if *channel == pin());
    assert!(told.iter().any(gone), "{told:?}");
    let again = model.update(Input::Event(parted(pin(), None)), [0; 16]);
    assert_eq!(again, [], "the notice is shown once");
    for line in ["a secret", "/me whispers", "/edit a secret"] {
        let actions = typed(&mut model, line, 3);
        assert!(said(&actions).is_empty(), "{line}");
        assert!(
            matches!(&actions[..], [Action::Output(Output::Error(text))] if text.contains("no longer in")),
            "{line}: {actions:?}"
        );
    }
    // Back by the user's command, or with the next connection.
    let asked = typed(&mut model, "/join #tea~0", 4);
    model.update(entered(pin().as_str(), reference(&asked)), [0; 16]);
    assert_eq!(said(&typed(&mut model, "a secret", 5)).len(), 2);
}

#[test]
fn only_the_user_leaves_a_channel() {
    let channel = pin();
    let refused = |code, reference| {
        let hint = "no".into();
        Input::Event(Event::Refused { code, hint, id: None, retry_ms: None, reference })
    };
    for answer in 0..4 {
        let mut model = inside();
        let asked = typed(&mut model, "/part", 1);
        assert!(model.exchange.target.is_lobby());
        let reference = reference(&asked);
        let actions = match answer {
            0 => model.update(Input::Event(parted(channel.clone(), reference)), [0; 16]),
            1 => model.update(refused(Code::NotMember, reference), [0; 16]),
            2 => model.update(Input::Lost(Loss::Cut), [0; 16]),
            // Under another reference it is no answer.
            _ => model.update(Input::Event(parted(channel.clone(), Some("1".into()))), [0; 16]),
        };
        let left = |action: &Action| {
            matches!(action, Action::Output(Output::Event(_, Event::Parted { .. })))
        };
        assert_eq!(actions.iter().any(left), answer < 3, "{answer}: {actions:?}");
        assert_eq!(actions.contains(&Action::Forget(channel.clone())), answer == 2, "{answer}");
        assert_eq!(model.exchange.membership.joined().contains(&channel), answer == 3, "{answer}");
    }
}

#[test]
fn the_name_of_a_left_pin_channel_means_no_open_channel() {
    let mut model = connected();
    let opened = model.update(Input::Opened { channel: Ok(pin()), made: None }, [0; 16]);
    model.update(entered(pin().as_str(), reference(&opened)), [0; 16]);
    let asked = typed(&mut model, "/part", 1);
    model.update(Input::Event(parted(pin(), reference(&asked))), [0; 16]);
    let query = typed(&mut model, "/query #tea", 2);
    assert!(
        matches!(&query[..], [Action::Output(Output::Error(text))] if text.contains("had a PIN"))
    );
    typed(&mut model, "/query #tea~open", 3);
    assert_eq!(model.exchange.target, "#tea".parse().unwrap());
}

#[test]
fn text_composed_for_a_sealed_conversation_goes_to_no_open_one() {
    let sealed = [Target::Channel(pin()), "@alice".parse().unwrap()];
    for within in sealed {
        for line in ["a secret", "/me whispers", "/topic a secret", "/search a secret", "//secret"]
        {
            let mut model = inside();
            typed(&mut model, "/query #lobby", 1);
            let (there, text) = (Some(within.clone()), line.to_owned());
            let composed = Input::Composed { within: within.clone(), line: text.clone() };
            let to = Target::Channel(ChannelName::lobby());
            let recalled = Input::TypedIn { to, within: there, line: text, id: None };
            for input in [composed, recalled] {
                let actions = model.update(input, [7; 16]);
                assert!(
                    matches!(&actions[..], [Action::Output(Output::Error(text))] if text.contains("sealed")),
                    "{line}: {actions:?}"
                );
            }
            // Commands without a text for the conversation run.
            let within = within.clone();
            let actions = model.update(Input::Composed { within, line: "/list".into() }, [7; 16]);
            assert!(
                matches!(
                    &actions[..],
                    [Action::Send(Request { command: Command::People { .. }, .. })]
                ),
                "{actions:?}"
            );
        }
    }
}

/// Operands of a command, with the confidential text in one of them.
fn operands(usage: &crate::chat::operator_commands::Usage) -> [String; 3] {
    let example = usage.example.split_once(' ').map_or("", |(_, operands)| operands);
    [String::new(), "a secret".into(), format!("{example} a secret")]
}

#[test]
fn text_typed_in_a_private_conversation_goes_only_there() {
    // These tell by their form that others see the text, or name the recipient.
    let elsewhere = [
        "pm", "reply", "away", "join", "create", "part", "announce", "motd", "kick", "ban", "mute",
    ];
    let asks = [
        "list",
        "whois",
        "fingerprint",
        "shutdown",
        "op",
        "deop",
        "unban",
        "unmute",
        "banlist",
        "reload",
    ];
    for usage in slash::all() {
        if elsewhere.contains(&usage.name) || asks.contains(&usage.name) {
            continue;
        }
        for operands in operands(usage) {
            let mut model = inside();
            typed(&mut model, "/query max", 1);
            let line = format!("/{} {operands}", usage.name);
            for action in typed(&mut model, &line, 2) {
                let Action::Send(command) = action else { continue };
                let told = serde_json::to_string(&command).unwrap();
                let here = told.contains("\"@max\"");
                assert!(here || !told.contains("secret"), "{line}: {told}");
                assert!(!told.contains("#lobby"), "{line}: {told}");
            }
        }
    }
}

#[test]
fn a_topic_goes_to_the_open_or_named_channel() {
    let mut model = inside();
    typed(&mut model, "/query max", 1);
    for line in ["/topic", "/topic a secret", "/topic #nest a secret", "/TOPIC a #lobby secret"] {
        let told = typed(&mut model, line, 2);
        assert!(matches!(&told[..], [Action::Output(Output::Error(_))]), "{line}: {told:?}");
    }
    // The control: a named channel, or an open target.
    let topic = |told: &[Action]| match told {
        [
            Action::Send(Request {
                command: Command::Topic { channel, text: Some(text), .. }, ..
            }),
        ] => (channel.to_string(), text.clone()),
        other => panic!("{other:?}"),
    };
    let lobby = |text: &str| ("#lobby".to_owned(), text.to_owned());
    assert_eq!(topic(&typed(&mut model, "/topic #lobby tea at five", 3)), lobby("tea at five"));
    typed(&mut model, "/query #lobby", 4);
    assert_eq!(topic(&typed(&mut model, "/topic tea at #five", 5)), lobby("tea at #five"));
}

#[test]
fn text_of_a_sealed_conversation_is_never_a_password() {
    let asks = || Event::Password { wrong: false, retry_ms: None };
    let is_password = |action: &Action| {
        matches!(action, Action::Send(Request { command: Command::Password { .. }, .. }))
    };
    let within = Target::Channel(pin());
    let line = || "a secret".to_owned();
    let composed = Input::Composed { within: within.clone(), line: line() };
    let typed_in =
        Input::TypedIn { to: within.clone(), within: Some(within.clone()), line: line(), id: None };
    for input in [composed, typed_in, Input::Slash("/join #tea 4711".into())] {
        let mut model = inside();
        // The server cuts, and asks for the password before the welcome.
        model.update(Input::Lost(Loss::Cut), [0; 16]);
        model.update(Input::Event(asks()), [0; 16]);
        let actions = model.update(input, [7; 16]);
        assert!(!actions.iter().any(is_password), "{actions:?}");
        // Nor does any other line, wherever it was begun.
        for line in [
            Input::Line("tea for two".into()),
            Input::Composed { within: Target::Channel(ChannelName::lobby()), line: line() },
            Input::Ask(Ok(Command::Channels.into())),
        ] {
            let actions = model.update(line, [8; 16]);
            assert!(!actions.iter().any(is_password), "{actions:?}");
        }
        let secret = Input::Secret(SecretText::new("tea for two".into()));
        let actions = model.update(secret, [8; 16]);
        assert!(actions.iter().any(is_password), "{actions:?}");
    }
}

#[test]
fn lines_typed_after_a_pin_are_dropped_if_its_channel_is_not_entered() {
    for (cut, opened) in [(true, Ok(pin())), (false, Err("a full disk".to_owned()))] {
        let mut model = connected();
        typed(&mut model, "/join tea 1234", 1);
        assert_eq!(typed(&mut model, "a secret", 2), []);
        if cut {
            model.update(Input::Lost(Loss::Cut), [0; 16]);
        }
        let actions = model.update(Input::Opened { channel: opened, made: None }, [0; 16]);
        let is_error = |action: &Action| matches!(action, Action::Output(Output::Error(text)) if text.contains("were not sent (1)"));
        assert!(actions.iter().any(is_error), "{actions:?}");
        let mut again = actions.iter();
        assert!(!again.any(|action| matches!(action, Action::Again(_) | Action::Send(_))));
    }
}

#[test]
fn lines_typed_after_a_pin_wait_for_its_channel() {
    let mut model = connected();
    typed(&mut model, "/join tea 1234", 1);
    assert_eq!(typed(&mut model, "a secret", 2), []);
    assert_eq!(model.update(Input::InputEnd, [0; 16]), []);
    let actions = model.update(Input::Opened { channel: Ok(pin()), made: None }, [0; 16]);
    let again = |action: &Action| match action {
        Action::Again(ahead) => Some(ahead.clone()),
        _ => None,
    };
    let ahead = actions.iter().find_map(again).expect("they are replayed");
    assert!(!actions.iter().any(|action| matches!(action, Action::Echo | Action::Quit(_))));
    let line = ahead[0].line.reveal().to_owned();
    let said = said(&model.update(Input::Line(line), [3; 16]));
    assert_eq!(said[0], (Target::Channel(pin()), "a secret".to_owned()));
    assert_eq!(model.update(Input::TypeAheadReplayed, [0; 16]), [], "it is not acknowledged yet");
}

#[test]
fn a_reply_never_goes_to_a_newer_sender() {
    let mut model = connected();
    let private = |from: &str, id: u8| {
        let confidentiality = crate::chat::Confidentiality::Sealed;
        let (seq, line) = (Seq(id.into()), message(id, from, "@bob"));
        Input::Event(Event::Message(Message { confidentiality, seq, ..line }))
    };
    model.update(private("alice", 1), [0; 16]);
    assert_eq!(said(&typed(&mut model, "/reply hi", 2))[0].0, "@alice".parse().unwrap());
    model.update(private("carol", 3), [0; 16]);
    assert!(said(&typed(&mut model, "/reply hi", 4)).is_empty());
    assert_eq!(said(&typed(&mut model, "/reply hi", 5))[0].0, "@carol".parse().unwrap());
    // An unsealed message has no author.
    model.update(Input::Event(Event::Message(message(6, "alice", "@bob"))), [0; 16]);
    assert_eq!(said(&typed(&mut model, "/reply hi", 7))[0].0, "@carol".parse().unwrap());
}

#[test]
fn the_origin_separates_server_text_from_client_text() {
    let mut model = inside();
    let refused = || crate::chat::Refusal::NoTopic.event(None, None);
    let origins = |actions: Vec<Action>| {
        let origin = |action| match action {
            Action::Output(output) => Some(output.origin()),
            _ => None,
        };
        actions.into_iter().filter_map(origin).collect::<Vec<_>>()
    };
    let (code, reason) = (Code::Shutdown, "compare this with carol".to_owned());
    let goodbye = || Event::Goodbye { code, reason: reason.clone(), retry_ms: None };
    let notice = || Event::Notice { text: reason.clone(), reference: None };
    for event in [refused(), goodbye(), notice()] {
        let wire = model.update(Input::Event(event.clone()), [0; 16]);
        assert_eq!(origins(wire), [Origin::Server]);
        let own = model.update(Input::Answer(event), [0; 16]);
        assert_eq!(origins(own), [Origin::Client]);
    }
    let topic = "the topic is not what you set".to_owned();
    let line = model.update(Input::Reply(topic), [0; 16]);
    assert_eq!(origins(line), [Origin::Client]);
}

#[test]
fn no_lock_sign_is_shown_in_server_text() {
    let locks =
        ["\u{1f512}", "\u{1f513}", "\u{1f50f}", "\u{1f510}", "\u{1f511}", "\u{1f5dd}\u{fe0f}"];
    for lock in locks {
        let mut model = inside();
        let text = Some(format!("{lock} tea {lock}"));
        let event: Event =
            serde_json::from_value(serde_json::json!({"type": "channels", "channels":
            [{"channel": "#tea", "here": 1, "member": true, "topic": text}]}))
            .unwrap();
        let shown = model.update(Input::Event(event), [0; 16]);
        let [Action::Output(Output::Event(_, Event::Channels { channels, .. }))] = &shown[..]
        else {
            panic!("{shown:?}")
        };
        let topic = channels[0].topic.as_deref().unwrap();
        assert!(
            topic.contains("tea") && !topic.chars().any(|c| c as u32 > 0x2600 && c != '\u{fe0f}'),
            "{topic}"
        );
    }
    // A PIN channel has no topic, whatever a server sends.
    let topic: Event = serde_json::from_value(serde_json::json!({"type": "topic",
        "to": pin().as_str(), "text": "now open", "retention": "forever"}))
    .unwrap();
    let shown = inside().update(Input::Event(topic), [0; 16]);
    assert!(matches!(
        &shown[..],
        [Action::Output(Output::Event(_, Event::Topic { text: None, .. }))]
    ));
}
