//! Renames on file systems that neither refuse a taken name nor have links.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Renames a file to a name that it reserves with an empty file. A kill in between leaves that
/// file. `AlreadyExists` if the name is taken.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    drop(File::create_new(to)?);
    let renamed = fs::rename(from, to);
    if renamed.is_err() {
        // The error that is reported is the first one.
        let _ = fs::remove_file(to);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(rename(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (fs::read(&from).unwrap(), fs::read(&to).unwrap()),
            (b"new".into(), b"old".into())
        );
        fs::remove_file(&to).unwrap();
        rename(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert!(rename(&from, &folder.path().join("other")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was reserved");
    }
}
