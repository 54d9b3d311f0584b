//! Parsers of the slash commands' arguments.

use super::Misuse;
use super::command::{
    HelpOn, LogWish, Notifications, Notify, Pin, ScreenCommand, ScreenSetting, Setting,
    SlashCommand, ToOpen, Whom,
};
use super::path;
use crate::chat::{NameError, Seq, UserName};
use crate::client::transfer::Place;

type Parsed<'a> = Result<SlashCommand<'a>, Misuse>;

/// The text, unless it is empty.
pub fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A user name with an optional `@`.
fn user(text: &str) -> Result<UserName, NameError> {
    text.trim_start_matches('@').parse()
}

pub fn help(operands: &str) -> Parsed<'_> {
    Ok(SlashCommand::Help(match operands {
        "" => HelpOn::Common,
        "all" => HelpOn::All,
        "keys" => HelpOn::Keys,
        word => HelpOn::Command(word),
    }))
}

pub fn join(operands: &str) -> Parsed<'_> {
    Ok(match with_pin(operands) {
        Some((channel, pin)) => SlashCommand::JoinWithPin { channel, pin: Pin(pin) },
        None => SlashCommand::Join(operands),
    })
}

/// The channel and the PIN of `/join CHANNEL PIN`.
fn with_pin(operands: &str) -> Option<(&str, &str)> {
    let (name, pin) = operands.split_once(char::is_whitespace)?;
    let pin = pin.trim();
    (!pin.is_empty() && !name.ends_with(',')).then_some((name, pin))
}

pub fn create(operands: &str) -> Parsed<'_> {
    if operands.split_whitespace().count() != 1 {
        let problem = "which channel? /create CHANNEL makes its PIN".to_owned();
        // `/create` takes no PIN, but an extra argument may be meant as one.
        return Err(Misuse { problem, holds_pin: !operands.is_empty() });
    }
    Ok(SlashCommand::Create { channel: operands })
}

pub fn part(operands: &str) -> Parsed<'_> {
    Ok(some(operands).map_or(SlashCommand::PartHere, SlashCommand::Part))
}

pub fn pm(operands: &str) -> Parsed<'_> {
    let Some((name, text)) = operands.split_once(char::is_whitespace) else {
        return Err("to whom, and what? /pm NAME TEXT".to_owned().into());
    };
    let to = user(name).map_err(|problem| format!("{name}: {problem}"))?;
    Ok(SlashCommand::Pm { to, text: text.trim() })
}

pub fn query(operands: &str) -> Parsed<'_> {
    whom(operands).map(SlashCommand::Query)
}

/// `/topic`, `/topic green tea`, `/topic #tea`, `/topic #tea green tea`.
pub fn topic(operands: &str) -> Parsed<'_> {
    let (channel, text) = match operands.split_once(char::is_whitespace) {
        Some((name, text)) if name.starts_with('#') => (Some(name), text.trim()),
        None if operands.starts_with('#') => (Some(operands), ""),
        _ => (None, operands),
    };
    Ok(SlashCommand::Topic { channel, text: some(text) })
}

pub fn whois(operands: &str) -> Parsed<'_> {
    let name = user(operands).map_err(|problem| format!("whois {operands}: {problem}"))?;
    Ok(SlashCommand::Whois(name))
}

pub fn fingerprint(operands: &str) -> Parsed<'_> {
    let (name, rest) = operands.split_once(char::is_whitespace).unwrap_or((operands, ""));
    let confirms = match rest.trim() {
        "" => false,
        "confirm" => true,
        _ => return Err("whose? /fingerprint NAME, and confirm behind it".to_owned().into()),
    };
    let name = user(name).map_err(|problem| format!("fingerprint {name}: {problem}"))?;
    Ok(SlashCommand::Fingerprint { name, confirms })
}

/// `/history`, `/history 50`, `/history 2d`.
pub fn history(operands: &str) -> Parsed<'_> {
    let (messages, span) = match operands {
        "" => (None, None),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => match number.parse() {
            Ok(messages @ 1..) => (Some(messages), None),
            _ => return Err("how many messages? /history COUNT".to_owned().into()),
        },
        span => {
            let parsed = span.parse().map_err(|problem| format!("/history {span}: {problem}"))?;
            (Some(usize::MAX), Some(parsed))
        }
    };
    Ok(SlashCommand::History { messages, span })
}

/// `/edit green tea`, `/edit 17 -- green tea`.
pub fn edit(operands: &str) -> Parsed<'_> {
    let numbered = operands.split_once(" -- ");
    let numbered = numbered.and_then(|(seq, text)| Some((seq.parse().ok()?, some(text.trim())?)));
    if let Some((seq, text)) = numbered {
        return Ok(SlashCommand::Edit { seq: Some(seq), text });
    }
    match some(operands) {
        Some(text) => Ok(SlashCommand::Edit { seq: None, text }),
        None => Err("what should it say? /edit TEXT".to_owned().into()),
    }
}

pub fn delete(operands: &str) -> Parsed<'_> {
    let seq = some(operands).map(str::parse).transpose();
    let seq = seq.map_err(|problem| format!("/delete {operands}: {problem}"))?;
    Ok(SlashCommand::Delete(seq))
}

/// `/send holiday.jpg`, `/send keep ./my holiday.jpg @bob -- the sea`.
pub fn send(operands: &str) -> Parsed<'_> {
    let (keeps, operands) = match operands.strip_prefix("keep ") {
        Some(rest) => (true, rest.trim()),
        None => (false, operands.trim()),
    };
    let is_caption = |rest: &str| rest.starts_with("-- ");
    let is_whom = |rest: &str| {
        let (first, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let behind = behind.trim_start();
        first.starts_with(['#', '@']) && (behind.is_empty() || is_caption(behind))
    };
    let whole = path::split(operands, is_caption);
    let (path, rest) = match path::typed(whole.0).is_some_and(|path| path.is_file()) {
        // A completed path may have a word like a channel.
        true => whole,
        false => path::split(operands, |rest| is_caption(rest) || is_whom(rest)),
    };
    let (to, rest) = match is_whom(rest) {
        true => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        false => ("", rest),
    };
    let caption = match rest.trim_start() {
        "" | "--" => None,
        rest if is_caption(rest) => some(rest[2..].trim()),
        _ => return Err("whom to, or which caption? /send 'PATH' TO -- CAPTION".to_owned().into()),
    };
    let nothing = || Misuse::from("which file? /send PATH".to_owned());
    if to.is_empty()
        && let Some(name) = path::person_after(path)
    {
        let problem = format!(
            "to whom? write the name of a person as @{name}: /send PATH @{name} -- CAPTION"
        );
        return Err(problem.into());
    }
    let path = path::typed(path).ok_or_else(nothing)?;
    let to = some(to).map(whom).transpose()?;
    Ok(SlashCommand::Send { keeps, path, to, caption })
}

/// `/files`, `/files #tea`, `/files bob`.
pub fn files(operands: &str) -> Parsed<'_> {
    Ok(SlashCommand::Files(some(operands).map(whom).transpose()?))
}

/// `/get 12`, `/get 12 ~/pictures`.
pub fn get(operands: &str) -> Parsed<'_> {
    let (number, path) = operands.split_once(char::is_whitespace).unwrap_or((operands, ""));
    let seq = message("get", number)?;
    let place = path::typed(path).map_or(Place::Downloads, Place::Named);
    Ok(SlashCommand::Get { seq, place })
}

/// `/open`, `/open -2`, `/open 12`.
pub fn open(operands: &str) -> Parsed<'_> {
    let back = operands.strip_prefix('-').and_then(|back| back.parse::<usize>().ok());
    Ok(SlashCommand::Open(match (operands, back) {
        ("", _) => ToOpen::Address { back: 0 },
        (_, Some(back @ 1..)) => ToOpen::Address { back: back - 1 },
        _ => {
            let wrong = "what? /open opens the last address here, /open -2 the address before it, \
                         /open 12 the file or address of message 12";
            ToOpen::Message(operands.parse().map_err(|_| wrong.to_owned())?)
        }
    }))
}

/// `/log`, `/log ~/tea.log`, `/log off`.
pub fn log(operands: &str) -> Parsed<'_> {
    Ok(SlashCommand::Log(match operands {
        "off" => LogWish::End,
        path => path::typed(path).map_or(LogWish::Show, LogWish::To),
    }))
}

pub fn view(operands: &str) -> Parsed<'_> {
    message("view", operands).map(SlashCommand::View)
}

/// The number of a message that announces a file.
fn message(command: &str, number: &str) -> Result<Seq, Misuse> {
    let wrong =
        || format!("which file? /{command} and the number of its message: /files lists them");
    Ok(number.parse().map_err(|_| wrong())?)
}

pub fn cancel(operands: &str) -> Parsed<'_> {
    Ok(SlashCommand::Cancel(some(operands).map(str::parse).transpose()?))
}

fn whom(text: &str) -> Result<Whom<'_>, Misuse> {
    if text.starts_with('#') {
        return Ok(Whom::Channel(text));
    }
    Ok(Whom::User(user(text).map_err(|problem| format!("{text}: {problem}"))?))
}

pub fn ignore(operands: &str) -> Parsed<'_> {
    let name = some(operands).map(user).transpose();
    Ok(SlashCommand::Ignore(name.map_err(|problem| format!("{operands}: {problem}"))?))
}

pub fn notify(operands: &str) -> Parsed<'_> {
    let notify = match operands {
        "" => None,
        "off" => Some(Notify::Off),
        "mentions" => Some(Notify::Mentions),
        "all" => Some(Notify::All),
        _ => {
            return Err("which messages ring the bell? /notify off, mentions or all"
                .to_owned()
                .into());
        }
    };
    Ok(SlashCommand::Screen(ScreenCommand::Notify(notify)))
}

/// `/highlight`, `/highlight kettle`, `/highlight kettle here`.
pub fn highlight(operands: &str) -> Parsed<'_> {
    let (word, rest) = operands.split_once(char::is_whitespace).unwrap_or((operands, ""));
    let here = match rest.trim() {
        "" => false,
        "here" => true,
        _ => return Err("which word? /highlight WORD, and here behind it".to_owned().into()),
    };
    Ok(SlashCommand::Screen(ScreenCommand::Highlight { word: some(word), here }))
}

/// `/set`, `/set search on`.
pub fn set(operands: &str) -> Parsed<'_> {
    let (key, value) = operands.split_once(char::is_whitespace).unwrap_or((operands, ""));
    let value = value.trim();
    let setting = match key {
        "" => Setting::Show,
        "search" => Setting::Search(some(value).map(|_| switch(key, value)).transpose()?),
        "align" => Setting::Screen(ScreenSetting::Align(switch(key, value)?)),
        "bell" => Setting::Screen(ScreenSetting::Bell(switch(key, value)?)),
        "title" => Setting::Screen(ScreenSetting::Title(switch(key, value)?)),
        "mouse" => Setting::Screen(ScreenSetting::Mouse(switch(key, value)?)),
        "notifications" => Setting::Screen(ScreenSetting::Notifications(match value {
            "off" => Notifications::Off,
            "osc9" => Notifications::Osc9,
            "osc777" => Notifications::Osc777,
            other => {
                let problem = format!("/set {key}: off, osc9 or osc777, not {other:?}");
                return Err(problem.into());
            }
        })),
        _ => return Err(format!("there is no setting {key:?}: /help set lists them").into()),
    };
    Ok(SlashCommand::Set(setting))
}

fn switch(key: &str, value: &str) -> Result<bool, Misuse> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("/set {key}: on or off, not {other:?}").into()),
    }
}
