//! data/reserve: space on the disk that the server keeps for itself, so that it can start, and
//! remove old messages, when the disk is full.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::system::files;

/// Bytes of the file: up to 16 MiB for the ledger's write-ahead log (`LOG_PAGES`), and 4 MiB for
/// the growth of the ledger during removals, which checkpoint every 1.6 MiB
/// (`LOG_PAGES_MEANWHILE`), and for the files of a start.
const BYTES: u64 = 20 << 20;
/// A smaller file would be of no use, in bytes.
const BYTES_MIN: u64 = 64 << 10;

/// The file, which may be missing.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub fn new(path: PathBuf) -> Reserve {
        Reserve { path }
    }

    /// Makes the file where it is missing, smaller where the disk has less room.
    pub fn keep(&self) {
        if fs::metadata(&self.path).is_ok_and(|about| about.len() >= BYTES) {
            return;
        }
        // `make` does not replace a smaller one.
        self.release();
        let mut bytes = BYTES;
        while let Err(error) = self.make(bytes) {
            let _ = fs::remove_file(&self.path);
            bytes -= bytes / 8;
            if bytes < BYTES_MIN {
                return log::debug!("{}: {error}", self.path.display());
            }
        }
    }

    fn make(&self, bytes: u64) -> io::Result<()> {
        let file: File = files::private().write(true).create_new(true).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // A file system that cannot do this writes zeros.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut &file).map(drop)
            }
            done => Ok(done?),
        }
    }

    /// Gives the space back where the disk has less left than that.
    pub fn release_if_needed(&self) {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let free = statvfs(folder).map(|about| about.f_bavail.saturating_mul(about.f_frsize));
        if !free.is_ok_and(|bytes| bytes >= BYTES) {
            self.release();
        }
    }

    /// Gives the space back; returns whether there was any.
    pub fn release(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_is_kept_once_and_given_back_once() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(folder.path().join("reserve"));
        assert!(!reserve.release());
        reserve.keep();
        reserve.keep();
        assert_eq!(fs::metadata(&reserve.path).unwrap().len(), BYTES);
        assert!(reserve.release() && !reserve.release());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // Where nothing can be made, nothing is: no error, and no loop.
        Reserve::new(folder.path().join("none/reserve")).keep();
    }
}
