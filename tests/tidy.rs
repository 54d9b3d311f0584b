//! The floors of ARCHITECTURE.md, held against the code.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module's floor: it uses lower floors and its own folder.
const FLOORS: &[(&str, u8)] = &[
    ("limits", 0),
    ("clean", 0),
    ("fault", 0),
    ("config", 1),
    ("chat", 1),
    ("wire", 2),
    ("crypto", 2),
    ("net", 3),
    ("invite", 3),
    ("keyring", 3),
    ("terminal", 3),
    ("server", 4),
    ("client", 4),
    ("cli", 5),
];

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The forbidden arrows in a file of `module`.
fn faults(module: &str, text: &str) -> Vec<String> {
    let own = floor(module).unwrap_or_else(|| panic!("{module} has no floor"));
    let mut faults = Vec::new();
    for part in text.split("crate::").skip(1) {
        let used: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        match floor(&used) {
            Some(floor) if used != module && floor >= own => {
                faults.push(format!("{module} uses {used}"));
            }
            _ => {}
        }
    }
    faults
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn modules_use_lower_floors_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30);
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "main" | "lib") {
            continue;
        }
        let faults = faults(module, &fs::read_to_string(&file).unwrap());
        assert!(faults.is_empty(), "{}: {faults:?}", inside.display());
    }
}

#[test]
fn a_forbidden_arrow_is_noticed() {
    assert_eq!(faults("server", "use crate::client::vault;"), ["server uses client"]);
    assert_eq!(faults("chat", "use crate::{net}; crate::net::x()"), ["chat uses net"]);
    assert!(faults("server", "use crate::chat::Event;").is_empty());
}
