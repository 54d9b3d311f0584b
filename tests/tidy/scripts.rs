//! The imports of the page's scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::graph::circles;

/// The scripts of a folder, by their name, with those that each imports.
fn imports<'a>(
    scripts: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, BTreeSet<String>> {
    scripts.into_iter().map(|(name, text)| (name.to_owned(), imported(text))).collect()
}

/// The scripts beside it that a script names in an import.
fn imported(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let named = code.flat_map(|line| {
        let sources = ["from './", "import './", "import('./"];
        sources.into_iter().filter_map(|source| line.split_once(source)?.1.split_once('\''))
    });
    named.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn no_imports_of_scripts_go_in_a_circle() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/page");
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let read = |name: String| {
        let text = fs::read_to_string(folder.join(&name)).unwrap();
        (name, text)
    };
    let scripts: Vec<_> = names.filter(|name| name.ends_with(".js")).map(read).collect();
    let imports = imports(scripts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    assert!(imports.len() > 20 && imports["main.js"].contains("keys.js"));
    assert_eq!(circles(&imports), [[""; 0]; 0]);
}

#[test]
fn a_circle_of_scripts_is_noticed() {
    let found = |b: &str| {
        let scripts = imports([("a.js", "import { b } from './b.js';"), ("b.js", b)]);
        circles(&scripts).iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
    };
    for text in [
        "import * as a from './a.js';",
        "import {\n\ta,\n} from './a.js';",
        "import './a.js';",
        "export { a } from './a.js';",
        "const a = await import('./a.js');",
    ] {
        assert_eq!(found(text), ["a.js b.js"], "{text}");
    }
    for text in ["// import './a.js';", "import { c } from './c.js';", "load('./a.js');"] {
        assert!(found(text).is_empty(), "{text}");
    }
}
