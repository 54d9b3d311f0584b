//! Settings of the full screen: `screen.json` in the configuration folder.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use super::theme::Theme;
use crate::client::slash::{Notifications, Notify, ScreenSetting};
use crate::fault::{Fault, code};
use crate::file::make_folder;
use crate::file::{FileError, json_file};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `None` adapts to the terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<Theme>,
    /// Names end in one column.
    pub align: bool,
    pub bell: bool,
    pub mouse: bool,
    /// The title of the terminal's window shows the conversation and the number of mentions.
    pub title: bool,
    pub notifications: Notifications,
    /// By conversation: `#work`, `@bob`. Names are stored sealed (`rooms.rs`).
    #[serde(skip)]
    pub notify: BTreeMap<String, Notify>,
    /// By the name of a binding: the keys that replace the default ones.
    pub keys: BTreeMap<String, Vec<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            theme: None,
            align: false,
            bell: true,
            mouse: false,
            title: false,
            notifications: Notifications::Off,
            notify: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl Settings {
    pub fn file() -> Option<PathBuf> {
        let base = etcetera::choose_base_strategy().ok()?;
        Some(base.config_dir().join("pychat").join("screen.json"))
    }

    pub fn load(file: &Path) -> Result<Settings, Fault> {
        let unreadable = |error: FileError| {
            let hint = "correct it, or remove it for the default settings";
            Fault::new(code::UNREADABLE, error.to_string(), hint)
        };
        let settings = json_file::load(file, json_file::SMALL).map_err(unreadable)?;
        Ok(settings.unwrap_or_default())
    }

    pub fn save(&self, file: &Path) -> Result<(), String> {
        let folder = file.parent().expect("it lies in a folder");
        let saved = make_folder(folder, 0o700).and_then(|()| json_file::save(file, self, 0o600));
        saved.map_err(|error| error.to_string())
    }

    /// Applies `/set KEY VALUE`.
    pub fn set(&mut self, setting: ScreenSetting) {
        match setting {
            ScreenSetting::Align(on) => self.align = on,
            ScreenSetting::Bell(on) => self.bell = on,
            ScreenSetting::Mouse(on) => self.mouse = on,
            ScreenSetting::Title(on) => self.title = on,
            ScreenSetting::Notifications(notifications) => self.notifications = notifications,
        }
    }
}

/// The text of `/set`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |on| if on { "on" } else { "off" };
        let [align, bell, mouse, title] = [self.align, self.bell, self.mouse, self.title].map(word);
        let notifications = format!("{:?}", self.notifications).to_lowercase();
        write!(
            f,
            "align {align}, bell {bell}, mouse {mouse}, title {title}, notifications {notifications}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_guide_to_the_screen_lists_every_setting() {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/screen.md");
        let guide = fs::read_to_string(guide).unwrap();
        let section = guide.split("\n## screen.json\n").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut listed: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        // The error about an unknown key names the others.
        let error = serde_json::from_str::<Settings>(r#"{"none": 1}"#).unwrap_err().to_string();
        let known = error.split_once("expected").unwrap().1;
        let mut known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known);
    }
}
