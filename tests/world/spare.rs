//! RSA keys that `pychat keygen` has made once for all worlds: generating a key takes
//! longer than the rest of most tests. No two people of one world have the same key.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which keys a world has given away.
#[derive(Default)]
pub struct SpareKeys(AtomicUsize);

impl SpareKeys {
    /// Puts a key into a folder that has none: `id.pem` and `id.pub.pem`.
    pub fn give(&self, to: &Path) {
        let folder = kept(self.0.fetch_add(1, Ordering::Relaxed));
        fs::DirBuilder::new().mode(0o700).recursive(true).create(to).unwrap();
        for file in ["id.pem", "id.pub.pem"] {
            assert!(!to.join(file).exists(), "there is a key in {}", to.display());
            fs::copy(folder.join(file), to.join(file)).unwrap();
        }
    }
}

/// The folder of one of the keys, which is made where it is not there yet.
fn kept(index: usize) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys");
    let folder = all.join(index.to_string());
    if !folder.join("id.pem").exists() {
        fs::create_dir_all(&all).unwrap();
        let new = tempfile::tempdir_in(&all).unwrap();
        let mut keygen = Command::new(env!("CARGO_BIN_EXE_pychat"));
        keygen.arg("keygen").env("XDG_DATA_HOME", new.path()).env("XDG_CONFIG_HOME", new.path());
        assert!(keygen.output().unwrap().status.success());
        // Another test may have been first: one is as good as the other.
        let _ = fs::rename(new.path().join("pychat"), &folder);
    }
    folder
}
