//! The end-to-end engine does without files, clocks, threads and sockets, so that it runs in a
//! browser as well: it has its ports for what it needs, and is told what time it is.

use super::graph;

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
        ("use crate::client::vault;", &["crate::client"]),
    ] {
        assert_eq!(outside(text), named, "{text}");
    }
    for text in ["// std::fs", "use std::{collections::BTreeMap, sync::Arc};", "let fs = 1;"] {
        assert!(outside(text).is_empty(), "{text}");
    }
}
