//! The table of rights in docs/operating.md, tried out on the real binary cell by cell.

mod world;

use std::fs;
use std::path::Path;

use serde_json::Value;
use world::{Program, World};

/// What is sent to try an act. None of it does anything where it is allowed, so that one after the
/// other can be tried. An empty one is tried elsewhere.
fn request(act: &str) -> String {
    let typed = |rest: &str| format!("{{\"type\":{rest}}}");
    let operate = |words: &str| typed(&format!(r#""operate","ref":"r","words":[{words}]"#));
    match act {
        "say, me" => typed(r##""me","to":"#lobby","text":"waves""##),
        "edit" => typed(r##""edit","to":"#lobby","of":"9999","text":"new""##),
        "delete" => typed(r##""delete","to":"#lobby","of":"9999""##),
        "topic" => typed(r##""topic","channel":"#lobby""##),
        "topic TEXT" => typed(r##""topic","channel":"#lobby","text":"tea""##),
        "away" => typed(r#""away","text":"lunch""#),
        "join" => typed(r##""join","channel":"#tea""##),
        "part" => typed(r##""part","channel":"#tea""##),
        "list" => typed(r##""list","to":"#lobby""##),
        "channels" => typed(r#""channels""#),
        "whois" => typed(r#""whois","name":"mona""#),
        "history" => typed(r##""history","to":"#lobby""##),
        "search" => typed(r#""search","text":"tea""#),
        "resume, read, count" => typed(r##""read","conversations":[{"to":"#lobby","seq":"1"}]"##),
        // The client asks and tells these by itself.
        "exit" | "keys" | "certify" | "put" | "get, drop, usage" => String::new(),
        "any operator command" => operate(r#""help""#),
        "shutdown" => operate(r#""shutdown","never""#),
        "stats, status, users ..." => operate(r#""stats""#),
        "say, retention, erase ..." => operate(r#""erase""#),
        word => operate(&format!("{word:?}")),
    }
}

/// The rows of a table of the guide, as the texts of their cells.
fn rows(name: &str) -> Vec<Vec<String>> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let guide = fs::read_to_string(guide).unwrap();
    let table = guide.split(&format!("<!-- {name} -->")).nth(1).unwrap();
    let table = table.split(&format!("<!-- /{name} -->")).next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let bare = |cell: &str| cell.trim_matches([' ', '|', '`']).to_owned();
    rows.map(|line| line.split(" | ").map(bare).collect()).collect()
}

/// The rows of the table: the act, and a cell for each column.
fn table() -> Vec<(String, Vec<bool>)> {
    let rows = rows("rights").into_iter();
    rows.map(|row| (row[0].clone(), row[1..].iter().map(|cell| cell == "yes").collect())).collect()
}

/// Says an operator's words as somebody, or as the console where there is no client; gives the
/// refusal, where there was one.
fn says(world: &World, client: Option<&mut Program>, words: &[&str]) -> Option<String> {
    let Some(client) = client else {
        let (ok, told) = world.operator(&[&["ctl"], words].concat());
        return (!ok).then_some(told);
    };
    let number = client.shown().len();
    let said =
        serde_json::json!({"type": "operate", "ref": format!("said{number}"), "words": words});
    client.types(&said.to_string());
    let answer: Value = serde_json::from_str(&client.sees(&format!("said{number}\""))).unwrap();
    (answer["type"] == "refused").then(|| answer["hint"].as_str().unwrap().to_owned())
}

/// Whether somebody may do it: what came between the request and the answer to a later question.
fn may(client: &mut Program, act: &str, asked: &mut usize) -> bool {
    let before = client.shown().len();
    *asked += 1;
    client.types(&request(act));
    client.types(&format!(r#"{{"type":"list","ref":"asked{asked}"}}"#));
    client.sees(&format!("asked{asked}\""));
    let denied = |line: &String| {
        let object: Value = serde_json::from_str(line).unwrap();
        let right = object["hint"].as_str().is_some_and(|hint| hint.contains("not allowed for a"));
        object["type"] == "refused"
            && (object["code"] == "muted" || (object["code"] == "forbidden" && right))
    };
    !client.shown()[before..].iter().any(denied)
}

#[test]
fn every_cell_of_the_table_holds() {
    let rates = r#"{"messages_burst": 1000, "requests_per_s": 1000, "histories_per_s": 1000}"#;
    let world = World::with(rates);
    let columns = ["member", "moderator", "owner", "", "moderator"];
    let people = ["bob", "mona", "olga", "", "nora"];
    let mut asked = 0;
    let table = table();
    assert_eq!(table.len(), 34);
    for (column, (role, name)) in columns.into_iter().zip(people).enumerate() {
        if name.is_empty() {
            continue;
        }
        world.admit(name);
        let (ok, told) = world.operator(&["users", "role", name, role]);
        assert!(ok, "{told}");
        if role != "member" {
            world.server.is_told(&format!("{name} is {role} now"));
        }
        if column == 4 {
            let (ok, told) = world.operator(&["ctl", "mute", name]);
            assert!(ok, "{told}");
        }
        let mut client = world.client(name, &["--json"]);
        client.sees("entered");
        for (act, cells) in &table {
            if request(act).is_empty() {
                // tests/files/main.rs has somebody muted who sends a file.
                assert_eq!(cells[column], act != "put" || column != 4, "{act}");
                continue;
            }
            let able = may(&mut client, act, &mut asked);
            assert_eq!(able, cells[column], "{act} by {name} ({role})");
        }
        client.types(r#"{"type":"quit"}"#);
        let failed = client.shown().iter().any(|line| line.contains(r#""type":"refused""#));
        assert_eq!(client.ends().code(), Some(if failed { 8 } else { 0 }));
    }
    // The console has the operators' commands, and no session that could send messages.
    for (act, cells) in &table {
        let operate = request(act).contains("operate");
        assert_eq!(cells[3], operate, "{act} by the console");
        if operate && !act.contains(' ') {
            let (_, told) = world.operator(&["ctl", act, "never"]);
            assert!(!told.contains("not allowed for a"), "{act}: {told}");
        }
    }
    // Who is banned gets no session.
    assert!(table.iter().all(|(act, cells)| cells[5] == (act == "exit")));
    let (ok, _) = world.operator(&["ctl", "ban", "bob"]);
    assert!(ok);
    assert_eq!(world.client("bob", &["--json"]).ends().code(), Some(5));
}

#[test]
fn every_cell_of_what_is_done_to_others_holds() {
    let world = World::with(r#"{"requests_per_s": 1000}"#);
    let people = [
        ("bob", "member"),
        ("nora", "moderator"),
        ("oscar", "owner"),
        ("eve", "member"),
        ("mona", "moderator"),
        ("olga", "owner"),
    ];
    for (name, role) in people {
        world.admit(name);
        if role != "member" {
            assert!(world.operator(&["users", "role", name, role]).0);
            world.server.is_told(&format!("{name} is {role} now"));
        }
    }
    let mut actors = ["eve", "mona", "olga"].map(|name| {
        let client = world.client(name, &["--json"]);
        client.sees("entered");
        Some(client)
    });
    let mut actors: Vec<_> = actors.iter_mut().map(Option::take).chain([None]).collect();
    let decided = || world.operator(&["ctl", "banlist", "--json"]).1;
    let rows = rows("targets");
    assert_eq!(rows.len(), 27);
    for row in rows {
        let (act, about) = (row[0].as_str(), row[1].as_str());
        let decider = about.strip_prefix("decided by ");
        let target = people.iter().find(|person| decider.is_none() && person.1 == about);
        let target = target.map_or("bob", |person| person.0);
        for (column, cell) in row[2..].iter().enumerate() {
            if let Some(role) = decider {
                let word = act.trim_start_matches("un");
                let by =
                    ["member", "moderator", "owner", "console"].iter().position(|one| *one == role);
                let refused = says(&world, actors[by.unwrap()].as_mut(), &[word, target, "1h"]);
                assert_eq!(refused, None, "{row:?}");
            }
            let before = decided();
            let refused = says(&world, actors[column].as_mut(), &[act, target]);
            let denied = refused.is_some_and(|hint| {
                hint.contains("not allowed for a")
                    || hint.contains("owners may lift or change that")
                    || hint.contains("only pychat")
            });
            assert_eq!(denied, cell != "yes", "{row:?}, column {column}");
            if act.ends_with("ban") || act.ends_with("mute") {
                assert_eq!(decided() == before, denied, "{row:?}, column {column}");
            }
            // As it was; most of it was so.
            let back = match (act, about) {
                ("op", "member") => "deop",
                ("deop", "moderator") => "op",
                (act, _) => &format!("un{}", act.trim_start_matches("un")),
            };
            says(&world, None, &[back, target]);
        }
    }
}
