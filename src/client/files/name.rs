//! Names of files, cleaned when a file is sent and again when one is written: a name is a single
//! component of a path that is shown, written and opened as what it looks like, on every system.

use unicode_normalization::UnicodeNormalization;

use crate::clean;
use crate::limits::FILE_NAME_BYTES_MAX;

/// The name of a file whose own name has nothing that can stay.
const UNNAMED: &str = "file";
/// An extension that is kept when a name is cut, in bytes with its dot.
const EXTENSION_BYTES_MAX: usize = 20;
/// Names that Windows takes for devices, with any extension.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"];
const NUMBERED_DEVICES: &[&str] = &["com", "lpt"];

/// Returns a name that can be shown and written: NFC, at most `FILE_NAME_BYTES_MAX` bytes, without
/// separators, controls and characters that reorder or hide text, without dots at its begin, dots
/// and spaces at its end, and none of Windows' devices. A clean name stays what it is.
pub fn cleaned(name: &str) -> String {
    // The whole of a name's meaning is at its begin and its end.
    let mut name = ends_of(name);
    // Each step may uncover work for another one: a cut name may end in a dot.
    for _ in 0..8 {
        let next = cleaned_once(&name);
        if next == name {
            return name;
        }
        name = next;
    }
    UNNAMED.to_owned()
}

/// Returns the name for the `number`th file of a clean name: `name (1).ext`.
pub fn numbered(name: &str, number: u32) -> String {
    // The cut may leave a joiner that joins nothing.
    cleaned(&numbered_own(name, number))
}

/// The same for a name that the user has chosen, which stays as it is.
pub fn numbered_own(name: &str, number: u32) -> String {
    let (stem, extension) = split_extension(name);
    let suffix = format!(" ({number}){extension}");
    let stem = cut(stem, FILE_NAME_BYTES_MAX - 1 - suffix.len());
    format!("{}{suffix}", stem.trim_end_matches([' ', '.']))
}

/// Bounds the work for a name that another client has not bounded.
fn ends_of(name: &str) -> String {
    const BYTES: usize = 4 * FILE_NAME_BYTES_MAX;
    if name.len() <= 2 * BYTES {
        return name.to_owned();
    }
    let end = &name[name.ceil_char_boundary(name.len() - BYTES)..];
    format!("{}{end}", cut(name, BYTES))
}

fn cleaned_once(name: &str) -> String {
    let composed: String = name.nfc().collect();
    let line = clean::line(&composed);
    let plain: String = line.chars().filter(|c| !clean::directs(*c)).map(plain).collect();
    let trimmed = plain.trim().trim_start_matches('.').trim_end_matches(['.', ' ']).trim();
    let bounded = bounded(trimmed);
    if bounded.is_empty() {
        return UNNAMED.to_owned();
    }
    // A dash would make an option of it for many programs.
    match bounded.starts_with('-') || is_device(&bounded) {
        true => format!("_{bounded}"),
        false => bounded,
    }
}

/// Separators of paths, drives and streams, and what Windows refuses in names.
fn plain(c: char) -> char {
    match c {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        // Spaces of other widths, which look like the one.
        c if c.is_whitespace() => ' ',
        c => c,
    }
}

/// Cuts the stem so that the name and a prefix of one byte fit.
fn bounded(name: &str) -> String {
    if name.len() < FILE_NAME_BYTES_MAX {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    let stem = cut(stem, FILE_NAME_BYTES_MAX - 1 - extension.len());
    format!("{}{extension}", stem.trim_end_matches([' ', '.']))
}

/// The stem, and the extension with its dot, which is empty if there is none that is worth keeping.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && (2..=EXTENSION_BYTES_MAX).contains(&(name.len() - at)) => {
            name.split_at(at)
        }
        _ => (name, ""),
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Whether Windows takes a name for a device: by what is before the first dot.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let is_numbered = NUMBERED_DEVICES.iter().any(|device| {
        let number = stem.strip_prefix(device).unwrap_or_default();
        let mut digits = number.chars();
        matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
    });
    is_numbered || DEVICES.contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_would_harm_become_names() {
        let names = [
            ("holiday.jpg", "holiday.jpg"),
            ("../x", "_x"),
            ("..", "file"),
            ("", "file"),
            (" . . ", "file"),
            ("/etc/passwd", "_etc_passwd"),
            ("C:\\x", "C__x"),
            ("x:stream", "x_stream"),
            ("aux.txt", "_aux.txt"),
            ("AUX .tar.gz", "_AUX .tar.gz"),
            ("COM1", "_COM1"),
            ("lpt³.x", "_lpt³.x"),
            ("com10", "com10"),
            ("conin$", "_conin$"),
            ("auxiliary", "auxiliary"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            (".bashrc", "bashrc"),
            ("...profile", "profile"),
            ("cafe\u{301}.txt", "café.txt"),
            ("report.pdf.", "report.pdf"),
            ("report.pdf . .", "report.pdf"),
            ("a\u{a0}b\u{3000}c", "a b c"),
            ("a\nb\tc\0d", "a b cd"),
            ("-rf", "_-rf"),
            ("\u{1b}[2Jx", "[2Jx"),
            ("漢字 👩‍👧.png", "漢字 👩‍👧.png"),
            ("what?*.txt", "what__.txt"),
        ];
        for (sent, written) in names {
            assert_eq!(cleaned(sent), written, "{sent:?}");
        }
        let long = cleaned(&format!("{}.jpeg", "x".repeat(300)));
        assert_eq!((long.len(), &long[194..]), (199, ".jpeg"));
        assert_eq!(cleaned(&format!("{}.{}", "é".repeat(300), "y".repeat(90))).len(), 198);
        assert!(cleaned(&format!("{}.png", "ab ".repeat(1 << 20))).ends_with("ab.png"));
    }

    #[test]
    fn a_number_goes_before_the_extension() {
        assert_eq!(numbered("a.jpg", 1), "a (1).jpg");
        assert_eq!(numbered("archive.tar.gz", 12), "archive.tar (12).gz");
        assert_eq!(numbered("README", 2), "README (2)");
        assert_eq!(
            [numbered_own(".bashrc", 1), numbered_own("-x:y.txt", 2)],
            [".bashrc (1)", "-x:y (2).txt"]
        );
        let joined = numbered(&format!("{}👩\u{200d}👩.-", "x".repeat(185)), 3);
        assert_eq!(joined, format!("{}👩 (3).-", "x".repeat(185)));
        let long = numbered(&cleaned(&format!("{}.jpg", "é".repeat(300))), 4_294_967_295);
        assert!(long.len() <= FILE_NAME_BYTES_MAX && long.ends_with("é (4294967295).jpg"));
    }

    fn assert_clean(name: &str) {
        assert!((1..=FILE_NAME_BYTES_MAX).contains(&name.len()), "{name:?}");
        assert!(!name.contains(['/', '\\', ':', '\0', '\n']), "{name:?}");
        assert!(!name.starts_with(['.', ' ', '-']) && !name.ends_with(['.', ' ']), "{name:?}");
        assert_eq!(name.nfc().collect::<String>(), name);
        assert!(!is_device(name), "{name:?}");
        assert_eq!(std::path::Path::new(name).file_name().unwrap(), name);
        assert_eq!(cleaned(name), name);
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_clean_one(name in any::<String>()) {
            assert_clean(&cleaned(&name));
            assert_clean(&numbered(&cleaned(&name), 3));
        }

        #[test]
        fn names_of_hard_parts_become_clean_ones(
            name in "(\\.|/| |-|:|aux|com1|é|e\u{301}|\u{202e}|\u{200d}|👩|\u{fe0f}|🏽|\u{94d}|\u{3000}|xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx|漢字漢字漢字漢字){0,40}",
        ) {
            assert_clean(&cleaned(&name));
            assert_clean(&numbered(&cleaned(&name), 3));
        }
    }
}
