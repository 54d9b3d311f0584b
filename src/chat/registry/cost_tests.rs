//! The cost of requests, and what answers reveal about channels with a PIN.

use super::super::{BlobId, Epoch, FileBytes, HistoryKind, Kind, MsgId, ReadMark};
use super::budgets::Budgets;
use super::tests::{Chat, notices, participant};
use super::*;
use crate::chat::Body;
use crate::chat::rate::Bucket;

fn topic_of(text: &str) -> Topic {
    Topic { text: text.to_owned(), by: "alice".parse().unwrap() }
}

/// A channel with a PIN: tags of greater numbers come later.
fn tag(number: usize) -> String {
    format!("#tea~{}{number:02}0", "0".repeat(23))
}

/// A conversation with messages of an earlier run, up to seq `last`.
pub(super) fn past(conversation: &str, last: u64) -> Remembered {
    let (first, last, stored, topic) = (Seq(0), Seq(last), last > 0, None);
    let (reads, waiting) = (Vec::new(), Vec::new());
    Remembered {
        conversation: conversation.parse().unwrap(),
        first,
        last,
        stored,
        topic,
        reads,
        waiting,
    }
}

fn join(channel: &str) -> Command {
    Command::Join { channel: channel.parse().unwrap(), after: None }
}

fn people(channel: &str) -> Command {
    Command::People { channel: channel.parse().unwrap() }
}

fn part(channel: &str) -> Command {
    Command::Part { channel: channel.parse().unwrap() }
}

/// The outcome without the channel's name.
fn without(outcome: Outcome, channel: &str) -> String {
    let name: ChannelName = channel.parse().unwrap();
    let told = format!("{outcome:?}");
    told.replace(&format!("{name:?}"), "it").replace(&name.to_string(), "it")
}

#[test]
fn outsiders_cannot_tell_whether_a_channel_with_a_pin_exists() {
    let mut chat = Chat::new();
    chat.tune(|limits| (limits.messages_burst, limits.histories_per_s) = (100, 100.0));
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    let (there, nowhere) = (tag(1), tag(2));
    chat.joins(alice, &there).unwrap();
    chat.registry.committed(&there.parse().unwrap(), Seq(7));
    let say = |to: &str, kind, body| {
        Command::Say(NewMessage { to: to.parse().unwrap(), id: MsgId([1; 16]), kind, body })
    };
    let sealed = || Body::Sealed(super::super::Opaque::new(&[1]).unwrap());
    let blob = BlobId([7; 16]);
    let requests: [&dyn Fn(&str) -> Command; 16] = [
        &people,
        &part,
        &|to| Command::Topic { channel: to.parse().unwrap(), text: None },
        &|to| {
            let (channel, text) = (to.parse().unwrap(), Some("x".to_owned()));
            Command::Topic { channel, text }
        },
        &|to| {
            let to = to.parse().unwrap();
            Command::History { to, before: None, messages: None, span: None, kind: None }
        },
        &|to| {
            let to = Some(to.parse().unwrap());
            Command::Search { text: "x".into(), to }
        },
        &|to| {
            let to = to.parse().unwrap();
            Command::Read { conversations: vec![ReadMark { to, seq: Seq(3) }] }
        },
        &|to| {
            let (to, kind) = (to.parse().unwrap(), Some(HistoryKind::File));
            Command::History { to, before: None, messages: None, span: None, kind }
        },
        &|to| {
            let to = to.parse().unwrap();
            Command::Count { conversations: vec![ReadMark { to, seq: Seq(3) }] }
        },
        &|to| Command::Put { to: to.parse().unwrap(), blob, bytes: FileBytes(4_112) },
        &|to| Command::Get { to: to.parse().unwrap(), blob, from: FileBytes(0) },
        &|to| say(to, Kind::Say, sealed()),
        &|to| say(to, Kind::File { blob }, sealed()),
        &|to| say(to, Kind::Edit { of: Seq(3) }, sealed()),
        &|to| say(to, Kind::Delete { of: Seq(3) }, sealed()),
        &|to| Command::Say(NewMessage::text(to.parse().unwrap(), MsgId([1; 16]), "x")),
    ];
    for request in requests {
        let answers = [&there, &nowhere].map(|to| without(chat.does(bob, request(to)), to));
        assert_eq!(answers[0], answers[1], "{:?}", request(&there));
    }
    let unknown =
        chat.registry.membership.presence(&"alice".parse().unwrap(), bob, Stamp(0)).unwrap();
    assert_eq!(unknown.channels, [ChannelName::lobby()], "it does not show that alice is in it");
    assert!(chat.does(alice, people(&there)).is_ok());
}

#[test]
fn channels_with_a_pin_are_listed_for_their_members_only() {
    let rows = |own: usize, theirs: Option<usize>| {
        let mut chat = Chat::new();
        let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
        if let Some(theirs) = theirs {
            chat.joins(alice, &tag(theirs)).unwrap();
        }
        chat.joins(bob, &tag(own)).unwrap();
        without(chat.does(bob, Command::Channels), &tag(own))
    };
    assert_eq!(rows(50, Some(10)), rows(50, None));
    assert_eq!(rows(50, Some(90)), rows(50, None));
    assert_ne!(
        rows(50, Some(50)),
        rows(50, None),
        "the control: there are two people in bob's own"
    );
}

#[test]
fn a_right_pin_is_announced_however_many_people_are_there() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.announce_people_max = 2);
    let (alice, bob, carol) = (chat.enters("alice"), chat.enters("bob"), chat.enters("carol"));
    for channel in ["#open", &tag(1)] {
        chat.joins(alice, channel).unwrap();
        chat.joins(bob, channel).unwrap();
    }
    assert_eq!(notices(&chat.joins(carol, &tag(1)).unwrap()), 1);
    assert_eq!(notices(&chat.joins(carol, "#open").unwrap()), 0, "the control");
    chat.does(carol, part(&tag(1))).unwrap();
    assert_eq!(notices(&chat.joins(carol, &tag(1)).unwrap()), 1, "each time");
    chat.registry.committed(&tag(1).parse().unwrap(), Seq(1));
    chat.does(carol, part(&tag(1))).unwrap();
    let returns = notices(&chat.joins(carol, &tag(1)).unwrap());
    assert_eq!(returns, 0, "the control: she was there when it had messages");
}

#[test]
fn whois_and_people_agree_on_who_is_in_a_channel() {
    let mut chat = Chat::new();
    let (alice, bob): (_, UserName) = (chat.enters("alice"), "bob".parse().unwrap());
    let enters = |chat: &mut Chat, id, purpose| {
        chat.registry.enter(id, participant("bob", "main", purpose), Stamp(0)).unwrap();
        for channel in ["#open", &tag(1)] {
            chat.joins(id, channel).unwrap();
        }
    };
    chat.joins(alice, "#open").unwrap();
    chat.joins(alice, &tag(1)).unwrap();
    let (job, visit) = (SessionId(70), SessionId(71));
    let told = |chat: &mut Chat| {
        let seen = chat.registry.membership.presence(&bob, alice, Stamp(0)).unwrap();
        let mut lists = |channel: &str| {
            let answer = chat.does(alice, people(channel)).unwrap();
            format!("{answer:?}").contains("\"bob\"")
        };
        let is_in = |channel: &str| seen.channels.contains(&channel.parse().unwrap());
        for channel in ["#lobby", "#open", &tag(1)] {
            assert_eq!(lists(channel), is_in(channel), "{channel}");
        }
        ["#lobby", "#open", &tag(1)].map(is_in)
    };
    enters(&mut chat, job, Purpose::Job);
    assert_eq!(told(&mut chat), [false, false, true]);
    enters(&mut chat, visit, Purpose::Visit);
    assert_eq!(told(&mut chat), [true; 3], "the control");
}

#[test]
fn open_channels_are_visible_to_everybody() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, "#open").unwrap();
    chat.joins(alice, &tag(1)).unwrap();
    assert!(chat.does(bob, people("#open")).is_ok());
    let seen = |chat: &Chat, by| {
        let seen =
            chat.registry.membership.presence(&"alice".parse().unwrap(), by, Stamp(0)).unwrap();
        seen.channels.iter().map(|channel| channel.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&chat, bob), ["#lobby", "#open"]);
    chat.joins(bob, &tag(1)).unwrap();
    assert_eq!(seen(&chat, bob), ["#lobby", "#open", tag(1).as_str()]);
}

#[test]
fn joins_of_new_channels_with_a_pin_are_limited_per_hour() {
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
    assert_eq!(
        refused(chat.joins(bob, &tag(98))),
        2,
        "existing and new channels are refused alike"
    );
    assert!(chat.joins(bob, &tag(3)).is_ok(), "a channel that was joined within the hour");
    assert!(chat.joins(bob, "#open").is_ok());
    // Further sessions share the budget.
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
    assert!(!chat.registry.membership.has_pin_joins() && chat.joins(bob, &tag(96)).is_ok());
}

#[test]
fn a_channel_with_a_pin_that_had_messages_stays_known_over_a_restart() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    chat.joins(alice, &tag(1)).unwrap();
    chat.joins(alice, &tag(2)).unwrap();
    let conversation: Conversation = tag(1).parse().unwrap();
    chat.registry.committed(&conversation, Seq(1));
    let known = |effects: Vec<Effect>| {
        let known = |effect| match effect {
            Effect::Remember(Fact::Read(_, conversation, Seq(0))) => Some(conversation),
            _ => None,
        };
        effects.into_iter().filter_map(known).collect::<Vec<_>>()
    };
    assert_eq!(
        known(chat.does(alice, part(&tag(1))).unwrap()),
        std::slice::from_ref(&conversation)
    );
    assert_eq!(known(chat.does(alice, part(&tag(2))).unwrap()), [], "a guess is not stored");
    let mut later = Chat::new();
    let reads = vec![("alice".parse().unwrap(), Seq(0))];
    later.registry.remember(Remembered { reads, ..past(&tag(1), 1) });
    later.tune(|limits| limits.pin_joins_per_h = 1);
    let alice = later.enters("alice");
    assert!(later.joins(alice, &tag(5)).is_ok());
    assert!(matches!(later.joins(alice, &tag(2)), Err(Refusal::PinJoins { .. })));
    assert!(later.joins(alice, &tag(1)).is_ok());
}

#[test]
fn joins_of_muted_users_are_not_announced() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    let name: UserName = "bob".parse().unwrap();
    chat.joins(alice, "#open").unwrap();
    chat.joins(bob, "#open").unwrap();
    chat.joins(alice, &tag(1)).unwrap();
    chat.registry.membership.set_muted(&name, true, Stamp(0));
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
    let kicked = chat.registry.leave(bob, Some("kicked by carol"), false, Stamp(0));
    assert_eq!(notices(&kicked), 1, "a reason of an operator is announced");
    chat.registry.membership.set_muted(&name, false, Stamp(0));
    let bob = chat.enters("bob");
    assert_eq!(notices(&chat.joins(bob, "#new").unwrap()), 1);
}

#[test]
fn announcements_of_one_user_are_limited() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, "#open").unwrap();
    let mut noise = 0;
    for _ in 0..40 {
        noise += notices(&chat.joins(bob, "#open").unwrap());
        noise += notices(&chat.does(bob, part("#open")).unwrap());
    }
    // A burst of ten and one more for the second since the login, minus one for the login itself.
    assert_eq!(noise, 2 * 10);
    let carol = (0..30).map(|number| {
        let id = SessionId(1_000 + number);
        let carol = participant("carol", "main", Purpose::Visit);
        let entered = chat.registry.enter(id, carol, Stamp(0));
        chat.registry.leave(id, None, false, Stamp(0));
        entered.is_ok()
    });
    assert_eq!(carol.filter(|entered| *entered).count(), 20, "logins are limited too");
}

#[test]
fn topics_cost_as_much_as_messages() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.messages_burst = 5);
    let alice = chat.enters("alice");
    let mut set = || {
        let (channel, text) = (ChannelName::lobby(), Some("tea".to_owned()));
        chat.does(alice, Command::Topic { channel, text })
    };
    assert_eq!((0..40).filter(|_| set().is_ok()).count(), 5);
    assert!(matches!(chat.says(alice, "#lobby", "x"), Err(Refusal::Rate { .. })));
}

#[test]
fn answers_are_paid_before_more_is_asked() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let other = chat.enters("alice");
    let name: UserName = "alice".parse().unwrap();
    chat.registry.membership.answered(&name, 50 << 20, Stamp(1_000));
    let Err(Refusal::Rate { retry_ms }) = chat.does(alice, people("#lobby")) else { panic!() };
    assert!((190_000..=191_000).contains(&retry_ms), "all of it: {retry_ms}");
    assert!(chat.does(other, people("#lobby")).is_err(), "sessions share the budget");
    // So does a session that begins after all others have ended.
    let enters = |chat: &mut Chat, ms| {
        let id = SessionId(1_000 + ms);
        let again = participant("alice", "main", Purpose::Visit);
        chat.registry.enter(id, again, Stamp(ms)).map(|_| id)
    };
    assert_eq!(enters(&mut chat, 1_000), Err(Refusal::Unpaid { retry_ms }));
    assert!(chat.says(alice, "#lobby", "x").is_ok(), "requests without an answer are free");
    for id in [alice, other] {
        chat.registry.leave(id, None, false, Stamp(1_000));
    }
    chat.registry.sweep(Stamp(100_000));
    let refused = enters(&mut chat, 100_000);
    assert!(matches!(refused, Err(Refusal::Unpaid { retry_ms: 91_000..=92_000 })), "{refused:?}");
    assert!(enters(&mut chat, 1_000 + retry_ms).is_ok());
}

#[test]
fn a_client_may_rejoin_all_its_channels_once() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.requests_per_s = 1e6);
    chat.tune(|limits| limits.channels_per_user_max = 5);
    let alice = chat.enters("alice");
    chat.registry.membership.answered(&"alice".parse().unwrap(), 1 << 30, Stamp(1_000));
    let joins = (0..9).map(|_| chat.does(alice, join("#tea")).is_ok());
    assert_eq!(joins.filter(|joined| *joined).count(), 5);
    // Sessions share the joins; an hour refills five.
    let hour = Stamp(1_000 + 3_600_000);
    let joins =
        (0..9).map(|_| chat.registry.decide(alice, &join("#tea").into(), &|_| None, hour).is_ok());
    assert_eq!(joins.filter(|joined| *joined).count(), 5);
}

/// Users who are dropped come back with new budgets.
#[test]
fn users_with_spent_budgets_are_not_dropped() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    chat.registry.membership.answered(&"alice".parse().unwrap(), 2 << 30, Stamp(0));
    chat.registry.leave(alice, None, false, Stamp(0));
    chat.registry.sweep(Stamp(2 * 3_600_000));
    assert_eq!(chat.registry.membership.users.count(), 1, "2 GiB take longer to pay");
    chat.registry.sweep(Stamp(3 * 3_600_000));
    assert!(chat.registry.membership.users.count() == 0);
}

/// Counts what memory holds of a conversation that nobody is in.
fn traces(chat: &Chat, conversation: &str) -> usize {
    let conversation: Conversation = conversation.parse().unwrap();
    let topic = match &conversation {
        Conversation::Channel(name) => chat.registry.membership.channels.topic_of(name).is_some(),
        Conversation::Private(..) => false,
    };
    let partners = chat.registry.logs.partners();
    usize::from(topic) + usize::from(chat.registry.logs.exists(&conversation)) + partners
}

#[test]
fn a_channel_is_dropped_with_its_last_message() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let tea: Conversation = "#tea".parse().unwrap();
    let minute = 61_000;
    let forgets = |effects: &[Effect]| effects.contains(&Effect::Forget("#tea".parse().unwrap()));
    chat.joins(alice, "#tea").unwrap();
    let (channel, text) = ("#tea".parse().unwrap(), Some("leaves".to_owned()));
    chat.does(alice, Command::Topic { channel, text }).unwrap();
    chat.registry.committed(&tea, Seq(7));
    let empty = |chat: &mut Chat, last| {
        chat.registry.emptied(vec![("#tea".parse().unwrap(), Seq(last))], Stamp(2_000))
    };
    assert!(empty(&mut chat, 7).is_empty() && traces(&chat, "#tea") == 2, "alice is in it");
    chat.registry.committed(&tea, Seq(8));
    chat.does(alice, part("#tea")).unwrap();
    assert!(forgets(&chat.registry.sweep(Stamp(minute))), "its tail is dropped");
    assert_eq!(traces(&chat, "#tea"), 2, "a message is stored");
    assert!(empty(&mut chat, 7).is_empty(), "a message was stored since");
    assert!(forgets(&empty(&mut chat, 8)));
    assert_eq!(traces(&chat, "#tea"), 0);
    assert!(empty(&mut chat, 8).is_empty());
    // Later messages get higher seqs than any client can have, and nothing is unread.
    let entered = chat.joins(alice, "#tea").unwrap();
    let found = entered.iter().find_map(|effect| match effect {
        Effect::Answer(Event::Entered { last, read, topic, .. }) => Some((*last, *read, topic)),
        _ => None,
    });
    assert_eq!(found, Some((Seq(8), Seq(8), &None)));
    let point = Some(super::super::SyncPoint { epoch: Epoch(1), seq: Seq(3) });
    let start = chat.registry.logs.start(&tea, point);
    assert_eq!((start.after, start.upto), (Seq(8), Seq(8)), "no gap");
    // One that the configuration names keeps what it has.
    chat.registry.remember(Remembered { topic: Some(topic_of("x")), ..past("#configured", 3) });
    let conversation: Conversation = "#configured".parse().unwrap();
    assert!(chat.registry.emptied(vec![(conversation, Seq(3))], Stamp(minute)).is_empty());
    assert_eq!(traces(&chat, "#configured"), 2);
}

#[test]
fn a_private_conversation_is_dropped_with_its_last_message() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let conversation: Conversation = "@alice@bob".parse().unwrap();
    chat.says(alice, "@bob", "psst").unwrap();
    chat.registry.committed(&conversation, Seq(1));
    let emptied = |chat: &mut Chat, ms| {
        chat.registry.emptied(vec![("@alice@bob".parse().unwrap(), Seq(1))], Stamp(ms));
        chat.registry.sweep(Stamp(ms + 31_000))
    };
    assert!(emptied(&mut chat, 0).is_empty(), "alice is here");
    assert!(traces(&chat, "@alice@bob") > 0);
    chat.registry.leave(alice, None, false, Stamp(40_000));
    assert_eq!(chat.registry.sweep(Stamp(75_000)), [Effect::Forget(conversation)]);
    assert_eq!(traces(&chat, "@alice@bob"), 0);
    // Also long after both have left.
    chat.registry.remember(past("@alice@bob", 1));
    assert_eq!(chat.registry.sweep(Stamp(200_000)), []);
    assert_eq!(emptied(&mut chat, 300_000).len(), 1);
    assert_eq!(traces(&chat, "@alice@bob"), 0);
}

#[test]
fn a_channel_with_erase_on_empty_is_dropped_at_once() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let leaky = format!("#leaky~{}", "0".repeat(26));
    chat.joins(alice, &leaky).unwrap();
    chat.registry.committed(&leaky.parse().unwrap(), Seq(4));
    chat.does(alice, part(&leaky)).unwrap();
    assert_eq!(chat.registry.sweep(Stamp(90_000)).len(), 1);
    assert_eq!(traces(&chat, &leaky), 0);
}

#[test]
fn a_channel_with_erase_on_empty_is_dropped_after_a_restart_unless_somebody_joins() {
    let leaky = |number: usize| format!("#leaky~{}{number}0", "0".repeat(24));
    let mut chat = Chat::new();
    (0..2).for_each(|number| chat.registry.remember(past(&leaky(number), 4)));
    chat.registry.remember(past("#stays", 4));
    let alice = chat.enters("alice");
    chat.joins(alice, &leaky(1)).unwrap();
    let channel_empty_ms = chat.limits.channel_empty_s * 1000;
    assert_eq!(chat.registry.sweep(Stamp(channel_empty_ms - 1)), []);
    let forgotten = Effect::Forget(leaky(0).parse().unwrap());
    assert_eq!(chat.registry.sweep(Stamp(channel_empty_ms)), [forgotten]);
    assert_eq!([leaky(0), leaky(1)].map(|name| traces(&chat, &name)), [0, 1]);
    assert_eq!(traces(&chat, "#stays"), 1);
}

#[test]
fn lists_fit_an_answer_and_count_what_is_left_out() {
    let mut chat = Chat::new();
    chat.tune(|limits| (limits.announce_people_max, limits.channels_max) = (0, 2_000));
    let long = |number: usize| format!("{number:04}{}", "中".repeat(28));
    let alice = chat.enters("alice");
    let topic = "\"".repeat(400);
    for number in 0..1_000 {
        let name: ChannelName = format!("#{}", long(number)).parse().unwrap();
        let bob = chat.enters(&format!("bob{number}"));
        chat.joins(bob, name.as_str()).unwrap();
        chat.registry.membership.channels.remember(name, true, Some(topic_of(&topic)));
        chat.enters(&long(number));
    }
    chat.joins(alice, "#0").unwrap();
    let answers = [Command::Channels, people("#lobby"), join("#lobby")];
    for command in answers {
        let effects = chat.does(alice, command.clone()).unwrap();
        let Effect::Answer(event) = &effects[0] else { panic!() };
        let json = serde_json::to_value(event).unwrap();
        let listed = json.get("channels").or(json.get("people")).unwrap().as_array().unwrap();
        let omitted = json["omitted"].as_u64().unwrap() as usize;
        assert!(listed.len() > 50 && listed.len() + omitted > 1_000, "{}", listed.len());
        assert!(json.to_string().len() <= 66 * 1024, "{}", json.to_string().len());
        if let Command::Channels = command {
            let own = |row: &&serde_json::Value| row["member"] == true;
            assert_eq!(
                listed.iter().filter(own).count(),
                2,
                "the user's own channels are never left out"
            );
        }
    }
}

#[test]
fn a_request_writes_and_sends_each_read_position_once() {
    let mut chat = Chat::new();
    let (laptop, _phone) = (chat.enters("alice"), chat.enters("alice"));
    chat.registry.committed(&Conversation::Channel(ChannelName::lobby()), Seq(500));
    let logs = chat.registry.logs.count();
    let mut conversations: Vec<_> = (1..=500)
        .map(|seq| ReadMark { to: Target::Channel(ChannelName::lobby()), seq: Seq(seq) })
        .collect();
    conversations.push(ReadMark { to: "@bob".parse().unwrap(), seq: Seq(9) });
    let effects =
        chat.does(laptop, Command::Read { conversations: conversations.clone() }).unwrap();
    assert_eq!(effects.len(), 2, "a fact and an event for the phone");
    assert_eq!(chat.registry.logs.count(), logs, "reading creates no conversation");
    let again =
        (0..3).map(|_| chat.does(laptop, Command::Read { conversations: conversations.clone() }));
    assert!(again.last().unwrap().is_err(), "many positions cost as much as many requests");
}

#[test]
fn first_messages_and_messages_to_removed_users() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.conversations_per_h = 2.0);
    let alice = chat.enters("alice");
    let waiting = vec![("dave".parse().unwrap(), 1)];
    chat.registry.remember(Remembered { waiting, ..past("@alice@dave", 1) });
    let gone = Err(Refusal::NotRegistered("dave".parse().unwrap()));
    assert_eq!(chat.says(alice, "@dave", "still there?"), gone);
    let (to, id, body) = ("@dave".parse().unwrap(), MsgId([1; 16]), Body::default());
    let kind = Kind::Delete { of: Seq(1) };
    let delete = Command::Say(NewMessage { to, id, kind, body });
    assert!(chat.does(alice, delete).is_ok(), "earlier messages can be deleted");
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

#[test]
fn a_reconnect_after_any_time_refills_no_budget() {
    let minute = 60_000;
    let (mut chat, name) = (Chat::new(), "alice".parse().unwrap());
    // Everything is spent; the answers take two hours to pay.
    let (id, late) = (chat.enters("alice"), 600 * minute);
    let limits = chat.limits.clone();
    let budgets = &mut chat.registry.membership.users.user(&name, Stamp(late)).budgets;
    for bucket in budgets.all() {
        bucket.take(f64::INFINITY, Stamp(late)).unwrap();
    }
    budgets.answers.owe(limits.answer_bytes_per_s * 7_200.0, Stamp(late));
    chat.registry.leave(id, None, false, Stamp(late));
    for after in [0, 1, 10, 59, 61, 100, 119] {
        let now = Stamp(late + after * minute);
        chat.registry.sweep(now);
        let budgets = &mut chat.registry.membership.users.user(&name, now).budgets;
        assert!(budgets.answers.take(0.0, now).is_err(), "{after} min");
        let mut spent = Budgets::new(&limits, Stamp(late));
        for (bucket, fresh) in budgets.all().into_iter().zip(spent.all()) {
            // Only the refill of that time is there.
            fresh.take(f64::INFINITY, Stamp(late)).unwrap();
            let gives = |bucket: &Bucket| bucket.clone().take(f64::INFINITY, now).is_ok();
            assert!(!gives(bucket) || gives(fresh), "{after} min");
        }
    }
    chat.registry.sweep(Stamp(late + 300 * minute));
    assert!(chat.registry.membership.users.count() == 0, "a user with full budgets is dropped");
}
