use super::super::{Body, ChannelInfo, Epoch, Kind, Opaque, Position, ReadMark, SyncPoint};
use super::cost_tests::past;
use super::*;
use crate::limits::Limits;

pub(super) struct Chat {
    pub registry: Registry,
    pub limits: Limits,
    /// The conversation of the last message.
    said_in: Option<Conversation>,
    next: u64,
}

fn rules(limits: Limits) -> Rules {
    let retention = Box::new(|conversation: &Conversation| match conversation {
        Conversation::Channel(channel) if channel.to_string() == "#ephemeral" => Retention::Off,
        conversation if conversation.to_string() == "@bob@carol" => Retention::Off,
        _ => Retention::Forever,
    });
    let configured = Box::new(|channel: &ChannelName| channel.as_str() == "#configured");
    let forgets =
        Box::new(|conversation: &Conversation| conversation.to_string().starts_with("#leaky~"));
    Rules { limits, retention, configured, forgets }
}

impl Chat {
    pub fn new() -> Self {
        let limits = Limits { messages_burst: 1000, ..Limits::default() };
        let ids = Epochs { persistent: Epoch(1), ephemeral: Epoch(100), next: Epoch(9) };
        let registry = Registry::new(rules(limits.clone()), ids, Seq(0));
        Chat { registry, limits, said_in: None, next: 0 }
    }

    /// Changes limits.
    pub fn tune(&mut self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.limits);
        self.registry.retune(rules(self.limits.clone()));
    }

    pub fn enters(&mut self, name: &str) -> SessionId {
        self.next += 1;
        let id = SessionId(self.next);
        self.registry.enter(id, participant(name, "main", Purpose::Visit), Stamp(0)).unwrap();
        id
    }

    pub fn does(&mut self, id: SessionId, command: Command) -> Outcome {
        let known = |name: &UserName| {
            let folded: UserName = name.as_str().to_lowercase().parse().ok()?;
            ["alice", "bob", "carol"].contains(&folded.as_str()).then_some(folded)
        };
        if let Command::Say(message) = &command {
            let Saying { conversation, effects } =
                self.registry.say(id, message, &known, Stamp(1_000))?;
            self.said_in = Some(conversation);
            return Ok(effects);
        }
        Ok(match self.registry.decide(id, &command.into(), &known, Stamp(1_000))? {
            Decision::Effects(effects) => effects,
            Decision::Query(_) => Vec::new(),
        })
    }

    pub fn joins(&mut self, id: SessionId, channel: &str) -> Outcome {
        self.does(id, Command::Join { channel: channel.parse().unwrap(), after: None })
    }

    pub fn says(&mut self, id: SessionId, to: &str, text: &str) -> Outcome {
        let message = NewMessage::text(to.parse().unwrap(), crate::chat::MsgId([1; 16]), text);
        self.does(id, Command::Say(message))
    }
}

pub(super) fn notices(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Notice(..))).count()
}

#[test]
fn a_second_device_is_not_announced() {
    let mut chat = Chat::new();
    let laptop = chat.enters("alice");
    let phone = chat.enters("alice");
    assert_eq!(notices(&chat.joins(laptop, "#tea").unwrap()), 1);
    assert_eq!(notices(&chat.joins(phone, "#tea").unwrap()), 0);
    chat.enters("bob");
    let effects = chat.registry.leave(laptop, None, false, Stamp(5));
    assert_eq!(notices(&effects), 0);
    let effects = chat.registry.leave(phone, None, false, Stamp(5));
    assert_eq!(notices(&effects), 1, "announced in the lobby; #tea is empty");
}

#[test]
fn a_job_is_announced_where_a_join_shows_that_a_pin_is_right() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let secret = "#tea~00000000000000000000000000";
    chat.joins(alice, "#tea").unwrap();
    chat.joins(alice, secret).unwrap();
    let job = SessionId(70);
    chat.registry.enter(job, participant("bob", "main", Purpose::Job), Stamp(0)).unwrap();
    assert_eq!(notices(&chat.joins(job, "#tea").unwrap()), 0);
    assert_eq!(notices(&chat.joins(job, secret).unwrap()), 1);
    // Nor does it count where it is not listed.
    let Event::Channels { channels: rows, .. } = chat.registry.membership.channels_for(alice, None)
    else {
        panic!()
    };
    let here = |sealed: bool| {
        let mut of_tea = rows.iter().filter(|row| row.channel.letters() == "tea");
        of_tea.find(|row| row.sealed == sealed).map(|row| row.here)
    };
    assert_eq!((here(false), here(true)), (Some(1), Some(2)));
    // Later the members know that bob has the PIN.
    chat.registry.committed(&secret.parse().unwrap(), Seq(1));
    chat.does(job, Command::Part { channel: secret.parse().unwrap() }).unwrap();
    assert_eq!(notices(&chat.joins(job, secret).unwrap()), 0);
}

#[test]
fn one_user_alone_cannot_claim_that_messages_are_lost() {
    let mut chat = Chat::new();
    let (alice, bob, carol) = (chat.enters("alice"), chat.enters("bob"), chat.enters("carol"));
    chat.joins(carol, "#tea").unwrap();
    let claims = |chat: &mut Chat, id, seq| {
        let after = Some(SyncPoint { epoch: Epoch(1), seq: Seq(seq) });
        let effects = chat.does(id, Command::Join { channel: "#tea".parse().unwrap(), after });
        effects.unwrap().into_iter().find_map(|effect| match effect {
            Effect::Loss(lost) => Some(lost),
            _ => None,
        })
    };
    let lost = claims(&mut chat, bob, u64::MAX).unwrap();
    assert_eq!((lost.by.as_str(), lost.epoch), ("bob", None));
    assert_eq!(claims(&mut chat, bob, u64::MAX), None, "reported once");
    let lost = claims(&mut chat, alice, 7).unwrap();
    assert_eq!((lost.by.as_str(), lost.missing, lost.epoch), ("alice", 7, Some(Epoch(9))));
    assert_eq!(claims(&mut chat, bob, 9), None, "once in a run");
}

#[test]
fn channels_are_isolated() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, "#tea").unwrap();
    let tea: ChannelName = "#tea".parse().unwrap();
    assert_eq!(chat.says(bob, "#tea", "hi"), Err(Refusal::NotMember(tea.clone())));
    let conversation = Conversation::Channel(tea);
    assert_eq!(chat.says(alice, "#Tea", "hi").unwrap(), []);
    assert_eq!(chat.said_in, Some(conversation));
}

#[test]
fn a_private_message_reaches_all_devices_of_both() {
    let mut chat = Chat::new();
    let (alice, phone, bob) = (chat.enters("alice"), chat.enters("alice"), chat.enters("bob"));
    let effects = chat.says(bob, "@Alice", "psst").unwrap();
    let conversation = Conversation::private("bob".parse().unwrap(), "alice".parse().unwrap());
    let start = Start { after: Seq(0), upto: Seq(0), messages_max: 0, fresh: true };
    let follow = |readers| Effect::Follow(conversation.clone(), readers, start);
    let begins = |effect: &Effect| matches!(effect, Effect::Send(_, Event::Conversations { .. }));
    let (begun, rest): (Vec<_>, Vec<_>) = effects.into_iter().partition(begins);
    assert_eq!(begun.len(), 2, "both learn of the conversation");
    assert_eq!(rest, [follow(vec![alice, phone]), follow(vec![bob])]);
    assert_eq!(chat.said_in, Some(conversation));
    let begun = chat.says(bob, "@alice", "psst").unwrap().into_iter().filter(begins).count();
    assert_eq!(begun, 0, "once");
    let nobody = chat.says(bob, "@dave", "psst");
    assert_eq!(nobody, Err(Refusal::NoSuchUser("dave".parse().unwrap())));
}

#[test]
fn a_session_gets_private_messages_once_it_resumes() {
    let mut chat = Chat::new();
    let bob = chat.enters("bob");
    let id = SessionId(50);
    chat.registry.enter(id, participant("alice", "phone", Purpose::Resume), Stamp(0)).unwrap();
    let followers = |effects: Vec<Effect>| {
        let follow = |effect| match effect {
            Effect::Follow(Conversation::Private(..), sessions, _) => sessions,
            _ => Vec::new(),
        };
        effects.into_iter().flat_map(follow).collect::<Vec<_>>()
    };
    assert_eq!(followers(chat.says(bob, "@alice", "psst").unwrap()), [bob]);
    let resumed = chat.does(id, Command::Resume { conversations: Vec::new() }).unwrap();
    assert_eq!(followers(resumed), [id]);
}

#[test]
fn a_session_gets_missed_joins_and_leaves_once_it_resumes() {
    let mut chat = Chat::new();
    let bob = chat.enters("bob");
    let id = SessionId(50);
    chat.registry.enter(id, participant("alice", "main", Purpose::Resume), Stamp(0)).unwrap();
    chat.registry.leave(bob, None, false, Stamp(1));
    chat.enters("carol");
    let told = |effects: Vec<Effect>| {
        let told = |effect| match effect {
            Effect::Answer(Event::Left { who, here, .. }) => Some(format!("{who} left {here}")),
            Effect::Answer(Event::Joined { who, here, .. }) => Some(format!("{who} came {here}")),
            _ => None,
        };
        effects.into_iter().filter_map(told).collect::<Vec<_>>()
    };
    let resumed = chat.does(id, Command::Resume { conversations: Vec::new() }).unwrap();
    assert_eq!(told(resumed), ["bob left 2", "carol came 2"]);
}

#[test]
fn limits_refuse_and_change_nothing() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.channels_per_user_max = 2);
    chat.tune(|limits| limits.sessions_per_user_max = 1);
    let alice = chat.enters("alice");
    chat.joins(alice, "#one").unwrap();
    assert_eq!(chat.joins(alice, "#two"), Err(Refusal::TooManyChannels { max: 2 }));
    assert!(chat.joins(alice, "#one").is_ok(), "a channel that the user is in counts once");
    let again =
        chat.registry.enter(SessionId(99), participant("alice", "phone", Purpose::Visit), Stamp(0));
    assert_eq!(again, Err(Refusal::TooManySessions { max: 1 }));
    assert_eq!(chat.registry.membership.sessions_of(&"alice".parse().unwrap()), [alice]);
    let long = "x".repeat(8_193);
    assert!(matches!(chat.says(alice, "#lobby", &long), Err(Refusal::TooLong { .. })));
    assert_eq!(chat.says(alice, "#lobby", "  "), Err(Refusal::Empty));
}

#[test]
fn the_channel_limit_counts_all_sessions_and_created_channels() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.channels_per_user_max = 4);
    let alice = chat.enters("alice");
    let phone = SessionId(77);
    chat.registry.enter(phone, participant("alice", "phone", Purpose::Visit), Stamp(0)).unwrap();
    let part = |chat: &mut Chat, id, name: &str| {
        chat.does(id, Command::Part { channel: name.parse().unwrap() }).unwrap()
    };
    let refused = Err(Refusal::TooManyChannels { max: 4 });
    // The lobby counts.
    for (id, name) in [(alice, "#one"), (phone, "#two"), (phone, "#one"), (alice, "#three")] {
        assert!(chat.joins(id, name).is_ok(), "{name}");
    }
    assert_eq!(
        (chat.joins(alice, "#four"), chat.joins(phone, "#four")),
        (refused.clone(), refused.clone())
    );
    assert!(chat.joins(alice, "#two").is_ok(), "the other session is in it");
    // A created channel counts until it is dropped.
    part(&mut chat, alice, "#three");
    assert_eq!(chat.joins(phone, "#four"), refused);
    assert!(chat.joins(phone, "#three").is_ok());
    part(&mut chat, phone, "#three");
    chat.registry.sweep(Stamp(61_000));
    assert!(chat.joins(phone, "#four").is_ok());
    // Other channels count while the user is in them.
    let bob = chat.enters("bob");
    chat.joins(bob, "#five").unwrap();
    assert_eq!(chat.joins(alice, "#five"), refused);
    chat.registry.leave(phone, None, false, Stamp(70_000));
    assert_eq!(chat.joins(alice, "#five"), refused, "#four is empty but not dropped yet");
    chat.registry.sweep(Stamp(140_000));
    assert!(chat.joins(alice, "#five").is_ok());
    part(&mut chat, alice, "#five");
    assert!(chat.joins(alice, "#six").is_ok());
    chat.registry.leave(alice, None, false, Stamp(150_000));
    chat.registry.leave(bob, None, false, Stamp(150_000));
    chat.registry.sweep(Stamp(220_000));
    assert!(chat.registry.membership.users.counts_nothing(), "nothing is counted any more");
}

#[test]
fn large_channels_announce_no_joins_and_leaves() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.announce_people_max = 2);
    chat.enters("alice");
    let bob = chat.enters("bob");
    let id = SessionId(50);
    let entered = chat.registry.enter(id, participant("carol", "main", Purpose::Visit), Stamp(0));
    assert_eq!(notices(&entered.unwrap()), 0);
    assert_eq!(notices(&chat.registry.leave(id, None, false, Stamp(1))), 0);
    assert_eq!(notices(&chat.registry.leave(bob, None, false, Stamp(1))), 1);
}

pub(super) fn participant(user: &str, device: &str, purpose: Purpose) -> Participant {
    Participant { user: user.parse().unwrap(), device: device.parse().unwrap(), purpose }
}

pub(super) fn answers(effects: &[Effect]) -> Vec<&Event> {
    let answer = |effect: &'_ Effect| matches!(effect, Effect::Answer(_));
    let answers = effects.iter().filter(|effect| answer(effect));
    answers
        .map(|effect| if let Effect::Answer(event) = effect { event } else { unreachable!() })
        .collect()
}

fn starts(effects: &[Effect]) -> Vec<(String, Start)> {
    let start = |effect: &Effect| match effect {
        Effect::Follow(conversation, _, start) => Some((conversation.to_string(), *start)),
        _ => None,
    };
    effects.iter().filter_map(start).collect()
}

#[test]
fn a_short_disconnect_is_not_announced() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, "#tea").unwrap();
    chat.joins(bob, "#tea").unwrap();
    let effects = chat.registry.leave(alice, None, true, Stamp(1_000));
    assert_eq!(notices(&effects), 0);
    assert_eq!(notices(&chat.registry.sweep(Stamp(30_999))), 0);
    let again = chat.enters("alice");
    assert_eq!(notices(&chat.joins(again, "#tea").unwrap()), 0);
    assert_eq!(notices(&chat.registry.sweep(Stamp(31_000))), 0, "back within the window");
    chat.registry.leave(again, None, true, Stamp(40_000));
    assert_eq!(notices(&chat.registry.sweep(Stamp(70_000))), 2, "not back within the window");
}

#[test]
fn a_regular_leave_ends_lost_sessions_too() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    chat.enters("bob");
    chat.registry.leave(alice, None, true, Stamp(1));
    let again = chat.enters("alice");
    assert_eq!(notices(&chat.registry.leave(again, None, false, Stamp(2))), 1);
}

#[test]
fn private_messages_wait_for_offline_users_until_the_mailbox_is_full() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.mailbox_messages_max = 3);
    let (bob, carol) = (chat.enters("bob"), chat.enters("carol"));
    let [alice, sender, other] =
        ["alice", "bob", "carol"].map(|name| name.parse::<UserName>().unwrap());
    let private = |name: &UserName| Conversation::private(name.clone(), alice.clone());
    assert!(chat.says(bob, "@alice", "psst").is_ok());
    chat.registry.committed(&private(&sender), Seq(1));
    let share = Err(Refusal::MailboxShare(alice.clone(), 1));
    assert_eq!(chat.says(bob, "@alice", "psst"), share, "the rest is for other senders");
    assert!(chat.says(carol, "@alice", "psst").is_ok());
    chat.registry.refused(&private(&sender), &sender);
    assert!(chat.says(bob, "@alice", "psst").is_ok(), "the ledger refused a message");
    let mut mailboxes = chat.registry.membership.mailboxes();
    mailboxes.sort();
    let of = |sender: &UserName| (alice.clone(), sender.clone());
    assert_eq!(mailboxes, [of(&sender), of(&other)]);
    chat.registry.membership.recount(vec![(of(&sender), 0), (of(&other), 2)]);
    assert_eq!(chat.registry.membership.mailboxes(), [of(&other)]);
    chat.registry.membership.recount(vec![(of(&sender), 2)]);
    let full = Err(Refusal::MailboxFull(alice.clone(), 3));
    assert_eq!(chat.says(bob, "@alice", "psst"), full);
    chat.enters("alice");
    assert!(chat.says(bob, "@alice", "psst").is_ok());
}

#[test]
fn each_conversation_resumes_at_the_client_position() {
    let mut chat = Chat::new();
    let alice: UserName = "alice".parse().unwrap();
    let reads = vec![(alice.clone(), Seq(30))];
    chat.registry.remember(Remembered { reads, ..past("#lobby", 40) });
    chat.registry.remember(past("@alice@bob", 7));
    let id = SessionId(70);
    let entered = chat
        .registry
        .enter(id, participant(alice.as_str(), "main", Purpose::Resume), Stamp(0))
        .unwrap();
    assert_eq!(starts(&entered), [], "nothing before the resume");
    let point = |to: &str, epoch, seq| Position {
        to: to.parse().unwrap(),
        point: SyncPoint { epoch: Epoch(epoch), seq: Seq(seq) },
    };
    let conversations = vec![point("#lobby", 1, 35), point("@bob", 99, 5)];
    let resumed = chat.does(id, Command::Resume { conversations }).unwrap();
    let [Event::Conversations { conversations }] = answers(&resumed)[..] else { panic!() };
    assert_eq!((conversations[0].read, conversations[0].last), (Seq(30), Seq(40)));
    let known = Start { after: Seq(35), upto: Seq(40), messages_max: 500, fresh: false };
    let fresh = Start { after: Seq(0), upto: Seq(7), messages_max: 100, fresh: true };
    let wanted = [("#lobby".to_owned(), known), ("@alice@bob".to_owned(), fresh)];
    assert_eq!(starts(&resumed), wanted, "a mark of another epoch is ignored");
    let again = chat.does(id, Command::Resume { conversations: vec![] }).unwrap();
    assert_eq!(again, [], "a second resume is ignored");
}

#[test]
fn read_positions_reach_other_devices_and_never_go_back() {
    let mut chat = Chat::new();
    let (laptop, phone) = (chat.enters("alice"), chat.enters("alice"));
    let lobby = Conversation::Channel(ChannelName::lobby());
    chat.registry.committed(&lobby, Seq(5));
    let mut reads = |seq| {
        let conversations = vec![ReadMark { to: "#lobby".parse().unwrap(), seq: Seq(seq) }];
        chat.does(laptop, Command::Read { conversations }).unwrap()
    };
    let effects = reads(99);
    let event = Event::Read { to: "#lobby".parse().unwrap(), seq: Seq(5) };
    assert_eq!(effects[0], Effect::Send(vec![phone], event), "not beyond the newest message");
    assert!(matches!(effects[1], Effect::Remember(Fact::Read(..))));
    assert_eq!(reads(3), []);
}

#[test]
fn edits_need_a_text_and_deletions_have_none() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let mut says = |kind, text: &str| {
        let (to, id) = ("#lobby".parse().unwrap(), crate::chat::MsgId([1; 16]));
        chat.does(alice, Command::Say(NewMessage { to, id, kind, body: text.into() }))
    };
    let of = Seq(1);
    assert!(says(Kind::Edit { of }, "better").is_ok());
    assert!(says(Kind::Delete { of }, "").is_ok());
    assert_eq!(says(Kind::Delete { of }, "text"), Err(Refusal::BadChange));
    assert_eq!(says(Kind::Edit { of }, " "), Err(Refusal::Empty));
}

#[test]
fn channels_with_a_pin_are_separate_and_accept_sealed_messages_only() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    let tea = format!("#tea~{}", "1".repeat(25) + "0");
    let other = format!("#tea~{}", "2".repeat(25) + "0");
    for channel in [&tea, &other] {
        chat.joins(alice, channel).unwrap();
    }
    chat.joins(bob, "#tea").unwrap();
    assert_eq!(chat.says(alice, &tea, "in clear"), Err(Refusal::MustSeal));
    let say = |chat: &mut Chat, id, to: &str| {
        let body = Body::Sealed(Opaque::new(&[1, 2]).unwrap());
        let (to, id_, kind) = (to.parse().unwrap(), crate::chat::MsgId([2; 16]), Kind::Say);
        chat.does(id, Command::Say(NewMessage { to, id: id_, kind, body }))
    };
    assert_eq!(say(&mut chat, alice, &tea), Ok(Vec::new()));
    assert_eq!(chat.said_in, Some(tea.parse().unwrap()));
    assert_eq!(say(&mut chat, bob, &tea), Err(Refusal::NotMember(tea.parse().unwrap())));
    assert_eq!(say(&mut chat, bob, "#tea"), Err(Refusal::MustNotSeal));
    assert!(say(&mut chat, bob, "@alice").is_ok());
    let channel: ChannelName = tea.parse().unwrap();
    let text = Some("five".to_owned());
    let topic = Command::Topic { channel, text };
    assert_eq!(chat.does(alice, topic), Err(Refusal::NoTopic));
    // Outsiders do not see that it exists.
    let rows = |chat: &mut Chat, id| {
        let effects = chat.does(id, Command::Channels).unwrap();
        let Effect::Answer(Event::Channels { channels, .. }) = effects[0].clone() else { panic!() };
        let row = |one: ChannelInfo| (one.channel.as_str().to_owned(), one.sealed, one.here);
        channels.into_iter().map(row).collect::<Vec<_>>()
    };
    let row = |name: &str, sealed, here| (name.to_owned(), sealed, here);
    let open = [row("#lobby", false, 2), row("#tea", false, 1)];
    assert_eq!(rows(&mut chat, bob), open);
    let of_alice = [row(&tea, true, 1), row(&other, true, 1)];
    assert_eq!(rows(&mut chat, alice), [&open[..], &of_alice].concat());
}

#[test]
fn a_refused_message_costs_nothing() {
    let mut chat = Chat::new();
    chat.tune(|limits| limits.bytes_per_s = 10.0);
    let alice = chat.enters("alice");
    chat.says(alice, "#lobby", &"x".repeat(60)).unwrap();
    let before = chat.registry.membership.user_of(alice).budgets.messages.clone();
    assert!(matches!(chat.says(alice, "#lobby", &"x".repeat(60)), Err(Refusal::Rate { .. })));
    let after = chat.registry.membership.user_of(alice).budgets.messages.clone();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
}
