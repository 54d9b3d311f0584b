use proptest::prelude::*;

use super::*;

/// Returns the events of these reads; with `pauses`, each read is followed by a pause.
fn decoded(reads: &[&[u8]], pauses: bool) -> Vec<String> {
    let mut decoder = Decoder::new();
    for read in reads {
        decoder.takes(read, Duration::ZERO);
        while pauses && decoder.patience().is_some() {
            decoder.lapses();
        }
    }
    std::iter::from_fn(|| decoder.next()).map(|event| shown(&event)).collect()
}

fn shown(event: &Event) -> String {
    match event {
        Event::Key(key) if key.modifiers.is_empty() => match key.code {
            KeyCode::Char(c) => c.to_string(),
            code => format!("{code:?}"),
        },
        Event::Key(key) => format!("{:?}+{:?}", key.modifiers, key.code),
        Event::Paste(text) => format!("paste {text:?}"),
        event => format!("{event:?}"),
    }
}

#[test]
fn keys_are_what_terminals_send_for_them() {
    for (bytes, wanted) in [
        ("aß漢\r\t\x7f", "a ß 漢 Enter Tab Backspace"),
        ("\x1b[A\x1b[B\x1bOC\x1bOD\x1b[H\x1bOF", "Up Down Right Left Home End"),
        ("\x1b[5~\x1b[6~\x1b[3~\x1b[1~\x1b[4~", "PageUp PageDown Delete Home End"),
        ("\x1bOP\x1bOQ\x1b[15~\x1b[24~\x1b[[A", "F(1) F(2) F(5) F(12) F(1)"),
        ("\x1b[I\x1b[O", "FocusGained FocusLost"),
        ("\x1b[97u\x1b[13u", "a Enter"),
        ("\x1b[200~two\nlines\x1b[201~x", "paste \"two\\nlines\" x"),
        ("\x1b[?62c\x1b[12;40R\x1b[99~y", "y"),
        ("\x1b\x1b[A", "Esc Up"),
    ] {
        assert_eq!(decoded(&[bytes.as_bytes()], false).join(" "), wanted, "{bytes:?}");
        // Byte by byte, as over a slow link.
        let each: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
        assert_eq!(decoded(&each, false).join(" "), wanted, "{bytes:?}");
    }
    let with = |bytes: &str| decoded(&[bytes.as_bytes()], true).join(" ");
    assert_eq!(with("\x1b[1;5D"), "KeyModifiers(CONTROL)+Left");
    assert_eq!(with("\x1b[1;3A\x1ba"), "KeyModifiers(ALT)+Up KeyModifiers(ALT)+Char('a')");
    assert_eq!(
        with("\x1b[Z\x03\x1f"),
        "KeyModifiers(SHIFT)+BackTab KeyModifiers(CONTROL)+Char('c') KeyModifiers(CONTROL)+Char('7')"
    );
    assert_eq!(with("\x1b[<0;5;7M\x1b[<65;1;1M").matches("Mouse(").count(), 2);
}

#[test]
fn esc_and_what_is_typed_behind_it_lose_nothing() {
    let with = |bytes: &str| decoded(&[bytes.as_bytes()], true).join(" ");
    assert_eq!(with("\x1b"), "Esc");
    assert_eq!(with("\x1b/pm"), "KeyModifiers(ALT)+Char('/') p m");
    assert_eq!(with("\x1b[hi"), "KeyModifiers(ALT)+Char('[') h i");
    assert_eq!(with("\x1b["), "KeyModifiers(ALT)+Char('[')");
    assert_eq!(with("\x1bno"), "KeyModifiers(ALT)+Char('n') o");
    assert_eq!(
        with("\x1bOk"),
        "KeyModifiers(ALT | SHIFT)+Char('O') k".replace("ALT | SHIFT", "SHIFT | ALT")
    );
    assert_eq!(decoded(&[b"\x1b", b"/"], true), ["Esc", "/"]);
}

#[test]
fn a_paste_without_an_end_takes_no_keys() {
    let ctrl_c = "KeyModifiers(CONTROL)+Char('c')";
    let pauses = |reads: &[&str]| {
        let reads: Vec<&[u8]> = reads.iter().map(|read| read.as_bytes()).collect();
        decoded(&reads, true).join(" ")
    };
    assert_eq!(pauses(&["\x1b[200~half"]), "paste \"half\"");
    assert_eq!(pauses(&["\x1b[200~half", "x"]), "paste \"half\" x");
    assert_eq!(pauses(&["\x1b[200~half\x03"]), ctrl_c);
    assert_eq!(pauses(&["\x1b[200~half", "\x03"]), format!("paste \"half\" {ctrl_c}"));
    // The rest arrives late, and is not taken for typed keys.
    assert_eq!(
        pauses(&["\x1b[200~one\n", "two\n\x1b[201~x"]),
        "paste \"one\\n\" paste \"two\\n\" x"
    );
    let long = "x\n".repeat(100);
    assert_eq!(pauses(&["\x1b[200~", &long]), format!("paste \"\" paste {long:?}"));
    // Pasted bytes are never keys.
    assert_eq!(pauses(&["\x1b[200~a\x03\x1b[Ab\x1b[201~"]), "paste \"a\\u{3}\\u{1b}[Ab\"");
    let endless = "x".repeat(PASTE_BYTES_MAX + 9);
    assert_eq!(
        pauses(&["\x1b[200~", &endless]).len(),
        "paste \"\" paste \"\"".len() + PASTE_BYTES_MAX
    );
}

proptest! {
    #[test]
    fn nothing_breaks_it_and_nothing_waits_for_ever(reads in prop::collection::vec("(\x1b|\\[|O|M|<|;|[0-9~a-zA-Z]|[\x00-\x7f]|é|\x1b\\[200~|\x1b\\[201~){0,20}", 0..6)) {
        let mut decoder = Decoder::new();
        for read in &reads {
            decoder.takes(read.as_bytes(), Duration::ZERO);
        }
        for _ in 0..4 {
            decoder.lapses();
        }
        prop_assert!(decoder.patience().is_none());
    }
}

#[test]
fn the_answer_about_graphics_is_no_typed_text() {
    let hears = |parts: &[&[u8]]| {
        let mut decoder = Decoder::new();
        for part in parts {
            decoder.takes(part, Duration::ZERO);
        }
        let events: Vec<_> = std::iter::from_fn(|| decoder.next()).collect();
        (decoder.takes_graphics(), events.len(), decoder.patience().is_some())
    };
    assert_eq!(hears(&[b"\x1b_Gi=31;OK\x1b\\x"]), (true, 1, false), "and a key behind it");
    assert_eq!(hears(&[b"\x1b_G", b"i=31;O", b"K\x1b", b"\\"]), (true, 0, false), "in pieces");
    assert_eq!(hears(&[b"\x1b_Gi=31;EBADF:x\x1b\\"]), (false, 0, false), "an error");
    assert_eq!(hears(&[b"\x1b_x"]), (false, 2, false), "Alt-_ and a key");
    assert_eq!(hears(&[b"\x1b_Gi=31;"]), (false, 0, true), "it is incomplete");
    let long = [&b"\x1b_Gi=31;"[..], &[b'x'; 300]].concat();
    assert_eq!(hears(&[&long]), (false, 0, false), "it has a bound");
    let mut decoder = Decoder::new();
    decoder.takes(b"\x1b_", Duration::ZERO);
    decoder.lapses();
    assert!(decoder.next().is_some(), "Alt-_ alone");
    // Over a slow connection an answer comes in two parts.
    for (first, rest, has) in [
        (&b"\x1b_Gi=31;"[..], &b"OK\x1b\\x"[..], true),
        (b"\x1b_Gi=31;O", b"K\x1b\\x", true),
        (b"\x1b_Gi=31;E", b"BADF\x1b\\x", false),
        (b"\x1b_Gi=31;", b"x", false),
    ] {
        let mut decoder = Decoder::new();
        decoder.takes(first, Duration::ZERO);
        decoder.lapses();
        decoder.takes(rest, Duration::ZERO);
        let events = std::iter::from_fn(|| decoder.next()).count();
        assert_eq!((decoder.takes_graphics(), events), (has, 1), "{rest:?}: only the key x");
    }
}

/// The events of reads that took so many milliseconds each, and of the pause after them.
fn unmarked(reads: &[(&str, u64)]) -> Vec<Event> {
    let mut decoder = Decoder::new().with_unmarked_pastes();
    for (read, ms) in reads {
        decoder.takes(read.as_bytes(), Duration::from_millis(*ms));
    }
    if decoder.patience().is_some() {
        decoder.lapses();
    }
    std::iter::from_fn(|| decoder.next()).collect()
}

#[test]
fn rows_that_arrive_faster_than_anybody_types_are_a_paste() {
    let paste = |text: &str| vec![Event::Paste(text.to_owned())];
    let rows = "the first row\rthe second\r";
    assert_eq!(unmarked(&[(rows, 0)]), paste(rows));
    assert_eq!(unmarked(&[(rows, 0), ("and a third", 0)]), paste(&format!("{rows}and a third")));
    let is_typed = |reads: &[(&str, u64)]| {
        let events = unmarked(reads);
        events.iter().all(|event| matches!(event, Event::Key(_))) && !events.is_empty()
    };
    // A row and Enter, fast keys, what was typed while the client was busy, and sequences.
    assert!(is_typed(&[("the first row and more\r", 0)]));
    assert!(is_typed(&[("ok\rand\r", 0)]));
    assert!(is_typed(&[(rows, 1_000)]));
    assert!(is_typed(&[("the first row\r\x1b[A\x1b[A", 0)]));
    // A terminal that marks pastes has no others.
    let mut marks = Decoder::new();
    marks.takes(rows.as_bytes(), Duration::ZERO);
    assert!(matches!(marks.next(), Some(Event::Key(_))));
}
