//! Marks of direction: invisible characters that order signs and numbers between letters. They stay
//! where they can change the order, and are removed elsewhere, because they could disguise a word.

use super::neighbours::Neighbours;
use super::shape::{has_form, is_mark};

/// The mark that counts as a letter from left to right.
const LEFT_TO_RIGHT: char = '\u{200e}';

/// Returns whether a character has no form, and the direction of a letter: U+200E, U+200F, U+061C.
pub fn directs(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}')
}

/// Returns whether a character is a letter of a script that is written from right to left.
pub fn is_from_right(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fdff}'
        | '\u{fe70}'..='\u{fefc}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
        && c.is_alphabetic()
        && !is_mark(c)
}

/// The context of the marks of direction in a line that has letters from right to left.
pub struct Directions {
    shown: Neighbours,
    strong: Neighbours,
    /// The nearest characters that determine a direction, or end a word.
    parts: Neighbours,
}

impl Directions {
    /// The context for a line. Returns `None` if no mark has a meaning in it.
    pub fn of(line: &[char]) -> Option<Directions> {
        let needs_marks =
            line.iter().any(|c| directs(*c)) && line.iter().any(|c| is_from_right(*c));
        needs_marks.then(|| Directions {
            shown: Neighbours::of(line, has_form),
            strong: Neighbours::of(line, is_strong),
            // Removed white space, such as U+000B, is skipped.
            parts: Neighbours::of(line, |c| is_strong(c) || has_form(c) && c.is_whitespace()),
        })
    }

    /// Returns whether the mark at an index can change the order of what is displayed.
    pub fn has_meaning(&self, mark: char, at: usize) -> bool {
        let is_between_left =
            |near: &Neighbours| near.both(at).is_some_and(|(a, b)| is_left(a) && is_left(b));
        let is_inside = self.shown.both(at).is_some_and(|(a, b)| are_of_one_word(a, b));
        let is_idle = mark == LEFT_TO_RIGHT && is_between_left(&self.strong);
        !(is_inside || is_idle || is_between_left(&self.parts))
    }
}

/// Returns whether no mark can stand between two characters. Between a letter from the right and a
/// number, it states on which side the number is displayed.
fn are_of_one_word(previous: char, next: char) -> bool {
    let is_part = |c: char| c.is_alphabetic() || c.is_numeric();
    let is_border = is_from_right(previous) && next.is_numeric()
        || previous.is_numeric() && is_from_right(next);
    is_part(previous) && is_part(next) && !is_border
}

/// A character that determines the direction of the signs beside it.
fn is_strong(c: char) -> bool {
    has_form(c) && (c.is_alphabetic() || c.is_numeric() && !c.is_ascii())
}

fn is_left(c: char) -> bool {
    c.is_alphabetic() && !is_from_right(c)
}
