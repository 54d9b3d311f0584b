//! A download in progress: its output file, and the bound up to which the server may send.

use std::io::{self, BufWriter, Stdout};
use std::path::{Path, PathBuf};

use super::ports::not_shown;
use crate::chat::Descriptor;
use crate::client::files::download::{Download, DownloadError, Piped, Wanted};
use crate::client::files::metadata::PICTURE_BYTES_MAX;
use crate::client::files::picture::NoPreview;
use crate::client::storage::transfer_folder::{Held, TransferFolder};
use crate::client::transfer::{Failure, Place, Then, ToGet};
use crate::crypto::file::{Layout, file_bytes_in};
use crate::fault::code;
use crate::system::{files, fs};

/// The longest name of a file on the usual file systems.
const NAME_BYTES_MAX: usize = 255;

pub struct Arrival {
    sink: Sink,
    then: Then,
    /// `None` for a script: repeating the command continues the download.
    held: Option<Held>,
    /// The server's number, while it sends.
    pub number: Option<u32>,
    layout: Layout,
    /// The server may send the bytes before this one.
    upto: u64,
}

enum Sink {
    File { download: Download, name: Name },
    Pipe(Piped<BufWriter<Stdout>>),
}

/// The file's name.
enum Name {
    /// The sender's.
    Theirs(String),
    /// The user's.
    Own(String),
}

impl Arrival {
    /// Opens the file that is written, or continues with what an earlier run has left of it. Takes
    /// the stored download unless it fails.
    pub fn open(
        file: &Descriptor,
        get: &ToGet,
        transfers: &TransferFolder,
        held: &mut Option<Held>,
    ) -> Result<Arrival, Failure> {
        if get.then == Then::View && file.bytes.0 > PICTURE_BYTES_MAX {
            return Err(not_shown(NoPreview::TooLarge));
        }
        let layout = if get.from.is_sealed() { Layout::sealed } else { Layout::open };
        let too_large = || Failure::not_as_sent("the message describes a file of no possible size");
        let layout = layout(file.bytes.0).ok_or_else(too_large)?;
        let (blob, secret, hash) = (file.blob, file.key.0.clone(), *file.hash.0);
        let wanted = Wanted { blob, secret, layout, hash };
        let sink = match &get.place {
            Place::Stdout => Sink::Pipe(Piped::begin(BufWriter::new(io::stdout()), &wanted)),
            Place::Profile => {
                let folder = transfers.pictures().map_err(Failure::disk)?;
                // The file's name is text of a conversation, which may be sealed.
                Sink::file(folder, Name::Own("view".to_owned()), &wanted)?
            }
            Place::Downloads => {
                let folder = Place::downloads().unwrap_or_default();
                Sink::file(&folder, Name::Theirs(file.name.clone()), &wanted)?
            }
            Place::Folder(folder) => Sink::file(folder, Name::Theirs(file.name.clone()), &wanted)?,
            Place::Named(path) if path.is_dir() => {
                Sink::file(path, Name::Theirs(file.name.clone()), &wanted)?
            }
            Place::Named(path) if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                return Err(no_folder(path));
            }
            Place::Named(path) => {
                refuse_name(path)?;
                let own = path.file_name().map(|name| name.to_string_lossy().into_owned());
                let no_name = || Failure::local("disk", "the path names no file", code::USAGE);
                let own = Name::Own(own.ok_or_else(no_name)?);
                Sink::file(path.parent().unwrap_or(Path::new("")), own, &wanted)?
            }
        };
        Ok(Arrival { sink, then: get.then, held: held.take(), number: None, layout, upto: 0 })
    }

    pub fn then(&self) -> Then {
        self.then
    }

    /// Begins or continues at `offset`. Fails if the server's file has another size.
    pub fn begin(&mut self, number: u32, bytes: u64) -> Result<(), Failure> {
        if bytes != self.layout.stored() {
            return Err(Failure::not_as_sent(
                "the server's file has another size than the sender's",
            ));
        }
        (self.number, self.upto) = (Some(number), self.offset());
        Ok(())
    }

    pub fn pause(&mut self) {
        self.number = None;
    }

    /// Offset of the next byte of the encrypted file.
    pub fn offset(&self) -> u64 {
        match &self.sink {
            Sink::File { download, .. } => download.offset(),
            Sink::Pipe(piped) => piped.offset(),
        }
    }

    pub fn is_whole(&self) -> bool {
        match &self.sink {
            Sink::File { download, .. } => download.is_whole(),
            Sink::Pipe(piped) => piped.is_whole(),
        }
    }

    /// Bytes of the decrypted file that have arrived.
    pub fn file_bytes(&self) -> u64 {
        file_bytes_in(self.offset(), self.layout.bytes())
    }

    /// Lets the server send a piece more, of at most `wanted` bytes. Returns the size of the piece
    /// and the new bound; `None` if it may send all.
    pub fn grant(&mut self, wanted: u64) -> Option<(u64, u64)> {
        let piece = wanted.min(self.layout.stored().saturating_sub(self.upto));
        self.upto += piece;
        (piece > 0).then_some((piece, self.upto))
    }

    /// The server may send the bytes before this one.
    #[cfg(test)]
    pub fn upto(&self) -> u64 {
        self.upto
    }

    pub fn wants_more(&self) -> bool {
        self.number.is_some() && self.upto < self.layout.stored()
    }

    /// Writes received bytes. Fails if the server may not send them.
    pub fn take(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset != self.offset() || end > self.upto {
            return Err(Failure::not_as_sent("the server sends other bytes than were wanted"));
        }
        let taken = match &mut self.sink {
            Sink::File { download, .. } => download.take(bytes),
            Sink::Pipe(piped) => piped.take(bytes),
        };
        taken.map_err(failure)
    }

    /// Gives the whole file its name. Returns its path, which is empty for stdout.
    pub fn finish(self) -> Result<PathBuf, Failure> {
        let Arrival { sink, held, .. } = self;
        let finished = match sink {
            Sink::File { download, name: Name::Theirs(name) } => download.finish(&name),
            Sink::File { download, name: Name::Own(name) } => download.finish_as(&name),
            Sink::Pipe(piped) => piped.finish().map(|()| PathBuf::new()),
        };
        if let Some(held) = held {
            held.remove();
        }
        finished.map_err(failure)
    }

    /// Ends the download. With `keeps`, the received bytes stay for another attempt.
    pub fn end(self, keeps: bool) {
        if let Sink::File { download, .. } = self.sink
            && !keeps
        {
            download.cancel();
        }
        if let Some(held) = self.held {
            held.remove();
        }
    }
}

impl Sink {
    fn file(folder: &Path, name: Name, wanted: &Wanted) -> Result<Sink, Failure> {
        let (Name::Theirs(text) | Name::Own(text)) = &name;
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if folder.try_exists().is_ok_and(|is_there| !is_there) {
            return Err(no_folder(folder));
        }
        let download = Download::begin(folder, text, wanted).map_err(failure)?;
        Ok(Sink::File { download, name })
    }
}

fn no_folder(path: &Path) -> Failure {
    Failure::local("disk", format!("there is no folder {}", path.display()), code::USAGE)
}

/// Refuses a name that no file can get, before a byte is fetched.
fn refuse_name(path: &Path) -> Result<(), Failure> {
    let refuse = |why: &str| {
        let hint = format!("{} {why}: choose another path", path.display());
        Err(Failure::local("disk", hint, code::USAGE))
    };
    if path.file_name().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        return refuse("has a name that is too long");
    }
    if path.file_name().is_some_and(|name| name.to_str().is_none()) {
        return refuse("has a name that is not UTF-8");
    }
    match fs::metadata(path).ok().as_ref().and_then(files::irregular) {
        Some(what) => refuse(&format!("is {what}")),
        None => Ok(()),
    }
}

fn failure(error: DownloadError) -> Failure {
    match error {
        DownloadError::NotAsSent => Failure::not_as_sent(error),
        DownloadError::InUse { .. } => Failure::local("in_use", error, code::OTHER),
        error => Failure::disk(error),
    }
}
