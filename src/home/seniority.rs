//! Who was registered before, as data/keys.json has it: a file that comes later takes no name and
//! no key from them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::json_file;
use crate::chat::UserName;

/// The keys that a server has met.
pub const KEYS_FILE: &str = "data/keys.json";

/// What is read of the file; `known.rs` writes it.
#[derive(Deserialize)]
struct Keys {
    keys: BTreeMap<String, Key>,
}

#[derive(Deserialize)]
struct Key {
    name: UserName,
    #[serde(default)]
    gone: bool,
}

/// The names that were registered when the server of this home ran last. A file that cannot be read
/// names nobody: the server and `pychat check` report it.
pub fn registered(home: &Path) -> BTreeSet<UserName> {
    let file = home.join(KEYS_FILE);
    let keys = json_file::load::<Keys>(&file, json_file::LARGE).ok().flatten();
    let keys = keys.into_iter().flat_map(|keys| keys.keys.into_values());
    keys.filter(|key| !key.gone).map(|key| key.name).collect()
}
