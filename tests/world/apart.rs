//! Tests that need a namespace of their own: file systems that only they see, or no network. Such a
//! test runs itself again inside.

use std::io::Write;
use std::path::Path;
use std::process::Command;

const INSIDE: &str = "PYCHAT_TEST_APART";

/// Runs `body` in this test's own mount namespace (`-m`) or network namespace (`-n`). A machine
/// that gives none is reported on stderr, and the test does nothing.
pub fn apart(kind: &str, test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let may = Command::new("unshare").args([kind, "true"]).output();
    if !may.is_ok_and(|ended| ended.status.success()) {
        return skip(test, "this account may not make namespaces");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut inside = Command::new("unshare");
    inside.arg(kind).arg(std::env::current_exe().unwrap());
    inside.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    let ended = inside.env(INSIDE, "1").env("TMPDIR", folder.path()).output().unwrap();
    let told = [ended.stdout, ended.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(ended.status.success() && told.contains("1 passed"), "{told}");
}

/// Says that a test was not run, past the capture of its output.
pub fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Whether this test runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A file system of so many KiB over a folder, with what is in the folder.
pub fn mount(folder: &Path, kib: u32) {
    let aside = folder.with_extension("aside");
    run("mv", &[folder.as_ref(), aside.as_ref()]);
    std::fs::create_dir(folder).unwrap();
    let size = format!("size={kib}k");
    run(
        "mount",
        &[
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            size.as_ref(),
            "none".as_ref(),
            folder.as_ref(),
        ],
    );
    run("cp", &["-a".as_ref(), aside.join(".").as_ref(), folder.as_ref()]);
}

/// Resizes the file system that is mounted over a folder to this many KiB.
pub fn resize(folder: &Path, kib: u32) {
    let size = format!("remount,size={kib}k");
    run("mount", &["-o".as_ref(), size.as_ref(), folder.as_ref()]);
}

/// An empty file system over a folder.
pub fn cover(folder: &Path) {
    let words = ["-t", "tmpfs", "none"].map(AsRef::as_ref);
    run("mount", &[&words[..], &[folder.as_ref()]].concat());
}

/// Nothing can be written there from now on.
pub fn make_read_only(folder: &Path) {
    run("mount", &["-o".as_ref(), "remount,ro".as_ref(), folder.as_ref()]);
}

/// Fills the file system of a folder; returns the file that does.
pub fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    for bytes in [1 << 16, 1 << 12, 1] {
        let zeros = vec![0; bytes];
        while file.write(&zeros).is_ok_and(|count| count > 0) {}
    }
    path
}

fn run(program: &str, words: &[&std::ffi::OsStr]) {
    let ended = Command::new(program).args(words).output().unwrap();
    assert!(ended.status.success(), "{program}: {ended:?}");
}
