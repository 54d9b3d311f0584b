//! The end-to-end engine does without files, clocks, threads and sockets, so that it runs in a
//! browser as well: it uses ports for storage, and its caller states the time. Its modules
//! compile for `wasm32-unknown-unknown`, which `.ci/run` tries where it can.

use std::collections::BTreeSet;

use super::graph::{self, Graph};

/// What none of its files names.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::path",
    "std::process",
    "std::thread",
    "std::time",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "crate::client",
    "crate::home",
    "crate::system",
    "tempfile",
];

/// What a text names of the outside.
fn outside(text: &str) -> Vec<&'static str> {
    // `use std::{fs, io}` names it as well.
    let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join(" ");
    let grouped = |name: &str| {
        let Some(module) = name.strip_prefix("std::") else { return false };
        let groups = code.split("std::{").skip(1).filter_map(|rest| rest.split(';').next());
        let mut words =
            groups.flat_map(|group| group.split(|c: char| !c.is_alphanumeric() && c != '_'));
        words.any(|word| word == module)
    };
    OUTSIDE.iter().copied().filter(|name| code.contains(name) || grouped(name)).collect()
}

/// The crate's modules that a browser has, and those that it has not.
fn split(lib: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut here, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
    let mut gate = "";
    for line in lib.lines() {
        match line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            Some(name) if gate.is_empty() => here.insert(name),
            Some(name) => elsewhere.insert(name),
            None => false,
        };
        let gates = line.starts_with("#[cfg(") && !line.contains("test");
        // Other attributes are of the same module.
        gate = match line.starts_with("#[") {
            true if !gates => gate,
            _ => {
                if gates {
                    line
                } else {
                    ""
                }
            }
        };
    }
    (here, elsewhere)
}

/// Which of the browser's files use what it lacks.
fn lacking(graph: &Graph, lib: &str) -> Vec<String> {
    let (here, elsewhere) = split(lib);
    let top = |file: &str| file.split("::").next().unwrap().to_owned();
    let lacks =
        |(from, to): &(&str, &str)| here.contains(&*top(from)) && elsewhere.contains(&*top(to));
    graph.arrows().filter(lacks).map(|(from, to)| format!("{from} uses {to}")).collect()
}

#[test]
fn what_a_browser_runs_uses_nothing_that_it_lacks() {
    let sources = graph::sources();
    let lib = &sources.iter().find(|(path, _)| path == "lib.rs").unwrap().1;
    let (here, elsewhere) = split(lib);
    for name in ["chat", "clean", "crypto", "e2e", "file", "limits", "system", "wire"] {
        assert!(here.contains(name), "{name} is not for browsers");
    }
    for name in ["cli", "client", "home", "ledger", "net", "server", "terminal"] {
        assert!(elsewhere.contains(name), "{name} is for browsers");
    }
    assert_eq!(lacking(&Graph::of_the_crate(), lib), [""; 0]);
}

#[test]
fn a_module_that_a_browser_lacks_is_noticed() {
    let lib = "pub mod a;\n#[cfg(not(target_family = \"wasm\"))]\npub mod b;\npub mod c;\n";
    let graph = |a: &str| Graph::new([("a.rs", a), ("b.rs", ""), ("c/mod.rs", "")]);
    assert_eq!(lacking(&graph("use crate::b::B;"), lib), ["a uses b"]);
    assert!(lacking(&graph("use crate::c::C;"), lib).is_empty());
}

#[test]
fn the_engine_names_no_file_no_clock_and_no_client() {
    let sources = graph::sources();
    let files: Vec<_> = sources.iter().filter(|(path, _)| path.starts_with("e2e/")).collect();
    assert!(files.len() > 15);
    for (path, text) in files {
        assert_eq!(outside(text), [""; 0], "{path}");
    }
}

#[test]
fn a_file_or_a_clock_in_the_engine_is_noticed() {
    for (text, named) in [
        ("use std::fs::File;", &["std::fs"][..]),
        ("use std::{collections::BTreeMap, fs};", &["std::fs"]),
        ("use std::{\n    fs::{self, File},\n    time,\n};", &["std::fs", "std::time"]),
        ("let now = std::time::SystemTime::now();", &["std::time", "SystemTime"]),
        ("let now = jiff::Timestamp::now();", &["Timestamp::now"]),
        ("use crate::client::data_folder;", &["crate::client"]),
    ] {
        assert_eq!(outside(text), named, "{text}");
    }
    for text in ["// std::fs", "use std::{collections::BTreeMap, sync::Arc};", "let fs = 1;"] {
        assert!(outside(text).is_empty(), "{text}");
    }
}
