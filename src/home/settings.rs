//! users/NAME.json: an operator's settings for one user.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::users::Folder;
use crate::chat::UserName;
use crate::chat::rights::Role;
use crate::config::IpRange;
use crate::crypto::password::PasswordHash;
use crate::file::FileError;
use crate::file::json_file;

/// The settings; users without a file have the defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub role: Role,
    /// The password that is asked for after the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    /// Address ranges from which the user may connect; all if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpRange>,
    /// Address ranges from which the user may not connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpRange>,
}

impl Settings {
    /// Reads the settings; the defaults if the file does not exist.
    ///
    /// # Errors
    /// The file cannot be read, or is not what settings look like.
    pub fn read(path: &Path) -> Result<Settings, FileError> {
        let settings: Option<Settings> = json_file::load(path, json_file::SMALL)?;
        // A link whose file is gone for a moment must not lift what denies the access.
        if settings.is_none() && path.is_symlink() {
            return Err(FileError::damaged(path, "it leads to no file"));
        }
        let settings = settings.unwrap_or_default();
        match settings.role {
            // No file can grant the rights of the console.
            Role::Console => Err(FileError::damaged(path, "a role is owner, moderator or member")),
            _ => Ok(settings),
        }
    }

    /// Reads a user's settings, changes them and replaces the file (0600).
    pub fn change(
        dir: &Path,
        name: &UserName,
        change: impl FnOnce(&mut Settings),
    ) -> Result<(), FileError> {
        let path = path(dir, name)?;
        let mut settings = Self::read(&path)?;
        change(&mut settings);
        json_file::save(&path, &settings, 0o600)
    }
}

/// Returns the path of a user's settings.
fn path(dir: &Path, name: &UserName) -> Result<PathBuf, FileError> {
    let folder = Folder::read(dir).map_err(FileError::io(dir))?;
    let there = folder.settings_of(name).first().cloned();
    Ok(there.unwrap_or_else(|| dir.join(format!("{name}.json"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_back_and_a_wrong_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let name: UserName = "bob".parse().unwrap();
        assert_eq!(Settings::read(&folder.path().join("bob.json")).unwrap(), Settings::default());
        Settings::change(folder.path(), &name, |one| one.role = Role::Moderator).unwrap();
        assert_eq!(Settings::read(&folder.path().join("bob.json")).unwrap().role, Role::Moderator);
        for bad in [
            r#"{"role": "king"}"#,
            r#"{"role": "console"}"#,
            r#"{"rule": "owner"}"#,
            "{",
            r#"{"allow": ["10.0.0.1/8"]}"#,
            r#"{"password": "tea for two"}"#,
        ] {
            std::fs::write(folder.path().join("bob.json"), bad).unwrap();
            let error = Settings::read(&folder.path().join("bob.json")).unwrap_err().to_string();
            assert!(error.contains("bob.json: "), "{error}");
        }
    }
}
