//! What others send stays among the lines: it moves, colours, rings and answers nothing, on the
//! real binary.

mod world;

use world::World;
use world::pty::Terminal;

/// Rows and columns of the lines at 100 columns and 40 rows.
const LINES: (std::ops::Range<usize>, std::ops::Range<usize>) = (1..38, 18..88);

/// Everything but the lines, and how fast the server answers.
fn around(terminal: &Terminal) -> Vec<Vec<String>> {
    let mut cells = terminal.cells();
    for (number, row) in cells.iter_mut().enumerate() {
        match number {
            38 => drop(row.drain(..24)),
            _ if LINES.0.contains(&number) => drop(row.drain(LINES.1)),
            _ => {}
        }
    }
    cells
}

#[test]
fn nothing_received_reaches_beyond_the_lines() {
    let world = World::with(r#"{"messages_burst": 1000}"#);
    let mut alice = world.sits_down("alice");
    let mut carol = world.enters_as("carol", "--json");
    carol.sees("connected");
    carol.types(r##"{"type":"slash","line":"/topic tea"}"##);
    alice.shows_row(|row| row.starts_with("#lobby server| tea") && row.ends_with("2 online"));
    alice.types("half-typed");
    alice.rests(17, "alice> half-typed");
    alice.shows_row(|row| row.starts_with(" * connected ") && row.contains(" ms"));
    let (before, acts) = (around(&alice), alice.acts());
    let attacks = [
        ("CSI", r"\u001b[2J\u001b[1;1Howned\u001b[41m\u001b[?1049l\u001b[6n"),
        ("OSC 0", r"\u001b]0;owned\u0007 \u001b]2;owned\u001b\\"),
        ("OSC 8", r"\u001b]8;;http://owned\u001b\\link\u001b]8;;\u001b\\"),
        ("OSC 52", r"\u001b]52;c;b3duZWQ=\u0007"),
        ("DCS", r"\u001bP$qm\u001b\\ \u001b[c \u001bc"),
        ("C1", r"\u009b2J \u009d0;owned\u009c \u0090q \u0085 \u008d"),
        ("CR", r"much to read here\rowned"),
        ("C0", r"\u0008\u0008\u0008\u000b\u000c\u000e\u0007\u007f"),
        ("bidi", r"\u202eowned\u202c \u2066owned\u2069 \u200f"),
        ("zero width", r"o\u200bw\u200dn\ufeffe\u2060d \udb40\udc41"),
        ("marks", r"z\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301"),
        ("wide", r"漢字漢字👍👨‍👩‍👧🇩🇪❤️한국어漢字漢字👍漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字"),
        ("right to left", r"שלום עולם مرحبا"),
        ("lines", r"\n\n\t\t\nmany"),
        ("long", "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww"),
    ];
    for (name, text) in attacks {
        let say = |text: &str| format!(r##"{{"type":"say","to":"#lobby","text":"{text}"}}"##);
        carol.types(&say(text));
        carol.types(&say(&format!("after {name}")));
        alice.shows(&format!("carol: after {name}"));
        // A redraw gives wide characters a chance to move the text beside them.
        alice.types("\x0cx");
        alice.rests(18, "alice> half-typedx");
        alice.types("\x7f");
        alice.rests(17, "alice> half-typed");
        assert_eq!(around(&alice), before, "{name}\n{}", alice.screen());
    }
    assert_eq!(alice.acts(), acts);
    // A topic and a word about being away are texts of others, too.
    carol.types(r##"{"type":"slash","line":"/away \u001b]0;owned\u0007\u009b2J"}"##);
    carol.types(r##"{"type":"slash","line":"/topic \u001b[2J\u202etea\u001b]0;owned\u0007"}"##);
    alice.shows_row(|row| row.starts_with("#lobby server| [2Jtea]0;owned "));
    alice.types("\x15/whois carol\r");
    alice.shows("away (]0;owned2J)");
    alice.types("\x1b");
    alice.shows_all(|rows| !rows.concat().contains("Esc closes"));
    assert_eq!(alice.acts(), acts);
    let unseen = ['\u{202e}', '\u{2066}', '\u{200f}', '\u{200b}', '\u{feff}', '\u{e0041}'];
    assert!(!alice.bytes().contains(unseen));
    // However wide a terminal takes a character to be, the next one is put in its place.
    let bytes = alice.bytes();
    let screen = bytes.split("\u{1b}[?1049h").nth(1).unwrap();
    let after_wide = screen.chars().zip(screen.chars().skip(1));
    let glued = |(c, next): &(char, char)| !c.is_ascii() && next.is_ascii() && *next != '\u{1b}';
    assert_eq!(after_wide.filter(glued).count(), 0);
    // All that the terminal was ever told: conversations, looks, erasing, modes. No colour
    // (NO_COLOR), no question whose answer would be typed, no title.
    let known = ["[H", "[m", "[J", "[K", "[?h", "[?l"].map(str::to_owned);
    let sequences = alice.sequences();
    assert!(sequences.iter().all(|one| known.contains(one)), "{sequences:?}");
    let looks = bytes.split("\x1b[").filter_map(|rest| rest.split_once('m')).map(|(look, _)| look);
    let looks = looks.filter(|look| look.chars().all(|c| c.is_ascii_digit() || c == ';'));
    let mut numbers = looks.flat_map(|look| look.split(';')).filter_map(|look| look.parse().ok());
    let coloured = |look: &u8| matches!(look, 30..=38 | 40..=48 | 90..=107);
    assert_eq!(numbers.find(coloured), None);
}

#[test]
fn what_no_server_could_clean_is_cleaned_by_who_shows_it() {
    let world = World::with(r#"{"messages_burst": 1000}"#);
    let mut alice = world.sits_down("alice");
    let bob = world.enters("bob");
    let mut carol = world.enters_as("carol", "--json");
    carol.sees("connected");
    alice.types("/query carol\r");
    alice.shows_row(|row| row.starts_with("@carol"));
    let hostile = r"\u001b[2J\u001b]0;owned\u0007\u009b2J\rz\u0301\u0301\u0301\u0301\u0301\u0301 o\u200dw\u202en\udb40\udc41";
    for name in ["alice", "bob"] {
        let say = |text: &str| format!(r#"{{"type":"say","to":"@{name}","text":"{text}"}}"#);
        carol.types(&say(hostile));
        carol.types(&say("that was it"));
    }
    alice.shows("carol: that was it");
    bob.sees("carol: that was it");
    // Sealed: the server has not seen it.
    assert!(bob.sees("]0;owned").contains("[2J]0;owned2J"), "{:?}", bob.shown());
    let shown = bob.shown().join("\n");
    let piled = "\u{301}".repeat(5);
    for text in [alice.bytes(), shown.clone()] {
        assert!(!text.contains(['\u{200d}', '\u{202e}', '\u{e0041}', '\u{9b}']), "{text:?}");
        assert!(text.contains("z\u{301}") && !text.contains(&piled), "{text:?}");
    }
    assert!(!shown.contains(['\u{1b}', '\r', '\u{7}']), "{shown:?}");
    assert!(alice.acts().iter().all(|act| act == "bell"), "{:?}", alice.acts());
}

#[test]
fn no_name_is_hostile() {
    let world = World::new();
    let mut command = world.program("alice");
    command.args(["client", &world.invite, "--name", "al\x1b[2J\u{202e}ice"]);
    let terminal = Terminal::run(&command);
    terminal.shows("[ended 2]");
    assert!(!terminal.bytes().contains("\x1b[2J\u{202e}"), "{:?}", terminal.bytes());
}
