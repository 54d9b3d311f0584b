//! Channels and conversations that nobody is left in.

use super::super::Epoch;
use super::tests::{Chat, answers};
use super::*;

#[test]
fn an_empty_channel_is_dropped_after_a_minute() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    chat.joins(alice, "#tea").unwrap();
    chat.does(alice, Command::Part { channel: "#tea".parse().unwrap() }).unwrap();
    assert!(chat.registry.sweep(Stamp(60_999)).is_empty());
    assert_eq!(chat.registry.sweep(Stamp(61_000)).len(), 1);
    let lobby = Command::Part { channel: ChannelName::lobby() };
    assert_eq!(chat.does(alice, lobby), Err(Refusal::LobbyStays));
}

#[test]
fn a_dropped_ephemeral_channel_gets_a_new_log() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let log = |effects: &[Effect]| match answers(effects)[0] {
        Event::Entered { epoch, retention, .. } => (*epoch, *retention),
        other => panic!("{other:?}"),
    };
    let first = log(&chat.joins(alice, "#ephemeral").unwrap());
    assert_eq!(first.1, Retention::Off);
    let part = Command::Part { channel: "#ephemeral".parse().unwrap() };
    chat.does(alice, part).unwrap();
    chat.registry.sweep(Stamp(100_000));
    assert_ne!(log(&chat.joins(alice, "#ephemeral").unwrap()).0, first.0);
    assert_eq!(log(&chat.joins(alice, "#tea").unwrap()).0, Epoch(1));
}

#[test]
fn a_dropped_channel_without_messages_leaves_no_state() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let logs = chat.registry.logs.count();
    let topic = |channel: &str| Command::Topic {
        channel: channel.parse().unwrap(),
        text: Some("tea".into()),
    };
    for channel in ["#silent", "#said", "#named", "#ephemeral", "#configured"] {
        chat.joins(alice, channel).unwrap();
    }
    chat.registry.committed(&"#said".parse().unwrap(), Seq(1));
    chat.registry.committed(&"#ephemeral".parse().unwrap(), Seq(1));
    for channel in ["#said", "#named", "#ephemeral", "#configured"] {
        chat.does(alice, topic(channel)).unwrap();
    }
    for channel in ["#silent", "#said", "#named", "#ephemeral", "#configured"] {
        let channel = channel.parse().unwrap();
        chat.does(alice, Command::Part { channel }).unwrap();
    }
    assert_eq!(chat.registry.sweep(Stamp(100_000)).len(), 5);
    assert_eq!(
        chat.registry.logs.count(),
        logs + 2,
        "only those with a message or a configuration"
    );
    let mut topics: Vec<_> =
        chat.registry.membership.channels.topics().map(ChannelName::as_str).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["#configured", "#said"]);
}

#[test]
fn a_conversation_in_memory_is_dropped_once_both_are_offline() {
    let mut chat = Chat::new();
    let window_ms = chat.limits.resume_window_s * 1000;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| chat.enters(name));
    chat.says(bob, "@carol", "in memory").unwrap();
    chat.says(bob, "@alice", "kept").unwrap();
    let conversation = |text: &str| text.parse::<Conversation>().unwrap();
    chat.registry.committed(&conversation("@alice@bob"), Seq(1));
    let forgotten = |chat: &mut Chat, ms| {
        let effects = chat.registry.sweep(Stamp(ms));
        let forgets = effects.into_iter().filter_map(|effect| match effect {
            Effect::Forget(conversation) => Some(conversation),
            _ => None,
        });
        forgets.collect::<Vec<_>>()
    };
    chat.registry.leave(alice, None, false, Stamp(0));
    chat.registry.leave(carol, None, true, Stamp(0));
    assert_eq!(forgotten(&mut chat, window_ms), [], "bob is online");
    chat.registry.leave(bob, None, false, Stamp(window_ms));
    assert_eq!(forgotten(&mut chat, 2 * window_ms - 1), [], "he may be back");
    let bob = chat.enters("bob");
    assert_eq!(forgotten(&mut chat, 2 * window_ms), [], "and is");
    let log = chat.registry.logs.id_of(&conversation("@bob@carol"));
    chat.registry.leave(bob, None, false, Stamp(2 * window_ms));
    assert_eq!(forgotten(&mut chat, 3 * window_ms), [conversation("@bob@carol")]);
    assert_eq!(forgotten(&mut chat, 9 * window_ms), []);
    let names = |name: &str| chat.registry.logs.conversations(&name.parse().unwrap());
    assert_eq!(names("bob"), [conversation("@alice@bob")]);
    assert_eq!(names("carol"), []);
    let new = chat.registry.logs.id_of(&conversation("@bob@carol"));
    assert_ne!(new, log, "the next message starts a new log");
}
