//! Rewrites the first sixteen colours from `38;5;N` and `48;5;N`, which old terminals misinterpret,
//! to the basic codes (30 to 37 and 90 to 97, 40 to 47 and 100 to 107).

use std::io::{self, Write};

/// A writer that passes all bytes on and rewrites the colours of `CSI ... m`.
pub struct Short<W> {
    to: W,
    /// An incomplete sequence.
    begun: Vec<u8>,
}

impl<W: Write> Short<W> {
    pub fn new(to: W) -> Self {
        Short { to, begun: Vec::new() }
    }

    fn pass(&mut self) -> io::Result<()> {
        let sequence = std::mem::take(&mut self.begun);
        let looks = sequence.strip_prefix(b"\x1b[").and_then(|rest| rest.strip_suffix(b"m"));
        match looks.and_then(|looks| std::str::from_utf8(looks).ok()).map(shortened) {
            Some(looks) => write!(self.to, "\x1b[{looks}m"),
            None => self.to.write_all(&sequence),
        }
    }
}

fn shortened(looks: &str) -> String {
    let mut short: Vec<String> = Vec::new();
    let mut numbers = looks.split(';');
    while let Some(number) = numbers.next() {
        let mut rest = numbers.clone();
        match (number, rest.next(), rest.next()) {
            ("38" | "48", Some("5"), Some(index)) => {
                numbers = rest;
                let back = if number == "48" { 10 } else { 0 };
                short.push(match index.parse::<u8>() {
                    Ok(low @ 0..=7) => (30 + back + low).to_string(),
                    Ok(high @ 8..=15) => (82 + back + high).to_string(),
                    _ => format!("{number};5;{index}"),
                });
            }
            _ => short.push(number.to_owned()),
        }
    }
    short.join(";")
}

impl<W: Write> Write for Short<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.begun.is_empty() {
                let plain = rest.iter().position(|byte| *byte == 0x1b).unwrap_or(rest.len());
                self.to.write_all(&rest[..plain])?;
                rest = &rest[plain..];
            }
            let Some((byte, after)) = rest.split_first() else { break };
            rest = after;
            self.begun.push(*byte);
            let whole = match self.begun.len() {
                1 => false,
                2 => *byte != b'[',
                _ => (0x40..=0x7e).contains(byte),
            };
            if whole {
                self.pass()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass()?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pieces: &[&str]) -> String {
        let mut short = Short::new(Vec::new());
        pieces.iter().for_each(|piece| short.write_all(piece.as_bytes()).unwrap());
        short.flush().unwrap();
        String::from_utf8(short.to).unwrap()
    }

    #[test]
    fn the_first_sixteen_colours_are_short_and_all_else_stays() {
        for (from, to) in [
            ("\x1b[38;5;1mred", "\x1b[31mred"),
            ("\x1b[38;5;15;48;5;8m", "\x1b[97;100m"),
            ("\x1b[1;38;5;0;48;5;3;7m", "\x1b[1;30;43;7m"),
            ("\x1b[38;5;117m\x1b[48;5;16m", "\x1b[38;5;117m\x1b[48;5;16m"),
            ("\x1b[38;2;1;5;3m\x1b[m\x1b[0m", "\x1b[38;2;1;5;3m\x1b[m\x1b[0m"),
            ("a\x1b[3;5Hb\x1b[?2026h\x1b]0;x\x07\x1b7", "a\x1b[3;5Hb\x1b[?2026h\x1b]0;x\x07\x1b7"),
            ("漢\x1b[", "漢\x1b["),
        ] {
            assert_eq!(passed(&[from]), to);
            let pieces: Vec<_> = from.split_inclusive(|c: char| c.is_ascii()).collect();
            assert_eq!(passed(&pieces), to, "piece by piece");
        }
    }
}
