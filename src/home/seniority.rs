//! Users who were registered at the last run, from data/keys.json. A key file that is added later
//! cannot take their names or keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::chat::UserName;
use crate::file::json_file;

/// The keys that the server has recorded.
pub const KEYS_FILE: &str = "data/keys.json";

/// The fields that are read; `known.rs` writes the file.
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

/// Returns the names that were registered at the last run of this home's server. It returns none
/// if the file cannot be read; the server and `pychat check` report that.
pub fn registered(home: &Path) -> BTreeSet<UserName> {
    let file = home.join(KEYS_FILE);
    let keys = json_file::load::<Keys>(&file, json_file::LARGE).ok().flatten();
    let keys = keys.into_iter().flat_map(|keys| keys.keys.into_values());
    keys.filter(|key| !key.gone).map(|key| key.name).collect()
}
