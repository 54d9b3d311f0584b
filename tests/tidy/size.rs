//! How long a function and a file may be, and how wide a comment.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::paths;

const FUNCTION_LINES_MAX: usize = 70;
const COMMENT_COLUMNS_MAX: usize = 100;
/// A longer file has parts with states of their own.
const FILE_LINES_MAX: usize = 700;

/// Folders of Rust source; the tests and benchmarks are read as often as what they test.
const FOLDERS: [&str; 4] = ["src", "tests", "benches", "fuzz/src"];

/// Files with wider comments. The list only gets shorter. A comment in `limits.rs` is a row of the
/// table of limits.
const WIDE: &[&str] = &["src/limits.rs"];

/// All sources, by their path.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in FOLDERS {
        let before = files.len();
        paths::sources(&root.join(folder), &mut files);
        assert!(files.len() > before, "{folder}");
    }
    let name = |file: &Path| file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

/// The functions of a text and how many lines each has. rustfmt indents a function's last line as
/// its first.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let mut words = code.split(' ').skip_while(|word| {
            word.starts_with("pub") || matches!(*word, "const" | "async" | "unsafe")
        });
        let (Some("fn"), Some(name)) = (words.next(), words.next()) else { continue };
        let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        let ends = |line: &&str| {
            let rest = line.strip_prefix(indent);
            rest.is_some_and(|rest| {
                rest.starts_with('}') || rest.starts_with(") ") && rest.ends_with(';')
            })
        };
        let single = line.ends_with(';') || line.ends_with('}');
        let more = if single {
            0
        } else {
            lines[first + 1..].iter().take_while(|line| !ends(line)).count() + 1
        };
        functions.push((name, more + 1));
    }
    functions
}

fn is_wide(line: &str) -> bool {
    line.trim_start().starts_with("//") && line.chars().count() > COMMENT_COLUMNS_MAX
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for (file, text) in sources() {
        let found = functions(&text).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
        long.extend(found.map(|(name, _)| (file.clone(), name.to_owned())));
    }
    long.sort_unstable();
    assert!(long.is_empty(), "{long:?}");
}

/// The names of files with more lines than the bound.
fn long_files(sources: &[(String, String)]) -> Vec<&str> {
    let long = sources.iter().filter(|(_, text)| text.lines().count() > FILE_LINES_MAX);
    let mut long: Vec<_> = long.map(|(file, _)| file.as_str()).collect();
    long.sort_unstable();
    long
}

#[test]
fn files_are_short() {
    assert_eq!(long_files(&sources()), [""; 0]);
}

#[test]
fn a_long_file_is_noticed() {
    let file = |name: &str, lines: usize| (name.to_owned(), "x\n".repeat(lines));
    assert_eq!(long_files(&[file("short", 700), file("long", 701)]), ["long"]);
}

#[test]
fn comments_are_narrow() {
    let sources = sources();
    let read = sources.iter().filter(|(file, _)| !file.starts_with("benches"));
    let wide = read.filter(|(_, text)| text.lines().any(is_wide));
    let wide: BTreeSet<_> = wide.map(|(file, _)| file.as_str()).collect();
    assert_eq!(wide, WIDE.iter().copied().collect(), "those found are left, those listed right");
}

#[test]
fn a_function_ends_where_its_block_does() {
    let text = "fn one() {}\ntrait T {\n    fn two(\n        a: u8,\n    ) -> u8;\n    fn three();\n}\n\
                pub(crate) const fn four()\nwhere\n    T: U,\n{\n    if x {\n    }\n}\n\
                impl X {\n    pub fn five(&self) {\n        1\n    }\n}\n";
    let found = [("one", 1), ("two", 3), ("three", 1), ("four", 7), ("five", 3)];
    assert_eq!(functions(text), found);
    let body = |lines: usize| format!("fn long() {{\n{}}}\n", "    x();\n".repeat(lines));
    assert_eq!(functions(&body(69)), [("long", 71)]);
    assert_eq!(functions(&body(68)), [("long", 70)]);
}

#[test]
fn a_wide_comment_is_noticed() {
    let line = |columns: usize| format!("    //{}", "x".repeat(columns - 6));
    assert!(!is_wide(&line(100)) && is_wide(&line(101)));
    assert!(!is_wide(&"x".repeat(120)));
}
