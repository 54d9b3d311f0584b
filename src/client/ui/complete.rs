//! Completion candidates of a word: commands, channels, names and paths.

use crate::chat::UserName;
use crate::client::slash;
use crate::system::programs;

/// Signs in ASCII behind which a word begins.
const SIGNS: [char; 9] = ['(', '[', '{', '<', '"', '\'', ':', ',', ';'];

/// Names that can be completed.
pub struct Known<'a> {
    /// Most likely first: the latest speakers.
    pub people: &'a [UserName],
    pub channels: &'a [String],
    /// Lists the paths that begin with a text.
    pub paths: fn(&str) -> Vec<String>,
}

/// Returns the start of the word before the cursor, and its candidates.
pub fn candidates(before: &str, known: &Known) -> (usize, Vec<String>) {
    let space = before.char_indices().rfind(|(_, c)| c.is_whitespace());
    let start = space.map_or(0, |(at, c)| at + c.len_utf8());
    if let Some((at, paths)) = spaced_path(before, known) {
        return (at, paths);
    }
    let word = &before[start..];
    // What a word is in or behind: brackets, quotes, or another word.
    let is_path = word.starts_with(['.', '~', '/']);
    let sign = word.rfind(SIGNS).filter(|_| !is_path);
    let start = sign.map_or(start, |at| start + at + 1);
    let word = &before[start..];
    let first = before.split_whitespace().next().filter(|first| first.starts_with('/'));
    let command = first.filter(|_| start > 0).unwrap_or("").to_lowercase();
    let mut found = words(word, start, (&command, before), known);
    if sign.is_some() {
        // A sign may follow.
        found.iter_mut().for_each(|one| one.truncate(one.trim_end().len()));
    }
    (start, found)
}

/// A path may contain spaces: the last possible start extends to the end if such a file exists.
fn spaced_path(before: &str, known: &Known) -> Option<(usize, Vec<String>)> {
    let begins = |(at, c): (usize, char)| {
        let start = at + c.len_utf8();
        let is_path = ["./", "../", "~/"].iter().any(|head| before[start..].starts_with(head));
        (c.is_whitespace() && is_path).then_some(start)
    };
    let start = before.char_indices().rev().find_map(begins)?;
    let paths = match before[start..].contains(char::is_whitespace) {
        true => (known.paths)(&before[start..]),
        false => Vec::new(),
    };
    (!paths.is_empty()).then_some((start, paths))
}

fn words(word: &str, start: usize, (command, before): (&str, &str), known: &Known) -> Vec<String> {
    if let (0, Some(begun)) = (start, word.strip_prefix('/')) {
        let begun = begun.to_lowercase();
        let names = slash::all().map(|slash| slash.name).filter(|name| name.starts_with(&begun));
        return names.map(|name| format!("/{name} ")).collect();
    }
    if word.starts_with("./") || word.starts_with("../") || word.starts_with("~/") {
        return (known.paths)(word);
    }
    if ["/send", "/log"].contains(&command) && word.starts_with('/') {
        return (known.paths)(word);
    }
    let slash = slash::find(command.trim_start_matches('/'));
    let operands = slash.map_or("", |slash| slash.operands).trim_start_matches('[');
    if operands.starts_with("COMMAND") {
        let begun = word.trim_start_matches('/');
        let names = slash::all().map(|slash| slash.name).filter(|name| name.starts_with(begun));
        return names.map(|name| format!("{name} ")).collect();
    }
    let wishes = slash.map_or(Vec::new(), slash::wishes);
    if !wishes.is_empty() {
        let wishes = wishes.into_iter().filter(|wish| wish.starts_with(word));
        return wishes.map(|wish| format!("{wish} ")).collect();
    }
    if operands.starts_with("KEY") {
        return settings(word, &before[..start]);
    }
    if word.starts_with('#') || operands.starts_with("CHANNEL") {
        let begun = format!("#{}", word.trim_start_matches('#').to_lowercase());
        let channels = known.channels.iter().filter(|name| name.starts_with(&begun));
        return channels.map(|name| format!("{name} ")).collect();
    }
    let begun = word.trim_start_matches('@').to_lowercase();
    if begun.is_empty() && !word.starts_with('@') && command.is_empty() {
        return Vec::new();
    }
    let people = known.people.iter().map(UserName::as_str);
    let people = people.filter(|name| name.to_lowercase().starts_with(&begun));
    let at = if word.starts_with('@') { "@" } else { "" };
    // A name at the start addresses that user.
    let end = if start == 0 { ": " } else { " " };
    people.map(|name| format!("{at}{name}{end}")).collect()
}

/// Candidates after `/set`: a key, then a value.
fn settings(word: &str, before: &str) -> Vec<String> {
    let known = slash::SETTINGS;
    let all: Vec<&str> = match before.split_whitespace().collect::<Vec<_>>()[1..] {
        [] => known.iter().map(|(key, _)| *key).collect(),
        [key] => known.iter().find(|one| one.0 == key).map_or(Vec::new(), |one| one.1.to_vec()),
        _ => Vec::new(),
    };
    let all = all.into_iter().filter(|one| one.starts_with(word));
    all.map(|one| format!("{one} ")).collect()
}

/// Local paths that begin with `text`; folders end with a slash.
pub fn paths(text: &str) -> Vec<String> {
    let (folder, begun) = text.rsplit_once('/').unwrap_or((".", text));
    let home = || std::env::var(programs::HOME).unwrap_or_default();
    let real = match folder.strip_prefix('~') {
        Some(rest) => format!("{}{rest}", home()),
        None if folder.is_empty() => "/".to_owned(),
        None => folder.to_owned(),
    };
    let Ok(entries) = std::fs::read_dir(real) else { return Vec::new() };
    let mut paths: Vec<String> = entries
        .take(4_096)
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            // A file name is untrusted text too.
            let fits = name.starts_with(begun) && crate::clean::line(&name) == name;
            let hidden = name.starts_with('.') && begun.is_empty();
            let slash = if entry.path().is_dir() { "/" } else { "" };
            (fits && !hidden).then(|| format!("{folder}/{name}{slash}"))
        })
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_word_is_completed() {
        let people: Vec<UserName> = ["bob", "bella"].map(|name| name.parse().unwrap()).into();
        let channels = ["#work".to_owned(), "#wine".to_owned()];
        let paths = |text: &str| vec![format!("{text}.png")];
        let known = Known { people: &people, channels: &channels, paths };
        let found = |before| candidates(before, &known);
        assert_eq!(found("/whoi"), (0, vec!["/whois ".to_owned()]));
        assert_eq!(found("/WHOI"), (0, vec!["/whois ".to_owned()]));
        assert_eq!(found("/WhoIs be"), (7, vec!["bella ".to_owned()]));
        assert_eq!(found("(be"), (1, vec!["bella".to_owned()]));
        assert_eq!(found("he said \"be"), (9, vec!["bella".to_owned()]));
        assert_eq!(found("to:be"), (3, vec!["bella".to_owned()]));
        assert_eq!(found("bob,be"), (4, vec!["bella".to_owned()]));
        assert_eq!(found("(#wi"), (1, vec!["#wine".to_owned()]));
        assert_eq!(found("bob: "), (5, vec![]));
        assert_eq!(found("b"), (0, vec!["bob: ".to_owned(), "bella: ".to_owned()]));
        assert_eq!(found("so, B"), (4, vec!["bob ".to_owned(), "bella ".to_owned()]));
        assert_eq!(found("ask @bo"), (4, vec!["@bob ".to_owned()]));
        assert_eq!(found("/join wo"), (6, vec!["#work ".to_owned()]));
        assert_eq!(found("/leave wo"), (7, vec!["#work ".to_owned()]));
        assert_eq!(found("/list wo"), (6, vec!["#work ".to_owned()]));
        assert_eq!(found("see #wi"), (4, vec!["#wine ".to_owned()]));
        assert_eq!(found("/whois be"), (7, vec!["bella ".to_owned()]));
        assert_eq!(found("/send ./a"), (6, vec!["./a.png".to_owned()]));
        assert_eq!(found("hello "), (6, vec![]));
        assert_eq!(found("so\u{a0}bo"), (4, vec!["bob ".to_owned()]));
        assert_eq!(found("/theme l"), (7, vec!["light ".to_owned()]));
        assert_eq!(found("/notify "), (8, ["off ", "mentions ", "all "].map(str::to_owned).into()));
        assert_eq!(found("/set se"), (5, vec!["search ".to_owned()]));
        assert_eq!(found("/set search o"), (12, ["on ", "off "].map(str::to_owned).into()));
        assert_eq!(found("/help whoi"), (6, vec!["whois ".to_owned()]));
        assert_eq!(found("see ./my dir/a"), (4, vec!["./my dir/a.png".to_owned()]));
        let files = Known { paths: |_| Vec::new(), ..known };
        assert_eq!(candidates("./not there, b", &files).1, ["bob ", "bella "]);
    }
}
