//! Compares the dependency tree with deny.toml: licences, banned crates and sources. `cargo deny
//! check` checks these too, and also advisories. This test needs only cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The packages that a build for this computer has, development's included.
fn packages() -> Vec<Value> {
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
    let output = command.arg(host.trim()).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let resolved = metadata["resolve"]["nodes"].as_array().unwrap();
    let used: BTreeSet<_> =
        resolved.iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect();
    let Value::Array(mut packages) = metadata["packages"].take() else { panic!("no packages") };
    packages.retain(|package| used.contains(package["id"].as_str().unwrap()));
    packages
}

/// deny.toml: licences for everybody, those of one crate, and crates that may not be.
struct Rules {
    allowed: BTreeSet<String>,
    exceptions: BTreeMap<String, String>,
    banned: BTreeSet<String>,
}

impl Rules {
    fn read() -> Rules {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
        let text = fs::read_to_string(path).unwrap();
        let list = |begin: &str| {
            let list = text.split(begin).nth(1).unwrap_or_else(|| panic!("no {begin}"));
            let end = list.find("]\n").unwrap();
            list[..end].split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let exceptions = list("\nexceptions = [");
        let pairs = exceptions.chunks_exact(2).map(|pair| (pair[1].clone(), pair[0].clone()));
        Rules {
            allowed: list("\nallow = [").into_iter().collect(),
            exceptions: pairs.collect(),
            banned: list("\ndeny = [").into_iter().collect(),
        }
    }

    fn allow(&self, name: &str, license: &str) -> bool {
        self.exceptions.get(name).is_some_and(|one| one == license)
            || satisfied(license, &|one| self.allowed.contains(one))
    }
}

/// Returns whether the allowed licences satisfy an SPDX expression. AND binds more tightly than OR,
/// and the former `/` means OR.
fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let expression = expression.replace('/', " OR ");
    let any = split(&expression, " OR ");
    any.into_iter().any(|part| {
        split(part, " AND ").into_iter().all(|part| {
            let part = part.trim();
            match part.strip_prefix('(').and_then(|part| part.strip_suffix(')')) {
                Some(inner) => satisfied(inner, allowed),
                None => allowed(part),
            }
        })
    })
}

/// The parts between separators that stand in no parentheses.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for (at, _) in text.match_indices(separator) {
        let before = &text[..at];
        if before.matches('(').count() == before.matches(')').count() {
            parts.push(&text[from..at]);
            from = at + separator.len();
        }
    }
    parts.push(&text[from..]);
    parts
}

#[test]
fn every_dependency_is_one_that_deny_toml_allows() {
    let (rules, packages) = (Rules::read(), packages());
    assert!(packages.len() > 100 && rules.allowed.len() > 5 && rules.banned.contains("tokio"));
    let mut sources = BTreeSet::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let license = package["license"].as_str().unwrap_or_else(|| panic!("{name} has none"));
        assert!(rules.allow(name, license), "{name} is under {license}");
        assert!(!rules.banned.contains(name), "{name} is banned");
        // The packages of this repository have no source.
        let Some(source) = package["source"].as_str() else { continue };
        assert!(source.starts_with("registry+"), "{name} comes from {source}");
        sources.insert(source);
    }
    assert_eq!(sources.len(), 1, "{sources:?}");
}

#[test]
fn the_client_alone_wants_no_c_compiler() {
    let compilers = |features: &[&str]| {
        let mut tree = Command::new(env!("CARGO"));
        tree.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none"]);
        tree.args(["--format", "{p}"]).args(features).current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = tree.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let names: BTreeSet<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains("rsa"), "{text}");
        ["cc", "cmake", "bindgen", "pkg-config"].iter().filter(|one| names.contains(**one)).count()
    };
    assert_eq!(compilers(&["--no-default-features"]), 0);
    assert!(compilers(&[]) > 0, "AWS-LC, ring and SQLite want one");
}

#[test]
fn an_expression_is_read_as_its_author_meant_it() {
    let mit = |expression| satisfied(expression, &|one| one == "MIT");
    for yes in ["MIT", "GPL-3.0 OR MIT", "Apache-2.0/MIT", "MIT AND (ISC OR MIT)", "X AND Y OR MIT"]
    {
        assert!(mit(yes), "{yes}");
    }
    for no in ["", "GPL-3.0", "MIT AND ISC", "(MIT OR ISC) AND ISC", "MIT WITH exception"] {
        assert!(!mit(no), "{no}");
    }
}
