//! Objects of programs and of pages, as inputs of the model (docs/json.md).

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{Command, MsgId, Request, Seq};
use crate::client::model::Input;
use crate::client::transfer::{Place, Then, ToGet, ToSend, Wish};

/// Whether the client alone sends such a command: it resumes, transfers and announces files itself.
fn is_own(command: &Command) -> bool {
    match command {
        Command::Say(message) => message.kind.blob().is_some(),
        Command::Resume { .. }
        | Command::Put { .. }
        | Command::Get { .. }
        | Command::Drop { .. }
        | Command::Usage
        | Command::Unknown => true,
        _ => false,
    }
}

/// Parses a line of a program: a command of the protocol (with an id if it names none), `me`,
/// `list`, or `slash`.
pub fn read(line: &str) -> Input {
    let fault = |text: String| Input::Ask(Err(text));
    let mut value: Value = match serde_json::from_str(line) {
        Ok(value) => value,
        Err(error) => return fault(format!("not an object of docs/json.md: {error}")),
    };
    let Some(object) = value.as_object_mut() else {
        return fault("not an object of docs/json.md".into());
    };
    match object.get("type").and_then(Value::as_str) {
        Some("slash") => {
            return match object.get("line").and_then(Value::as_str) {
                Some(line) if line.starts_with('/') => Input::Slash(line.to_owned()),
                _ => fault("the line of a slash object must begin with /".into()),
            };
        }
        Some("send_file" | "get_file" | "cancel_file") => {
            return file_wish(value).unwrap_or_else(|problem| Input::Ask(Err(problem)));
        }
        Some("files") => {
            object.insert("type".into(), "history".into());
            object.insert("kind".into(), "file".into());
        }
        Some("join") if object.contains_key("pin") => {
            let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
            let (name, pin) = (field("channel"), field("pin"));
            return match name.contains(char::is_whitespace) || pin.trim().is_empty() {
                true => fault("a join with a PIN needs a channel and a pin, as texts".into()),
                false => Input::Slash(format!("/join {name} {pin}")),
            };
        }
        Some(kind @ ("me" | "edit" | "delete")) => {
            let kind = kind.to_owned();
            object.insert("type".into(), "say".into());
            object.insert("kind".into(), kind.into());
        }
        Some("list") => {
            object.insert("type".into(), "people".into());
            let to = object.remove("to").unwrap_or_else(|| "#lobby".into());
            object.entry("channel").or_insert(to);
        }
        _ => {}
    }
    if object.contains_key("sealed") {
        return fault("the client seals messages itself: send only the text".into());
    }
    if object.get("messages").is_some_and(|messages| *messages == 0) {
        return fault("messages is 1 or more".into());
    }
    let open = open_names(object);
    if object.get("type").and_then(Value::as_str) == Some("say") {
        object.entry("id").or_insert_with(|| MsgId(rand::random()).to_string().into());
    }
    let reference = value.get("ref").cloned().unwrap_or_default();
    let command = serde_json::from_value::<Command>(value);
    match command.and_then(|it| Request::read(it, || serde_json::from_value(reference))) {
        Ok(Request { command, .. }) if is_own(&command) => {
            fault("there is no such type: see docs/json.md".into())
        }
        Ok(Request { command: Command::Password { password }, .. }) => Input::Secret(password),
        Ok(request) => Input::AskByName { request, open },
        Err(error) => fault(format!("not an object of docs/json.md: {error}")),
    }
}

/// The positions of the names that mean the open channel: 0, or those of `conversations`.
fn open_names(object: &mut serde_json::Map<String, Value>) -> Vec<usize> {
    let own = ["to", "channel"].into_iter().any(|field| means_open(object, field)).then_some(0);
    let listed = object.get_mut("conversations").and_then(Value::as_array_mut);
    let is_open = |one: &mut Value| one.as_object_mut().is_some_and(|it| means_open(it, "to"));
    let listed = listed.into_iter().flatten().enumerate();
    own.into_iter().chain(listed.filter_map(|(at, one)| is_open(one).then_some(at))).collect()
}

/// An object about a file, whose fields have the names of docs/json.md.
#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum FileWish {
    #[serde(rename = "send_file")]
    Send {
        path: PathBuf,
        to: String,
        text: Option<String>,
        id: Option<MsgId>,
        #[serde(default)]
        keep_metadata: bool,
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
    #[serde(rename = "get_file")]
    Get {
        to: String,
        seq: Seq,
        path: Option<PathBuf>,
        #[serde(rename = "ref")]
        reference: Option<String>,
    },
    #[serde(rename = "cancel_file")]
    Cancel { transfer: String },
}

fn file_wish(value: Value) -> Result<Input, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("not an object of docs/json.md: {error}");
    let target = |to: &str| {
        let (name, exactly) = match to.strip_suffix("~open") {
            Some(name) => (name, true),
            None => (to, false),
        };
        name.parse().map(|to| (to, exactly)).map_err(|error| wrong(&error))
    };
    Ok(match serde_json::from_value(value).map_err(|error| wrong(&error))? {
        FileWish::Send { path, to, text: caption, id, keep_metadata, reference } => {
            let (to, exactly) = target(&to)?;
            let send = ToSend { path, to, caption, keeps_metadata: keep_metadata };
            Input::Wish { wish: Wish::Send(send), exactly, id, reference }
        }
        FileWish::Get { to, seq, path, reference } => {
            let (from, exactly) = target(&to)?;
            let place = path.map_or_else(|| Place::Folder(PathBuf::from(".")), Place::Named);
            Input::Wish {
                wish: Wish::Get(ToGet { from, seq, place, then: Then::Keep }),
                exactly,
                id: None,
                reference,
            }
        }
        FileWish::Cancel { transfer } => Input::CancelTransfer(transfer.parse()?),
    })
}

/// Whether a field names the open channel of a name, which is the name alone on the wire.
fn means_open(object: &mut serde_json::Map<String, Value>, field: &str) -> bool {
    let name = object.get(field).and_then(Value::as_str);
    let Some(name) = name.and_then(|name| name.strip_suffix("~open")).map(str::to_owned) else {
        return false;
    };
    object.insert(field.into(), name.into());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_commands() {
        let say = read(r##"{"type":"me","to":"#lobby","text":"waves"}"##);
        let Input::AskByName { request: Request { command: Command::Say(say), .. }, .. } = say
        else {
            panic!("{say:?}")
        };
        assert_eq!(say.kind, crate::chat::Kind::Me);
        let list = read(r#"{"type":"list","ref":"q1"}"#);
        let Input::AskByName { request: Request { command, reference }, .. } = list else {
            panic!("{list:?}")
        };
        assert!(matches!(command, Command::People { .. }) && reference.as_deref() == Some("q1"));
        let secret = read(r#"{"type":"password","password":"tall tree"}"#);
        assert!(matches!(secret, Input::Secret(secret) if secret.reveal() == "tall tree"));
        let slash = read(r#"{"type":"slash","line":"/topic tea"}"#);
        assert!(matches!(slash, Input::Slash(line) if line == "/topic tea"));
        let file = r##"{"type":"send_file","path":"a","to":"#lobby","id":"00ff00ff00ff00ff00ff00ff00ff00ff"}"##;
        assert!(matches!(read(file), Input::Wish { id: Some(MsgId([0, 0xff, ..])), .. }));
        let without = file.replace(r#","id":"00ff00ff00ff00ff00ff00ff00ff00ff""#, "");
        assert!(matches!(read(&without), Input::Wish { id: None, .. }));
        assert!(matches!(read(&file.replace("00ff", "00FF")), Input::Ask(Err(_))));
        for bad in
            ["", "{", "[]", "{}", r#"{"type":"fly"}"#, r#"{"type":"say","to":"x","text":""}"#]
        {
            assert!(matches!(read(bad), Input::Ask(Err(_))), "{bad}");
        }
    }

    #[test]
    fn a_program_seals_nothing_itself() {
        let both = r#"{"type":"say","to":"@bob","text":"a secret","sealed":"AXB5"}"#;
        assert!(matches!(read(both), Input::Ask(Err(_))));
    }
}
