//! Which file of `src` uses which other one, as their imports say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::paths;

/// Files by their module's path (`server::hub`), each with its text but for its tests.
#[derive(Default)]
pub struct Graph {
    files: BTreeMap<String, String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Of files with their path below `src` and their text.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Graph {
        let mut graph = Graph::default();
        for (path, text) in files {
            if !is_test(path) {
                graph.files.insert(module(path), without_tests(text).to_owned());
            }
        }
        for file in graph.files.keys() {
            let mut used: BTreeSet<_> =
                graph.uses(file).iter().filter_map(|path| graph.resolve(file, path, 0)).collect();
            used.remove(file);
            graph.edges.insert(file.clone(), used);
        }
        graph
    }

    /// Of the crate itself.
    pub fn of_the_crate() -> Graph {
        let files = sources();
        Graph::new(files.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }

    /// All arrows, from the file that uses to the one that is used.
    pub fn arrows(&self) -> impl Iterator<Item = (&str, &str)> {
        self.edges
            .iter()
            .flat_map(|(from, used)| used.iter().map(|to| (from.as_str(), to.as_str())))
    }

    /// Files that use each other, directly or through others. A folder's own file may share its
    /// state with one file in the folder.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let is_one_thing = |circle: &[&str]| {
            let [above, below] = circle else { return false };
            below.rsplit_once("::").is_some_and(|(folder, _)| folder == *above)
        };
        circles(&self.edges).into_iter().filter(|circle| !is_one_thing(circle)).collect()
    }

    /// The paths that a file names: those that begin with `crate`, `super` or a module below it.
    fn uses(&self, file: &str) -> Vec<Vec<String>> {
        let text = &self.files[file];
        let mut uses = Vec::new();
        for (at, line) in lines(text) {
            if is_comment(line) {
                continue;
            }
            let begins = line.match_indices("::").filter_map(|(end, _)| {
                let head = &line[..end];
                let begin =
                    head.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
                let (word, before) = (&head[begin..], &head[..begin]);
                let begins = !before.ends_with("::") && self.begins_a_path(file, word);
                begins.then_some(begin)
            });
            for begin in begins {
                let mut found = Vec::new();
                paths::follow(&text[at + begin..], &[], &mut found);
                let shown = line.trim_start();
                let passed_on = shown.starts_with("pub") && shown.contains(" use ");
                // What is only passed on is used by those who fetch it here.
                found.retain(|path| !passed_on || words(text, path.last().unwrap()) > 1);
                uses.extend(found);
            }
        }
        uses
    }

    fn begins_a_path(&self, file: &str, word: &str) -> bool {
        matches!(word, "crate" | "super" | "self") || self.files.contains_key(&joined(file, word))
    }

    /// The file that has what a path in `file` names: where it is only passed on, the next one.
    fn resolve(&self, file: &str, path: &[String], depth: usize) -> Option<String> {
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (String::new(), &path[1..]),
            "self" => (file.to_owned(), &path[1..]),
            "super" => (file.to_owned(), path),
            _ => (file.to_owned(), path),
        };
        while rest.first().is_some_and(|part| part == "super") {
            at = at.rsplit_once("::").map_or(String::new(), |(above, _)| above.to_owned());
            rest = &rest[1..];
        }
        while let Some(part) = rest.first() {
            let below = joined(&at, part);
            let is_folder = self.files.range(below.clone()..).next().is_some_and(|(other, _)| {
                other == &below || other.starts_with(&format!("{below}::"))
            });
            if !is_folder {
                break;
            }
            (at, rest) = (below, &rest[1..]);
        }
        let text = self.files.get(&at)?;
        let Some(item) = rest.first().filter(|_| depth < 4 && at != file) else { return Some(at) };
        let passed_on =
            lines(text).filter(|(_, line)| line.starts_with("pub") && line.contains(" use "));
        for (start, line) in passed_on {
            let mut found = Vec::new();
            let path = line.split(" use ").nth(1).unwrap();
            let begin = start + line.len() - path.len();
            paths::follow(&text[begin..], &[], &mut found);
            if let Some(path) = found.iter().find(|path| path.last() == Some(item)) {
                return self.resolve(&at, path, depth + 1).or(Some(at));
            }
        }
        Some(at)
    }
}

/// The circles of a graph: from each file an arrow leads to those that it uses.
pub fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<&str>> {
    let reached: BTreeMap<_, _> =
        edges.keys().map(|file| (file.as_str(), reached(edges, file))).collect();
    let mut circles = BTreeSet::new();
    for (file, reaches) in &reached {
        let mutual = |other: &&str| reached.get(other).is_some_and(|back| back.contains(file));
        let circle: Vec<&str> = reaches.iter().copied().filter(mutual).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reached<'a>(edges: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for next in edges.get(file).into_iter().flatten() {
            if reached.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    reached
}

/// All sources, by their path below `src`.
pub fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    paths::sources(&src, &mut files);
    assert!(files.len() > 30);
    let name = |file: &Path| file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

pub fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs")
        || path.ends_with("doubles.rs")
        || path.contains("tests/")
        || path == "lib.rs"
        || path == "main.rs"
}

/// The module of a file below `src`.
pub fn module(path: &str) -> String {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.replace('/', "::")
}

/// Tests stand at a file's end.
pub fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap()
}

fn joined(above: &str, below: &str) -> String {
    if above.is_empty() { below.to_owned() } else { format!("{above}::{below}") }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Lines, each with where it begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let begin = at;
        at += line.len();
        (begin, line)
    })
}

/// How often a word stands in a text, but for its comments.
fn words(text: &str, word: &str) -> usize {
    let code = text.lines().filter(|line| !is_comment(line));
    let parts = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    parts.filter(|part| *part == word).count()
}
