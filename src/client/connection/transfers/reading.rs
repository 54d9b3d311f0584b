//! The first pass over a file before it is sent: removes metadata and stores the digests on disk.
//! Its time grows with the file's size, so it runs on its own thread.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::ports::Desk;
use crate::chat::{BlobId, Descriptor, FileBytes, FileSecret, MsgId, Thumb};
use crate::client::files::metadata::{self, Cleaned, Format};
use crate::client::files::source::{Digests, Pass, Sealing, Source, SourceError};
use crate::client::files::{name, thumb};
use crate::client::storage::transfer_folder::{
    Held, StoreError, Stored, StoredUpload, TransferFiles, TransferFolder,
};
use crate::client::transfer::{Failure, Recorded, ToSend};
use crate::crypto::file::new_secret;
use crate::fault::code;
use crate::file::write_new;
use crate::limits::TEXT_BYTES_MAX;
use crate::system::files;
use crate::system::fs::{self, File};

/// Bytes that show the format of a picture.
const HEAD_BYTES: u64 = 16;

/// A file whose chunks can be sealed.
pub struct Ready {
    pub held: Held,
    pub sealing: Sealing,
    pub recorded: Recorded,
}

/// What a first pass needs beside the file.
pub struct Reader {
    pub folder: Arc<TransferFolder>,
    /// This client is a script: repeating the command continues its transfers.
    pub is_script: bool,
    pub is_cancelled: Arc<AtomicBool>,
    pub desk: Arc<dyn Desk>,
}

/// A first pass that has begun, or an upload that continues without one.
pub enum Begun {
    Reads(Box<Reading>),
    Ready(Box<Ready>),
}

/// A first pass in progress. Its files are removed unless it is finished.
pub struct Reading {
    reader: Reader,
    send: ToSend,
    message: MsgId,
    blob: BlobId,
    new: Unfinished,
    source: Source,
    stamp: (u64, u64, i64),
    pass: Pass,
    /// Bytes that are read.
    bytes: u64,
}

/// The files of a first pass.
struct Unfinished {
    files: TransferFiles,
    is_finished: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            self.files.remove();
        }
    }
}

impl Reader {
    /// Reads a file, or continues with what an earlier run of the same script has recorded.
    pub fn read(
        self,
        send: ToSend,
        message: MsgId,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Ready, Failure> {
        match self.begin(send, message)? {
            Begun::Ready(ready) => Ok(*ready),
            Begun::Reads(mut reading) => {
                while reading.step()? {
                    progress(reading.bytes(), reading.of());
                }
                reading.finish()
            }
        }
    }

    /// Begins a first pass: removes the metadata of a picture.
    pub fn begin(self, mut send: ToSend, message: MsgId) -> Result<Begun, Failure> {
        if send.caption.as_ref().is_some_and(|caption| caption.len() > TEXT_BYTES_MAX) {
            return Err(long_caption());
        }
        if send.path.as_os_str().is_empty() {
            return Err(Failure::local("not_a_file", "the path is empty", code::USAGE));
        }
        send.path = std::path::absolute(&send.path).unwrap_or(send.path);
        if send.path.to_str().is_none() {
            let hint = format!("{} is not UTF-8: rename or copy it", send.path.display());
            return Err(Failure::local("not_a_file", hint, code::USAGE));
        }
        let mut source = Source::open(&send.path).map_err(failure)?;
        let stamp = stamp(&send.path)?;
        if self.is_script
            && let Some(ready) = self.continued(&send, stamp)
        {
            return Ok(Begun::Ready(Box::new(ready)));
        }
        let blob = BlobId(rand::random());
        let files = self.folder.place(blob).map_err(Failure::disk)?;
        let new = Unfinished { files, is_finished: false };
        if cleaned(&send, &mut source, new.files.picture())? {
            source = Source::open(new.files.picture()).map_err(failure)?;
        }
        let (reader, pass) = (self, Pass::default());
        let reading = Reading { reader, send, message, blob, new, source, stamp, pass, bytes: 0 };
        Ok(Begun::Reads(Box::new(reading)))
    }

    /// Returns the upload of the same file that an earlier run of the same command has stored.
    fn continued(&self, send: &ToSend, stamp: (u64, u64, i64)) -> Option<Ready> {
        let left = self.folder.left(|stored| match stored {
            Stored::Upload(it) => it.is_script && it.send == *send && it.stamp == stamp,
            Stored::Download { .. } => false,
        });
        match left.into_iter().next()? {
            (held, Stored::Upload(upload)) => reopened(held, *upload).ok(),
            (_, Stored::Download { .. }) => None,
        }
    }
}

impl Reading {
    /// Bytes that are read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the whole file.
    pub fn of(&self) -> u64 {
        self.source.bytes()
    }

    /// Reads the next chunk. Returns whether there was one.
    pub fn step(&mut self) -> Result<bool, Failure> {
        if self.reader.is_cancelled.load(Ordering::Relaxed) {
            return Err(Failure::disk("the file is not sent any more"));
        }
        let read = self.source.pass(&mut self.pass).map_err(failure)?;
        self.bytes = read.unwrap_or(self.bytes);
        Ok(read.is_some())
    }

    /// Stores the digests and the transfer, after the last step.
    pub fn finish(mut self) -> Result<Ready, Failure> {
        let hides_size = self.send.to.is_sealed();
        let (pass, record) = (std::mem::take(&mut self.pass), self.new.files.digests());
        let digests = self.source.record(pass, (self.blob, hides_size), &record);
        let digests = digests.map_err(failure)?;
        let file = self.described(digests.hash())?;
        let Reading { reader, send, message, blob, mut new, source, stamp, .. } = self;
        let is_script = reader.is_script;
        let upload = StoredUpload { send, message, file: file.clone(), stamp, is_script };
        let stored = Stored::Upload(Box::new(upload));
        let held = reader.folder.store(blob, &stored).map_err(not_stored)?;
        let stored = digests.layout().stored();
        let recorded = Recorded { stored, file, message, is_continued: false };
        let sealing = Sealing::new(source, digests, &recorded.file.key.0).map_err(failure)?;
        new.is_finished = true;
        Ok(Ready { held, sealing, recorded })
    }

    /// The description of the file for its message.
    fn described(&self, hash: [u8; 32]) -> Result<Descriptor, Failure> {
        let (send, picture) = (&self.send, self.new.files.picture());
        let sent = if is_there(picture) { picture } else { &send.path };
        let own_name = send.path.file_name().unwrap_or_default().to_string_lossy();
        let mut file = Descriptor {
            v: 1,
            blob: self.blob,
            name: name::cleaned(&own_name),
            bytes: FileBytes(self.of()),
            media: "application/octet-stream".to_owned(),
            key: FileSecret(new_secret(&hash)),
            hash: FileSecret(Zeroizing::new(hash)),
            size: None,
            thumb: None,
            text: send.caption.clone(),
        };
        if let Some(media) = format(sent).and_then(Format::media) {
            file.media = media.to_owned();
            // The size and the preview of a picture, if it can be decoded.
            if let Some(decoded) = self.reader.desk.preview(&send.path, sent) {
                file.size = Some(decoded.original);
                file.thumb = thumb::thumb(&decoded.picture).map(Thumb);
            }
        }
        // Otherwise the server would refuse the message after the upload.
        if file.text().len() > TEXT_BYTES_MAX { Err(long_caption()) } else { Ok(file) }
    }
}

/// Writes a picture without its metadata. Returns whether the file is a picture that is sent so.
/// What was opened decides: another file may have the path by now.
fn cleaned(send: &ToSend, source: &mut Source, picture: &Path) -> Result<bool, Failure> {
    if send.keeps_metadata {
        return Ok(false);
    }
    let io = |error| failure(SourceError::Io { path: send.path.clone(), error });
    match metadata::cleaned(source.file()).map_err(io)? {
        Cleaned::NoPicture => Ok(false),
        Cleaned::Picture(clean) => {
            write_new(picture, &clean, 0o600).map_err(Failure::disk)?;
            Ok(true)
        }
        Cleaned::Cannot(reason) => {
            let hint = format!(
                "{reason}: nothing was sent. /send keep PATH and --keep-metadata send the file as \
                 it is"
            );
            Err(Failure::local("metadata", hint, code::NOT_ACKNOWLEDGED))
        }
    }
}

/// Opens an upload that an earlier run has recorded. A picture without its metadata that was not
/// kept is made again. Its chunks have to be those that were recorded, as those of each file.
pub fn reopened(held: Held, upload: StoredUpload) -> Result<Ready, Failure> {
    let opened = || {
        let (chosen, picture) = (&upload.send.path, held.files().picture());
        if !is_there(chosen) && !is_there(picture) {
            return Err(Failure::disk("the file is not there any more: send it again"));
        }
        let clean = || {
            let mut source = Source::open(chosen).map_err(failure)?;
            cleaned(&upload.send, &mut source, picture)
        };
        let is_picture = is_there(picture) || clean()?;
        let source = Source::open(if is_picture { picture } else { chosen }).map_err(failure)?;
        let digests = Digests::load(&held.files().digests()).map_err(failure)?;
        // The digests must be those that the sealed state names.
        if digests.blob() != upload.file.blob || digests.hash() != *upload.file.hash.0 {
            return Err(failure(SourceError::Damaged { path: held.files().digests() }));
        }
        let stored = digests.layout().stored();
        let (message, file) = (upload.message, upload.file.clone());
        let recorded = Recorded { stored, file, message, is_continued: true };
        let sealing = Sealing::new(source, digests, &recorded.file.key.0).map_err(failure)?;
        Ok((sealing, recorded))
    };
    match opened() {
        Ok((sealing, recorded)) => Ok(Ready { held, sealing, recorded }),
        Err(error) => {
            held.remove();
            Err(error)
        }
    }
}

fn long_caption() -> Failure {
    let hint = format!(
        "the caption is too long: the name, the preview and the caption of a file may have \
         {TEXT_BYTES_MAX} bytes together"
    );
    Failure::local("too_long", hint, code::NOT_ACKNOWLEDGED)
}

/// Values that change with a file.
fn stamp(path: &Path) -> Result<(u64, u64, i64), Failure> {
    let io = |error| failure(SourceError::Io { path: path.to_owned(), error });
    let about = fs::metadata(path).map_err(io)?;
    let (node, time) = files::stamp(&about);
    Ok((about.len(), node, time))
}

fn is_there(path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

fn format(path: &Path) -> Option<Format> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
    Format::of(&head)
}

/// The failure of a transfer that cannot be stored.
pub fn not_stored(error: StoreError) -> Failure {
    match error {
        StoreError::File(error) => Failure::disk(error),
        StoreError::InUse => Failure::local("in_use", error, code::OTHER),
    }
}

/// The failure of a file that is sent.
pub fn failure(error: SourceError) -> Failure {
    let name = match &error {
        SourceError::NotAFile { .. } => "not_a_file",
        SourceError::Io { error, .. }
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            "not_a_file"
        }
        SourceError::Io { .. } | SourceError::Record(_) => "disk",
        SourceError::TooLarge { .. } => "file_too_large",
        SourceError::Changed { .. } => "changed",
        SourceError::Damaged { .. } => "damaged",
    };
    Failure::local(name, error, code::NOT_ACKNOWLEDGED)
}
