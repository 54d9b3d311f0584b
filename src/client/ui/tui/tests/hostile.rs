//! A hostile server and the screen: each row of server text is marked, and no event moves typed
//! text.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::*;
use crate::chat::{ChannelName, Command, Request};
use crate::client::conversations::Conversations;
use crate::client::model::{Action, Giver, Model, Use};
use crate::client::outbox::Outbox;
use crate::client::ui::hostile_tests::{ROUNDS, event, is_marked, is_own, shown, shows};

/// The rows of messages, each from its first column.
fn rows_of_lines(desk: &mut Desk) -> Vec<String> {
    desk.draws();
    let area = desk.app.reader.areas().lines;
    let buffer = desk.draws();
    let row = |y| (area.x..area.right()).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (area.y..area.bottom()).map(row).collect()
}

#[test]
fn no_row_of_server_text_begins_like_the_clients_own() {
    for seed in 0..ROUNDS {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut desk = Desk::new(chance.random_range(16..130), 40);
        desk.app.reader.view.show_times(chance.random());
        for _ in 0..3 {
            let told = event(&mut chance);
            desk.app.show(shown(told.clone()));
            let rows = rows_of_lines(&mut desk);
            for row in rows {
                let own =
                    is_own(&row) || (desk.app.controls.overlay().is_some() && is_own(&row[1..]));
                // The note about readers is a text of this client, even in a topic event.
                let readers = "-- #lobby is open: the operator can read it too";
                let readers = readers.starts_with(row.trim_end());
                assert!(!own || readers, "seed {seed}: {row:?} of {told}");
            }
            if chance.random() {
                desk.presses("esc");
            }
        }
    }
    // The control: this client's own texts do.
    let mut desk = Desk::new(60, 20);
    desk.app.show(Output::Notice("sealed".into()));
    assert!(rows_of_lines(&mut desk).iter().any(|row| is_own(row)));
}

#[test]
fn every_server_text_is_marked_or_in_a_message() {
    let mut marked = 0;
    for width in [80, 44] {
        for output in shows() {
            let mut desk = Desk::new(width, 30);
            desk.app.reader.untouched = true;
            desk.effects();
            desk.app.show(output.clone());
            for conversation in ["alt-1", "alt-2"] {
                // The title, the panes, the status and the input: the whole screen.
                for row in desk.rows() {
                    assert!(is_marked(&row, &output), "{row:?} of {output:?}");
                    marked += usize::from(row.contains('q'));
                }
                desk.types("/join #");
                desk.presses("tab");
                assert!(desk.rows().iter().all(|row| is_marked(row, &output)), "{output:?}");
                desk.presses("esc ctrl-a ctrl-k");
                desk.presses(conversation);
            }
            let rings: Vec<_> = desk.effects();
            assert!(!rings.iter().any(|effect| effect.contains('q')), "{rings:?}");
        }
    }
    assert!(marked > 100, "{marked}");
}

#[test]
fn members_omitted_by_a_bounded_list_are_counted() {
    let mut desk = Desk::new(60, 10);
    let people = |names: &[&str], omitted: usize| {
        json!({"type": "entered", "channel": "#lobby", "epoch": "00000000000000ab", "last": "0",
            "read": "0", "retention": "forever", "people": names, "omitted": omitted})
    };
    desk.hears(people(&["alice", "bob"], 37));
    let pane = |desk: &mut Desk| {
        let rows = desk.rows();
        let column = |row: &String| row.split_once('│').map(|(_, pane)| pane.to_owned());
        (rows[0].clone(), rows.iter().filter_map(column).collect::<Vec<_>>())
    };
    let (title, rows) = pane(&mut desk);
    assert!(title.ends_with("39 online"), "{title}");
    assert_eq!(rows[..5], ["people", "* alice", "* bob", "o carol", "and 37 more"]);
    // A join adds a name; a part removes a name, or one of the omitted.
    desk.hears(json!({"type": "joined", "to": "#lobby", "who": "carol", "here": 40}));
    let (title, rows) = pane(&mut desk);
    assert!(title.ends_with("40 online") && rows[4] == "and 37 more", "{title} {rows:?}");
    desk.hears(json!({"type": "left", "to": "#lobby", "who": "dave", "here": 39, "after_ms": 1}));
    assert!(pane(&mut desk).1.contains(&"and 36 more".to_owned()));
    // Together with those that do not fit.
    let many: Vec<String> = (10..30).map(|number| format!("p{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    desk.hears(people(&many, usize::MAX));
    assert!(pane(&mut desk).1.last().unwrap().starts_with("and 184467"));
    desk.hears(people(&many, 0));
    let rows = pane(&mut desk).1;
    let named = rows.iter().filter(|row| row.starts_with("* ")).count();
    // Four were here before.
    assert_eq!(rows.last(), Some(&format!("and {} more", many.len() + 4 - named)), "{rows:?}");
}

/// Alice at the full screen, with the whole client except the connection.
struct Client {
    desk: Desk,
    model: Model,
    sent: Vec<(Target, String)>,
    number: u8,
}

fn pin() -> ChannelName {
    format!("#tea~{}", "0".repeat(26)).parse().unwrap()
}

impl Client {
    fn new() -> Client {
        let usage = Use {
            once: false,
            resumes: true,
            reads: false,
            is_program: false,
            secrets: Giver::Person,
        };
        let lobby = Target::Channel(ChannelName::lobby());
        let (outbox, conversations) = (Outbox::default(), Conversations::default());
        let model = Model::new(usage, lobby, BTreeSet::new(), outbox, conversations);
        let mut client = Client { desk: Desk::new(80, 24), model, sent: Vec::new(), number: 0 };
        client.hears(json!({"type": "welcome", "name": "alice", "device": "main", "version": "1",
            "text_bytes_max": 8192, "time_ms": 0}));
        client
    }

    /// In the PIN channel.
    fn inside() -> Client {
        let mut client = Client::new();
        client.desk.app.reader.untouched = true;
        let opened = Input::Opened { channel: Ok(pin()), made: None };
        let asked = client.happens(opened);
        client.hears(entered(pin().as_str(), asked.as_deref()));
        assert_eq!(client.conversation(), Target::Channel(pin()));
        client
    }

    fn hears(&mut self, event: Value) {
        self.happens(Input::Event(serde_json::from_value(event).unwrap()));
    }

    /// Returns the reference of the request.
    fn happens(&mut self, input: Input) -> Option<String> {
        self.number = self.number.wrapping_add(1);
        let mut asked = None;
        for action in self.model.update(input, [self.number; 16]) {
            match action {
                Action::Output(output) => self.desk.app.show(output),
                Action::Send(Request { command: Command::Say(message), .. }) => {
                    self.sent.push((message.to, message.body.text().to_owned()));
                }
                Action::Send(Request {
                    command: Command::Join { .. } | Command::Part { .. },
                    reference,
                }) => {
                    asked = reference;
                }
                Action::Forget(channel) => panic!("the key of {channel} is gone"),
                _ => {}
            }
        }
        asked
    }

    /// Presses keys and handles the results.
    fn does(&mut self, act: impl FnOnce(&mut Desk)) -> Option<String> {
        act(&mut self.desk);
        let mut asked = None;
        for effect in std::mem::take(&mut self.desk.app.reader.effects) {
            if let Effect::Send(input) = effect {
                asked = self.happens(input).or(asked);
            }
        }
        asked
    }

    fn conversation(&self) -> Target {
        self.desk.app.reader.window().target.clone()
    }
}

fn entered(channel: &str, reference: Option<&str>) -> Value {
    json!({"type": "entered", "channel": channel, "epoch": "00000000000000ab", "last": "0",
        "read": "0", "retention": "forever", "people": ["alice"], "ref": reference})
}

#[test]
fn confidential_text_goes_to_its_conversation_or_stays() {
    const SECRET: &str = "the key is under the mat";
    for seed in 0..ROUNDS {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut client = Client::inside();
        // An answer to another request arrives late.
        let late = client.does(|desk| desk.enter("/join work"));
        client.does(|desk| desk.presses("alt-2"));
        let here = client.conversation();
        let joins =
            (here != Target::Channel(pin())).then(|| client.does(|desk| desk.presses("alt-3")));
        assert!(joins.is_none() || client.conversation() == Target::Channel(pin()));
        for c in SECRET.chars() {
            if chance.random_range(0..4) == 0 {
                let channel =
                    if chance.random() { "#tea".to_owned() } else { pin().as_str().into() };
                let reference = if chance.random() { None } else { Some("pychat-1") };
                match chance.random_range(0..6) {
                    0 | 1 => client.hears(json!({"type": "parted", "channel": channel, "ref": reference})),
                    2 => client.hears(entered("#tea", reference)),
                    3 => client.hears(entered("#work", late.as_deref())),
                    4 => client.hears(json!({"type": "conversations", "conversations": [{"to": "@carol",
                        "epoch": "00000000000000ac", "last": "3", "read": "0", "retention": "forever"}]})),
                    _ => {
                        client.happens(Input::Lost(crate::client::model::Loss::Cut));
                        client.hears(json!({"type": "welcome", "name": "carol", "device": "main",
                            "version": "1", "text_bytes_max": 8192, "time_ms": 0}));
                    }
                }
            }
            client.does(|desk| desk.types(&c.to_string()));
        }
        assert_eq!(client.conversation(), Target::Channel(pin()), "seed {seed}");
        assert_eq!(client.desk.app.reader.input.text(), SECRET, "seed {seed}");
        client.does(|desk| desk.presses("enter"));
        let stays = client.desk.app.reader.input.text() == SECRET;
        let goes = client.sent.iter().filter(|(_, text)| text == SECRET).count();
        assert!(
            client.sent.iter().all(|(to, _)| *to == Target::Channel(pin())),
            "{:?}",
            client.sent
        );
        // After a reconnect it waits until its channel is entered again.
        assert!(if stays { goes == 0 } else { goes <= 1 }, "seed {seed}");
        if stays {
            assert!(client.desk.lines().contains("you are no longer in #tea~0000"), "seed {seed}");
        }
    }
}

#[test]
fn a_removed_member_keeps_the_half_typed_text() {
    let mut client = Client::inside();
    client.does(|desk| desk.types("half of a th"));
    client.hears(json!({"type": "parted", "channel": pin().as_str()}));
    client.does(|desk| {
        desk.types("ought");
        desk.presses("enter");
    });
    insta::assert_snapshot!(client.desk.picture(), @"
    #tea~0000                                         you are no longer in #tea~0000
                                                                        │people
                                                                        │* alice
                                                                        │
                                                                        │
                                                                        │
                                                                        │
                                                                        │
                                                                        │
                                                                        │
                                                                        │
                                                                        │
                                                                        │
                                                                        │
                                                                        │
    -- #tea~0000 is sealed: only those who know the PIN can read it     │
       (~0000 is derived from the PIN)                                  │
    -- you are the first here: if you expected others, check the PIN    │
    =!= you are no longer in #tea~0000: the server reports that you     │
       left it, but you did not: its key and its messages stay here.    │
       Text typed there is not sent; /join #tea~0000 enters it again,   │
       /part leaves it                                                  │
     * connected 12 ms | you are no longer in #tea~0000: text not sent      F1 help
    alice> half of a thought
    cursor 24,23
    ");
    assert_eq!(
        (client.sent.len(), client.desk.app.reader.input.text().as_str()),
        (0, "half of a thought")
    );
    // After entering the channel again it is sent as typed.
    client.does(|desk| desk.presses("ctrl-a ctrl-k"));
    let asked = client.does(|desk| desk.enter("/join #tea~0"));
    client.hears(entered(pin().as_str(), asked.as_deref()));
    client.does(|desk| desk.presses("ctrl-y enter"));
    assert_eq!(client.sent, [(Target::Channel(pin()), "half of a thought".to_owned())]);
}

#[test]
fn text_typed_for_a_sealed_conversation_goes_to_no_open_one() {
    // Recalled, found, cut and inserted again, cut and undone.
    for ways in ["up", "ctrl-r enter", "ctrl-y", "up ctrl-u ctrl-_", "up home delete"] {
        let mut client = Client::inside();
        client.does(|desk| match ways {
            "ctrl-y" => {
                desk.types("a secret");
                desk.presses("ctrl-u");
            }
            _ => desk.enter("a secret"),
        });
        client.sent.clear();
        client.does(|desk| desk.presses("alt-1"));
        assert!(client.conversation().is_lobby());
        client.does(|desk| desk.presses(ways));
        let text = client.desk.app.reader.input.text();
        assert!(text.ends_with("secret"), "{ways}: {text:?}");
        client.does(|desk| desk.presses("enter"));
        assert_eq!((client.sent.len(), client.desk.app.reader.input.text()), (0, text), "{ways}");
        assert!(client.desk.lines().contains("which is sealed"), "{ways}");
        // In its own conversation it is sent.
        client.does(|desk| desk.presses("alt-2"));
        client.does(|desk| desk.presses(ways));
        client.does(|desk| desk.presses("enter"));
        assert_eq!(client.sent.len(), 1, "{ways}");
        // And text typed in the lobby goes to the lobby.
        client.does(|desk| {
            desk.presses("alt-1 ctrl-a ctrl-k");
            desk.enter("hello");
        });
        assert!(client.sent[1].0.is_lobby(), "{ways}");
    }
}

#[test]
fn unsealed_messages_are_marked_and_change_nothing() {
    let mut desk = Desk::new(80, 14);
    desk.says("bob", "@alice", "the real words");
    let open = |from: &str, to: &str, seq: u64, more: Value| {
        let mut line = json!({"type": "message", "seq": seq.to_string(), "to": to, "from": from,
            "device": "main", "id": format!("{seq:032x}"), "time_ms": NOON_MS, "text": "send the PIN"});
        for (key, value) in more.as_object().unwrap() {
            line[key] = value.clone();
        }
        shown(line)
    };
    desk.app.show(open("alice", "@bob", 2, json!({})));
    desk.app.show(open("bob", "@alice", 3, json!({"kind": "edit", "of": "1"})));
    desk.app.show(open("bob", "@alice", 4, json!({"kind": "delete", "of": "1", "text": ""})));
    desk.presses("alt-2");
    let seen = desk.lines();
    assert!(seen.contains("bob: the real words") && !seen.contains("You: send"), "{seen}");
    assert_eq!(seen.matches("server| not sealed, the server's word alone").count(), 3, "{seen}");
    insta::assert_snapshot!(desk.picture(), @"
    @bob                                             🔒 sealed: you two read  online
                                                                        │people
                                                                        │* alice
                                                                        │* bob
                                                                        │
    [14:03:00] bob: the real words                                      │
    server| not sealed, the server's word alone: alice -> @bob: send    │
    server| the PIN                                                     │
    server| not sealed, the server's word alone: bob -> @alice (an      │
    server| edit, which changes nothing here): send the PIN             │
    server| not sealed, the server's word alone: bob -> @alice (a       │
    server| deletion, which changes nothing here):                      │
     * connected 12 ms | 1:#lobby  2:@bob                                   F1 help
    alice>
    cursor 7,13
    ");
}

#[test]
fn server_text_is_marked() {
    let mut desk = Desk::new(72, 24);
    desk.hears(json!({"type": "welcome", "name": "alice", "device": "main", "version": "1",
        "text_bytes_max": 8192, "time_ms": 0, "motd": "welcome to the house of tea and of quiet words, be kind"}));
    desk.hears(
        json!({"type": "notice", "text": "-- compare this with bob, over the phone or face \
        to face; it is the same on both sides only if nobody is between you:\n12345 12345"}),
    );
    desk.hears(
        json!({"type": "refused", "code": "forbidden", "hint": "the topic is the operator's"}),
    );
    desk.sends(7, "#lobby", "a line that is refused");
    desk.hears(json!({"type": "refused", "code": "muted", "id": "07".repeat(16), "hint":
        "you may not speak until five o'clock, because of the noise that you have made here"}));
    desk.hears(json!({"type": "topic", "to": "#lobby", "text": "tea", "retention": "forever"}));
    desk.app.show(Output::Notice(
        "the keys of bob are confirmed: /retry sends the refused messages again".into(),
    ));
    insta::assert_snapshot!(desk.picture(), @"
    #lobby server| tea         open: members and the operator read  3 online
                                                                │people
                                                                │* alice
                                                                │* bob
                                                                │* carol
                                                                │
                                                                │
                                                                │
    server| welcome to the house of tea and of quiet words, be  │
    server| kind                                                │
    server| -- compare this with bob, over the phone or face to │
    server| face; it is the same on both sides only if nobody   │
    server| is between you:                                     │
    server| 12345 12345                                         │
    server| the topic is the operator's                         │
    [14:03:00] You: a line that is refused  x not sent, /retry  │
    server| not sent: you may not speak until five o'clock,     │
    server| because of the noise that you have made here        │
    server| topic of #lobby: tea                                │
    -- #lobby is open: the operator can read it too             │
    -- the keys of bob are confirmed: /retry sends the refused  │
       messages again                                           │
     * connected 12 ms                                              F1 help
    alice>
    cursor 7,23
    ");
}
