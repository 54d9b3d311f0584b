//! The audit trail: the decisions of operators, in data/audit.jsonl, one JSON object a line,
//! without texts of messages. The MAC of each line covers the previous one, under a key of this
//! home (keys/audit.key), and keys/audit.head has the last one. An attacker who can write only
//! data/ cannot alter, remove or reorder lines, or restore an older copy of the folder, without
//! detection.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypto::{equal, hmac_sha256, random};
use crate::file::{self, FileError};
use crate::system::files;

/// The audit trail of a home.
pub struct Audit {
    trail: PathBuf,
    head: PathBuf,
    /// Path of the head in the first homes, beside the trail.
    former_head: PathBuf,
    key_file: PathBuf,
}

/// A decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decision<'a> {
    /// A user, or the use of the server's own account: `console`, `ctl`, `cli`, `server`, `SIGHUP`.
    pub actor: &'a str,
    pub action: &'a str,
    /// The user, channel or address that the decision concerns.
    pub target: &'a str,
    pub reason: Option<&'a str>,
    /// When the decision ends by itself.
    pub until_ms: Option<i64>,
}

/// A decision and its time.
pub struct AuditEntry {
    time: Timestamp,
    actor: String,
    action: String,
    target: String,
    reason: Option<String>,
    until_ms: Option<i64>,
}

/// A verified trail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sound {
    pub lines: u64,
    /// Number of the last line, counted from the first line ever written.
    pub last: u64,
    /// MAC of the last line. A copy of it elsewhere identifies this trail later.
    pub mac: String,
}

/// The trail is not as it was written, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{}: line {line} is not what was written, or one before it is missing", path.display())]
    Line { path: PathBuf, line: u64 },
    #[error("{}: it ends at number {last}, and number {wanted} was written", path.display())]
    Short { path: PathBuf, last: u64, wanted: u64 },
    #[error("{}: the last line breaks off", path.display())]
    Torn { path: PathBuf },
    #[error("{}: it is not what was written", path.display())]
    Head { path: PathBuf },
    #[error("{}: the audit trail is missing, although decisions were recorded", path.display())]
    Missing { path: PathBuf },
}

type Result<T> = std::result::Result<T, AuditError>;
type Mac = [u8; 32];

const MAC_FIELD: &str = ",\"mac\":\"";
/// Length of the field, 64 hexadecimal digits and `"}`.
const MAC_BYTES: usize = MAC_FIELD.len() + 64 + 2;
/// Longer lines are not written.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of lines that share a sync and a head. After a crash between the two, the head is searched
/// for in the last `4 * LINE_BYTES_MAX` bytes.
const BATCH_BYTES: usize = LINE_BYTES_MAX;

/// The first line. Earlier lines were removed by the operator's retention, or never existed.
#[derive(Serialize, Deserialize)]
struct Base {
    /// Number of the line before the next one.
    base: u64,
    before: String,
}

#[derive(Serialize)]
struct Line<'a> {
    n: u64,
    time: String,
    actor: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// The fields of a line that are read back.
#[derive(Deserialize)]
struct Written {
    n: u64,
    time: String,
}

#[derive(Serialize, Deserialize)]
struct Head {
    last: u64,
    before: String,
}

/// The end of a trail.
#[derive(Clone, Copy, PartialEq)]
struct End {
    last: u64,
    mac: Mac,
}

/// The key, and the lock on all other files until this is dropped.
struct Held {
    key: [u8; 32],
    _file: File,
}

impl AuditEntry {
    pub fn now(decision: &Decision) -> AuditEntry {
        AuditEntry {
            time: Timestamp::now(),
            actor: decision.actor.to_owned(),
            action: decision.action.to_owned(),
            target: decision.target.to_owned(),
            reason: decision.reason.map(str::to_owned),
            until_ms: decision.until_ms,
        }
    }

    fn line(&self, n: u64) -> Line<'_> {
        let until = self.until_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Line {
            n,
            time: seconds(self.time),
            actor: &self.actor,
            action: &self.action,
            target: &self.target,
            reason: self.reason.as_deref(),
            until: until.map(seconds),
        }
    }
}

impl Audit {
    pub fn of(home: &super::Home) -> Audit {
        let (data, keys) = (home.dir().join("data"), home.dir().join("keys"));
        Audit {
            trail: data.join("audit.jsonl"),
            head: keys.join("audit.head"),
            former_head: data.join("audit.head"),
            key_file: keys.join("audit.key"),
        }
    }

    /// Appends a decision with the present time, synced to disk.
    ///
    /// # Errors
    /// As `add_all`.
    pub fn add(&self, decision: &Decision) -> Result<()> {
        self.add_all(&[AuditEntry::now(decision)])
    }

    /// Appends lines, synced to disk. Also appends to a trail that is not as it was written,
    /// without repairing it.
    ///
    /// # Errors
    /// The key, the trail or its head cannot be read or written.
    pub fn add_all(&self, entries: &[AuditEntry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let held = self.hold(true)?.expect("a key is made where there is none");
        let (mut end, whole) = self.end(&held)?;
        let mut file = self.open()?;
        let mut text = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let (line, mac) = held.seal(&entry.line(end.last + 1), &end.mac);
            end = End { last: end.last + 1, mac };
            text.extend_from_slice(&line);
            if text.len() < BATCH_BYTES && index + 1 < entries.len() {
                continue;
            }
            let io = FileError::io(&self.trail);
            file.write_all(&text).and_then(|()| file.sync_data()).map_err(io)?;
            text.clear();
            if whole {
                self.write_head(&held, end)?;
            }
        }
        Ok(())
    }

    /// Reads the trail and verifies it.
    pub fn verify(&self) -> Result<Sound> {
        let none = Sound { lines: 0, last: 0, mac: String::new() };
        let Some(held) = self.hold(false)? else {
            // Without a key, no line was ever written.
            return if self.trail.exists() { Err(self.bad_head()) } else { Ok(none) };
        };
        if !self.trail.exists() && !self.head().exists() {
            return Ok(none);
        }
        let text = self.read()?;
        let (end, lines) = self.walk(&held, &text)?;
        let head = self.read_head(&held).ok_or_else(|| self.bad_head())?;
        if end.last < head.last {
            let path = self.trail.clone();
            return Err(AuditError::Short { path, last: end.last, wanted: head.last });
        }
        // A crash may have prevented the update of the head: later lines are valid too.
        if !lines.contains(&head) {
            return Err(self.bad_head());
        }
        let mac = hex(&end.mac);
        Ok(Sound { lines: lines.len() as u64 - 1, last: end.last, mac })
    }

    /// Removes lines that are older than `before_ms`. Returns their number. Leaves a trail alone
    /// that is not as it was written.
    pub fn expire(&self, before_ms: i64) -> Result<u64> {
        let Some(held) = self.hold(false)? else { return Ok(0) };
        let text = self.read()?;
        let (_, ends) = self.walk(&held, &text)?;
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let old = |line: &&&[u8]| {
            let written: Option<Written> = serde_json::from_slice(line).ok();
            let time = written.and_then(|line| line.time.parse::<Timestamp>().ok());
            time.is_some_and(|time| time.as_millisecond() < before_ms)
        };
        let gone = lines[1..].iter().take_while(old).count();
        if gone == 0 {
            return Ok(0);
        }
        let base = ends[gone];
        let mut new = held.seal(&Base { base: base.last, before: hex(&base.mac) }, &[0; 32]).0;
        lines[1 + gone..].iter().for_each(|line| new.extend_from_slice(line));
        file::replace(&self.trail, &new, 0o600)?;
        Ok(gone as u64)
    }

    /// Returns the end after the base and after each line.
    fn walk(&self, held: &Held, text: &[u8]) -> Result<(End, Vec<End>)> {
        if !text.ends_with(b"\n") {
            return Err(AuditError::Torn { path: self.trail.clone() });
        }
        let mut ends: Vec<End> = Vec::new();
        for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let next = match ends.last() {
                None => held.open_base(line),
                Some(end) => held.open(line, *end),
            };
            let path = || self.trail.clone();
            ends.push(
                next.ok_or_else(|| AuditError::Line { path: path(), line: index as u64 + 1 })?,
            );
        }
        let end = *ends.last().ok_or_else(|| AuditError::Torn { path: self.trail.clone() })?;
        Ok((end, ends))
    }

    /// Returns the end of the trail, and whether the trail matches its head. Creates an empty
    /// trail. Removes a line that a crash has left incomplete.
    fn end(&self, held: &Held) -> Result<(End, bool)> {
        let mut file = self.open()?;
        let io = || FileError::io(&self.trail);
        let bytes = file.metadata().map_err(io())?.len();
        let head = self.read_head(held);
        if bytes == 0 && head.is_none() && !self.head().exists() {
            let (text, _) = held.seal(&Base { base: 0, before: hex(&[0; 32]) }, &[0; 32]);
            file.write_all(&text).and_then(|()| file.sync_data()).map_err(io())?;
            let end = End { last: 0, mac: [0; 32] };
            self.write_head(held, end)?;
            return Ok((end, true));
        }
        let mut tail = Vec::new();
        let from = bytes.saturating_sub(4 * LINE_BYTES_MAX as u64);
        file.seek(SeekFrom::Start(from)).map_err(io())?;
        file.read_to_end(&mut tail).map_err(io())?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < tail.len() {
            file.set_len(from + whole as u64).map_err(io())?;
            tail.truncate(whole);
        }
        let lines = tail.split_inclusive(|byte| *byte == b'\n').rev();
        // Searches backwards for the line of the head; the chain must be valid from there on.
        let mut behind: Vec<&[u8]> = Vec::new();
        for line in lines {
            if head.is_some_and(|head| {
                ends_with(line, &head.mac) || held.open_base(line) == Some(head)
            }) {
                let step = |end: Option<End>, line: &&[u8]| held.open(line, end?);
                if let Some(end) = behind.iter().rev().fold(head, step) {
                    return Ok((end, true));
                }
                break;
            }
            behind.push(line);
        }
        // Continues with the present trail; `verify` reports the fault.
        let last = head.map_or(0, |head| head.last);
        Ok((End { last, mac: head.map_or([0; 32], |head| head.mac) }, false))
    }

    /// The whole trail, where its key says that there is one. A pipe in its place is not waited
    /// for.
    fn read(&self) -> Result<Vec<u8>> {
        let mut file = files::open_to_read(&self.trail).map_err(|error| match error.kind() {
            ErrorKind::NotFound => AuditError::Missing { path: self.trail.clone() },
            _ => FileError::io(&self.trail)(error).into(),
        })?;
        self.check_kind(&file)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(FileError::io(&self.trail))?;
        Ok(text)
    }

    fn open(&self) -> Result<File> {
        let mut options = files::private();
        options.read(true).append(true).create(true);
        let file = options.open(&self.trail).map_err(FileError::io(&self.trail))?;
        self.check_kind(&file)?;
        Ok(file)
    }

    fn check_kind(&self, file: &File) -> Result<()> {
        match file.metadata().map_err(FileError::io(&self.trail))?.is_file() {
            true => Ok(()),
            false => Err(FileError::damaged(&self.trail, "it is not a file").into()),
        }
    }

    /// Returns the path of the head.
    fn head(&self) -> &PathBuf {
        if !self.head.exists() && self.former_head.exists() {
            &self.former_head
        } else {
            &self.head
        }
    }

    fn read_head(&self, held: &Held) -> Option<End> {
        let text = file::read_text(self.head()).ok()??;
        let body = held.checked(text.as_bytes(), &[1; 32])?.0;
        let head: Head = serde_json::from_slice(&body).ok()?;
        Some(End { last: head.last, mac: unhex(&head.before)? })
    }

    fn write_head(&self, held: &Held, end: End) -> Result<()> {
        let (text, _) = held.seal(&Head { last: end.last, before: hex(&end.mac) }, &[1; 32]);
        file::replace(&self.head, &text, 0o600)?;
        // A former head is obsolete.
        let _ = fs::remove_file(&self.former_head);
        Ok(())
    }

    fn bad_head(&self) -> AuditError {
        AuditError::Head { path: self.head().clone() }
    }

    /// Reads or creates the key and takes the lock; `None` if there is no key and `make` is false.
    fn hold(&self, make: bool) -> Result<Option<Held>> {
        let path = &self.key_file;
        if make && !path.exists() {
            let made = file::write_new(path, hex(&random::<32>()).as_bytes(), 0o600);
            // Another process may have created it at the same time.
            if !matches!(made, Ok(()) | Err(FileError::Exists { .. })) {
                made?;
            }
        }
        let Some(text) = file::read_text(path)? else { return Ok(None) };
        let key = unhex(text.trim());
        let key = key.ok_or_else(|| FileError::damaged(path, "it is no key of an audit trail"))?;
        let file = File::open(path).map_err(FileError::io(path))?;
        files::lock(&file).map_err(FileError::io(path))?;
        Ok(Some(Held { key, _file: file }))
    }
}

impl Held {
    fn mac(&self, before: &Mac, body: &[u8]) -> Mac {
        hmac_sha256(&self.key, &[before, body])
    }

    /// Returns a line with its MAC.
    fn seal(&self, value: &impl Serialize, before: &Mac) -> (Vec<u8>, Mac) {
        let mut text = serde_json::to_vec(value).expect("a line is plain JSON");
        text.pop();
        let mac = self.mac(before, &text);
        text.extend_from_slice(format!("{MAC_FIELD}{}\"}}\n", hex(&mac)).as_bytes());
        (text, mac)
    }

    /// Returns a line without its MAC, and the MAC, if it is right.
    fn checked(&self, line: &[u8], before: &Mac) -> Option<(Vec<u8>, Mac)> {
        let line = line.strip_suffix(b"\n")?;
        let (body, end) = line.split_at_checked(line.len().checked_sub(MAC_BYTES)?)?;
        let mac = self.mac(before, body);
        let wanted = format!("{MAC_FIELD}{}\"}}", hex(&mac));
        equal(end, wanted.as_bytes()).then(|| ([body, b"}"].concat(), mac))
    }

    fn open(&self, line: &[u8], end: End) -> Option<End> {
        let (body, mac) = self.checked(line, &end.mac)?;
        let written: Written = serde_json::from_slice(&body).ok()?;
        (written.n == end.last + 1).then_some(End { last: written.n, mac })
    }

    fn open_base(&self, line: &[u8]) -> Option<End> {
        let (body, _) = self.checked(line, &[0; 32])?;
        let base: Base = serde_json::from_slice(&body).ok()?;
        Some(End { last: base.base, mac: unhex(&base.before)? })
    }
}

/// Returns whether a line contains this MAC.
fn ends_with(line: &[u8], mac: &Mac) -> bool {
    line.trim_ascii_end().ends_with(format!("{MAC_FIELD}{}\"}}", hex(mac)).as_bytes())
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn hex(bytes: &Mac) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Mac> {
    let digits = text.as_bytes();
    let legal = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if digits.len() != 64 || !digits.iter().all(legal) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
