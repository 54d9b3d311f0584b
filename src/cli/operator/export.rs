//! `pychat export`: writes the stored data of a user, or the messages of a channel, to a new file.
//! Sealed messages stay sealed: the server cannot read them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::args::HomeArgs;
use super::audit;
use crate::chat::{ChannelName, Conversation, Kind, Message, Opaque, UserName};
use crate::clean;
use crate::fault::{Fault, code};
use crate::file::{FileError, json_file};
use crate::home::known::Known;
use crate::home::sanctions::{Decisions, Subject};
use crate::home::{Home, Users};
use crate::ledger::{BlobRow, BlobState, Exported, Jobs, jobs};
use crate::print::{err, out};
use crate::system::files;

#[derive(Subcommand)]
pub enum Job {
    /// Write the stored data of a user, with all messages that the user has sent
    User {
        name: UserName,
        #[command(flatten)]
        to: To,
    },
    /// Write the messages of a channel; quote its name in a shell: '#tea'
    Channel {
        channel: ChannelName,
        #[command(flatten)]
        to: To,
    },
}

#[derive(clap::Args)]
pub struct To {
    /// The new file
    file: PathBuf,
    /// Text for people, or one JSON object in each line
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    home: HomeArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Numbers of exported messages, and of the files that are listed.
#[derive(Default)]
struct Counts {
    messages: usize,
    sealed: usize,
    damaged: usize,
    files: usize,
}

/// Runs an export.
///
/// # Errors
/// The home or the ledger cannot be read, nothing is stored, or the file exists already.
pub fn run(job: Job) -> anyhow::Result<ExitCode> {
    let (wanted, to) = match job {
        Job::User { name, to } => (Exported::User(name), to),
        Job::Channel { channel, to } => (Exported::Channel(channel), to),
    };
    let home = to.home.open_to_write()?;
    if !home.users_dir().is_dir() {
        let error = format!("there is no server in {} yet", home.dir().display());
        return Err(Fault::new(code::UNREADABLE, error, super::args::NO_HOME).into());
    }
    let mut facts = match &wanted {
        Exported::User(name) => about(&home, name)?,
        Exported::Channel(_) => Vec::new(),
    };
    let stored = listed(&home, &wanted)?;
    let files = stored.len();
    facts.extend(stored);
    let mut options = files::private();
    let file = options.write(true).create_new(true).open(&to.file);
    let file = file.map_err(FileError::io(&to.file))?;
    let counts = write(&home, &wanted, (&facts, to.format), file);
    let counts = counts.inspect_err(|_| drop(std::fs::remove_file(&to.file)))?;
    let counts = Counts { files, ..counts };
    if counts.messages == 0 && facts.is_empty() {
        let _ = std::fs::remove_file(&to.file);
        let hint = "pychat users list and pychat ctl channels show the names";
        return Err(Fault::new(code::OTHER, "nothing is stored under this name", hint).into());
    }
    let target = match &wanted {
        Exported::User(name) => name.to_string(),
        Exported::Channel(channel) => channel.to_string(),
    };
    audit::note(&home, "export", &target, None);
    report(&counts, &to)?;
    Ok(ExitCode::SUCCESS)
}

fn report(counts: &Counts, to: &To) -> anyhow::Result<()> {
    let Counts { messages, sealed, damaged, files } = counts;
    if to.json {
        let file = to.file.display().to_string();
        out!(
            "{}",
            json!({
                "file": file, "messages": messages, "sealed": sealed, "damaged": damaged,
                "files": files,
            })
        )?;
        return Ok(());
    }
    out!("{messages} messages were written to {}", to.file.display())?;
    if *sealed > 0 {
        err!("{sealed} of them are end-to-end encrypted: the server cannot read them");
    }
    if *files > 0 {
        err!("{files} uploaded files are listed; data/files has their encrypted content");
    }
    if *damaged > 0 {
        err!("{damaged} damaged messages were left out: pychat verify shows details");
    }
    Ok(())
}

/// Writes the facts and the messages. Returns the numbers of messages.
fn write(
    home: &Home,
    wanted: &Exported,
    (facts, format): (&[Value], Format),
    file: File,
) -> anyhow::Result<Counts> {
    let mut out = BufWriter::new(file);
    for fact in facts {
        match format {
            Format::Json => writeln!(out, "{fact}")?,
            Format::Text => writeln!(out, "{}", words(fact))?,
        }
    }
    let (mut counts, mut failed) = (Counts::default(), None);
    let mut each = |message: Message| {
        counts.messages += 1;
        counts.sealed += usize::from(message.body.sealed().is_some());
        let written = match format {
            Format::Json => writeln!(out, "{}", object(&message)),
            Format::Text => writeln!(out, "{}", line(&message)),
        };
        failed = written.err();
        failed.is_none()
    };
    let ledger = home.ledger_file();
    // With "history": "off" there is no ledger.
    let damaged = if ledger.exists() { jobs(&ledger).export(wanted, &mut each)? } else { 0 };
    if let Some(error) = failed {
        return Err(error.into());
    }
    counts.damaged = damaged;
    out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(counts)
}

/// Returns the uploaded files of a user or a channel, without their content, which the server
/// cannot read.
fn listed(home: &Home, wanted: &Exported) -> anyhow::Result<Vec<Value>> {
    let ledger = home.ledger_file();
    let rows = if ledger.exists() { jobs(&ledger).exported_files(wanted)? } else { Vec::new() };
    let object = |row: BlobRow| {
        let to = match &row.conversation {
            Conversation::Channel(channel) => channel.to_string(),
            Conversation::Private(one, other) if *one == row.owner => format!("@{other}"),
            Conversation::Private(one, _) => format!("@{one}"),
        };
        json!({
            "type": "file", "name": row.stored.to_string(), "from": row.owner, "to": to,
            "bytes": row.bytes, "is_complete": row.state == BlobState::Kept,
            "time_ms": row.made_ms, "until_ms": row.until_ms,
        })
    };
    Ok(rows.into_iter().map(object).collect())
}

/// Returns the facts about a user in the files of a home, each with its `type`.
fn about(home: &Home, name: &UserName) -> anyhow::Result<Vec<Value>> {
    let (users, _) = Users::load(&home.users_dir())?;
    let mut facts = Vec::new();
    if let Some(name) = users.find(name) {
        let settings = users.settings(name);
        facts.push(json!({
            "type": "user", "name": name, "role": settings.role,
            "has_password": settings.password.is_some(), "allow": settings.allow,
            "deny": settings.deny,
        }));
        for key in users.keys_of(name) {
            let device = users.by_key(key).map(|(_, device)| device);
            let print = key.fingerprint().to_string();
            facts.push(json!({"type": "key", "device": device, "fingerprint": print}));
        }
    }
    if let Some(time_ms) = Known::load(&home.known_file())?.last_connected_ms(name) {
        facts.push(json!({"type": "last_seen", "time_ms": time_ms}));
    }
    let sources: BTreeMap<UserName, Vec<(String, i64)>> =
        json_file::load(&home.sources_file(), json_file::LARGE)?.unwrap_or_default();
    for (source, day) in sources.get(name).into_iter().flatten() {
        facts.push(json!({"type": "source", "source": source, "day": day}));
    }
    for one in Decisions::load(&home.decisions_file())?.sanctions {
        if one.subject == Subject::User(name.clone()) {
            facts.push(json!({"type": "sanction", "sanction": one}));
        }
    }
    facts.extend(decisions(&home.dir().join("data/audit.jsonl"), name)?);
    Ok(facts)
}

/// Returns the lines of the audit trail with a user as their author or target.
fn decisions(trail: &Path, name: &UserName) -> anyhow::Result<Vec<Value>> {
    let file = match files::open_to_read(trail) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::io(trail)(error).into()),
    };
    let mut found = Vec::new();
    let mut damaged = 0;
    // Split as bytes: a line that is not UTF-8 does not hide later lines.
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(FileError::io(trail))?;
        let Ok(mut entry) = serde_json::from_slice::<Value>(&line) else {
            damaged += usize::from(!line.is_empty());
            continue;
        };
        let is_about = |field: &str| {
            let text = entry[field].as_str();
            text.and_then(|text| text.parse::<UserName>().ok()).is_some_and(|one| one == *name)
        };
        if is_about("actor") || is_about("target") {
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("mac");
            }
            found.push(json!({"type": "decision", "decision": entry}));
        }
    }
    if damaged > 0 {
        err!("damaged lines of the audit trail were left out: {damaged}");
    }
    Ok(found)
}

/// Returns a fact as one line of text.
fn words(fact: &Value) -> String {
    let fields = fact.as_object().into_iter().flatten().filter(|(name, _)| *name != "type");
    let fields = fields.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name} {}", clean::line(text)),
        None => format!("{name} {}", clean::line(&value.to_string())),
    });
    let kind = fact["type"].as_str().unwrap_or_default();
    format!("{kind}: {}", fields.collect::<Vec<_>>().join(", "))
}

/// Returns the message as JSON, with a sealed body as base64.
fn object(message: &Message) -> Value {
    let sealed = message.body.sealed().map(|sealed| STANDARD.encode(Opaque::bytes(sealed)));
    let text = sealed.is_none().then(|| message.body.text());
    json!({
        "type": "message", "to": message.to.to_string(), "from": message.from,
        "device": message.device, "seq": message.seq.0, "time_ms": message.time_ms,
        "kind": kind(&message.kind), "of": message.kind.of().map(|of| of.0), "text": text,
        "sealed": sealed, "edited": message.edited, "deleted": message.deleted,
    })
}

fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Say => "say",
        Kind::Me => "me",
        Kind::Edit { .. } => "edit",
        Kind::Delete { .. } => "delete",
        Kind::File { .. } => "file",
    }
}

/// Returns the message as text, with its further lines indented.
fn line(message: &Message) -> String {
    let time = jiff::Timestamp::from_millisecond(message.time_ms).unwrap_or_default();
    let time = time.strftime("%Y-%m-%d %H:%M:%S UTC");
    let body = match (message.body.sealed(), &message.kind) {
        _ if message.deleted => "(deleted)".to_owned(),
        (_, Kind::Delete { of }) => format!("(deleted message {})", of.0),
        (Some(sealed), _) => {
            format!("(end-to-end encrypted, {} bytes)", Opaque::bytes(sealed).len())
        }
        (None, Kind::File { .. }) => format!("(file) {}", clean::line(message.body.text())),
        (None, _) => clean::text(message.body.text()).replace('\n', "\n    "),
    };
    let kind = match &message.kind {
        Kind::Me => "/me ",
        Kind::Edit { .. } => "(edit) ",
        _ => "",
    };
    let edited = if message.edited { " (edited)" } else { "" };
    format!("{time}  {}  {}: {kind}{body}{edited}", message.to, message.from)
}
