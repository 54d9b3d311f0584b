use super::*;

#[test]
fn a_command_with_a_secret_is_found_between_escape_sequences() {
    for line in [
        "\x1b[200~/join #tea 4711\x1b[201~",
        "\x1b[1;5C/join #tea 4711",
        "\x1b[A\x1b[2~join #tea 4711",
    ] {
        assert_eq!(mistyped("", line), Some("join"), "{line:?}");
    }
    assert_eq!(mistyped("", "\x1b[200~tea at five\x1b[201~"), None);
}

#[test]
fn a_command_with_a_secret_is_found_behind_what_was_not_meant() {
    for line in [
        " /join #tea 4711",
        "   /join #tea 4711",
        "\t/join tea 4711",
        "\u{a0}/join #tea 4711",
        "\u{3000}／join #tea 4711",
        "／ｊｏｉｎ ＃tea ４７１１",
        "\u{200b}/join #tea 4711",
        "//join #tea 4711",
        "// join #tea 4711",
        ".join #tea 4711",
        "\\join #tea 4711",
        "7join #tea 4711",
        "-msg eve secret",
        "x/pm eve secret",
        "ok /pm eve secret",
        "./dm eve secret",
        " /reply secret",
        " /jion tea 4711",
        " /CREATE #tea 4711",
        "> /join #tea 4711",
        "alice> /join #tea 4711",
        "[12:30:01] You: /join #tea 4711",
        "-- /join #tea 4711",
        "server| /join #tea 4711",
        "join #tea 4711",
        "pm @eve secret",
        "one\n/join #tea 4711",
        "/join #tea 4711\ntwo",
        // Two errors at once.
        " /join#tea 4711",
        "/join#tea 4711\n",
        " / join #tea 4711",
        " /jion #tea 4711",
        " /jion#tea 4711",
        "/.join #tea 4711\n",
        " /pm@eve secret",
        "x /jion#tea 4711",
        ".jion #tea 4711",
        ".join#tea 4711",
        ". join #tea 4711",
        "\\ join #tea 4711",
        "\\\\join #tea 4711",
        "..join #tea 4711",
        "\\jion#tea 47-11",
        "- join #tea 4711",
        "jion #tea 4711",
        "join#tea 4711",
        "JOIN #tea 4711",
        "create#tea k7f2x-9xqdm",
        ".pm@eve secret",
        "pm@eve secret",
        ". dm @eve secret",
        // Over several rows.
        "/join #tea\n4711",
        "/join #tea\r\n4711\n",
        "/join #tea\n\n  hunter",
        "/join\n#tea\n4711",
        "/join\n#tea 4711",
        "   /join #tea\n   4711",
        "one\n.join #tea\n4711\ntwo",
        "/pm eve\nsecret",
        "/reply\nsecret words",
        "alice> /create #tea\n4711",
    ] {
        assert!(mistyped("", line).is_some(), "{line:?}");
    }
    assert_eq!(mistyped("", " /jion tea 4711"), Some("join"));
}

#[test]
fn a_command_of_elsewhere_or_with_a_sign_at_its_name_is_found() {
    for line in [
        // As it is elsewhere.
        " /j #tea 4711",
        " /w eve the secret",
        "  /query eve the secret",
        " /tell eve the secret",
        " /r the secret",
        " /password hunter2",
        "\t/login hunter2",
        " /identify bob hunter2",
        // A sign after the name.
        " /join, #tea 4711",
        " /pm: eve the secret",
        "/join; #tea 4711\n",
        "join: #tea 4711",
        "pm: @eve the secret",
        // A neighbour of the slash.
        "(join #tea 4711",
        "*join #tea 4711",
        "+join #tea 4711",
        "@join #tea 4711",
        "#join #tea 4711",
        "*pm @eve the secret",
        // Without a slash.
        "join tea 4711",
        " join tea 4711",
        "JOIN tea 4711",
        "JOIN #tea hunter",
        "PM @eve the secret",
        "pm eve the secret",
        " dm eve the secret",
        "msg eve the secret",
        "PM eve the secret",
    ] {
        assert!(mistyped("", line).is_some(), "{line:?}");
    }
}

#[test]
fn a_text_that_is_none_and_a_command_are_let_through() {
    for line in [
        "/join #tea 4711",
        "/jion #tea 4711",
        "hello /join",
        "hello /join #tea 4711 lets you in",
        " /join #tea",
        " /etc/hosts has two lines",
        "//etc/hosts is a file",
        "join us at five",
        "Join #tea at five",
        "dm me later",
        "msg from eve about the tea",
        "pm works for me",
        "Dm eve about the tea",
        "msg eve",
        "- msg eve about the tea",
        "msg #4711 is lost",
        "2pm works for me",
        "7pm works for me",
        "reply to this one",
        "- join the call at five",
        "(join us at five)",
        "and/or whatever else",
        "https://example.org/join us there",
        "...",
        "",
        "/",
        "漢字",
        "4711",
        "1/2 cup",
        "1/2 cup\n/etc/passwd is a file",
        " /etc/passwd is a file",
        " /usr",
        " /bin has 4711 files",
        "5 mug/day",
        "9 l/m is enough",
        " /usr has 4711 files",
        "... join us at five",
        "...join us at five",
        "- join #tea at five",
        "- msg @bob about the tea",
        "Join #tea\nand say hello",
        "/join #tea\nand say hello",
        "pin #tea 4711",
        "msg#4711 is lost",
        "join@example.org is the address 4711",
        "tea #1 4711",
        "(join #tea at five",
        "* join #tea at five",
        "*reply* to this one",
        "+1 from me",
        "@eve the secret is out",
        "#tea is open",
        "join us 4711 times",
        "join room 12",
        "join: see above",
        " /r/rust is a page",
        " /w/ and /j/ are folders",
        "and /w eve the secret",
        "tell eve the secret",
        "password hunter2 is a bad one",
        "login 4711",
    ] {
        assert_eq!(mistyped("", line), None, "{line:?}");
    }
}

#[test]
fn a_command_that_goes_on_in_the_next_line_is_found() {
    for (before, line) in [
        ("/join #tea", "4711"),
        ("/join #tea", "   47 "),
        ("/join tea", "k7f2x-9xqdm"),
        ("/JOIN #tea", "hunter2"),
        (" /join #tea", "4711"),
        ("/join#tea", "4711"),
        ("/jion #tea", "4711"),
        ("join #tea", "4711"),
        ("/create #tea", "4711"),
        ("/join", "#tea 4711"),
        ("/pm eve", "secret words"),
        ("/pm", "eve secret"),
        ("/reply", "secret"),
        ("/join #tea", "4711\nhello"),
    ] {
        assert!(mistyped(before, line).is_some(), "{before:?} {line:?}");
        assert!(is_secret(before, line), "{before:?} {line:?}");
    }
    for (before, line) in [
        ("", "4711"),
        ("hello", "4711"),
        ("/join #tea", "hello"),
        ("/join #tea", "hello!"),
        ("/join #tea", "it's me :-)"),
        ("/join #tea", "https://example.org/4711"),
        ("/join #tea", "4 people are here"),
        ("/join #tea", "/part"),
        ("/join #tea 4711", "4711"),
        ("/pm eve hi", "hello"),
        ("/reply hi", "hello"),
        ("/query eve", "4711"),
        ("/part #tea", "4711"),
        ("/me waves", "4711"),
        ("1/2 cup", "4711"),
        ("ok, I join #tea", "4711"),
    ] {
        assert_eq!(mistyped(before, line), None, "{before:?} {line:?}");
    }
}

#[test]
fn every_name_of_a_secret_command_is_known() {
    for (name, command) in SECRET {
        let usage = slash::find(name).unwrap();
        assert_eq!(usage.name, command.name());
        for alias in usage.aliases {
            assert!(SECRET.contains(&(alias, command)), "{alias}");
        }
    }
    assert_eq!(mistyped("", " /whisper eve the secret"), Some("pm"));
    assert_eq!(mistyped("", " /msg eve the secret"), Some("msg"));
    assert_eq!(mistyped("", " /login hunter2"), Some("password"));
}
