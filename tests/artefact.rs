//! The client for browsers that is part of the source (`web/core.wasm.gz`) is built from the
//! sources as they are. The bytes themselves are compared in CI, which has a compiler for them.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

const AGAIN: &str = "run web/core/build, and commit web/core.*";

fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn hash(name: &str) -> Option<String> {
    let bytes = fs::read(path(name)).ok()?;
    Some(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn the_client_for_browsers_is_built_from_these_sources() {
    let listed = fs::read_to_string(path("web/core.sources")).unwrap();
    let files: Vec<(&str, &str)> =
        listed.lines().map(|line| line.split_once("  ").expect("a line of sha256sum")).collect();
    assert!(files.len() > 200, "{} files are too few", files.len());
    for needed in ["src/client/core.rs", "src/client/model/mod.rs", "web/core/src/lib.rs"] {
        assert!(files.iter().any(|(_, name)| *name == needed), "{needed} is not listed");
    }
    let changed: Vec<&str> = files
        .iter()
        .filter(|(known, name)| hash(name).as_deref() != Some(*known))
        .map(|(_, name)| *name)
        .collect();
    assert!(changed.is_empty(), "changed since web/core.wasm.gz was built: {changed:?}: {AGAIN}");
}

#[test]
fn the_client_for_browsers_is_the_one_that_its_lock_names() {
    let lock = fs::read_to_string(path("web/core.lock")).unwrap();
    let named = lock.lines().find_map(|line| line.strip_prefix("gzip "));
    let is_there = Path::new(&path("web/core.wasm.gz")).is_file();
    assert!(is_there && named == hash("web/core.wasm.gz").as_deref(), "{AGAIN}");
}
