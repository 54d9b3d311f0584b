use super::*;

struct Chat {
    registry: Registry,
    next: u64,
}

impl Chat {
    fn new() -> Self {
        let limits = Limits { lines_burst: 1000, ..Limits::default() };
        Chat { registry: Registry::new(limits), next: 0 }
    }

    fn enters(&mut self, name: &str) -> SessionId {
        self.next += 1;
        let id = SessionId(self.next);
        let device = "main".parse().unwrap();
        self.registry.enter(id, name.parse().unwrap(), device, Stamp(0)).unwrap();
        id
    }

    fn does(&mut self, id: SessionId, command: Command) -> Outcome {
        let known = |name: &UserName| {
            let folded: UserName = name.as_str().to_lowercase().parse().ok()?;
            ["alice", "bob", "carol"].contains(&folded.as_str()).then_some(folded)
        };
        self.registry.apply(id, &command, &known, Stamp(1_000))
    }

    fn joins(&mut self, id: SessionId, channel: &str) -> Outcome {
        self.does(id, Command::Join { channel: channel.parse().unwrap(), reference: None })
    }

    fn says(&mut self, id: SessionId, to: &str, text: &str) -> Outcome {
        let (to, id_) = (to.parse().unwrap(), crate::chat::MsgId([1; 16]));
        let command = Command::Say { to, id: id_, text: text.into(), kind: crate::chat::Kind::Say };
        self.does(id, command)
    }
}

fn notices(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Notice(..))).count()
}

#[test]
fn a_second_device_neither_joins_nor_leaves_for_the_others() {
    let mut chat = Chat::new();
    let laptop = chat.enters("alice");
    let phone = chat.enters("alice");
    assert_eq!(notices(&chat.joins(laptop, "#tea").unwrap()), 1);
    assert_eq!(notices(&chat.joins(phone, "#tea").unwrap()), 0);
    chat.enters("bob");
    let effects = chat.registry.leave(laptop, None, Stamp(5));
    assert_eq!(notices(&effects), 0);
    let effects = chat.registry.leave(phone, None, Stamp(5));
    assert_eq!(notices(&effects), 1, "the lobby hears it; #tea is empty");
}

#[test]
fn channels_are_isolated() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, "#tea").unwrap();
    let tea: ChannelName = "#tea".parse().unwrap();
    assert_eq!(chat.says(bob, "#tea", "hi"), Err(Refusal::NotMember(tea.clone())));
    let place = Place::Channel(tea);
    assert_eq!(chat.says(alice, "#Tea", "hi").unwrap(), vec![Effect::Line(place)]);
}

#[test]
fn a_private_line_reaches_all_devices_of_both() {
    let mut chat = Chat::new();
    let (alice, phone, bob) = (chat.enters("alice"), chat.enters("alice"), chat.enters("bob"));
    let effects = chat.says(bob, "@Alice", "psst").unwrap();
    let place = Place::private("bob".parse().unwrap(), "alice".parse().unwrap());
    let readers = vec![alice, phone, bob];
    assert_eq!(effects, vec![Effect::Follow(place.clone(), readers), Effect::Line(place)]);
    let absent = chat.says(bob, "@carol", "psst");
    assert_eq!(absent, Err(Refusal::NotHere("carol".parse().unwrap())));
    let nobody = chat.says(bob, "@dave", "psst");
    assert_eq!(nobody, Err(Refusal::NoSuchUser("dave".parse().unwrap())));
}

#[test]
fn an_empty_channel_is_forgotten_after_a_minute_and_not_before() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    chat.joins(alice, "#tea").unwrap();
    chat.does(alice, Command::Part { channel: "#tea".parse().unwrap(), reference: None }).unwrap();
    assert!(chat.registry.sweep(Stamp(60_999)).is_empty());
    assert_eq!(chat.registry.sweep(Stamp(61_000)).len(), 1);
    let lobby = Command::Part { channel: ChannelName::lobby(), reference: None };
    assert_eq!(chat.does(alice, lobby), Err(Refusal::LobbyStays));
}

#[test]
fn limits_refuse_and_change_nothing() {
    let mut chat = Chat::new();
    chat.registry.limits.channels_per_session_max = 2;
    chat.registry.limits.sessions_per_user_max = 1;
    let alice = chat.enters("alice");
    chat.joins(alice, "#one").unwrap();
    assert_eq!(chat.joins(alice, "#two"), Err(Refusal::TooManyChannels { max: 2 }));
    assert!(chat.joins(alice, "#one").is_ok(), "being in it already is no new channel");
    let again = chat.registry.enter(
        SessionId(99),
        "alice".parse().unwrap(),
        "phone".parse().unwrap(),
        Stamp(0),
    );
    assert_eq!(again, Err(Refusal::TooManySessions { max: 1 }));
    assert_eq!(chat.registry.sessions_of(&"alice".parse().unwrap()), [alice]);
    let long = "x".repeat(8_193);
    assert!(matches!(chat.says(alice, "#lobby", &long), Err(Refusal::TooLong { .. })));
    assert_eq!(chat.says(alice, "#lobby", "  "), Err(Refusal::Empty));
}

#[test]
fn a_crowd_is_not_told_who_comes_and_goes() {
    let mut chat = Chat::new();
    chat.registry.limits.announce_people_max = 2;
    chat.enters("alice");
    let bob = chat.enters("bob");
    let id = SessionId(50);
    let entered =
        chat.registry.enter(id, "carol".parse().unwrap(), "main".parse().unwrap(), Stamp(0));
    assert_eq!(notices(&entered.unwrap()), 0);
    assert_eq!(notices(&chat.registry.leave(id, None, Stamp(1))), 0);
    assert_eq!(notices(&chat.registry.leave(bob, None, Stamp(1))), 1);
}
