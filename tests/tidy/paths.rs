//! Paths in source text.

use std::fs;
use std::path::{Path, PathBuf};

/// Adds the paths that begin here, those in braces one by one; gives what is behind them.
pub fn follow<'a>(text: &'a str, before: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut text) = text.strip_prefix('{') {
        loop {
            text = follow(text, before, paths).trim_start();
            let Some(next) = text.strip_prefix(',') else {
                return text.strip_prefix('}').unwrap_or(text);
            };
            text = next;
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (part, mut rest) = text.split_at(end);
    let path = [before, &[part.to_owned()]].concat();
    if let Some(deeper) = rest.strip_prefix("::") {
        return follow(deeper, &path, paths);
    }
    paths.push(path);
    if let Some(name) = rest.strip_prefix(" as ") {
        rest = name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    }
    rest
}

pub fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
