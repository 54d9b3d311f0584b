//! A server whose files are set aside while a client begins.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use zeroize::Zeroizing;

use super::data_folder::DataFolder;
use super::journal::Journal;
use crate::crypto::Fingerprint;

#[test]
fn no_client_takes_up_a_server_that_is_set_aside_before_all_its_files_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let data_folder = DataFolder::at(folder.path()).unwrap();
    let print = Fingerprint([9; 32]);
    let stem = data_folder.journal_stem(&print);
    let files = || {
        let entries = fs::read_dir(stem.parent().unwrap()).unwrap().flatten();
        entries.filter(|one| one.file_name().to_string_lossy().contains("old")).count()
    };
    let over = AtomicBool::new(false);
    for _ in 0..5 {
        (0..1_000).for_each(|n| fs::write(stem.with_extension(format!("old{n}")), "x").unwrap());
        over.store(false, Ordering::SeqCst);
        thread::scope(|scope| {
            let client = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let before = files();
                    let opened = Journal::open(&stem, Zeroizing::new([7; 32]));
                    let left = files();
                    if before < 1_000 && opened.is_ok() {
                        return left;
                    }
                }
                0
            });
            // The client may have one of the locks just now.
            while data_folder.set_aside(&print).is_err() {}
            over.store(true, Ordering::SeqCst);
            assert_eq!(client.join().unwrap(), 0, "files are still to be moved");
        });
    }
}
