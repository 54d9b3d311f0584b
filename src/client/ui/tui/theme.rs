//! Themes: four, with a style for each role. Mono uses bold and reverse where others use colour, so
//! that unread messages and mentions stay visible.

use ratatui::style::{Color, Modifier, Style};
use serde::{Deserialize, Serialize};

use crate::chat::UserName;
use crate::client::ui::words::{PALETTE, shade};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    Dark,
    Light,
    #[serde(rename = "16")]
    Sixteen,
    Mono,
}

/// The styles of a theme.
#[derive(Clone, Copy)]
pub struct Look {
    pub theme: Theme,
    /// Names have individual colours.
    pub names: bool,
    pub bar: Style,
    pub dim: Style,
    pub own: Style,
    pub error: Style,
    pub unread: Style,
    pub mention: Style,
    pub divider: Style,
    pub chosen: Style,
    pub hit: Style,
    pub good: Style,
}

impl Theme {
    /// The theme for this terminal.
    pub fn of_terminal(colour: bool) -> Theme {
        let term = std::env::var("TERM").unwrap_or_default();
        let rich = std::env::var_os("COLORTERM").is_some() || term.contains("256");
        match (colour, rich) {
            (false, _) => Theme::Mono,
            (true, false) => Theme::Sixteen,
            (true, true) if light_background() => Theme::Light,
            (true, true) => Theme::Dark,
        }
    }

    pub fn named(name: &str) -> Option<Theme> {
        Some(match name {
            "dark" => Theme::Dark,
            "light" => Theme::Light,
            "16" => Theme::Sixteen,
            "mono" => Theme::Mono,
            _ => return None,
        })
    }

    pub fn look(self) -> Look {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let reversed = plain.add_modifier(Modifier::REVERSED);
        let colour = |index| Style::new().fg(Color::Indexed(index));
        let bar = |fg, bg| Style::new().fg(Color::Indexed(fg)).bg(Color::Indexed(bg));
        match self {
            Theme::Mono => Look {
                theme: self,
                names: true,
                bar: reversed,
                dim: plain.add_modifier(Modifier::DIM),
                own: bold,
                error: bold,
                unread: bold,
                mention: bold.add_modifier(Modifier::REVERSED),
                divider: bold,
                chosen: reversed,
                hit: reversed.add_modifier(Modifier::UNDERLINED),
                good: plain,
            },
            Theme::Sixteen => Look {
                theme: self,
                names: true,
                bar: reversed,
                dim: Style::new().fg(Color::DarkGray),
                own: bold,
                error: Style::new().fg(Color::Red),
                unread: bold.fg(Color::Cyan),
                mention: bold.fg(Color::Magenta),
                divider: Style::new().fg(Color::Red),
                chosen: reversed,
                hit: Style::new().fg(Color::Black).bg(Color::Yellow),
                good: Style::new().fg(Color::Green),
            },
            Theme::Dark => Look {
                theme: self,
                names: true,
                bar: bar(252, 236),
                dim: colour(244),
                own: bold,
                error: colour(203),
                unread: colour(117).add_modifier(Modifier::BOLD),
                mention: colour(213).add_modifier(Modifier::BOLD),
                divider: colour(173),
                chosen: bar(255, 240),
                hit: bar(16, 221),
                good: colour(108),
            },
            Theme::Light => Look {
                theme: self,
                names: true,
                bar: bar(236, 254),
                dim: colour(242),
                own: bold,
                error: colour(160),
                unread: colour(25).add_modifier(Modifier::BOLD),
                mention: colour(127).add_modifier(Modifier::BOLD),
                divider: colour(166),
                chosen: bar(232, 250),
                hit: bar(16, 221),
                good: colour(28),
            },
        }
    }
}

impl Look {
    /// The style of a user's name, the same everywhere.
    pub fn name(&self, name: &UserName) -> Style {
        const SIXTEEN: [Color; 6] =
            [Color::Red, Color::Green, Color::Yellow, Color::Blue, Color::Magenta, Color::Cyan];
        match self.theme {
            _ if !self.names => Style::new(),
            Theme::Mono => Style::new(),
            Theme::Sixteen => Style::new().fg(SIXTEEN[shade(name) % SIXTEEN.len()]),
            Theme::Dark | Theme::Light => Style::new().fg(Color::Indexed(PALETTE[shade(name)])),
        }
    }
}

/// Some terminals report their colours (`COLORFGBG=0;15`).
fn light_background() -> bool {
    let colours = std::env::var("COLORFGBG").unwrap_or_default();
    let background = colours.rsplit(';').next().and_then(|number| number.parse::<u8>().ok());
    matches!(background, Some(7 | 15))
}
