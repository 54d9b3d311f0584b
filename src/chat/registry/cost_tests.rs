//! What requests may cost, and what they tell of channels with a PIN.

use super::super::{Kind, MsgId, ReadMark};
use super::tests::{Chat, notices};
use super::*;
use crate::chat::Body;
use std::str::FromStr;

/// A channel with a PIN: tags of greater numbers come later.
fn tag(number: usize) -> String {
    format!("#tea~{}{number:02}0", "0".repeat(23))
}

fn join(channel: &str) -> Command {
    Command::Join { channel: channel.parse().unwrap(), after: None, reference: None }
}

fn people(channel: &str) -> Command {
    Command::People { channel: channel.parse().unwrap(), reference: None }
}

fn part(channel: &str) -> Command {
    Command::Part { channel: channel.parse().unwrap(), reference: None }
}

/// What is left of an answer where a channel's name stood.
fn without(outcome: Outcome, channel: &str) -> String {
    let name: ChannelName = channel.parse().unwrap();
    let told = format!("{outcome:?}");
    told.replace(&format!("{name:?}"), "it").replace(&name.to_string(), "it")
}

#[test]
fn who_is_not_in_a_channel_with_a_pin_cannot_tell_whether_it_exists() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    let (there, nowhere) = (tag(1), tag(2));
    chat.joins(alice, &there).unwrap();
    chat.registry.committed(&there.parse().unwrap(), Seq(7));
    let requests: [&dyn Fn(&str) -> Command; 9] = [
        &people,
        &part,
        &|to| Command::Topic { channel: to.parse().unwrap(), text: None, reference: None },
        &|to| {
            let (channel, text) = (to.parse().unwrap(), Some("x".to_owned()));
            Command::Topic { channel, text, reference: None }
        },
        &|to| {
            let (to, reference) = (to.parse().unwrap(), None);
            Command::History { to, before: None, lines: None, span: None, reference }
        },
        &|to| {
            let to = Some(to.parse().unwrap());
            Command::Search { text: "x".into(), to, reference: None }
        },
        &|to| {
            let to = to.parse().unwrap();
            Command::Read { places: vec![ReadMark { to, seq: Seq(3) }] }
        },
        &|to| {
            let body = Body::Sealed(super::super::Opaque::new(&[1]).unwrap());
            let (to, id, kind) = (to.parse().unwrap(), MsgId([1; 16]), Kind::Say);
            Command::Say(NewMessage { to, id, kind, body })
        },
        &|to| Command::Say(NewMessage::text(to.parse().unwrap(), MsgId([1; 16]), "x")),
    ];
    for request in requests {
        let answers = [&there, &nowhere].map(|to| without(chat.does(bob, request(to)), to));
        assert_eq!(answers[0], answers[1], "{:?}", request(&there));
    }
    let unknown = chat.registry.presence(&"alice".parse().unwrap(), bob, Stamp(0)).unwrap();
    assert_eq!(unknown.channels, [ChannelName::lobby()], "nor that alice is in it");
    assert!(chat.does(alice, people(&there)).is_ok());
}

#[test]
fn neither_the_order_nor_the_selection_of_channels_depends_on_tags() {
    let rows = |own: usize, theirs: usize| {
        let mut chat = Chat::new();
        let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
        chat.joins(alice, &tag(theirs)).unwrap();
        chat.joins(bob, &tag(own)).unwrap();
        let told = chat.does(bob, Command::Channels { reference: None });
        without(told, &tag(own))
    };
    assert_eq!(rows(50, 10), rows(50, 90));
}

#[test]
fn open_channels_are_open_to_everybody() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, "#open").unwrap();
    chat.joins(alice, &tag(1)).unwrap();
    assert!(chat.does(bob, people("#open")).is_ok());
    let seen = |chat: &Chat, by| {
        let seen = chat.registry.presence(&"alice".parse().unwrap(), by, Stamp(0)).unwrap();
        seen.channels.iter().map(|channel| channel.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&chat, bob), ["#lobby", "#open"]);
    chat.joins(bob, &tag(1)).unwrap();
    assert_eq!(seen(&chat, bob), ["#lobby", "#open", tag(1).as_str()]);
}

#[test]
fn new_channels_with_a_pin_are_few_in_an_hour_whatever_one_does() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, &tag(99)).unwrap();
    chat.registry.committed(&tag(99).parse().unwrap(), Seq(1));
    for number in 0..10 {
        chat.joins(bob, &tag(number)).unwrap();
        chat.does(bob, part(&tag(number))).unwrap();
    }
    let refused = |outcome: Outcome| match outcome {
        Err(Refusal::PinJoins { max: 10, refused, retry_ms: 3_600_000 }) => refused,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(chat.joins(bob, &tag(99))), 1);
    assert_eq!(refused(chat.joins(bob, &tag(98))), 2, "whether it exists or not");
    assert!(chat.joins(bob, &tag(3)).is_ok(), "one that was joined within the hour");
    assert!(chat.joins(bob, "#open").is_ok());
    // Another session, and later ones.
    let phone = chat.enters("bob");
    assert_eq!(refused(chat.joins(phone, &tag(97))), 3);
    for id in [bob, phone] {
        chat.registry.leave(id, None, false, Stamp(1_000));
    }
    chat.registry.sweep(Stamp(3_000_000));
    let bob = chat.enters("bob");
    assert!(matches!(chat.joins(bob, &tag(96)), Err(Refusal::PinJoins { .. })));
    assert!(chat.joins(alice, &tag(0)).is_ok(), "others have budgets of their own");
    chat.registry.sweep(Stamp(3_601_000));
    assert!(chat.registry.pin_joins.is_empty() && chat.joins(bob, &tag(96)).is_ok());
}

#[test]
fn a_channel_with_a_pin_that_had_messages_stays_known_over_a_restart() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    chat.joins(alice, &tag(1)).unwrap();
    chat.joins(alice, &tag(2)).unwrap();
    let place: Place = tag(1).parse().unwrap();
    chat.registry.committed(&place, Seq(1));
    let known = |effects: Vec<Effect>| {
        let known = |effect| match effect {
            Effect::Remember(Fact::Read(_, place, Seq(0))) => Some(place),
            _ => None,
        };
        effects.into_iter().filter_map(known).collect::<Vec<_>>()
    };
    assert_eq!(known(chat.does(alice, part(&tag(1))).unwrap()), std::slice::from_ref(&place));
    assert_eq!(known(chat.does(alice, part(&tag(2))).unwrap()), [], "a guess leaves nothing");
    let mut later = Chat::new();
    let reads = vec![("alice".parse().unwrap(), Seq(0))];
    later.registry.remember(place, Seq(1), None, reads, vec![]);
    later.registry.rules.limits.pin_joins_per_h = 1;
    let alice = later.enters("alice");
    assert!(later.joins(alice, &tag(5)).is_ok());
    assert!(matches!(later.joins(alice, &tag(2)), Err(Refusal::PinJoins { .. })));
    assert!(later.joins(alice, &tag(1)).is_ok());
}

#[test]
fn who_is_muted_makes_no_noise() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    let name: UserName = "bob".parse().unwrap();
    chat.joins(alice, "#open").unwrap();
    chat.joins(bob, "#open").unwrap();
    chat.joins(alice, &tag(1)).unwrap();
    chat.registry.set_muted(&name, true, Stamp(0));
    let mut noise = notices(&chat.does(bob, part("#open")).unwrap());
    noise += notices(&chat.joins(bob, "#open").unwrap());
    noise += notices(&chat.registry.leave(bob, None, false, Stamp(0)));
    let bob = chat.enters("bob");
    noise += notices(&chat.registry.leave(bob, None, true, Stamp(0)));
    noise += notices(&chat.registry.sweep(Stamp(60_000)));
    assert_eq!(noise, 0);
    let bob = chat.enters("bob");
    for channel in ["#new", &tag(1), &tag(2)] {
        let refused = Err(Refusal::MutedJoin(channel.parse().unwrap()));
        assert_eq!(chat.joins(bob, channel), refused);
    }
    let kicked = chat.registry.leave(bob, Some("kicked by mona"), false, Stamp(0));
    assert_eq!(notices(&kicked), 1, "an operator's word is told");
    chat.registry.set_muted(&name, false, Stamp(0));
    let bob = chat.enters("bob");
    assert_eq!(notices(&chat.joins(bob, "#new").unwrap()), 1);
}

#[test]
fn who_comes_and_goes_all_the_time_is_soon_not_told_any_more() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, "#open").unwrap();
    let mut noise = 0;
    for _ in 0..40 {
        noise += notices(&chat.joins(bob, "#open").unwrap());
        noise += notices(&chat.does(bob, part("#open")).unwrap());
    }
    // Ten at once and one in the second since the login; bob's login was one.
    assert_eq!(noise, 2 * 10);
    let carol = (0..30).map(|number| {
        let (name, device) = ("carol".parse().unwrap(), "main".parse().unwrap());
        let id = SessionId(1_000 + number);
        let entered = chat.registry.enter(id, name, device, false, Stamp(0));
        chat.registry.leave(id, None, false, Stamp(0));
        entered.is_ok()
    });
    assert_eq!(carol.filter(|entered| *entered).count(), 20, "nor logs in all the time");
}

#[test]
fn topics_cost_as_much_as_messages() {
    let mut chat = Chat::new();
    chat.registry.rules.limits.lines_burst = 5;
    let alice = chat.enters("alice");
    let mut set = || {
        let (channel, text) = (ChannelName::lobby(), Some("tea".to_owned()));
        chat.does(alice, Command::Topic { channel, text, reference: None })
    };
    assert_eq!((0..40).filter(|_| set().is_ok()).count(), 5);
    assert!(matches!(chat.says(alice, "#lobby", "x"), Err(Refusal::Rate { .. })));
}

#[test]
fn answers_are_paid_before_more_is_asked() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    chat.registry.answered(alice, 5 << 20, Stamp(1_000));
    let Err(Refusal::Rate { retry_ms }) = chat.does(alice, people("#lobby")) else { panic!() };
    assert!((5_000..=10_000).contains(&retry_ms), "{retry_ms}");
    let other = chat.enters("alice");
    assert!(chat.does(other, people("#lobby")).is_err(), "another session has no other budget");
    assert!(chat.does(alice, join("#tea")).is_ok(), "a client comes back to all its channels");
    assert!(chat.says(alice, "#tea", "x").is_ok());
}

#[test]
fn lists_fit_an_answer_and_say_what_is_left_out() {
    let mut chat = Chat::new();
    chat.registry.rules.limits.announce_people_max = 0;
    let long = |number: usize| format!("{number:04}{}", "中".repeat(28));
    let alice = chat.enters("alice");
    let topic = "\"".repeat(400);
    for number in 0..1_000 {
        let name: ChannelName = format!("#{}", long(number)).parse().unwrap();
        let people = BTreeMap::from([(
            UserName::from_str(&format!("bob{number}")).unwrap(),
            Seat { sessions: 1, since: Stamp(0), silent: false },
        )]);
        let channel = Channel { people, ..Channel::default() };
        chat.registry.channels.insert(name.clone(), channel);
        chat.registry.topics.insert(name, topic.clone());
        chat.enters(&long(number));
    }
    chat.joins(alice, "#0").unwrap();
    let answers = [Command::Channels { reference: None }, people("#lobby"), join("#lobby")];
    for command in answers {
        let effects = chat.does(alice, command.clone()).unwrap();
        let Effect::Answer(event) = &effects[0] else { panic!() };
        let json = serde_json::to_value(event).unwrap();
        let listed = json.get("channels").or(json.get("people")).unwrap().as_array().unwrap();
        let omitted = json["omitted"].as_u64().unwrap() as usize;
        assert!(listed.len() > 50 && listed.len() + omitted > 1_000, "{}", listed.len());
        assert!(json.to_string().len() <= 66 * 1024, "{}", json.to_string().len());
        if let Command::Channels { .. } = command {
            let own = |row: &&serde_json::Value| row["member"] == true;
            assert_eq!(listed.iter().filter(own).count(), 2, "one's own are never left out");
        }
    }
}

#[test]
fn a_position_is_told_and_written_once_however_often_it_moves_in_a_request() {
    let mut chat = Chat::new();
    let (laptop, _phone) = (chat.enters("alice"), chat.enters("alice"));
    chat.registry.committed(&Place::Channel(ChannelName::lobby()), Seq(500));
    let logs = chat.registry.logs.len();
    let mut places: Vec<_> = (1..=500)
        .map(|seq| ReadMark { to: Target::Channel(ChannelName::lobby()), seq: Seq(seq) })
        .collect();
    places.push(ReadMark { to: "@bob".parse().unwrap(), seq: Seq(9) });
    let effects = chat.does(laptop, Command::Read { places: places.clone() }).unwrap();
    assert_eq!(effects.len(), 2, "a record and a word to the phone");
    assert_eq!(chat.registry.logs.len(), logs, "nothing begins by being read");
    let again = (0..3).map(|_| chat.does(laptop, Command::Read { places: places.clone() }));
    assert!(again.last().unwrap().is_err(), "many positions cost as much as many requests");
}

#[test]
fn first_messages_and_messages_to_whom_is_gone() {
    let mut chat = Chat::new();
    chat.registry.rules.limits.places_per_h = 2.0;
    let alice = chat.enters("alice");
    chat.registry.remember(
        "@alice@dave".parse().unwrap(),
        Seq(1),
        None,
        vec![],
        vec![("dave".parse().unwrap(), 1)],
    );
    let gone = Err(Refusal::NotRegistered("dave".parse().unwrap()));
    assert_eq!(chat.says(alice, "@dave", "still there?"), gone);
    let (to, id, body) = ("@dave".parse().unwrap(), MsgId([1; 16]), Body::default());
    let kind = Kind::Delete { of: Seq(1) };
    let delete = Command::Say(NewMessage { to, id, kind, body });
    assert!(chat.does(alice, delete).is_ok(), "what was said can be taken back");
    for channel in ["#one", "#two", "#three"] {
        chat.joins(alice, channel).unwrap();
    }
    for _ in 0..3 {
        assert!(chat.says(alice, "#one", "x").is_ok());
        assert!(chat.says(alice, "@bob", "x").is_ok());
    }
    assert!(matches!(chat.says(alice, "#two", "x"), Err(Refusal::Rate { .. })));
    assert!(chat.says(alice, "#one", "x").is_ok());
}
