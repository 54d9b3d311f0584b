//! Cleans text from other people so that it can be displayed: it cannot move a cursor, change a
//! title, or hide or reorder other text. Applied once, where text is decoded.

mod emoji;
mod joiners;
mod selectors;

use unicode_normalization::char::canonical_combining_class;

/// Combining marks kept on one base character; further ones are dropped.
const MARKS_MAX: usize = 4;

/// `text` without the characters that would act on a screen rather than stand on it: C0 but
/// newline and tab, DEL, C1, bidi controls, zero-width characters, noncharacters, and more than
/// four combining marks on one base. Joiners, variation selectors, tags and marks of direction stay
/// where they mean something, and symbols for private use because they stand in a cell as others
/// do. CR LF becomes LF.
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
    let mut marks = 0;
    let mut clean = Vec::with_capacity(line.len());
    let is_from_right = line.chars().any(is_from_right);
    for c in line.chars() {
        let is_invisible = joiners::may_stay(c) || directs(c);
        let stands =
            c == '\t' || is_private(c) || joiners::may_stay(c) || is_from_right && directs(c);
        if acts(c) && !stands {
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

/// Returns whether a character has no form, and the direction of a letter: U+200E, U+200F, U+061C.
pub fn directs(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}')
}

/// Returns whether a character is of a block of scripts that are written from right to left. There
/// the signs and numbers between letters need marks of direction.
fn is_from_right(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fdff}'
        | '\u{fe70}'..='\u{fefc}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
        && !directs(c)
        && !is_mark(c)
}

/// Cleans a text and puts it on one line: newlines and tabs become spaces. For names, topics and
/// notices.
pub fn line(text_: &str) -> String {
    text(text_).replace(['\n', '\t'], " ")
}

/// Returns whether a character controls the screen or hides, instead of being displayed.
pub fn acts(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
        || (c as u32) & 0xfffe == 0xfffe
}

/// Returns whether a character is for private use, such as the symbols of some fonts.
pub fn is_private(c: char) -> bool {
    let noncharacter = (c as u32) & 0xfffe == 0xfffe;
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}') && !noncharacter
}

fn is_mark(c: char) -> bool {
    canonical_combining_class(c) != 0 || unicode_normalization::char::is_combining_mark(c)
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

    proptest! {
        #[test]
        fn cleaning_is_idempotent_and_leaves_nothing_that_acts(dirty in any::<String>()) {
            let clean = text(&dirty);
            prop_assert_eq!(&text(&clean), &clean);
            let joins = |c| joiners::may_stay(c) || is_private(c) || directs(c);
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
            dirty in "([a-c0#]|葛|☎|👍|ᠠ|ᠡ|、|≥|ⵁ|א|م|क|\u{94d}|\u{301}|\u{20e3}|[\u{180b}-\u{180f}]|[\u{fe00}-\u{fe0f}]|[\u{e0100}-\u{e0103}]|\u{200c}|\u{200d}|\u{200e}|\u{200f}|\u{61c}|\n){0,16}",
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
