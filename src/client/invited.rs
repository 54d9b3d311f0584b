//! Channels from the command line, and from a file with PINs. Every user of the computer can read a
//! command line, so PINs belong in the file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use crate::chat::{ChannelName, Target};
use crate::clean;
use crate::crypto::Fingerprint;
use crate::crypto::pin_channel::{Pin, PinChannel};
use crate::e2e::Engine;
use crate::fault::{Fault, code};
use crate::file::without_mark;
use crate::print::err;
use crate::system::files;

/// Resolves the conversation of `--to` or `--from`. If several channels have the name, it means the
/// channel whose PIN is known. If the PINs of several are known, it means the channel that the
/// command line joins.
pub fn target(
    (option, text): (&str, &str),
    engine: &Engine,
    joins: &BTreeSet<ChannelName>,
) -> Result<Target, Fault> {
    let full = if text.starts_with(['#', '@']) { text.to_owned() } else { format!("@{text}") };
    let wrong = |error: String| {
        let error = format!("{option} {}: {error}", clean::line(text));
        Fault::new(code::USAGE, error, format!("{option} '#CHANNEL' or {option} NAME"))
    };
    if full.starts_with('#') {
        let mut known: Vec<_> = engine.channels().filter(|one| one.is_meant_by(&full)).collect();
        if known.iter().any(|one| joins.contains(*one)) {
            known.retain(|one| joins.contains(*one));
        }
        match known[..] {
            [] if !full.ends_with("~open") => {
                let left = full.parse().is_ok_and(|channel| engine.left().contains(&channel));
                if left {
                    return Err(wrong(format!(
                        "it had a PIN, and you left it: {full}~open is open"
                    )));
                }
            }
            [] => {}
            [one] => return Ok(Target::Channel(one.clone())),
            _ => {
                let names: Vec<_> = known.iter().map(ToString::to_string).collect();
                return Err(wrong(format!("ambiguous: {}", names.join(" or "))));
            }
        }
    }
    full.trim_end_matches("~open").parse().map_err(|error| wrong(format!("{error}")))
}

/// The channels of `--join`, which takes no PINs.
pub fn channels(join: &[String]) -> Result<BTreeSet<ChannelName>, Fault> {
    let wrong = |error: String, hint: &str| Fault::new(code::USAGE, error, hint);
    let channel = |name: &String| {
        if name.contains(|c: char| c == ':' || c.is_whitespace()) {
            let hint = "every user of this computer can read a command line: type /join CHANNEL \
                PIN in the chat, or use --join-file";
            return Err(wrong("--join takes no PIN".into(), hint));
        }
        let full = if name.starts_with('#') { name.clone() } else { format!("#{name}") };
        full.parse().map_err(|error| wrong(format!("--join: {error}"), "--join CHANNEL"))
    };
    join.iter().map(channel).collect()
}

/// The channels of `--join-file`: CHANNEL PIN on each line.
pub fn from_file(
    path: &Path,
    server: &Fingerprint,
    engine: &mut Engine,
) -> Result<BTreeSet<ChannelName>, Fault> {
    let shown = clean::line(&path.display().to_string());
    let unreadable = |error: &dyn std::fmt::Display, hint: &str| {
        Fault::new(code::UNREADABLE, format!("{shown}: {error}"), hint)
    };
    let io = |error: std::io::Error| unreadable(&error, "each line must be: CHANNEL PIN");
    if files::exposed(path).map_err(io)?.is_some() {
        return Err(unreadable(&"other users can read it", &format!("chmod 600 {shown}")));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
    let mut channels = BTreeSet::new();
    for (number, line) in without_mark(&text).lines().map(str::trim).enumerate() {
        if line.is_empty() {
            continue;
        }
        let position = format!("line {}", number + 1);
        let (name, pin) = line
            .split_once(char::is_whitespace)
            .ok_or_else(|| unreadable(&position, "each line must be: CHANNEL PIN"))?;
        let full = if name.starts_with('#') { name.to_owned() } else { format!("#{name}") };
        let name: ChannelName = full
            .parse()
            .map_err(|error| unreadable(&format!("{position}: {error}"), "correct it"))?;
        err!("deriving the key of {name} ...");
        let key = PinChannel::derive(&Pin::new(pin.trim()), server, name.letters());
        let channel = engine.add_channel(key, &name);
        channels.insert(channel.map_err(|error| unreadable(&error, "check the disk"))?);
    }
    Ok(channels)
}
