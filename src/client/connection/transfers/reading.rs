//! The first pass over a file before it is sent: removes metadata and stores the digests on disk.
//! Its time grows with the file's size, so it runs on its own thread.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::ports::Desk;
use crate::chat::{BlobId, Descriptor, FileBytes, FileSecret, MsgId, Thumb};
use crate::client::files::metadata::{self, Cleaned, Format};
use crate::client::files::source::{Digests, Sealing, Source, SourceError};
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

impl Reader {
    /// Reads a file, or continues with what an earlier run of the same script has recorded.
    pub fn read(
        &self,
        mut send: ToSend,
        message: MsgId,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Ready, Failure> {
        if send.caption.as_ref().is_some_and(|caption| caption.len() > TEXT_BYTES_MAX) {
            return Err(long_caption());
        }
        send.path = std::path::absolute(&send.path).unwrap_or(send.path);
        let source = Source::open(&send.path).map_err(failure)?;
        let stamp = stamp(&send.path)?;
        if self.is_script
            && let Some(ready) = self.continued(&send, stamp)
        {
            return Ok(ready);
        }
        let blob = BlobId(rand::random());
        let new = self.folder.place(blob).map_err(Failure::disk)?;
        let recorded = self.record(&new, source, (&send, blob), progress);
        let ready = recorded.and_then(|(source, digests, file)| {
            let upload = StoredUpload { send, message, file, stamp, is_script: self.is_script };
            self.stored(blob, source, digests, upload)
        });
        ready.inspect_err(|_| new.remove())
    }

    /// Stores the transfer, after its digests.
    fn stored(
        &self,
        blob: BlobId,
        source: Source,
        digests: Digests,
        upload: StoredUpload,
    ) -> Result<Ready, Failure> {
        let (file, message) = (upload.file.clone(), upload.message);
        let stored = Stored::Upload(Box::new(upload));
        let held = self.folder.store(blob, &stored).map_err(not_stored)?;
        let stored = digests.layout().stored();
        let recorded = Recorded { stored, file, message, is_continued: false };
        let sealing = Sealing::new(source, digests, &recorded.file.key.0).map_err(failure)?;
        Ok(Ready { held, sealing, recorded })
    }

    fn record(
        &self,
        new: &TransferFiles,
        source: Source,
        (send, blob): (&ToSend, BlobId),
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Source, Digests, Descriptor), Failure> {
        let mut source = match self.cleaned(send, &new.picture())? {
            true => Source::open(&new.picture()).map_err(failure)?,
            false => source,
        };
        let sent = if is_there(&new.picture()) { new.picture() } else { send.path.clone() };
        let of = source.bytes();
        let mut goes_on = |bytes| {
            progress(bytes, of);
            !self.is_cancelled.load(Ordering::Relaxed)
        };
        let hides_size = send.to.is_sealed();
        let digests = source.digest(blob, hides_size, &new.digests(), &mut goes_on);
        let digests = digests.map_err(failure)?;
        let hash = digests.hash();
        let own_name = send.path.file_name().unwrap_or_default().to_string_lossy();
        let mut file = Descriptor {
            v: 1,
            blob,
            name: name::cleaned(&own_name),
            bytes: FileBytes(of),
            media: "application/octet-stream".to_owned(),
            key: FileSecret(new_secret(&hash)),
            hash: FileSecret(Zeroizing::new(hash)),
            size: None,
            thumb: None,
            text: send.caption.clone(),
        };
        if let Some(media) = format(&sent).and_then(Format::media) {
            file.media = media.to_owned();
            self.preview(&send.path, &sent, &mut file);
        }
        // Otherwise the server would refuse the message after the upload.
        match file.text().len() > TEXT_BYTES_MAX {
            true => Err(long_caption()),
            false => Ok((source, digests, file)),
        }
    }

    /// Adds the size and the preview of a picture, if it can be decoded.
    fn preview(&self, chosen: &Path, sent: &Path, file: &mut Descriptor) {
        if let Some(decoded) = self.desk.preview(chosen, sent) {
            file.size = Some(decoded.original);
            file.thumb = thumb::thumb(&decoded.picture).map(Thumb);
        }
    }

    /// Writes the picture without its metadata. Returns whether there is one.
    fn cleaned(&self, send: &ToSend, picture: &Path) -> Result<bool, Failure> {
        if send.keeps_metadata {
            return Ok(false);
        }
        let io = |error| failure(SourceError::Io { path: send.path.clone(), error });
        let mut file = files::open_to_read(&send.path).map_err(io)?;
        match metadata::cleaned(&mut file).map_err(io)? {
            Cleaned::NoPicture => Ok(false),
            Cleaned::Picture(clean) => {
                write_new(picture, &clean, 0o600).map_err(Failure::disk)?;
                Ok(true)
            }
            Cleaned::Cannot(reason) => {
                let hint = format!(
                    "{reason}: nothing was sent. /send keep PATH and --keep-metadata send the file \
                     as it is"
                );
                Err(Failure::local("metadata", hint, code::NOT_ACKNOWLEDGED))
            }
        }
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

/// Opens an upload that an earlier run has recorded.
pub fn reopened(held: Held, upload: StoredUpload) -> Result<Ready, Failure> {
    let opened = || {
        let picture = held.files().picture();
        let path = if is_there(&picture) { picture } else { upload.send.path.clone() };
        let source = Source::open(&path)?;
        let digests = Digests::load(&held.files().digests())?;
        // The digests must be those that the sealed state names.
        if digests.blob() != upload.file.blob || digests.hash() != *upload.file.hash.0 {
            return Err(SourceError::Damaged { path: held.files().digests() });
        }
        let stored = digests.layout().stored();
        let (message, file) = (upload.message, upload.file.clone());
        let recorded = Recorded { stored, file, message, is_continued: true };
        Ok((Sealing::new(source, digests, &recorded.file.key.0)?, recorded))
    };
    match opened() {
        Ok((sealing, recorded)) => Ok(Ready { held, sealing, recorded }),
        Err(error) => {
            held.remove();
            Err(failure(error))
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
        SourceError::Io { .. } | SourceError::Record(_) => "disk",
        SourceError::TooLarge { .. } => "file_too_large",
        SourceError::Changed { .. } => "changed",
        SourceError::Damaged { .. } => "damaged",
    };
    Failure::local(name, error, code::NOT_ACKNOWLEDGED)
}
