//! Texts shared by all user interfaces for people.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::calendar::Utc;
use crate::chat::{
    ChannelInfo, ChannelName, Code, Confidentiality, Descriptor, DeviceName, Event, FileBytes,
    FileInfo, Kind, Message, Retention, Target, UserName,
};
use crate::clean;
use crate::client::model::State;
use crate::system::clock;

/// Colours of names, readable on dark and on light.
pub const PALETTE: [u8; 16] =
    [166, 130, 100, 64, 28, 29, 30, 31, 32, 63, 99, 134, 133, 163, 132, 168];

/// Bound on the names in the line about a channel that was entered; `/list` shows all.
const WELCOME_NAMES_MAX: usize = 8;

/// The text of an event for a user; `None` if user interfaces show it in another form. The caller
/// knows the origin.
pub fn event_text(event: &Event) -> Option<String> {
    match event {
        Event::Entered { channel, people, omitted, topic, retention, .. } => {
            let (here, kept) = (people.len().saturating_add(*omitted), kept(*retention));
            let topic = topic.as_ref().map_or(String::new(), |topic| format!("\ntopic: {topic}"));
            let (named, more) = people.split_at(people.len().min(WELCOME_NAMES_MAX));
            let names = names_and_more(named, omitted.saturating_add(more.len()));
            Some(format!("you are in {channel} ({here} here: {names}){kept}{topic}"))
        }
        Event::Welcome { motd, .. } => motd.clone(),
        Event::Goodbye { reason, .. } => Some(reason.clone()),
        Event::Parted { channel, .. } => Some(format!("you left {channel}")),
        Event::People { channel, people, omitted, .. } => {
            let here = people.len().saturating_add(*omitted);
            Some(format!("{channel} ({here} here): {}", names_and_more(people, *omitted)))
        }
        Event::Channels { channels, omitted, .. } => Some(channel_table(channels, *omitted)),
        Event::Whois { name, fingerprints, devices, idle_ms, away, channels, .. } => {
            let state = presence(*idle_ms, away.as_deref());
            Some(whois(name, &state, devices, channels, fingerprints))
        }
        Event::Topic { to, who, text, retention, .. } => {
            let kept = kept(*retention);
            let text = text.as_ref().map_or("(none)", String::as_str);
            match who {
                Some(who) => Some(format!("{who} set the topic of {to}: {text}")),
                None if to.has_pin() => Some(format!("{to} has no topic")),
                None => Some(format!("topic of {to}{kept}: {text}")),
            }
        }
        Event::Password { wrong, retry_ms } => {
            let wrong = if *wrong { "that is not your password; " } else { "" };
            let wait =
                retry_ms.map_or(String::new(), |ms| format!("wait {} s, then ", ms.div_ceil(1000)));
            Some(format!("{wrong}{wait}type your password and Enter"))
        }
        Event::Notice { text, .. } => Some(text.clone()),
        Event::Usage { bytes, of, files, omitted, .. } => {
            Some(usage((*bytes, *of), files, *omitted))
        }
        Event::Gap { to, from_seq, to_seq, stored } => {
            let messages = to_seq.0.saturating_sub(from_seq.0).saturating_add(1);
            Some(gap(to, messages, *stored))
        }
        Event::History { messages, more, partial, .. } => {
            let more = match (partial, more) {
                (true, _) => "; ".to_owned() + PARTIAL,
                (false, true) => "; there are older ones".to_owned(),
                (false, false) => String::new(),
            };
            let what = if *messages == 1 { "message" } else { "messages" };
            Some(format!("{messages} {what}{more}"))
        }
        _ => None,
    }
}

/// A row for each channel; `omitted` ones did not fit the answer.
fn channel_table(channels: &[ChannelInfo], omitted: usize) -> String {
    let row = |row: &ChannelInfo| {
        let topic = row.topic.as_ref().map_or("", String::as_str);
        let mark = if row.member { "*" } else { " " };
        // The state precedes the topic, which could otherwise imitate it.
        let state = if row.sealed || row.channel.has_pin() { "sealed" } else { "open" };
        let name = row.channel.to_string();
        format!("{mark} {name:<20} {:>4}  {state:<6}  {topic}", row.here)
    };
    let more = (omitted > 0).then(|| format!("and {omitted} more with fewer people"));
    channels.iter().map(row).chain(more).collect::<Vec<_>>().join("\n")
}

/// A user's devices, state, channels and fingerprints, a row each.
fn whois(
    name: &UserName,
    state: &str,
    devices: &[DeviceName],
    channels: &[ChannelName],
    fingerprints: &[String],
) -> String {
    let devices: Vec<_> = devices.iter().map(ToString::to_string).collect();
    let on = if devices.is_empty() { String::new() } else { format!(" on {}", devices.join(", ")) };
    let mut rows = vec![format!("{name}{on}: {state}")];
    if !channels.is_empty() {
        let channels: Vec<_> = channels.iter().map(ToString::to_string).collect();
        rows.push(format!("in {}", channels.join(", ")));
    }
    rows.extend(fingerprints.iter().cloned());
    rows.join("\n")
}

/// Returns the total size of the user's files, and a row for each conversation with files.
fn usage((bytes, of): (FileBytes, FileBytes), files: &[FileInfo], omitted: usize) -> String {
    let mut conversations: BTreeMap<&Target, (usize, u64, i64)> = BTreeMap::new();
    for file in files {
        let (count, sum, until_ms) = conversations.entry(&file.to).or_insert((0, 0, i64::MAX));
        *count += 1;
        *sum = sum.saturating_add(file.bytes.0);
        *until_ms = file.until_ms.min(*until_ms);
    }
    let row = |(to, (count, sum, until_ms)): (&Target, (usize, u64, i64))| {
        let (sum, until) = (FileBytes(sum), local(until_ms, Utc::date_and_time));
        match count {
            1 => format!("{to}: 1 file, {sum}, until {until}"),
            _ => format!("{to}: {count} files, {sum}, the first until {until}"),
        }
    };
    let head = format!("your files here take {bytes} of {of}");
    let more = (omitted > 0).then(|| format!("and {omitted} older files"));
    [head]
        .into_iter()
        .chain(conversations.into_iter().map(row))
        .chain(more)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Writes a time in the local time zone, or marked as UTC in a browser, which gives no time zone.
fn local(ms: i64, write: fn(&Utc) -> String) -> String {
    let time = write(&Utc::of_or_1970(ms.saturating_add(offset_ms(ms))));
    if cfg!(target_family = "wasm") { format!("{time} UTC") } else { time }
}

/// The local time without UTC at a time, in milliseconds.
#[cfg(not(target_family = "wasm"))]
fn offset_ms(ms: i64) -> i64 {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    1_000 * i64::from(jiff::tz::TimeZone::system().to_offset(at).seconds())
}

#[cfg(target_family = "wasm")]
fn offset_ms(_ms: i64) -> i64 {
    0
}

/// Whether a user is connected, idle or away.
fn presence(idle_ms: Option<u64>, away: Option<&str>) -> String {
    match (idle_ms, away) {
        (None, _) => "not connected".to_owned(),
        (Some(idle), None) => format!("idle for {}", span(idle)),
        (Some(idle), Some(away)) => format!("away ({away}), idle for {}", span(idle)),
    }
}

/// A gap in the messages.
fn gap(to: &Target, messages: u64, stored: bool) -> String {
    let (what, where_to) = match (messages, stored) {
        (1, true) => ("1 message".to_owned(), "was omitted: /history shows it"),
        (1, false) => ("1 message".to_owned(), "was omitted: it is gone"),
        (messages, true) => (format!("{messages} messages"), "were omitted: /history shows them"),
        (messages, false) => (format!("{messages} messages"), "were omitted: they are gone"),
    };
    format!("{what} of {to} {where_to}")
}

/// The notice for an answer to `/history` or `/search` that stopped early.
pub const PARTIAL: &str = "cut short after its share of the server's time: older messages were \
                           not searched; search for rarer words, or name a channel or person";

/// The state of the connection, for a user.
pub fn describe(state: &State) -> String {
    match state {
        State::Connecting => "connecting ...".to_owned(),
        State::Connected { name } => format!("connected as {name}"),
        State::Silent { for_ms } => {
            let since_ms = clock::now_ms().saturating_sub_unsigned(*for_ms);
            format!("no response from the server since {}", local(since_ms, Utc::time_of_day))
        }
        State::Offline { retry_ms } => {
            format!("offline, retry in {}, and again until it works", span(*retry_ms))
        }
        State::NotAdmitted { .. } => {
            "waiting to be admitted ... (Ctrl-C is fine: run pychat client later)\n\
             pychat key show prints the line for the operator again"
                .to_owned()
        }
        State::Refused { code } => format!("refused: {code:?}").to_lowercase(),
    }
}

/// The sign of a PIN channel.
pub const LOCK: &str = "\u{1f512}";

/// The welcome to somebody who is new: where typed text goes, who reads it, and how to go on.
pub fn welcome(name: &UserName, here: usize) -> [String; 3] {
    let others = match here.saturating_sub(1) {
        0 => "nobody else is here yet".to_owned(),
        _ => format!("{here} people are here"),
    };
    [
        format!("you are in, {name}: this is #lobby, where everybody is. {others}"),
        "what you type here is read by all users and by the operator. /pm NAME TEXT is for one \
         person, /create makes a sealed channel"
            .to_owned(),
        "/help lists commands. To bring a friend, send them the invite that you used; pychat invite \
         prints it on the server"
            .to_owned(),
    ]
}

/// The note of this client about who can read a channel that an event concerns.
pub fn readers(event: &Event) -> Option<String> {
    let (Event::Entered { channel, .. } | Event::Topic { to: channel, who: None, .. }) = event
    else {
        return None;
    };
    Some(match channel.has_pin() {
        true => {
            let tag = channel.to_string();
            let tag = tag.split_once('~').map_or("", |(_, tag)| tag);
            format!(
                "{channel} is sealed: only those who know the PIN can read it (~{tag} is derived from \
                 the PIN)"
            )
        }
        false => format!("{channel} is open: the operator can read it too"),
    })
}

/// The mark of an unsealed message in a sealed conversation.
pub const UNSEALED: &str = "not sealed, the server's word alone";

/// The note next to a private message with weaker protection.
pub fn lock_note(message: &Message) -> &'static str {
    match message.confidentiality {
        Confidentiality::RsaAlone => " (sealed under the RSA key alone: no certificate there yet)",
        _ => "",
    }
}

/// An unsealed message, in one line or several.
pub fn unsealed(message: &Message) -> String {
    let Message { from, to, .. } = message;
    let text = text_of(message);
    if message.deleted {
        return format!("{UNSEALED}: {from} -> {to} (a deletion: what was shown before stays)");
    }
    let does = match message.kind {
        Kind::Say | Kind::Me | Kind::File { .. } => "",
        Kind::Edit { .. } => " (an edit, which changes nothing here)",
        Kind::Delete { .. } => " (a deletion, which changes nothing here)",
    };
    format!("{UNSEALED}: {from} -> {to}{does}: {text}")
}

/// The text of a message, or the name and size of its file.
pub fn text_of(message: &Message) -> Cow<'_, str> {
    let text = message.body.text();
    let Some(blob) = message.kind.blob().filter(|_| !message.deleted) else { return text.into() };
    match Descriptor::read(text, blob) {
        Ok(file) => {
            let caption =
                file.text.as_ref().map_or(String::new(), |text| format!(" {}", clean::text(text)));
            let name = clean::line(&file.name);
            format!("[file {}] {name} ({}){caption}", message.seq, file.bytes).into()
        }
        Err(error) => format!("[file] {error}").into(),
    }
}

/// The refusal of a request.
pub fn refusal(code: Code, hint: &str) -> String {
    match code {
        Code::InDoubt => hint.to_owned(),
        _ => format!("not sent: {hint}"),
    }
}

/// The note about a limited retention.
pub fn kept(retention: Retention) -> String {
    match retention {
        Retention::Forever => String::new(),
        Retention::Off => "; messages are not stored".to_owned(),
        Retention::For(span) => format!("; messages are stored for {span}"),
    }
}

/// `alice, bob`
pub fn names(people: &[UserName]) -> String {
    people.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `alice, bob and 3 more`, if not all of them fit the answer.
fn names_and_more(people: &[UserName], omitted: usize) -> String {
    match omitted {
        0 => names(people),
        _ => format!("{} and {omitted} more", names(people)),
    }
}

/// `4s`, `12m`, `2h`, `3d`.
pub fn span(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// The index of a name's colour in the palette.
pub fn shade(name: &UserName) -> usize {
    let hash = name.folded().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (hash % PALETTE.len() as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_channels_that_did_not_fit_are_counted() {
        let channel: crate::chat::ChannelName = "#tea".parse().unwrap();
        let people = vec!["alice".parse().unwrap(), "bob".parse().unwrap()];
        let answer = Event::People { channel, people, omitted: 3, reference: None };
        assert_eq!(event_text(&answer).unwrap(), "#tea (5 here): alice, bob and 3 more");
        let answer = Event::Channels { channels: Vec::new(), omitted: 7, reference: None };
        assert_eq!(event_text(&answer).unwrap(), "and 7 more with fewer people");
    }

    #[test]
    fn the_usage_of_files_has_a_row_for_each_conversation() {
        let (blob, kept, sent) = (crate::chat::BlobId([7; 16]), true, true);
        let file = |to: &str, bytes: u64, until_ms: i64| {
            let (to, bytes) = (to.parse().unwrap(), FileBytes(bytes));
            FileInfo { blob, to, bytes, kept, sent, until_ms }
        };
        // 20 or 21 June, depending on the time zone.
        let day = 1_782_000_000_000;
        let files = vec![file("@bob", 70, day), file("#tea", 5_000, day + 1), file("@bob", 30, 1)];
        let (bytes, of) = (FileBytes(9_000), FileBytes(1_000_000));
        let told = event_text(&Event::Usage { bytes, of, files, omitted: 2, reference: None });
        let told = told.unwrap();
        let rows: Vec<_> = told.lines().collect();
        assert_eq!((rows.len(), rows[0]), (4, "your files here take 9.00 kB of 1.00 MB"));
        assert!(rows[1].starts_with("#tea: 1 file, 5.00 kB, until 2"), "{told}");
        assert!(rows[1].contains(" Jun 2026 "), "a server may keep files for years: {told}");
        assert!(rows[2].starts_with("@bob: 2 files, 100 bytes, the first until "), "{told}");
        assert!(rows[2].contains("Jan") || rows[2].contains("31 Dec"), "{told}");
        assert_eq!(rows[3], "and 2 older files");
    }
}
