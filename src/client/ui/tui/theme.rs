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
                // Of the colours of xterm only red and magenta are readable on black and on white.
                unread: bold.add_modifier(Modifier::UNDERLINED),
                mention: bold.fg(Color::Magenta),
                divider: Style::new().fg(Color::Red),
                chosen: reversed,
                hit: Style::new().fg(Color::Black).bg(Color::Yellow),
                good: plain,
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
        const SIXTEEN: [Color; 3] = [Color::Red, Color::Magenta, Color::Reset];
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast of two colours of xterm by the rules of WCAG 2.
    fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
        let light = |rgb: [u8; 3]| {
            let [red, green, blue] = rgb.map(|value| {
                let value = f64::from(value) / 255.0;
                if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            });
            0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
        };
        let (one, other) = (light(one), light(other));
        one.max(other) / one.min(other)
    }

    #[test]
    fn sixteen_colours_are_readable_on_black_and_on_white() {
        let look = Theme::Sixteen.look();
        let names = (0..40).map(|number| look.name(&format!("user{number}").parse().unwrap()));
        let roles = [look.dim, look.own, look.error, look.unread, look.mention, look.divider];
        for style in names.chain(roles).chain([look.good]) {
            let rgb = match style.fg {
                // The terminal's own colour is readable on its background.
                None | Some(Color::Reset) => continue,
                Some(Color::Red) => [205, 0, 0],
                Some(Color::Magenta) => [205, 0, 205],
                Some(Color::DarkGray) => [127, 127, 127],
                Some(other) => panic!("{other:?} is not readable on each background"),
            };
            for background in [[0; 3], [255; 3]] {
                let contrast = contrast(rgb, background);
                assert!(contrast >= 3.0, "{style:?} on {background:?}: {contrast}");
            }
        }
        assert!(contrast([0, 205, 205], [255; 3]) < 3.0, "cyan is not");
    }
}
