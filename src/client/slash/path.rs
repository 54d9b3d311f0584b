//! Paths as people type, paste and drop them.

use std::path::PathBuf;

use crate::chat::UserName;

/// Returns the path that a text means: quotes around it and backslashes in it, which terminals add
/// to dropped files, are removed, and `~` and `~/` are the home folder. `None` for an empty text.
pub fn typed(text: &str) -> Option<PathBuf> {
    let text = text.trim();
    let quoted = ['\'', '"']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
    let plain = match quoted {
        Some(quoted) => quoted.to_owned(),
        None if cfg!(unix) => unescaped(text),
        None => text.to_owned(),
    };
    if plain.is_empty() {
        return None;
    }
    let in_home = if plain == "~" { Some("") } else { plain.strip_prefix("~/") };
    let home = in_home.and_then(|rest| {
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        home.map(|home| home.join(rest))
    });
    Some(home.unwrap_or_else(|| PathBuf::from(plain)))
}

/// Splits operands behind the path that they begin with: behind its closing quote, or before the
/// first unescaped blank for which `ends` holds with the text behind it.
pub fn split(text: &str, ends: impl Fn(&str) -> bool) -> (&str, &str) {
    if let Some(quote @ ('\'' | '"')) = text.chars().next() {
        let closes = |(at, _): &(usize, &str)| {
            *at > 0 && text[at + 1..].chars().next().is_none_or(char::is_whitespace)
        };
        if let Some((at, _)) = text.match_indices(quote).find(closes) {
            return (&text[..=at], text[at + 1..].trim_start());
        }
    }
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        let rest = text[at..].trim_start();
        if c.is_whitespace() && !is_escaped && ends(rest) {
            return (&text[..at], rest);
        }
        is_escaped = cfg!(unix) && c == '\\' && !is_escaped;
    }
    (text, "")
}

/// Returns the last word of operands that name no file, if the path of an existing file precedes it
/// and it may be the name of a user.
pub fn person_after(text: &str) -> Option<&str> {
    let (path, name) = text.trim().rsplit_once(char::is_whitespace)?;
    let is_file = |text: &str| typed(text).is_some_and(|path| path.is_file());
    let is_name = name.parse::<UserName>().is_ok();
    (is_name && is_file(path) && !is_file(text)).then_some(name)
}

/// Returns a pasted path in quotes, so that nothing in it is read as another operand.
pub fn quoted(text: &str) -> String {
    let path = typed(text).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    match ['\'', '"'].into_iter().find(|quote| !path.contains(*quote)) {
        Some(quote) => format!("{quote}{path}{quote}"),
        None => text.trim().to_owned(),
    }
}

/// Returns whether a pasted text is the path of a file, and nothing else.
pub fn is_file(text: &str) -> bool {
    let begins = ["/", "~/", "'/", "\"/"].iter().any(|head| text.trim_start().starts_with(head));
    let is_row = !text.trim().contains('\n');
    begins && is_row && typed(text).is_some_and(|path| path.is_file())
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_where_its_quote_or_another_operand_says() {
        let ends = |rest: &str| rest.starts_with('#');
        for (text, path, rest) in [
            ("a b.txt #tea", "a b.txt", "#tea"),
            ("'a #1.pdf' #tea", "'a #1.pdf'", "#tea"),
            ("'it's #1.pdf' -- x", "'it's #1.pdf'", "-- x"),
            ("\"a #1.pdf\"", "\"a #1.pdf\"", ""),
            ("a\\ #1.pdf #tea", "a\\ #1.pdf", "#tea"),
            ("'a #tea", "'a", "#tea"),
        ] {
            assert_eq!(split(text, ends), (path, rest), "{text}");
        }
        assert_eq!(quoted(" /a/b @bob "), "'/a/b @bob'");
        assert_eq!(quoted("/a/b\\ @bob"), "'/a/b @bob'");
        assert_eq!(quoted("/a/it's"), "\"/a/it's\"");
    }

    #[test]
    fn a_path_is_read_as_terminals_write_it() {
        for (text, path) in [
            ("a.jpg", "a.jpg"),
            (" ./my holiday.jpg ", "./my holiday.jpg"),
            ("'/tmp/my holiday.jpg'", "/tmp/my holiday.jpg"),
            ("\"/tmp/x\"", "/tmp/x"),
            ("/tmp/my\\ holiday\\(1\\).jpg", "/tmp/my holiday(1).jpg"),
            ("it's", "it's"),
        ] {
            assert_eq!(typed(text), Some(PathBuf::from(path)), "{text}");
        }
        let home = std::env::home_dir().expect("a test has a home");
        assert_eq!((typed("~"), typed("~/x")), (Some(home.clone()), Some(home.join("x"))));
        assert_eq!(typed("~x"), Some(PathBuf::from("~x")));
        assert_eq!(typed("  "), None);
        assert_eq!(typed("\'\'"), None);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        assert!(is_file(&path) && is_file(&format!("'{path}' ")));
        assert_eq!(person_after(&format!("{path} bob")), Some("bob"));
        assert_eq!(person_after(&format!("'{path}' bob")), Some("bob"));
        for other in [path.clone(), format!("{path} b.jpg"), format!("/none {path} bob")] {
            assert_eq!(person_after(&other), None, "{other}");
        }
        assert!(!is_file(&format!("see {path}")) && !is_file("/tmp") && !is_file("/not there"));
    }
}
