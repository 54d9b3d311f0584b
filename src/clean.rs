//! Cleans text from other people so that it can be displayed: it cannot move a cursor, change a
//! title, or hide or reorder other text. Applied once, where text is decoded.

mod controls;
mod directions;
mod emoji;
mod joiners;
mod neighbours;
mod selectors;
mod separators;
mod shape;

use controls::{Controls, is_control};
use directions::Directions;
pub use directions::directs;
use shape::is_mark;
pub use shape::{acts, is_private};

/// Combining marks kept on one base character; further ones are dropped.
const MARKS_MAX: usize = 4;

/// `text` without the characters that would act on a screen rather than stand on it: C0 but
/// newline and tab, DEL, C1, bidi controls, zero-width characters, noncharacters, and more than
/// four combining marks on one base. Joiners, zero width spaces, variation selectors, tags, marks
/// of direction and format controls of single scripts stay where they mean something, and symbols
/// for private use because they stand in a cell as others do. CR LF becomes LF.
pub fn text(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { any_text(text) }
}

/// Cleans a text in place.
pub fn wash(text: &mut String) {
    if !is_plain(text) {
        *text = any_text(text);
    }
}

/// Returns whether a text is plain ASCII, which most messages are.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t'))
}

/// Cleans a text of any characters.
fn any_text(text: &str) -> String {
    text.split('\n').map(any_line).collect::<Vec<_>>().join("\n")
}

fn any_line(line: &str) -> String {
    let line: Vec<char> = line.chars().collect();
    let (mut marks, mut clean) = (0, Vec::with_capacity(line.len()));
    let (directions, controls) = (Directions::of(&line), Controls::of(&line));
    for (at, &c) in line.iter().enumerate() {
        let is_invisible = joiners::may_stay(c) || directs(c);
        let means_something = match c {
            '\t' => true,
            _ if directs(c) => directions.as_ref().is_some_and(|near| near.has_meaning(c, at)),
            _ if is_control(c) => controls.as_ref().is_some_and(|near| near.has_meaning(c, at)),
            _ => is_private(c) || joiners::may_stay(c),
        };
        if acts(c) && !means_something {
            continue;
        }
        // Neither an invisible character nor a removed one allows further marks.
        match is_mark(c) {
            _ if is_invisible => {}
            true => marks += 1,
            false => marks = 0,
        }
        if marks <= MARKS_MAX {
            clean.push(c);
        }
    }
    joiners::settled(&clean)
}

/// Cleans a text and puts it on one line: newlines and tabs become spaces. For names, topics and
/// notices.
pub fn line(text_: &str) -> String {
    text(text_).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_acts_goes_and_what_stands_stays() {
        assert_eq!(text("a\u{1b}[2Jb\r\nc\td\u{7f}\u{9b}e"), "a[2Jb\nc\tde");
        assert_eq!(text("x\u{202e}y\u{200b}z\u{e0041}\u{fdd0}"), "xyz");
        assert_eq!(text("grün 漢字 👍 \u{202e}"), "grün 漢字 👍 ");
        assert_eq!(text(&format!("e{}", "\u{301}".repeat(9))), format!("e{}", "\u{301}".repeat(4)));
        assert_eq!(text(&"\u{94d}".repeat(5)), "\u{94d}".repeat(4));
        assert_eq!(line("a\nb\tc"), "a b c");
    }

    /// A search for the neighbours of each mark would take longer than the deadline of this test.
    #[test]
    fn rows_of_marks_are_cleaned_in_linear_time() {
        for mark in ['\u{200e}', '\u{13430}', '\u{70f}'] {
            let row = format!("ש{}ש", mark.to_string().repeat(1_000_000));
            assert!(text(&row).len() >= 4);
        }
    }

    /// The test vectors of docs/protocol.md.
    #[test]
    fn the_vectors_of_the_document_agree() {
        let vectors = include_str!("../tests/data/texts.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
        for vector in vectors {
            let field = |name: &str| vector[name].as_str().unwrap();
            assert_eq!(text(field("sent")), field("cleaned"), "{}", field("what"));
        }
    }

    /// Marks of direction and of piles beside it too.
    #[test]
    fn a_zero_width_space_stays_between_words_without_blanks() {
        for (sent, wanted) in [
            ("ខ្ញុំ\u{200b}ទៅ", "ខ្ញុំ\u{200b}ទៅ"),
            ("ไป\u{200b}ตลาด", "ไป\u{200b}ตลาด"),
            ("ខ\u{200b}\u{200b}ទ", "ខ\u{200b}ទ"),
            ("ខ\u{200b}\u{17c1}", "ខ\u{17c1}"),
            ("\u{200b}ខ\u{200b}", "ខ"),
            ("ខ\u{200b}a\u{200b}ខ", "ខaខ"),
            ("ខ \u{200b}ខ", "ខ ខ"),
            ("漢\u{200b}字", "漢字"),
            ("ខ\u{200b}\u{200d}ខ", "ខខ"),
        ] {
            assert_eq!(text(sent), wanted, "{sent:?}");
            assert_eq!(text(wanted), wanted, "{sent:?}");
        }
    }

    proptest! {
        #[test]
        fn zero_width_spaces_stay_or_go_for_good(
            dirty in "([a-z]|ក|\u{17b6}|\u{17d2}|ข|\u{e31}|က|א|漢| |\u{301}|👩|\u{fe0f}|\u{200b}|\u{200c}|\u{200d}|\u{200e}|\u{200f}|\u{202e}|\n){0,16}",
        ) {
            let clean = text(&dirty);
            prop_assert_eq!(&text(&clean), &clean);
            let is_twice = clean.contains("\u{200b}\u{200b}");
            prop_assert!(!is_twice);
        }

        #[test]
        fn cleaning_is_idempotent_and_leaves_nothing_that_acts(dirty in any::<String>()) {
            let clean = text(&dirty);
            prop_assert_eq!(&text(&clean), &clean);
            let joins = |c| joiners::may_stay(c) || is_private(c) || directs(c) || is_control(c);
            prop_assert!(clean.chars().all(|c| c == '\n' || c == '\t' || joins(c) || !acts(c)));
        }

        #[test]
        fn joiners_stay_or_go_for_good(
            dirty in "([a-z]|می|خ|د|क|\u{94d}|\u{93f}|\u{9cd}|র|é|\u{301}|👩|❤\u{fe0f}|🏽|🏴|\u{200c}|\u{200d}|[\u{e0061}-\u{e007f}]|\u{200b}){0,16}",
        ) {
            let clean = text(&dirty);
            prop_assert_eq!(&text(&clean), &clean);
            let seen = |text: &str| text.chars().filter(|c| !acts(*c)).collect::<String>();
            // Of a pile of marks, a virama among them, some are dropped.
            let bare = |text: &str| seen(text).replace(['\u{301}', '\u{94d}', '\u{93f}', '\u{9cd}'], "");
            prop_assert_eq!(bare(&clean), bare(&dirty));
        }

        #[test]
        fn selectors_and_directions_stay_or_go_for_good(
            dirty in "([a-c0#]|葛|☎|👍|ᠠ|ᠡ|、|≥|ⵁ|א|م|क|\u{94d}|\u{301}|\u{20e3}|[\u{180b}-\u{180f}]|[\u{fe00}-\u{fe0f}]|[\u{e0100}-\u{e0103}]|\u{70f}|ܫ|\u{13430}|\u{13000}|[ 5٣]|\u{200c}|\u{200d}|\u{200e}|\u{200f}|\u{61c}|[\u{b}\u{85}\u{2028}]|\n){0,16}",
        ) {
            let clean = text(&dirty);
            prop_assert_eq!(&text(&clean), &clean);
            let seen = |text: &str| text.chars().filter(|c| !acts(*c)).collect::<String>();
            let bare = |text: &str| seen(text).replace(['\u{301}', '\u{94d}', '\u{20e3}'], "");
            prop_assert_eq!(bare(&clean), bare(&dirty));
        }

        #[test]
        fn the_short_way_comes_to_the_same(plain in "[\\x00-\\x7f]{0,40}") {
            prop_assert_eq!(text(&plain), any_text(&plain));
        }
    }
}
