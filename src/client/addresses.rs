//! Addresses of web pages and mailboxes in texts. Pure.

use std::ops::Range;

/// Bytes of an address at most; VTE ignores longer links.
const BYTES_MAX: usize = 2_083;
const MAILTO: &str = "mailto:";
const SCHEMES: [&str; 3] = ["https://", "http://", MAILTO];

/// Returns the addresses in a text, in order. The address of a mailbox ends before its query,
/// because a query can make a mail program attach a file of the user.
pub fn find(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = SCHEMES.iter().filter_map(|scheme| rest.find(scheme)).min() {
        let begun = rest[..start].chars().next_back().is_some_and(|c| c.is_alphanumeric());
        let tail = &rest[start..];
        let end = tail.find(|c: char| !is_of_address(c)).unwrap_or(tail.len());
        // Further characters follow, so the address is left to the terminal's detection.
        let goes_on = tail[end..].chars().next().is_some_and(continues);
        let address = trimmed(without_query(&tail[..end]));
        let host = SCHEMES.iter().find_map(|scheme| address.strip_prefix(scheme));
        let named = host.is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphanumeric()));
        if !begun && !goes_on && named && address.len() <= BYTES_MAX {
            found.push(address);
        }
        rest = &tail[end..];
    }
    found
}

fn without_query(address: &str) -> &str {
    // Some mail programs divide an address at other signs than `?`.
    match address.split_once(['?', '&', '#', '%']) {
        Some((mailbox, _)) if mailbox.starts_with(MAILTO) => mailbox,
        _ => address,
    }
}

/// Characters of an address: printable ASCII, without those that surround one.
fn is_of_address(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
}

/// Characters beyond ASCII that an address may go on in, as in the path of `https://a.example/茶`:
/// all but blanks, punctuation, and full-width signs.
fn continues(c: char) -> bool {
    let is_sign = matches!(c,
        '\u{80}'..='\u{bf}' | '\u{2010}'..='\u{205e}' | '\u{3000}'..='\u{303f}'
        | '\u{ff00}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}'
        | '\u{ff5b}'..='\u{ff65}');
    !c.is_ascii() && !c.is_whitespace() && !is_sign
}

/// The parts of a text that are addresses, with all that they go on in.
pub fn spans(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some(at) = SCHEMES.iter().filter_map(|scheme| text[from..].find(scheme)).min() {
        let start = from + at;
        let length = text[start..].find(|c: char| !is_of_address(c) && !continues(c));
        from = length.map_or(text.len(), |length| start + length);
        spans.push(start..from);
    }
    spans
}

/// Removes trailing punctuation and unmatched closing brackets.
fn trimmed(mut address: &str) -> &str {
    let count = |c: char| address.matches(c).count();
    let mut round = count(')').saturating_sub(count('('));
    let mut square = count(']').saturating_sub(count('['));
    while let Some(last) = address.chars().next_back() {
        match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~' => {}
            ')' if round > 0 => round -= 1,
            ']' if square > 0 => square -= 1,
            _ => break,
        }
        address = &address[..address.len() - last.len_utf8()];
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_as_people_write_them() {
        for (text, wanted) in [
            ("see https://a.example/b?c=d#e.", vec!["https://a.example/b?c=d#e"]),
            ("(https://a.example/b_(c)) and http://b", vec!["https://a.example/b_(c)", "http://b"]),
            (
                "<https://a.example>, \"http://b.example/\"",
                vec!["https://a.example", "http://b.example/"],
            ),
            ("https://a.example/見", vec![]),
            ("https://a.example/🍵/tea", vec![]),
            ("https://a.example/e\u{301}", vec![]),
            ("https://a.example/tea，", vec!["https://a.example/tea"]),
            ("https://a.example/。", vec!["https://a.example/"]),
            ("https://аpple.example", vec![]),
            ("xhttps://a.example https:// https://. ftp://a.example javascript:alert(1)", vec![]),
            ("https://a.example/\u{1b}]8;;evil\u{7}x", vec!["https://a.example/"]),
            ("a\nhttps://a.example\nb", vec!["https://a.example"]),
            ("<mailto:carol@c.example>, mailto: x", vec!["mailto:carol@c.example"]),
            ("mailto:carol@c.example?attach=/etc/passwd", vec!["mailto:carol@c.example"]),
            ("mailto:carol@c.example%3f?to=b&attach=~/a?b", vec!["mailto:carol@c.example"]),
            ("mailto:carol@c.example&attach=/etc/passwd", vec!["mailto:carol@c.example"]),
            ("mailto:?attach=/etc/passwd", vec![]),
        ] {
            assert_eq!(find(text), wanted, "{text}");
        }
        let long = format!("https://a.example/{}", "x".repeat(BYTES_MAX));
        assert_eq!(find(&long), [""; 0]);
    }
}
