//! Documents against the code and against each other: every file, section, command, event, exit
//! code and JSON example that a document or a comment names exists, and the other way round.
//! `tests/tidy/` has the tables of limits, settings, rights and refusal codes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pychat::chat::{Command, Event, Request};
use pychat::wire::codec::{Login, decode};
use serde_json::Value;

/// Folders that have no text of the project's own.
const SKIPPED: &[&str] = &["target", "node_modules", "fuzz", ".git", "proptest-regressions"];
/// A path in a document begins with one of these.
const TOPS: &[&str] = &["src/", "docs/", "tests/", "benches/", "packaging/", "fuzz/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All files below the top with one of these extensions, as paths below it.
fn files(extensions: &[&str]) -> Vec<String> {
    fn look(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap_or_default();
            if path.is_dir() && !SKIPPED.contains(&name) {
                look(&path, extensions, found);
            } else if path.extension().is_some_and(|own| extensions.iter().any(|one| own == *one)) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    look(root(), extensions, &mut found);
    let below = |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    found.into_iter().map(below).collect()
}

/// The source that has this definition, in whatever file it is.
fn source_with(definition: &str) -> String {
    let sources = files(&["rs"]).into_iter().filter(|path| path.starts_with("src/"));
    let mut found = sources.map(|path| read(&path)).filter(|source| source.contains(definition));
    let source = found.next().unwrap_or_else(|| panic!("no source has {definition}"));
    assert!(found.next().is_none(), "two sources have {definition}");
    source
}

/// A text as one line: comments without their slashes, with a blank for each line break.
fn joined(text: &str) -> String {
    let bare = |line: &str| {
        let line = line.trim();
        line.trim_start_matches(['/', '!', '#']).trim().to_owned()
    };
    text.lines().map(bare).collect::<Vec<_>>().join(" ")
}

/// The comments of a Rust source.
fn comments(source: &str) -> String {
    let lines = source.lines().map(str::trim).filter(|line| line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The headings of a document outside of its examples.
fn headings(document: &str) -> Vec<&str> {
    let heads = document.lines().filter(|line| line.starts_with('#'));
    heads.map(|line| line.trim_start_matches('#').trim()).collect()
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let text: String = heading.to_lowercase().chars().filter(kept).collect();
    text.replace(' ', "-")
}

/// The targets of Markdown links.
fn links(document: &str) -> Vec<&str> {
    let after = document.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// What is wrong with the links of a document at this path.
fn broken_links(path: &str, document: &str) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap();
    let is_broken = |target: &&str| {
        if target.contains("://") {
            return false;
        }
        let (file, section) = target.split_once('#').unwrap_or((target, ""));
        let text = match file {
            "" => document.to_owned(),
            file => match fs::read(root().join(folder).join(file)) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(_) => return !root().join(folder).join(file).is_dir(),
            },
        };
        !section.is_empty() && !headings(&text).iter().any(|heading| anchor(heading) == section)
    };
    links(document).into_iter().filter(is_broken).map(str::to_owned).collect()
}

/// The paths that a text names and that are not there.
fn missing_paths(text: &str) -> Vec<String> {
    let of_a_path = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let words =
        text.split(|c: char| !of_a_path(c)).map(|word| word.trim_end_matches(['.', '/', '-']));
    let named = words.filter(|word| TOPS.iter().any(|top| word.starts_with(top)));
    let missing = named.filter(|path| !root().join(path).exists());
    missing.map(str::to_owned).collect()
}

/// Sections that a text names behind the path of a document, in quotes, and that the document does
/// not have.
fn missing_sections(text: &str) -> Vec<String> {
    let text = joined(text);
    let mut missing = Vec::new();
    for (at, _) in text.match_indices("docs/") {
        let rest = &text[at..];
        let Some((name, rest)) = rest.split_once(".md") else { continue };
        let Some(quoted) = rest.strip_prefix(", \"") else { continue };
        if name.contains(' ') {
            continue;
        }
        let file = format!("{name}.md");
        let section = quoted.split('"').next().unwrap();
        let document = fs::read_to_string(root().join(&file)).unwrap_or_default();
        if !headings(&document).contains(&section) {
            missing.push(format!("{file}, \"{section}\""));
        }
    }
    missing
}

#[test]
fn links_lead_to_files_and_sections_that_exist() {
    let documents = files(&["md"]);
    assert!(documents.len() > 8);
    for path in documents {
        let broken = broken_links(&path, &read(&path));
        assert!(broken.is_empty(), "{path} links to {broken:?}");
    }
    let bad = "# A head: with `code`\n[a](#a-head-with-code) [b](#b) [c](docs/none.md) [d](docs/json.md#none)";
    assert_eq!(broken_links("README.md", bad), ["#b", "docs/none.md", "docs/json.md#none"]);
}

#[test]
fn files_that_documents_and_comments_name_exist() {
    let mut texts: Vec<_> =
        files(&["md", "vp", "py"]).into_iter().map(|path| (read(&path), path)).collect();
    texts.extend(files(&["rs"]).into_iter().map(|path| (comments(&read(&path)), path)));
    for (text, path) in texts {
        let missing = missing_paths(&text);
        assert!(missing.is_empty(), "{path} names {missing:?}");
        let missing = missing_sections(&text);
        assert!(missing.is_empty(), "{path} names {missing:?}");
    }
    let bad = "see `src/none.rs`, src/lib.rs, tests/data/*.json and docs/protocol.md.";
    assert_eq!(missing_paths(bad), ["src/none.rs"]);
    let bad = "/// (docs/protocol.md, \"Device\n/// certificates\"; docs/protocol.md, \"Nothing\")";
    assert_eq!(missing_sections(bad), ["docs/protocol.md, \"Nothing\""]);
}

/// The names between backticks in ARCHITECTURE.md that mean a module or a folder and lead nowhere.
fn missing_modules(document: &str, sources: &[String]) -> Vec<String> {
    let is_there = |name: &str| match name.strip_suffix('/') {
        Some(folder) => {
            let inside = format!("{folder}/");
            root().join(folder).is_dir()
                || sources
                    .iter()
                    .any(|path| path.starts_with(&inside) || path.contains(&format!("/{inside}")))
        }
        None => sources.iter().any(|path| path == name || path.ends_with(&format!("/{name}"))),
    };
    let quoted = document.split('`').skip(1).step_by(2);
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c));
    let modules = quoted.filter(|name| name.ends_with(".rs") || name.ends_with('/')).filter(plain);
    // A home and a profile have folders of their own.
    let modules = modules
        .filter(|name| !matches!(*name, "users/" | "keys/" | "data/" | "device/" | "servers/"));
    modules.filter(|name| !is_there(name)).map(str::to_owned).collect()
}

#[test]
fn modules_that_the_architecture_names_exist() {
    let sources = files(&["rs"]);
    let missing = missing_modules(&read("ARCHITECTURE.md"), &sources);
    assert!(missing.is_empty(), "ARCHITECTURE.md names {missing:?}");
    let bad = "`lib.rs` and `nowhere.rs` in `chat/`, `chap/`, `src/chat/`";
    assert_eq!(missing_modules(bad, &sources), ["nowhere.rs", "chap/"]);
}

/// The variants of an enum in a source, as serde writes them in lower case.
fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let body = source.split(&format!("pub enum {name} {{\n")).nth(1).expect(name);
    let body = body.split("\n}").next().unwrap();
    let own = body.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let names = own.filter_map(|line| {
        let word = line.trim().split(|c: char| !c.is_alphanumeric()).next()?;
        word.starts_with(char::is_uppercase).then(|| snake_case(word))
    });
    names.filter(|name| name != "unknown").collect()
}

fn snake_case(word: &str) -> String {
    let mut snake = String::new();
    for c in word.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// The sections of a document whose heading is this word and a name in backticks.
fn sections(document: &str, word: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for section in document.split("\n### ").skip(1) {
        let (heading, rest) = section.split_once('\n').unwrap_or((section, ""));
        let Some(name) = heading.strip_prefix(word).and_then(|rest| rest.trim().strip_prefix('`'))
        else {
            continue;
        };
        let body = rest.split("\n## ").next().unwrap();
        let twice = found.insert(name.trim_end_matches('`').to_owned(), body.to_owned());
        assert!(twice.is_none(), "{heading} is there twice");
    }
    found
}

/// The JSON values of the indented lines of a section.
fn examples(section: &str) -> Vec<Value> {
    let lines = section.lines().filter(|line| line.starts_with("    "));
    let text = lines.map(str::trim).collect::<Vec<_>>().join("\n");
    let values: Result<Vec<Value>, _> =
        serde_json::Deserializer::from_str(&text).into_iter().collect();
    values.unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The fields in the first column of a section's table; `conversations[].to` is a field of a field.
fn fields(section: &str) -> BTreeSet<String> {
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split(" | ").next());
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The fields of an object as a table names them, but for its type.
fn named(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| *name != "type")
    {
        found.insert(name.clone());
        let inside = value.as_array().and_then(|all| all.first()).map(named).unwrap_or_default();
        found.extend(inside.into_iter().map(|inner| format!("{name}[].{inner}")));
    }
    found
}

/// Whether all of `part` is in `whole`: what a program reads and writes again has no field less.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|own| holds(own, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole.iter().zip(part).all(|(own, value)| holds(own, value))
        }
        (whole, part) => whole == part,
    }
}

/// What is wrong with a section about a command or an event: `again` reads and writes JSON.
fn wrong_section(
    name: &str,
    section: &str,
    again: impl Fn(&Value) -> Option<Value>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let examples = examples(section);
    let mut shown = BTreeSet::new();
    for example in &examples {
        shown.extend(named(example));
        if example["type"] != name || !again(example).is_some_and(|again| holds(&again, example)) {
            wrong.push(format!("{example} is no {name}"));
        }
    }
    let listed = fields(section);
    wrong.extend(listed.symmetric_difference(&shown).map(|field| format!("field {field}")));
    if examples.is_empty() {
        wrong.push("no example".to_owned());
    }
    wrong
}

fn command(value: &Value) -> Option<Value> {
    let json = value.to_string();
    let request: Request = decode(json.as_bytes()).next()?.ok()?;
    serde_json::to_value(Some(request).filter(|one| one.command != Command::Unknown)?).ok()
}

fn event(value: &Value) -> Option<Value> {
    let json = value.to_string();
    let event: Event = decode(json.as_bytes()).next()?.ok()?;
    serde_json::to_value(Some(event).filter(|event| *event != Event::Unknown)?).ok()
}

#[test]
fn the_protocol_has_a_section_for_each_command_and_event() {
    let protocol = read("docs/protocol.md");
    for word in ["Command", "Event"] {
        let source = source_with(&format!("pub enum {word} {{\n"));
        let (sections, variants) = (sections(&protocol, word), variants(&source, word));
        assert!(variants.len() > 10);
        assert_eq!(sections.keys().cloned().collect::<BTreeSet<_>>(), variants, "{word}");
        for (name, section) in sections {
            let wrong =
                wrong_section(&name, &section, if word == "Event" { event } else { command });
            assert!(wrong.is_empty(), "{word} {name}: {wrong:?}");
        }
    }
    let source = "pub enum Event {\n    /// A thing.\n    Welcome {\n        Name: u8,\n    },\n    Read(X),\n    Unknown,\n}";
    assert_eq!(variants(source, "Event"), ["read", "welcome"].map(str::to_owned).into());
    let good = "| `to`, `seq` | x |\n    {\"type\":\"read\",\"to\":\"#tea\",\"seq\":\"7\"}\n";
    assert!(wrong_section("read", good, event).is_empty());
    for bad in [
        good.replace("`to`, ", ""),
        good.replace("`to`", "`to`, `of`"),
        good.replace("\"7\"", "7"),
        good.replace("\"seq\"", "\"sequence\""),
        good.replace("\"read\"", "\"write\""),
        good.replace("    {", "{"),
    ] {
        assert!(!wrong_section("read", &bad, event).is_empty(), "{bad}");
    }
}

#[test]
fn the_protocols_other_examples_are_what_they_claim_to_be() {
    let protocol = read("docs/protocol.md");
    let section = |heading: &str| {
        let rest = protocol.split(&format!("\n### {heading}\n")).nth(1).expect(heading);
        rest.split("\n## ").next().unwrap().split("\n### ").next().unwrap().to_owned()
    };
    let login = section("LOGIN");
    let again = |value: &Value| {
        let json = value.to_string();
        serde_json::to_value(decode::<Login>(json.as_bytes()).next()?.ok()?).ok()
    };
    let example = examples(&login);
    assert!(
        example.iter().all(|example| again(example).is_some_and(|again| holds(&again, example)))
    );
    assert_eq!(fields(&login), example.iter().flat_map(named).collect());
    let short = examples(&section("Short form"));
    assert_eq!(short.len(), 2);
    assert!(command(&short[0]).is_some() && event(&short[1]).is_some());
    assert!(command(&short[1]).is_none() && event(&short[0]).is_none());
}

/// The texts between backticks in the first column of the tables below a heading.
fn cells(document: &str, heading: &str) -> Vec<String> {
    let below = document.split(&format!("\n## {heading}\n")).nth(1).expect(heading);
    let section = below.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let first = rows.filter_map(|row| row.split(" | ").next());
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The objects of a face's source, by their type.
fn types(source: &str) -> BTreeSet<String> {
    let after = source.split("\"type\": \"").skip(1);
    after.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn the_contract_for_programs_has_each_object() {
    let contract = read("docs/json.md");
    let mut listed = BTreeSet::new();
    for cell in cells(&contract, "Output") {
        let name = match cell.starts_with('{') {
            true => {
                let object: Value =
                    serde_json::from_str(&cell).unwrap_or_else(|error| panic!("{error}: {cell}"));
                object["type"].as_str().expect("an object has a type").to_owned()
            }
            false => cell,
        };
        listed.insert(name);
    }
    let source = source_with("{\"type\": \"bye\"");
    let mut written = types(source.split("#[cfg(test)]").next().unwrap());
    // Events of the server are passed on as they are. `welcome` and `goodbye` become other objects,
    // and the others concern the client alone.
    let events = variants(&source_with("pub enum Event {\n"), "Event");
    let own = [
        "welcome",
        "goodbye",
        "keys",
        "successor",
        "ticket",
        "session_ticket",
        "upload",
        "download",
        "kept",
        "stopped",
        "dropped",
    ];
    written.extend(events.into_iter().filter(|event| !own.contains(&event.as_str())));
    assert_eq!(listed, written);
    assert_eq!(types("json!({\"type\": \"bye\"})"), ["bye".to_owned()].into());
}

#[test]
fn the_contract_for_programs_has_each_command() {
    let contract = read("docs/json.md");
    let listed: BTreeSet<_> = cells(&contract, "Input").into_iter().collect();
    let mut commands = variants(&source_with("pub enum Command {\n"), "Command");
    // Sent by the client itself.
    for own in ["resume", "certify", "keys", "people", "put", "get", "drop", "usage"] {
        assert!(commands.remove(own), "there is no {own}");
    }
    commands.extend(["me", "edit", "delete", "list", "slash"].map(str::to_owned));
    commands.extend(["send_file", "get_file", "cancel_file", "files"].map(str::to_owned));
    assert_eq!(listed, commands);
}

/// The words that the arms of a `match` in a source give.
fn arms(source: &str) -> BTreeSet<String> {
    let after = source.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
    let words = after.filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    words.map(str::to_owned).collect()
}

#[test]
fn the_contract_for_programs_has_each_violation() {
    let contract = read("docs/json.md").replace("\n### ", "\n## ");
    let listed: BTreeSet<_> = cells(&contract, "Violations").into_iter().collect();
    assert_eq!(listed, arms(&source_with("=> \"not_for_me\"")));
    assert_eq!(arms("A => \"one\", B(_) => \"Two words\""), ["one".to_owned()].into());
}

/// The metrics that a source writes.
fn metrics(source: &str) -> BTreeSet<String> {
    let calls = ["page.one(", "page.head("].into_iter().flat_map(|call| source.split(call).skip(1));
    let names = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    names.map(|name| format!("pychat_{name}")).collect()
}

#[test]
fn the_operators_guide_lists_every_metric() {
    let guide = read("docs/operating.md").replace("\n### ", "\n## ");
    let listed: BTreeSet<_> = cells(&guide, "Metrics").into_iter().collect();
    assert_eq!(listed, metrics(&source_with("page.head(\"handshakes_total\"")));
    assert_eq!(metrics("page.one(\n  \"up\", 1)"), ["pychat_up".to_owned()].into());
}

/// The exit codes that a source names.
fn exit_codes(source: &str) -> BTreeSet<u8> {
    let code = source.split("pub mod code {").nth(1).expect("codes").split("\n}").next().unwrap();
    let values = code.lines().filter_map(|line| line.split_once(": u8 = "));
    values.map(|(_, value)| value.trim_end_matches(';').parse().expect("a code")).collect()
}

#[test]
fn the_contract_for_programs_lists_every_exit_code() {
    let contract = read("docs/json.md");
    let section =
        contract.split("\n## Exit codes\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let listed: BTreeSet<u8> =
        rows.filter_map(|row| row.split(" | ").next()?.parse().ok()).collect();
    let mut codes = exit_codes(&source_with("pub mod code {"));
    codes.insert(0);
    assert_eq!(listed, codes);
    let source = "pub mod code {\n    pub const A: u8 = 1;\n    pub const B: u8 = 130;\n}\npub const C: u8 = 9;";
    assert_eq!(exit_codes(source), [1, 130].into());
    for file in files(&["rs"]).into_iter().filter(|file| file.starts_with("src/client/")) {
        let source = read(&file);
        let number = source
            .split("Action::Quit(")
            .skip(1)
            .find(|rest| rest.starts_with(|c: char| matches!(c, '1'..='9')));
        assert!(
            number.is_none() || file.contains("tests"),
            "{file}: an exit code without its name"
        );
    }
}

#[test]
fn long_documents_have_a_table_of_contents() {
    let lacks = |document: &str| {
        let main = document.lines().filter_map(|line| line.strip_prefix("## "));
        let main: Vec<_> = main.filter(|heading| *heading != "Contents").map(anchor).collect();
        let contents = document.split("\n## Contents\n").nth(1).unwrap_or_default();
        let linked: Vec<_> = links(contents.split("\n## ").next().unwrap()).into_iter().collect();
        let missing =
            main.into_iter().filter(|anchor| !linked.contains(&format!("#{anchor}").as_str()));
        missing.collect::<Vec<_>>()
    };
    for path in files(&["md"]).into_iter().filter(|path| path.starts_with("docs/")) {
        let document = read(&path);
        if document.lines().count() > 150 {
            assert!(
                lacks(&document).is_empty(),
                "{path} lacks {:?} in its contents",
                lacks(&document)
            );
        }
    }
    assert_eq!(lacks("# T\n## Contents\n- [A](#a)\n## A\n## B\n"), ["b"]);
}
