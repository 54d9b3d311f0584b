//! The documents, held against the code: the floors of ARCHITECTURE.md, and every table.

mod e2e;
mod graph;
mod paths;
mod rooms;
mod scripts;
mod size;
mod walls;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use pychat::chat::operator_commands::{self, OPERATOR_COMMANDS};
use pychat::chat::rights;
use pychat::client::slash;
use pychat::limits::Limits;
use pychat::sync;
use serde_json::Value;

/// Each module's floor: it uses lower floors and its own folder.
const FLOORS: &[(&str, u8)] = &[
    ("limits", 0),
    ("clean", 0),
    ("fault", 0),
    ("calendar", 0),
    ("nearest", 0),
    ("page", 0),
    ("print", 0),
    ("suite", 0),
    ("sync", 0),
    ("system", 0),
    ("chat", 1),
    ("transfer", 1),
    ("wire", 2),
    ("crypto", 2),
    ("file", 3),
    ("config", 4),
    ("net", 5),
    ("invite", 5),
    ("home", 5),
    ("e2e", 5),
    ("ledger", 5),
    ("terminal", 5),
    ("server", 6),
    ("client", 6),
    ("cli", 7),
    ("world_tests", 7),
];

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The forbidden arrows in the file of the module with this path below the crate.
fn faults(path: &[&str], text: &str) -> Vec<String> {
    let module = path[0];
    let own = floor(module).unwrap_or_else(|| panic!("{module} has no floor"));
    let mut faults = Vec::new();
    for used in roots(path.len(), text) {
        match floor(&used) {
            Some(floor) if used != module && floor >= own => {
                faults.push(format!("{module} uses {used}"));
            }
            _ => {}
        }
    }
    faults.dedup();
    faults
}

/// The modules right below the crate that a file names, so many levels below the crate itself.
fn roots(depth: usize, text: &str) -> Vec<String> {
    let mut roots = Vec::new();
    // How far the modules inside the file, which are open on a line, are indented.
    let mut inner: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if inner.last() == Some(&indent) && line.trim_start().starts_with('}') {
            inner.pop();
        }
        for word in ["crate::", "super::"] {
            for (begin, _) in line.match_indices(word) {
                let before = line[..begin].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let mut paths = Vec::new();
                paths::follow(&text[at + begin..], &[], &mut paths);
                let depth = depth + inner.len();
                roots.extend(paths.iter().filter_map(|path| root(depth, path)));
            }
        }
        if line.trim_end().ends_with('{') && line.split_whitespace().any(|word| word == "mod") {
            inner.push(indent);
        }
        at += line.len();
    }
    roots
}

/// The module right below the crate that a path written at a depth leads into.
fn root(depth: usize, path: &[String]) -> Option<String> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let first = match path.first()?.as_str() {
        "crate" => 1,
        _ if ups == depth => ups,
        _ => return None,
    };
    path.get(first).cloned()
}

#[test]
fn modules_use_lower_floors_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    paths::sources(&src, &mut files);
    assert!(files.len() > 30);
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let path = inside.with_extension("");
        let mut path: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).collect();
        path.pop_if(|last| *last == "mod");
        if matches!(path[0], "main" | "lib") {
            continue;
        }
        let faults = faults(&path, &fs::read_to_string(&file).unwrap());
        assert!(faults.is_empty(), "{}: {faults:?}", inside.display());
    }
}

#[test]
fn a_forbidden_arrow_is_noticed() {
    let server = |text: &str| faults(&["server", "admission"], text);
    for text in [
        "use crate::client::data_folder;",
        "use crate::{chat::Event, client::data_folder};",
        "use crate::{\n    chat::{Event, Place as Spot, id::{self}},\n    client::{self, data_folder},\n};",
        "use super::super::client::data_folder;",
        "use super::{super::{client, chat}, context};",
        "fn f() { super::super::client::x(crate::chat::y()) }",
        "mod tests {\n    use super::super::super::client;\n}",
    ] {
        assert_eq!(server(text), ["server uses client"], "{text}");
    }
    for text in [
        "use crate::chat::Event;",
        "use crate::{chat::{client, Event}, net};",
        "use super::{context::client, client};",
        "mod tests {\n    use super::super::client;\n}",
        "mod tests {\n}\nuse super::client;",
    ] {
        assert!(server(text).is_empty(), "{text}");
    }
    assert_eq!(faults(&["server"], "use super::client;"), ["server uses client"]);
    assert_eq!(faults(&["chat"], "use crate::{net}; crate::net::x()"), ["chat uses net"]);
}

/// A document.
fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the tables below a heading, as their cells.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let below = document.split(&format!("\n## {heading}\n")).nth(1).expect(heading);
    let section = below.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn the_readme_lists_every_slash_command() {
    let readme = read("README.md");
    let mut listed = BTreeSet::new();
    for row in rows(&readme, "Commands in the chat") {
        for call in quoted(row[0]) {
            let (word, operands) = call.split_once(' ').unwrap_or((call, ""));
            let word = word.trim_start_matches('/');
            let known = slash::find(word).unwrap_or_else(|| panic!("README has /{word}"));
            if known.name == word {
                assert_eq!(operands, known.operands, "operands of /{word}");
            }
            assert!(listed.insert(word.to_owned()), "/{word} is listed twice");
        }
    }
    let names = slash::all().flat_map(|slash| [&[slash.name], slash.aliases].concat());
    // It only says why names cannot be changed.
    let names: BTreeSet<_> = names.filter(|name| *name != "nick").map(str::to_owned).collect();
    assert_eq!(listed, names);
}

#[test]
fn the_operators_guide_lists_every_limit_with_its_default() {
    let guide = read("docs/operating.md");
    let defaults = serde_json::to_value(Limits::default()).unwrap();
    let rows = rows(&guide, "Limits");
    let names: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(names, Limits::NAMES);
    let source = read("src/limits.rs");
    for row in &rows {
        let name = row[0].trim_matches('`');
        let listed: Value = serde_json::from_str(row[1]).unwrap();
        assert_eq!(listed, defaults[name], "default of {name}");
        let field = source.split(&format!("\n    {name}: ")).next().unwrap();
        let document = field.lines().last().unwrap().trim().trim_start_matches("/// ");
        assert_eq!(row[2].trim_end_matches(" |"), document, "what {name} bounds");
    }
}

/// Holds what a document has between `<!-- NAME -->` and `<!-- /NAME -->` against what the code
/// says. `PYCHAT_WRITE_DOCS=1 cargo test --test tidy` writes it instead.
fn generated(file: &str, name: &str, wanted: &str) {
    // Several tables of one document are checked at once.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let document = read(file);
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("{file}: {begin}"));
    let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{file}: {end}"));
    if std::env::var_os("PYCHAT_WRITE_DOCS").is_some() && found != wanted {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        return fs::write(path, format!("{before}{begin}{wanted}{end}{after}")).unwrap();
    }
    assert_eq!(found, wanted, "{file}: PYCHAT_WRITE_DOCS=1 cargo test --test tidy writes it");
}

#[test]
fn the_operators_guide_has_the_tables_of_rights() {
    let file = "docs/operating.md";
    generated(file, "rights", &format!("\n{}", rights::table()));
    generated(file, "targets", &format!("\n{}", rights::table_of_targets()));
}

#[test]
fn the_documents_list_every_operator_command() {
    let table = format!("\n{}", operator_commands::table());
    generated("docs/operating.md", "operator commands", &table);
    let slashes = OPERATOR_COMMANDS.iter().filter(|command| command.is_slash());
    let slashes: Vec<_> = slashes.map(|command| format!("`/{}`", command.usage.call())).collect();
    generated("README.md", "operator slashes", &format!("operators: {}", slashes.join(", ")));
    let names = OPERATOR_COMMANDS.iter().map(|command| format!("`{}`", command.usage.name));
    let names = names.collect::<Vec<_>>();
    let lines: Vec<_> = names.chunks(11).map(|line| line.join(", ")).collect();
    generated("README.md", "ctl", &format!("\n{}\n", lines.join(",\n")));
}

#[test]
fn the_architecture_lists_the_locks_in_their_order() {
    generated("ARCHITECTURE.md", "locks", &format!("\n{}", sync::table()));
}

/// Only `src/sync.rs` handles poisoning: locks elsewhere would have no rank. A browser's files in
/// memory are on the same floor as `sync`, and one thread uses them.
#[test]
fn all_modules_lock_through_sync() {
    let sources = graph::sources();
    let is_code = |path: &str| {
        !path.starts_with("sync") && !path.starts_with("system/wasm/") && !graph::is_test(path)
    };
    let code: Vec<_> = sources.iter().filter(|(path, _)| is_code(path)).collect();
    assert!(code.iter().any(|(path, text)| path == "terminal.rs" && text.contains("Rank::")));
    for (path, text) in code {
        assert_eq!(foreign_locks(graph::without_tests(text)), [""; 0], "{path}");
    }
}

/// The lines that use a lock of the standard library.
fn foreign_locks(code: &str) -> Vec<&str> {
    let locks = ["Mutex", "RwLock", "Condvar", "PoisonError"];
    let names = |line: &str| locks.iter().any(|lock| line.contains(lock));
    let is_std = |line: &&str| line.contains("std::sync") && names(line);
    code.lines().filter(|line| is_std(line) || line.contains("PoisonError")).collect()
}

#[test]
fn a_foreign_lock_is_noticed() {
    for line in [
        "use std::sync::{Arc, Mutex};",
        "    lock: std::sync::RwLock<()>,",
        "    self.0.lock().unwrap_or_else(PoisonError::into_inner)",
    ] {
        assert_eq!(foreign_locks(line), [line]);
    }
    assert!(foreign_locks("use std::sync::Arc;\nuse crate::sync::Mutex;").is_empty());
}

#[test]
fn sockets_are_named_in_net_only() {
    let sources = graph::sources();
    let named = sources.iter().filter(|(path, text)| {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        !path.starts_with("net/") && !graph::is_test(path) && names_a_socket(code)
    });
    assert_eq!(named.map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [""; 0]);
    let is_net = |path: &str| sources.iter().any(|(one, text)| one == path && names_a_socket(text));
    assert!(is_net("net/tcp.rs") && is_net("net/listener.rs"));
}

fn names_a_socket(code: &str) -> bool {
    ["TcpStream", "TcpListener", "socket2::"].iter().any(|word| code.contains(word))
}

#[test]
fn only_one_folder_knows_the_ledgers_engine() {
    let sources = graph::sources();
    let named = sources.iter().filter(|(path, text)| {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let outside = !path.starts_with("ledger/sqlite/") && !graph::is_test(path);
        outside && code.contains("rusqlite")
    });
    assert_eq!(named.map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [""; 0]);
    assert!(
        sources.iter().any(|(path, text)| {
            path.starts_with("ledger/sqlite/") && text.contains("rusqlite")
        })
    );
}

#[test]
fn the_contract_for_programs_lists_every_code() {
    let contract = read("docs/json.md");
    let rows = rows(&contract, "Codes");
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    // The codes, as the source names them and as serde writes them.
    let source = read("src/chat/refusal.rs");
    let body = source.split("pub enum Code {").nth(1).unwrap().split("\n}").next().unwrap();
    let names = body.lines().filter_map(|line| line.trim().strip_suffix(','));
    let snake = |name: &str| {
        let word =
            |c: char| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.into() };
        name.chars().map(word).collect::<String>().trim_start_matches('_').to_owned()
    };
    let codes: Vec<_> = names.map(snake).filter(|name| name != "unknown").collect();
    assert!(codes.len() > 10);
    for code in &codes {
        let written: pychat::chat::Code = serde_json::from_value(code.as_str().into()).unwrap();
        assert_eq!(serde_json::to_value(written).unwrap(), code.as_str());
    }
    assert_eq!(listed, codes.iter().map(String::as_str).collect());
}

#[test]
fn the_operators_guide_lists_every_key_of_the_configuration() {
    let guide = read("docs/operating.md");
    let rows = rows(&guide, "config.json");
    let listed: Vec<_> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.json");
    fs::write(&file, r#"{"none": 1}"#).unwrap();
    let error = pychat::config::Config::load(&file).unwrap_err().to_string();
    let known: Vec<_> = quoted(error.split_once("expected").unwrap().1).collect();
    assert_eq!(known, listed);
}
