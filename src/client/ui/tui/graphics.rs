//! Pictures in pixels, by kitty's graphics protocol, where the terminal has answered that it has
//! this. The picture lies over its cells, which show it in half blocks elsewhere.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ratatui::layout::Rect;

use crate::client::transfer::Shown;

/// Bytes of base64 in one sequence.
const CHUNK_BYTES: usize = 4_096;
/// Removes the picture, and what the terminal has stored of it.
pub const DELETE: &[u8] = b"\x1b_Ga=d,d=I,i=31,q=2\x1b\\";

/// A picture over cells of the screen.
#[derive(Clone)]
pub struct Graphic {
    pub area: Rect,
    pub picture: Shown,
}

impl PartialEq for Graphic {
    fn eq(&self, other: &Graphic) -> bool {
        self.area == other.area && self.is_of(&other.picture)
    }
}

impl Graphic {
    pub fn is_of(&self, picture: &Shown) -> bool {
        Arc::ptr_eq(&self.picture.0, &picture.0)
    }

    pub fn is_in_row(&self, row: u16) -> bool {
        (self.area.top()..self.area.bottom()).contains(&row)
    }

    /// The sequence that places the picture, which the terminal has stored, at the cursor. It
    /// replaces the earlier placement.
    pub fn placement(&self) -> Vec<u8> {
        let Rect { width, height, .. } = self.area;
        format!("\x1b_Ga=p,q=2,i=31,p=1,c={width},r={height},C=1\x1b\\").into_bytes()
    }

    /// The sequences that transmit the picture and place it at the cursor, which stays there.
    pub fn sequences(&self) -> Vec<u8> {
        let (picture, Rect { width, height, .. }) = (&self.picture.0, self.area);
        let text = STANDARD.encode(picture.rgba());
        let chunks: Vec<_> = text.as_bytes().chunks(CHUNK_BYTES).collect();
        let mut bytes = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            let more = u8::from(index + 1 < chunks.len());
            let head = match index {
                0 => format!(
                    "\x1b_Ga=T,q=2,i=31,p=1,f=32,s={},v={},c={width},r={height},C=1,m={more};",
                    picture.width(),
                    picture.height(),
                ),
                _ => format!("\x1b_Gq=2,m={more};"),
            };
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\x1b\\");
        }
        bytes
    }
}

/// Whether the terminal has the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graphics {
    /// It is not asked: others may show the question as text.
    Unlikely,
    Unasked,
    Asked,
    There,
}

impl Graphics {
    /// By the environment: terminals that are known to have the protocol, outside of multiplexers.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Graphics {
        let text = |name: &str| variable(name).unwrap_or_default();
        let (term, program) = (text("TERM"), text("TERM_PROGRAM"));
        let is_inside = !text("TMUX").is_empty() || !text("STY").is_empty();
        let by_term = ["xterm-kitty", "xterm-ghostty", "wezterm"].contains(&term.as_str());
        let by_program = ["WezTerm", "ghostty"].contains(&program.as_str());
        let is_konsole = text("KONSOLE_VERSION").parse::<u32>().is_ok_and(|it| it >= 220_400);
        match !is_inside && (by_term || by_program || is_konsole) {
            true => Graphics::Unasked,
            false => Graphics::Unlikely,
        }
    }

    /// Returns whether the terminal has to be asked now.
    pub fn asks(&mut self) -> bool {
        let asks = *self == Graphics::Unasked;
        if asks {
            *self = Graphics::Asked;
        }
        asks
    }

    /// Takes the answer, which is late over a slow connection.
    pub fn answered(&mut self) {
        if *self == Graphics::Asked {
            *self = Graphics::There;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::files::decode::Picture;

    #[test]
    fn a_picture_is_sent_in_chunks_that_a_terminal_takes() {
        let rgba: Vec<u8> = (0..60 * 40 * 4).map(|at| (at % 251) as u8).collect();
        let picture = Shown(Arc::new(Picture::new(60, 40, rgba.clone()).unwrap()));
        let graphic = Graphic { area: Rect::new(3, 4, 20, 7), picture };
        let text = String::from_utf8(graphic.sequences()).unwrap();
        let parts: Vec<_> = text.split_terminator("\x1b\\").collect();
        assert!(parts[0].starts_with("\x1b_Ga=T,q=2,i=31,p=1,f=32,s=60,v=40,c=20,r=7,C=1,m=1;"));
        assert_eq!(parts.len(), (rgba.len().div_ceil(3) * 4).div_ceil(CHUNK_BYTES));
        let chunk = |part: &&str| part.split_once(';').unwrap().1.to_owned();
        let chunks: Vec<_> = parts.iter().map(chunk).collect();
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES && chunk.len() % 4 == 0));
        assert!(parts.last().unwrap().starts_with("\x1b_Gq=2,m=0;"));
        assert_eq!(STANDARD.decode(chunks.concat()).unwrap(), rgba);
    }

    #[test]
    fn only_a_terminal_that_answers_gets_pictures() {
        let of = |variables: &[(&str, &str)]| {
            let value = |name: &str| variables.iter().find(|(one, _)| *one == name);
            Graphics::of(|name| value(name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(of(&[("TERM", "xterm-256color")]), Graphics::Unlikely);
        assert_eq!(of(&[("TERM", "xterm-kitty"), ("TMUX", "/tmp/1")]), Graphics::Unlikely);
        let mut kitty = of(&[("TERM", "xterm-kitty")]);
        kitty.answered();
        assert_ne!(kitty, Graphics::There, "it was not asked");
        assert!(kitty.asks() && !kitty.asks());
        kitty.answered();
        assert_eq!(kitty, Graphics::There);
    }
}
