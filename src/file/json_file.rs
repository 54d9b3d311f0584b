//! JSON files: read up to a bound, replaced atomically.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::FileError;

/// Bound on files that people edit or that contain a few values, in bytes.
pub const SMALL: u64 = 64 << 10;
/// Bound on files that grow with the number of users, in bytes: much more than for ten thousand of
/// them.
pub const LARGE: u64 = 64 << 20;

/// Reads the value of a file up to a bound; `None` if it does not exist.
///
/// # Errors
/// The file cannot be read, is larger, or holds something else: the error names the file and the
/// place in it.
pub fn load<T: DeserializeOwned>(path: &Path, bytes_max: u64) -> Result<Option<T>, FileError> {
    let Some(text) = super::read_text_up_to(path, bytes_max)? else { return Ok(None) };
    parse(&text).map(Some).map_err(|error| FileError::damaged(path, error))
}

/// Same as [`load`], for a file that holds a list.
///
/// # Errors
/// As [`load`].
pub fn load_list<T: DeserializeOwned>(
    path: &Path,
    bytes_max: u64,
) -> Result<Option<Vec<T>>, FileError> {
    let Some(text) = super::read_text_up_to(path, bytes_max)? else { return Ok(None) };
    read(&text).map(Some).map_err(|error| FileError::damaged(path, error))
}

/// Where a text holds no value of the type, and why.
#[derive(Debug, thiserror::Error)]
#[error("{place}{problem}")]
pub struct Misfit {
    /// The path to the value, with a colon and a space; empty for the whole text.
    pub place: String,
    pub problem: String,
}

/// Returns the object that a text holds.
///
/// # Errors
/// The text is no JSON, has another type, or has bytes after the value.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Misfit> {
    let text = super::without_mark(text);
    // serde takes the values of a list for the fields of a struct, in their order, and an empty
    // one for the defaults.
    if text.trim_start().starts_with('[') {
        return Err(Misfit::list(String::new()));
    }
    read(text)
}

/// Checks that none of these named values is a list, nor any value in the object `map`. Each must
/// be an object, as in [`parse`].
///
/// # Errors
/// The first value that is a list.
pub fn check_objects(text: &str, names: &[&str], map: &str) -> Result<(), Misfit> {
    let value: serde_json::Value = read(text)?;
    let is_list = |name: &&&str| value.get(**name).is_some_and(serde_json::Value::is_array);
    if let Some(name) = names.iter().find(is_list) {
        return Err(Misfit::list(format!("{name}: ")));
    }
    let entries = value.get(map).and_then(serde_json::Value::as_object);
    // By their own names, which the type may fold.
    match entries.into_iter().flatten().find(|(_, entry)| entry.is_array()) {
        None => Ok(()),
        Some((name, _)) => Err(Misfit::list(format!("{map}.{name}: "))),
    }
}

impl Misfit {
    fn list(place: String) -> Misfit {
        Misfit { place, problem: "it is a list: write { and } with named values".into() }
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Misfit> {
    let mut json = serde_json::Deserializer::from_str(super::without_mark(text));
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = match error.path().to_string().as_str() {
            "." | "?" => String::new(),
            place => format!("{place}: "),
        };
        Misfit { place, problem: error.inner().to_string() }
    })?;
    let misfit =
        |error: serde_json::Error| Misfit { place: String::new(), problem: error.to_string() };
    json.end().map_err(misfit)?;
    Ok(value)
}

/// Replaces a file by a value, formatted for readers. The file is on disk when this returns.
///
/// # Errors
/// It cannot be written: the file is what it was before.
pub fn save<T: Serialize + ?Sized>(path: &Path, value: &T, mode: u32) -> Result<(), FileError> {
    put(path, serde_json::to_vec_pretty(value), mode)
}

/// Same as [`save`], but in one line, for large values.
///
/// # Errors
/// As [`save`].
pub fn save_compact<T: Serialize + ?Sized>(
    path: &Path,
    value: &T,
    mode: u32,
) -> Result<(), FileError> {
    put(path, serde_json::to_vec(value), mode)
}

fn put(path: &Path, json: serde_json::Result<Vec<u8>>, mode: u32) -> Result<(), FileError> {
    let mut json = json.map_err(|error| FileError::damaged(path, error))?;
    json.push(b'\n');
    super::replace(path, &json, mode)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    type Ages = BTreeMap<String, u8>;

    #[test]
    fn a_value_is_read_back_from_a_file_that_only_its_owner_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ages.json");
        assert_eq!(load::<Ages>(&path, SMALL).unwrap(), None);
        let ages = Ages::from([("bob".to_owned(), 7)]);
        for save in [save::<Ages>, save_compact::<Ages>] {
            save(&path, &ages, 0o600).unwrap();
            assert_eq!(load(&path, SMALL).unwrap(), Some(ages.clone()));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn an_error_names_the_file_and_the_place_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ages.json");
        for (text, problem) in [
            (r#"{"bob": 999}"#, "ages.json: bob: "),
            ("{", "ages.json: "),
            ("{} {}", "ages.json: trailing characters"),
            (" []", "ages.json: it is a list"),
            ("\u{feff}[]", "ages.json: it is a list"),
            (&"x".repeat(100), "ages.json: it is larger than 99 bytes"),
        ] {
            fs::write(&path, text).unwrap();
            let error = load::<Ages>(&path, 99).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        // A caller that has read the file itself.
        let error = parse::<Ages>("\u{feff} []").unwrap_err().to_string();
        assert!(error.contains("it is a list"), "{error}");
        let nowhere = folder.path().join("none").join("ages.json");
        assert!(save(&nowhere, &Ages::new(), 0o600).is_err());
        let unwritable = BTreeMap::from([((1, 2), 3)]);
        assert!(save(&path, &unwritable, 0o600).is_err(), "a key is a text");
        assert_eq!(fs::read_to_string(&path).unwrap(), "x".repeat(100));
    }
}
