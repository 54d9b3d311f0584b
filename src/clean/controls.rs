//! Format controls of single scripts, which arrange the letters beside them and have no form of
//! their own. Beside other letters they would only disguise a text.

use super::neighbours::Neighbours;
use super::shape::has_form;

/// The Syriac abbreviation mark: a line above the letters behind it.
const ABBREVIATION: char = '\u{70f}';

/// Returns whether a character is such a control.
pub fn is_control(c: char) -> bool {
    c == ABBREVIATION || arranges(c)
}

/// The context of the controls in a line.
pub struct Controls {
    shown: Neighbours,
    behind: Vec<char>,
}

impl Controls {
    /// The context for a line. Returns `None` if the line has no such control.
    pub fn of(line: &[char]) -> Option<Controls> {
        line.iter().any(|c| is_control(*c)).then(|| Controls {
            shown: Neighbours::of(line, has_form),
            behind: line.iter().skip(1).copied().collect(),
        })
    }

    /// Returns whether the control at an index stands beside a letter of its script.
    pub fn has_meaning(&self, control: char, at: usize) -> bool {
        match control {
            ABBREVIATION => self.behind.get(at).copied().is_some_and(is_syriac),
            _ => self.shown.any(at).any(is_hieroglyph),
        }
    }
}

/// Controls that place Egyptian hieroglyphs over, beside and into each other.
fn arranges(c: char) -> bool {
    matches!(c, '\u{13430}'..='\u{1345f}')
}

fn is_hieroglyph(c: char) -> bool {
    matches!(c, '\u{13000}'..='\u{1342f}' | '\u{13460}'..='\u{143ff}')
}

fn is_syriac(c: char) -> bool {
    matches!(c, '\u{710}' | '\u{712}'..='\u{72f}' | '\u{74d}'..='\u{74f}' | '\u{860}'..='\u{86a}')
}
