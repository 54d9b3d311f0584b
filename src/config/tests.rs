//! Valid and invalid configurations, and the errors.

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("config.json"))
}

#[test]
fn the_seeds_file_is_a_whole_configuration() {
    let config = parse(r#"{"server_ip": "127.0.0.1", "server_port": 5000}"#).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(parse("{}").unwrap(), Config::default());
}

#[test]
fn a_fault_is_named_by_its_place() {
    for (text, place) in [
        (r#"{"server_port": "5000"}"#, "server_port: "),
        (r#"{"limits": {"ping_s": -1}}"#, "limits.ping_s: "),
        (r#"{"limits": {"ping_s": 0}}"#, "limits.ping_s: "),
        (r#"{"limits": {"text_bytes_max": 9000}}"#, "limits.text_bytes_max: "),
        (r#"{"exempt": ["10.0.0.1/8"]}"#, "exempt[0]: "),
        (r#"{"allow": ["10.0.0.0/8", "fd00::1/8"]}"#, "allow[1]: "),
        (r#"{"deny": ["10.0.0.0/33"]}"#, "deny[0]: "),
        (r#"{"suites": [3]}"#, "suites: there is no suite 3"),
        (r#"{"suites": []}"#, "suites: at least one suite is needed"),
        (r#"{"suites": 2}"#, "suites: "),
        (r#"{"invite_host": "[::]"}"#, "invite_host: clients cannot connect"),
        (r#"{"invite_host": "chat.example:5000"}"#, "invite_host: omit the port"),
        (r#"{"log": {"files_max": 4000000000}}"#, "log.files_max: it is at most 1000"),
        (r#"{"limits": []}"#, "limits: it is a list"),
        (r#"{"web_tls": ["web.pem", "web.key"]}"#, "web_tls: it is a list"),
        (r##"{"channels": {"#WORK": ["2d"]}}"##, "channels.#WORK: it is a list"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config.json: {place}")), "{error}");
    }
    for (text, word) in [
        (r#"{"server_prot": 1}"#, "server_port"),
        (r#"{"limits": {"ping": 1}}"#, "ping_s"),
        (r#"{"ping_s": 1}"#, "under \"limits\""),
        (r#"{"log": {"levle": "warn"}}"#, "did you mean level?"),
        (r#"{"log": {"format": "jsn"}}"#, "did you mean json?"),
        (r##"{"channels": {"#a": {"retentoin": "2d"}}}"##, "did you mean retention?"),
        ("// hello\n{}", "comments"),
    ] {
        let Err(ConfigError::Value { hint: Some(hint), .. }) = parse(text) else {
            panic!("no hint for {text}")
        };
        assert!(hint.contains(word), "{hint}");
    }
    let twice = parse(r#"{"server_port": 1, "server_port": 2}"#).unwrap_err().to_string();
    assert!(twice.contains("duplicate field `server_port`"), "{twice}");
    let twice = r##"{"channels": {"#WORK": {"retention": "2d"}, "#work": {"retention": "3d"}}}"##;
    assert!(parse(twice).unwrap_err().to_string().contains("two rules for #work"));
    assert!(parse("{} {}").is_err());
}

#[test]
fn an_absurd_limit_is_refused_and_the_largest_of_each_is_taken() {
    let defaults = serde_json::to_value(Limits::default()).unwrap();
    for name in Limits::NAMES {
        let parse = |value: &str| parse(&format!(r#"{{"limits": {{"{name}": {value}}}}}"#));
        let values = ["10000000000000000", "18446744073709551615", "1e300", "-1", "1e-300"];
        for value in values {
            let error = parse(value).unwrap_err().to_string();
            assert!(error.contains(&format!("limits.{name}: ")), "{value}: {error}");
        }
        if !matches!(*name, "text_bytes_max" | "search_ms_max" | "ping_s") {
            let most = Limits::highest(name);
            let most = if defaults[name].is_f64() { format!("{most:e}") } else { most.to_string() };
            assert!(parse(&most).is_ok(), "{name}: {most}");
        }
    }
}

#[test]
fn loopback_is_spared_only_where_it_is_this_computer_alone() {
    let sorted = |text: &str, listen: &str, from: &str| {
        let (exempt, shared) = parse(text).unwrap().exempt_and_shared(
            &listen
                .split(' ')
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), 1))
                .collect::<Vec<_>>(),
        );
        let within =
            |ranges: &[IpRange]| ranges.iter().any(|range| range.contains(from.parse().unwrap()));
        match (within(&exempt), within(&shared)) {
            (true, _) => "exempt",
            (false, true) => "shared",
            (false, false) => "counted",
        }
    };
    let onion = r#"{"invite_host": "pychat7abc.Onion"}"#;
    for (text, listen, from, wanted) in [
        ("{}", "0.0.0.0", "127.0.0.1", "exempt"),
        ("{}", "::", "::1", "exempt"),
        ("{}", "::", "::ffff:127.0.0.1", "exempt"),
        ("{}", "0.0.0.0", "192.0.2.1", "counted"),
        // All clients of a proxy, a tunnel or an onion service connect from there.
        ("{}", "127.0.0.1", "127.0.0.1", "shared"),
        ("{}", "::1", "::1", "shared"),
        ("{}", "127.0.0.1 ::1", "127.0.0.1", "shared"),
        ("{}", "127.0.0.1 192.0.2.1", "127.0.0.1", "exempt"),
        (onion, "0.0.0.0", "127.0.0.1", "shared"),
        (onion, "0.0.0.0", "192.0.2.1", "counted"),
        (r#"{"invite_host": "onion.example"}"#, "0.0.0.0", "127.0.0.1", "exempt"),
        // An operator's own list applies as it is.
        (r#"{"exempt": ["127.0.0.0/8"]}"#, "127.0.0.1", "127.0.0.1", "exempt"),
        (r#"{"exempt": []}"#, "127.0.0.1", "127.0.0.1", "counted"),
        (r#"{"exempt": ["192.0.2.0/24"]}"#, "0.0.0.0", "127.0.0.1", "counted"),
        (r#"{"exempt": ["192.0.2.0/24"]}"#, "0.0.0.0", "192.0.2.1", "exempt"),
        (r#"{"invite_host": "a.onion.", "exempt": []}"#, "0.0.0.0", "127.0.0.1", "shared"),
    ] {
        assert_eq!(sorted(text, listen, from), wanted, "{text} at {listen} from {from}");
    }
}

#[test]
fn whom_the_lists_admit() {
    let list = |ranges: &[&str]| -> Vec<IpRange> {
        ranges.iter().map(|range| range.parse().unwrap()).collect()
    };
    let admitted = |allow: &[&str], deny: &[&str], address: &str| {
        admits(&list(allow), &list(deny), address.parse().unwrap())
    };
    assert!(admitted(&[], &[], "192.0.2.7") && admitted(&[], &[], "::1"));
    assert!(admitted(&["192.0.2.0/24"], &[], "192.0.2.7"));
    assert!(admitted(&["192.0.2.0/24"], &[], "::ffff:192.0.2.7"), "v4-mapped");
    assert!(!admitted(&["192.0.2.0/24"], &[], "192.0.3.7"));
    assert!(!admitted(&["192.0.2.0/24"], &[], "2001:db8::1"));
    assert!(!admitted(&["192.0.2.0/24"], &["192.0.2.7"], "192.0.2.7"), "deny wins");
    assert!(!admitted(&[], &["2001:db8::/32"], "2001:db8:1::1"));
    assert!(admitted(&[], &["2001:db8::/32"], "2001:db9::1"));
}

#[test]
fn a_place_moves_between_disk_and_memory_where_its_retention_is_turned_on_or_off() {
    let of = |text: &str| parse(text).unwrap().retentions();
    let plain = of("{}");
    assert!(!plain.moves(&of(r#"{"retention": "2d"}"#)));
    assert!(plain.moves(&of(r#"{"retention": "off"}"#)));
    assert!(!plain.moves(&of(r##"{"channels": {"#a": {"retention": "1h"}}}"##)));
    let off = of(r##"{"channels": {"#a": {"retention": "off"}}}"##);
    assert!(plain.moves(&off) && off.moves(&plain) && !off.moves(&off));
}

#[test]
fn ranges_hold_what_they_say() {
    let holds = |range: &str, address: &str| {
        range.parse::<IpRange>().unwrap().contains(address.parse().unwrap())
    };
    assert!(holds("127.0.0.0/8", "127.9.9.9") && !holds("127.0.0.0/8", "128.0.0.1"));
    assert!(holds("127.0.0.0/8", "::ffff:127.0.0.1"));
    // Both notations of an IPv4 address are equal.
    for address in ["192.0.2.7", "::ffff:192.0.2.7"] {
        assert!(holds("::ffff:192.0.2.0/120", address) && holds("::ffff:192.0.2.7", address));
        assert!(!holds("::ffff:192.0.3.0/120", address) && !holds("::/0", address));
    }
    assert!(holds("0.0.0.0/0", "9.9.9.9") && !holds("0.0.0.0/0", "::1"));
    assert!(holds("::1", "::1") && holds("::/0", "fd00::1"));
    assert_eq!(
        "10.0.0.1/8".parse::<IpRange>(),
        Err(RangeError::HostBits("10.0.0.0/8".parse().unwrap()))
    );
    for bad in ["", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0/8", "x/8", "10.0.0.0/"] {
        assert_eq!(bad.parse::<IpRange>(), Err(RangeError::Form), "{bad}");
    }
}

#[test]
fn a_list_is_no_object() {
    for (text, place) in [
        ("[]", ""),
        ("[null, 7000]", ""),
        (r#"{"limits": []}"#, "limits: "),
        (r#"{"limits": [5, 6]}"#, "limits: "),
        (r#"{"log": []}"#, "log: "),
        (r##"{"channels": {"#tea": ["1d"]}}"##, "channels.#tea: "),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(&format!("{place}it is a list")), "{text}: {error}");
    }
}
