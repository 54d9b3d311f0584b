use super::*;
use proptest::prelude::*;

#[test]
fn the_rules_on_slashes() {
    assert_eq!(read("hello /join"), Typed::Text("hello /join"));
    assert_eq!(read("//join"), Typed::Text("/join"));
    assert_eq!(read(" /join"), Typed::Text(" /join"));
    assert_eq!(read("/JOIN  #tea "), Typed::Command(SlashCommand::Join("#tea")));
    assert_eq!(read("/q"), Typed::Command(SlashCommand::Exit(None)));
    assert!(matches!(read("/jion #tea"), Typed::Unknown(text) if text.contains("/join")));
    assert!(matches!(read("/"), Typed::Unknown(_)));
    let command = operator_commands::find("ban").unwrap();
    let ban = SlashCommand::Operate { command, operands: "bob 1h" };
    assert_eq!(read("/Ban  bob 1h"), Typed::Command(ban));
    assert!(matches!(read("/stats"), Typed::Unknown(text) if text.contains("operator")));
}

#[test]
fn the_operands_of_open_and_log_are_parsed() {
    let opens = |line| match read(line) {
        Typed::Command(SlashCommand::Open(wanted)) => Some(wanted),
        _ => None,
    };
    assert_eq!(opens("/open"), Some(ToOpen::Address { back: 0 }));
    assert_eq!(opens("/open -2"), Some(ToOpen::Address { back: 1 }));
    assert_eq!(opens("/open 12"), Some(ToOpen::Message(crate::chat::Seq(12))));
    assert_eq!([opens("/open -0"), opens("/open tea")], [None, None]);
    let log = |wish| Typed::Command(SlashCommand::Log(wish));
    assert_eq!(read("/log"), log(LogWish::Show));
    assert_eq!(read("/log off"), log(LogWish::End));
    assert_eq!(read("/log 'my tea.log'"), log(LogWish::To("my tea.log".into())));
}

#[test]
fn lines_with_a_pin_are_not_remembered() {
    for line in ["/join tea 1234", "/JOIN tea,work 1234", "/create tea 1234", "/jion tea 1234"] {
        assert!(is_secret(line), "{line}");
    }
    for line in ["/join tea", "/join tea, work", "/create tea", "/pm bob 1234", "/kick bob x"] {
        assert!(!is_secret(line), "{line}");
    }
    assert!(
        is_mistyped("/jion tea 1234") && !is_mistyped("/join tea 1234") && !is_mistyped("//jion")
    );
    assert!(!is_mistyped("/etc/hosts has\ntwo lines"));
}

#[test]
fn text_for_the_conversation_is_recognised() {
    for line in ["hi", "//hi", " /join", "/me waves", "/topic x", "/edit x", "/search x", "/x\ny"] {
        assert!(says_here(line), "{line}");
    }
    assert!(says_here("/quit good night") && !says_here("/quit"));
    for line in
        ["/join tea", "/topic", "/topic #tea x", "/pm bob x", "/reply x", "/away x", "/jion x"]
    {
        assert!(!says_here(line), "{line}");
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = all().map(|usage| usage.name).collect();
    names.extend(all().flat_map(|usage| usage.aliases));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

proptest! {
    #[test]
    fn a_line_with_one_leading_slash_is_never_a_text(rest in "[^/].*") {
        let line = format!("/{rest}");
        prop_assert!(!matches!(read(&line), Typed::Text(_)));
    }
}

#[test]
fn each_example_is_a_call_of_its_own_command() {
    for usage in all() {
        let line = format!("/{}", usage.example);
        assert!(matches!(read(&line), Typed::Command(_)), "{line}");
        assert_eq!(usage.example.split(' ').next(), Some(usage.name));
        let help = help(HelpOn::Command(usage.name));
        assert!(help.contains(usage.does) && help.ends_with(&format!("example: {line}")), "{help}");
    }
}

#[test]
fn arguments_are_parsed_once_and_errors_name_the_problem() {
    let bob: crate::chat::UserName = "bob".parse().unwrap();
    let reads = |line, command| assert_eq!(read(line), Typed::Command(command), "{line}");
    reads("/pm @bob  hi ", SlashCommand::Pm { to: bob.clone(), text: "hi" });
    reads("/query bob", SlashCommand::Query(Whom::User(bob.clone())));
    reads("/query #tea", SlashCommand::Query(Whom::Channel("#tea")));
    reads(
        "/fingerprint bob confirm",
        SlashCommand::Fingerprint { name: bob.clone(), confirms: true },
    );
    reads("/history 50", SlashCommand::History { messages: Some(50), span: None });
    reads("/set search off", SlashCommand::Set(Setting::Search(Some(false))));
    reads("/notify all", SlashCommand::Screen(ScreenCommand::Notify(Some(Notify::All))));
    let sends = |path: &str, to, caption| SlashCommand::Send {
        keeps: false,
        path: path.into(),
        to,
        caption,
    };
    reads("/send my a.txt @bob -- x", sends("my a.txt", Some(Whom::User(bob.clone())), Some("x")));
    reads("/send '/a #1 -- b.pdf'", sends("/a #1 -- b.pdf", None, None));
    reads("/send '/a @b.pdf' #tea", sends("/a @b.pdf", Some(Whom::Channel("#tea")), None));
    reads("/send \"/a.pdf\" -- -- x", sends("/a.pdf", None, Some("-- x")));
    for (line, problem) in [
        ("/send '/a.pdf' and more", "/send 'PATH' TO"),
        ("/pm bob", "/pm NAME TEXT"),
        ("/pm b!b hi", "b!b: "),
        ("/query", ": "),
        ("/whois b!b", "whois b!b: "),
        ("/fingerprint bob please", "confirm"),
        ("/history 0", "/history COUNT"),
        ("/history soon", "/history soon: "),
        ("/edit", "/edit TEXT"),
        ("/delete it", "/delete it: "),
        ("/ignore b!b", "b!b: "),
        ("/notify some", "/notify off"),
        ("/set bell loud", "on or off, not \"loud\""),
        ("/set sound on", "/help set"),
        ("/create", "/create CHANNEL"),
    ] {
        let Typed::Misused(misuse) = read(line) else { panic!("{line}: {:?}", read(line)) };
        assert!(misuse.problem.contains(problem), "{line}: {}", misuse.problem);
    }
    let Typed::Command(command) = read("/join tea 1234") else { panic!() };
    assert!(!format!("{command:?}").contains("1234"), "{command:?}");
}
