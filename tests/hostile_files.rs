//! A hostile server and files, over a socket and with the real binary: a falsified download is not
//! saved, and no part of a file is encrypted with two contents.

mod world;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use pychat::chat::{BlobId, Descriptor, FileBytes, FileSecret};
use pychat::crypto::RecordType;
use pychat::crypto::file::{
    CHUNK_BYTES, FileKey, Layout, SEALED_CHUNK_BYTES, chunk_digest, file_hash, new_secret,
};
use pychat::wire::transfer::TransferRecord;
use serde_json::{Value, json};
use world::double::{Double, Guest};
use world::{DEADLINE, Program};
use zeroize::Zeroizing;

/// The server's number of each transfer.
const NUMBER: u32 = 7;
/// Bytes of the server's pieces.
const PIECE_BYTES: usize = 8_000;
const BLOB: BlobId = BlobId([9; 16]);

/// A fault that the server makes in a download.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    None,
    /// Two chunks are exchanged.
    Swaps,
    /// The file of another key.
    Replaces,
    /// A byte of the last chunk is another one.
    Changes,
    /// The answer has another size.
    Shortens,
    /// Sends more than the client has requested.
    Floods,
    /// The file is gone after the first chunk.
    Ends,
}

fn content() -> Vec<u8> {
    (0..3 * CHUNK_BYTES + 1_000).map(|at| (at * 7 % 251) as u8).collect()
}

/// A file as a server has it, and its description.
fn stored(content: &[u8]) -> (Vec<u8>, Descriptor) {
    let digests: Vec<_> = content.chunks(CHUNK_BYTES).map(chunk_digest).collect();
    let hash = file_hash(content.len() as u64, &digests);
    let secret = new_secret(&hash);
    let descriptor = Descriptor {
        v: 1,
        blob: BLOB,
        name: "tea.bin".into(),
        bytes: FileBytes(content.len() as u64),
        media: "application/octet-stream".into(),
        key: FileSecret(secret.clone()),
        hash: FileSecret(Zeroizing::new(hash)),
        size: None,
        thumb: None,
        text: None,
    };
    (sealed(content, &secret), descriptor)
}

fn sealed(content: &[u8], secret: &Zeroizing<[u8; 32]>) -> Vec<u8> {
    let layout = Layout::open(content.len() as u64).unwrap();
    let key = FileKey::new(secret, &BLOB.0, layout);
    let (mut all, mut out) = (Vec::new(), Vec::new());
    for (index, chunk) in (0..).zip(content.chunks(CHUNK_BYTES)) {
        key.seal_chunk(index, chunk, &mut out).unwrap();
        all.extend_from_slice(&out);
    }
    all
}

/// What the server sends instead of a file.
fn falsified(mut stored: Vec<u8>, content: &[u8], lie: Lie) -> Vec<u8> {
    match lie {
        Lie::Swaps => {
            let (one, rest) = stored.split_at_mut(SEALED_CHUNK_BYTES);
            one.swap_with_slice(&mut rest[..SEALED_CHUNK_BYTES]);
        }
        Lie::Replaces => stored = sealed(content, &new_secret(&[1; 32])),
        Lie::Changes => *stored.last_mut().unwrap() ^= 1,
        Lie::None | Lie::Shortens | Lie::Floods | Lie::Ends => {}
    }
    stored
}

fn sends(guest: &mut Guest, record: TransferRecord) {
    let mut body = Vec::new();
    record.encode(&mut body);
    // The client may already have ended the download.
    let _ = guest.sends(RecordType::Binary, &body, DEADLINE);
}

/// Makes the client fetch the file, and serves it until the client reports the end.
fn fetches(client: &mut Program, guest: &mut Guest, lie: Lie, to: &Path) -> Value {
    let content = content();
    let (stored, descriptor) = stored(&content);
    let bytes = stored.len() - usize::from(lie == Lie::Shortens);
    let stored = falsified(stored, &content, lie);
    let reference = format!("{lie:?}");
    let get = json!({"type": "get_file", "to": "#lobby", "seq": "1", "path": to, "ref": reference});
    client.types(&get.to_string());
    let asked = guest.is_asked("history");
    let message = json!({"type": "message", "seq": "1", "to": "#lobby", "from": "bob",
        "device": "main", "id": "0".repeat(31) + "1", "time_ms": 1_764_079_391_123_i64, "kind": "file",
        "blob": BLOB, "text": descriptor.text(), "ref": asked["ref"]});
    let end = json!({"type": "history", "to": "#lobby", "messages": 1, "more": false,
        "ref": asked["ref"]});
    guest.says(&format!("{message}\n{end}"));
    let asked = guest.is_asked("get");
    assert_eq!(asked["from"], 0, "{asked}");
    guest.says(
        &json!({"type": "download", "transfer": NUMBER, "blob": BLOB, "bytes": bytes,
            "ref": asked["ref"]})
        .to_string(),
    );
    serves(guest, &stored, lie);
    let is_end = |line: &String| {
        let object: Value = serde_json::from_str(line).unwrap_or_default();
        let has_ended = ["saved", "failed"].iter().any(|state| object["state"] == *state);
        object["ref"] == reference.as_str() && has_ended
    };
    client.shows(&format!("the end of {lie:?}"), |lines| lines.iter().any(is_end));
    let end = client.shown().into_iter().find(is_end).unwrap();
    serde_json::from_str(&end).unwrap()
}

/// Sends what the client wants, until it has all or ends the download.
fn serves(guest: &mut Guest, stored: &[u8], lie: Lie) {
    let mut sent = 0;
    while sent < stored.len() {
        let (kind, body) =
            guest.next_record().unwrap_or_else(|| panic!("{lie:?}: the client ends at {sent}"));
        if kind != RecordType::Binary {
            continue;
        }
        let mut upto = match TransferRecord::parse(&body).unwrap() {
            TransferRecord::Want { transfer: NUMBER, upto } => upto as usize,
            TransferRecord::Stop { transfer: NUMBER, .. } => return,
            other => panic!("{other:?}"),
        };
        if lie == Lie::Ends && sent > SEALED_CHUNK_BYTES {
            let gone = json!({"type": "stopped", "transfer": NUMBER, "code": "file_gone",
                "hint": "the file is gone"});
            return guest.says(&gone.to_string());
        }
        if lie == Lie::Floods {
            upto = stored.len();
        }
        while sent < upto.min(stored.len()) {
            let end = upto.min(stored.len()).min(sent + PIECE_BYTES);
            let bytes = &stored[sent..end];
            sends(guest, TransferRecord::Data { transfer: NUMBER, offset: sent as u64, bytes });
            sent = end;
        }
    }
}

#[test]
fn a_falsified_download_is_not_saved() {
    let double = Double::new();
    let (mut client, mut guest) = double.enters("alice");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("tea.bin");
    for (lie, code) in [
        // The first one: a window that has grown is larger than the file.
        (Lie::Floods, "not_as_sent"),
        (Lie::Swaps, "not_as_sent"),
        (Lie::Replaces, "not_as_sent"),
        (Lie::Changes, "not_as_sent"),
        (Lie::Shortens, "not_as_sent"),
        (Lie::Ends, "file_gone"),
    ] {
        let end = fetches(&mut client, &mut guest, lie, &to);
        assert_eq!(
            (&end["state"], &end["code"]),
            (&json!("failed"), &json!(code)),
            "{lie:?} {end}"
        );
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{lie:?} leaves {left:?}");
    }
    // The same client fetches the file from an honest server.
    let end = fetches(&mut client, &mut guest, Lie::None, &to);
    assert_eq!(end["state"], "saved", "{end}");
    assert!(fs::read(&to).unwrap() == content());
}

/// Takes the upload of a client, from `have` 0. Returns what arrives, up to `most` bytes or until
/// the upload has failed.
fn takes(guest: &mut Guest, most: usize) -> Vec<u8> {
    let asked = guest.is_asked("put");
    let (blob, bytes) = (&asked["blob"], &asked["bytes"]);
    guest.says(
        &json!({"type": "upload", "transfer": NUMBER, "blob": blob, "have": 0, "limit": bytes,
            "ref": asked["ref"]})
        .to_string(),
    );
    let mut taken = Vec::new();
    while taken.len() < most {
        let (kind, body) = guest.next_record().expect("the client sends on");
        if kind != RecordType::Binary {
            // An upload that has failed is removed.
            if body.windows(6).any(|word| word == b"\"drop\"") {
                break;
            }
            continue;
        }
        let TransferRecord::Data { transfer: NUMBER, offset, bytes } =
            TransferRecord::parse(&body).unwrap()
        else {
            panic!("no data")
        };
        assert_eq!(offset, taken.len() as u64);
        taken.extend_from_slice(bytes);
        let written = taken.len() as u64;
        sends(guest, TransferRecord::Have { transfer: NUMBER, written, limit: 1 << 30 });
    }
    taken
}

#[test]
fn a_changed_file_is_not_encrypted_again() {
    let double = Double::new();
    let (mut client, mut guest) = double.enters("alice");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tea.bin");
    let content = content();
    fs::write(&path, &content).unwrap();
    client.types(&json!({"type": "send_file", "to": "#lobby", "path": path}).to_string());
    let before = takes(&mut guest, 2 * SEALED_CHUNK_BYTES + 1_000);
    // The second chunk changes, the connection is cut, and the server states that it has no bytes.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let at = CHUNK_BYTES + 5;
    file.write_all_at(&[content[at] ^ 1], at as u64).unwrap();
    drop(guest);
    let mut guest = double.lets_in();
    guest.welcomes("alice");
    let after = takes(&mut guest, usize::MAX);
    client.sees(r#""code":"changed""#);
    assert!(after.len() <= SEALED_CHUNK_BYTES, "{} bytes are sent again", after.len());
    assert!(before.starts_with(&after), "the first chunk is the same");
}
