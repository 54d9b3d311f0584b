//! Snapshots of panes above the room, and of questions in place of the input.

use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::client::slash;
use crate::client::ui::tui::keys::BINDINGS;

#[test]
fn several_pasted_lines_are_asked_about() {
    let mut desk = Desk::new(60, 14);
    desk.types("see: ");
    desk.app.input(Told::Paste("/exit\r\n  second line\rthird\u{1b}[2J\n".into()));
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  3 online
     paste                               Esc closes │people
     3 lines were pasted.                           │* alice
                                                    │* bob
     Enter  sends them as one message               │* carol
     Tab    inserts them into your text             │
     Esc    discards them                           │
                                                    │
       /exit                                        │
         second line                                │
       third[2J                                     │
                                                    │
     * connected 12 ms                                  F1 help
    alice> see:
    cursor 12,13
    ");
    desk.presses("x");
    assert!(desk.picture().contains("3 lines were pasted"), "any other key is a slip");
    desk.presses("enter");
    assert_eq!(desk.effects().last().unwrap(), "#lobby: see: /exit\n  second line\nthird[2J");
    assert!(!desk.picture().contains("pasted"));
}

#[test]
fn an_oversized_paste_is_refused() {
    let mut desk = Desk::new(60, 8);
    desk.app.input(Told::Paste("many words\n".repeat(1_000)));
    let picture = desk.picture();
    assert!(picture.contains("They are 10999 bytes, and a message is"), "{picture}");
    desk.presses("esc");
    desk.app.input(Told::Paste("one line\n".into()));
    assert_snapshot!(desk.lines(), @"
    #lobby         open: members and the operator read  3 online
                                                    │people
                                                    │* alice
                                                    │* bob
                                                    │* carol
                                                    │
     * connected 12 ms                                  F1 help
    alice> one line
    ");
}

#[test]
fn help_shows_the_tables() {
    let mut desk = Desk::new(100, 16);
    desk.presses("f1");
    assert_snapshot!(desk.picture(), @"
    #lobby                                                 open: members and the operator read  3 online
     help 1/7: the first commands                                          F1 or PgDn: next  Esc closes
     /join #tea                enter a channel
     /part #tea                leave a channel
     /create #tea              create a channel with a PIN
     /pm bob hello             send a private message to all devices of a person
     /query bob                choose where typed text goes from now on
     /list #tea                list the members of a channel
     /channels                 list the channels
     /whois bob                show fingerprint, devices and idle time of a person
     /fingerprint bob          compare keys with a person
     /history 50               show older messages of this conversation
     /search green tea         find messages with all these words
     /edit green tea           change the text of your last message here
     * connected 12 ms                                                                          F1 help
    alice>
    cursor 7,15
    ");
    let (mut desk, mut seen) = (Desk::new(160, 16), String::new());
    desk.presses("f1");
    for _ in 0..40 {
        seen.push_str(&desk.lines());
        desk.presses("pagedown");
    }
    for binding in BINDINGS {
        assert!(seen.contains(binding.does), "{}", binding.name);
    }
    for slash in slash::all() {
        assert!(seen.contains(&format!("/{} ", slash.name)), "/{}", slash.name);
    }
    desk.presses("esc");
    assert!(!desk.picture().contains("Esc closes"));
}

#[test]
fn each_page_of_the_help_fits_24_rows() {
    let mut desk = Desk::new(80, 24);
    desk.presses("f1");
    assert_snapshot!(desk.picture(), @"
    #lobby                             open: members and the operator read  3 online
     help 1/7: the first commands                      F1 or PgDn: next  Esc closes
     /join #tea                enter a channel
     /part #tea                leave a channel
     /create #tea              create a channel with a PIN
     /pm bob hello             send a private message to all devices of a person
     /query bob                choose where typed text goes from now on
     /list #tea                list the members of a channel
     /channels                 list the channels
     /whois bob                show fingerprint, devices and idle time of a person
     /fingerprint bob          compare keys with a person
     /history 50               show older messages of this conversation
     /search green tea         find messages with all these words
     /edit green tea           change the text of your last message here
     /delete 17                delete your last message here
     /send ./holiday.jpg @bob -- the sea send a file
     /get 12                   fetch the file of the message with that number
     /topic green tea          show or set the topic of a channel
     /exit good night          exit

     /help all lists every command, /help keys the keys. /help join explains /join.

     * connected 12 ms                                                      F1 help
    alice>
    cursor 7,23
    ");
    let title = |desk: &mut Desk| {
        let rows = desk.rows();
        rows.iter().find(|row| row.starts_with(" help ")).cloned()
    };
    let mut pages = 0;
    while let Some(shown) = title(&mut desk) {
        assert!(shown.contains("F1 or PgDn: next"), "{shown}");
        pages += 1;
        desk.presses("f1");
    }
    assert!(pages > 4, "F1 turns the pages, and closes the last one");
    desk.enter("/help keys");
    assert!(title(&mut desk).unwrap().contains(": keys"));
    desk.presses("esc");
    desk.enter("/help all");
    assert!(title(&mut desk).unwrap().contains(": all commands"));
}

#[test]
fn help_fits_a_phone() {
    let mut desk = Desk::new(40, 10);
    desk.presses("f1 pagedown");
    assert_snapshot!(desk.picture(), @"
    #lobby                    open  3 online
     help 1/7~ F1 or PgDn: next  Esc closes
         to all devices of a person
     /query bob  choose where typed text
         goes from now on
     /list #tea  list the members of a
         channel
     /channels  list the channels
     * 12 ms                             F1
    alice>
    cursor 7,9
    ");
}

#[test]
fn whois_opens_a_pane() {
    let mut desk = Desk::new(80, 8);
    desk.hears(json!({"type": "whois", "name": "bob", "fingerprints": ["SHA256:abc"],
        "devices": ["laptop", "phone"], "idle_ms": 65_000, "channels": ["#lobby", "#tea"]}));
    assert_snapshot!(desk.picture(), @"
    #lobby                             open: members and the operator read  3 online
     server| whois bob                                       Esc closes │people
     server| bob on laptop, phone: idle for 1m                          │* alice
     server| in #lobby, #tea                                            │* bob
     server| SHA256:abc                                                 │* carol
                                                                        │
     * connected 12 ms                                                      F1 help
    alice>
    cursor 7,7
    ");
    desk.types("thanks");
    let picture = desk.picture();
    assert!(!picture.contains("Esc closes") && picture.contains("alice> thanks"), "{picture}");
}

#[test]
fn the_list_of_channels_opens_a_pane() {
    let mut desk = Desk::new(80, 6);
    desk.hears(json!({"type": "channels", "channels": [
        {"channel": "#lobby", "here": 3, "member": true},
        {"channel": "#tea", "here": 12, "member": false, "topic": "at five"}]}));
    assert_snapshot!(desk.picture(), @"
    #lobby                             open: members and the operator read  3 online
     server| channels                                        Esc closes │people
     server| * #lobby                  3  open                          │* alice
     server|   #tea                   12  open    at five               │and 2 more
     * connected 12 ms                                                      F1 help
    alice>
    cursor 7,5
    ");
}

#[test]
fn search_results_open_a_pane() {
    let mut desk = Desk::new(100, 7);
    desk.says_as("bob", "#lobby", "tea at five", json!({"ref": "search"}));
    desk.says_as("carol", "@alice", "tea, then?", json!({"ref": "search"}));
    desk.hears(json!({"type": "history", "messages": 2, "more": true, "ref": "search"}));
    assert_snapshot!(desk.picture(), @"
    #lobby                                                 open: members and the operator read  3 online
    rooms            │ server| search: 2 found                                   Esc closes │people
    1 #lobby         │ server| there are older ones: search for more words                  │* alice
                     │ server| #lobby  Wed 25 Nov 2026 [14:03:00] bob: tea at five          │* bob
                     │ server| @carol  Wed 25 Nov 2026 [14:03:01] carol: tea, then?         │* carol
     * connected 12 ms                                                                          F1 help
    alice>
    cursor 7,6
    ");
}

#[test]
fn a_user_who_is_not_admitted_sees_the_line_to_send() {
    let mut desk = Desk::new(80, 12);
    desk.app.admission =
        ["M4T9A-XXXXX", "Read this code.", "", "Or send this:", "pychat-key1.alice.MIIBoj"]
            .map(str::to_owned)
            .into();
    desk.app.show(Output::State(State::NotAdmitted { retry_ms: 6_000 }));
    assert_snapshot!(desk.picture(), @"
    #lobby                                       open: members and the operator read
     not admitted yet
    M4T9A-XXXXX
    Read this code.
    This goes on by itself once they have. Ctrl-C twice leaves; the next `pychat
    client` goes on here, and `pychat key show` prints the line for copying.

    Or send this:
    pychat-key1.alice.MIIBoj

     o waiting, asks in 6s                                                  F1 help
    alice>
    cursor 7,11
    ");
    desk.app.show(Output::State(State::Connected { name: "alice".parse().unwrap() }));
    assert!(!desk.picture().contains("pychat-key1"));
}

#[test]
fn tab_shows_the_candidates() {
    let mut desk = Desk::new(60, 6);
    desk.types("/");
    desk.presses("tab tab");
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  3 online
                                                    │people
                                                    │* alice
     /help  /join  /create  /part  /pm  /query  /reply  /me
     * connected 12 ms                                  F1 help
    alice> /join
    cursor 13,5
    ");
    desk.presses("ctrl-c");
    desk.types("ask c");
    desk.presses("tab");
    assert!(desk.rows()[5].ends_with("alice> ask carol"), "one candidate is simply taken");
}

#[test]
fn ctrl_r_shows_what_it_has_found() {
    let mut desk = Desk::new(60, 5);
    for line in ["tea at five", "coffee", "tea at six"] {
        desk.enter(line);
    }
    desk.presses("ctrl-r");
    desk.types("tea");
    assert_snapshot!(desk.rows()[4], @"typed: tea  tea at six");
    desk.presses("ctrl-r");
    assert_snapshot!(desk.rows()[4], @"typed: tea  tea at five");
    desk.types("x");
    assert_snapshot!(desk.rows()[4], @"typed: teax  (nothing)");
    desk.presses("backspace enter");
    assert_snapshot!(desk.rows()[4], @"alice> tea at six");
}

#[test]
fn ctrl_f_marks_hits_and_goes_up() {
    let mut desk = Desk::new(60, 9);
    for number in 1..=40 {
        let drink = if number % 13 == 0 { "Tea" } else { "coffee" };
        desk.says("bob", "#lobby", &format!("{drink} for {number}"));
    }
    desk.presses("ctrl-f");
    desk.types("tea");
    let hit = desk.app.reader.look.hit;
    let hits = |desk: &mut Desk| {
        let buffer = desk.draws();
        let cells = buffer.content.iter().filter(|cell| Some(cell.bg) == hit.bg);
        cells.map(|cell| cell.symbol()).collect::<String>()
    };
    assert_eq!(hits(&mut desk), "Tea");
    assert_snapshot!(desk.picture(), @"
    #lobby         open: members and the operator read  3 online
    [14:03:34] bob: coffee for 35                   │people
    [14:03:35] bob: coffee for 36                   │* alice
    [14:03:36] bob: coffee for 37                   │* bob
    [14:03:37] bob: coffee for 38                   │* carol
    [14:03:38] bob: Tea for 39                      │
    [14:03:39] bob: coffee for 40                   │
     * connected 12 ms                                  F1 help
    search: tea  (Enter: the previous one, Esc: back)
    cursor 11,8
    ");
    desk.presses("enter");
    assert!(desk.picture().contains("Tea for 26"), "{}", desk.picture());
    desk.presses("enter enter");
    assert_snapshot!(desk.rows()[8], @"search: tea  (no other here: Enter asks the server)");
    desk.effects();
    desk.presses("enter");
    assert_eq!(desk.effects(), ["#lobby: /search tea"]);
    desk.presses("ctrl-f esc");
    assert!(desk.picture().contains("coffee for 40"), "{}", desk.picture());
}
