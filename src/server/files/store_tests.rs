//! The contract of a store, for the folder and for the one in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::doubles::MemoryStore;
use super::store::{BlobStore, FolderStore, Listed, Place, StoreError};
use crate::chat::BlobId;

const ONE: BlobId = BlobId([1; 16]);
const OTHER: BlobId = BlobId([0xfb; 16]);

/// Runs a test with each kind of store.
fn each(test: impl Fn(&dyn BlobStore)) {
    let folder = tempfile::tempdir().unwrap();
    test(&FolderStore::open(folder.path().join("files")).unwrap());
    test(&MemoryStore::new(1 << 30));
}

fn listed(store: &dyn BlobStore) -> Vec<Listed> {
    let mut all = store.list(0..=u8::MAX).unwrap();
    all.sort_unstable();
    all
}

#[test]
fn a_blob_comes_and_is_kept() {
    each(|store| {
        let coming = store.create(ONE, 10, 0).unwrap();
        coming.append_at(0, b"hello ").unwrap();
        coming.append_at(6, b"you").unwrap();
        assert!(matches!(
            coming.append_at(10, b"!"),
            Err(StoreError::Hole { length: 9, offset: 10, .. })
        ));
        // Another session resumes, over bytes that are not certain.
        let again = store.create(ONE, 10, 0).unwrap();
        assert_eq!(again.length().unwrap(), 9);
        again.append_at(6, b"bob").unwrap();
        again.append_at(9, b".").unwrap();
        coming.sync().unwrap();
        assert!(matches!(store.open(ONE), Err(StoreError::Missing { blob: ONE })));
        let is = |place| Some(Listed { blob: ONE, place, length: 10, unknown_ms: None });
        assert_eq!(store.look_up(ONE).unwrap(), is(Place::Coming));
        store.keep(ONE).unwrap();
        store.keep(ONE).unwrap();
        assert_eq!(store.look_up(ONE).unwrap(), is(Place::Kept));
        let kept = store.open(ONE).unwrap();
        let mut buffer = [0; 16];
        assert_eq!((kept.length(), kept.read_at(6, &mut buffer).unwrap()), (10, 4));
        assert_eq!(&buffer[..4], b"bob.");
        assert_eq!(kept.read_at(10, &mut buffer).unwrap(), 0);
        assert_eq!(kept.read_at(u64::MAX - 3, &mut buffer).ok().unwrap_or(0), 0);
        // Who reads it meanwhile reads it to its end.
        let kept_is_gone = || store.remove(ONE, Place::Kept).unwrap();
        assert!(!store.remove(ONE, Place::Coming).unwrap(), "there is none");
        assert!(kept_is_gone() && !kept_is_gone());
        store.sync_removed(&[ONE, OTHER]).unwrap();
        assert_eq!(kept.read_at(0, &mut buffer).unwrap(), 10);
        assert_eq!(store.look_up(ONE).unwrap(), None);
        assert!(matches!(store.keep(ONE), Err(StoreError::Missing { blob: ONE })));
    });
}

#[test]
fn all_blobs_are_listed_and_an_empty_one_is_a_blob() {
    each(|store| {
        assert_eq!(listed(store), []);
        store.create(ONE, 0, 0).unwrap();
        store.create(OTHER, 3, 0).unwrap().append_at(0, b"abc").unwrap();
        store.keep(OTHER).unwrap();
        let one = Listed { blob: ONE, place: Place::Coming, length: 0, unknown_ms: None };
        let other = Listed { blob: OTHER, place: Place::Kept, length: 3, unknown_ms: None };
        assert_eq!(listed(store), [one, other]);
        store.keep(ONE).unwrap();
        assert_eq!(store.open(ONE).unwrap().length(), 0);
    });
}

#[test]
fn a_blob_without_room_is_refused_and_leaves_nothing() {
    each(|store| {
        let free = store.free_bytes().unwrap();
        for (bytes, reserve) in [(1 << 60, 0), (1, u64::MAX), (0, free + (1 << 40))] {
            let refused = store.create(ONE, bytes, reserve).map(drop);
            assert!(matches!(refused, Err(StoreError::Full { bytes: b }) if b == bytes));
            assert_eq!(listed(store), []);
        }
        let error = store.create(ONE, 1 << 60, 0).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the disk has no room for 1152921504606846976 more bytes of files"
        );
    });
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_folder_holds_what_the_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("files");
    let store = FolderStore::open(root.clone()).unwrap();
    let coming = store.create(OTHER, 1 << 20, 0).unwrap();
    let name = OTHER.to_string();
    let path = root.join("coming").join(&name);
    assert_eq!((mode(&root), mode(&path)), (0o700, 0o600));
    let about = fs::metadata(&path).unwrap();
    assert_eq!(about.len(), 0, "the length says what has arrived");
    use std::os::unix::fs::MetadataExt;
    assert!(about.blocks() * 512 >= 1 << 20, "and the room is there");
    coming.append_at(0, b"x").unwrap();
    // Files that are none of the store's are left alone.
    fs::write(root.join("coming/.nfs01"), "").unwrap();
    fs::create_dir_all(root.join("coming").join(ONE.to_string())).unwrap();
    store.keep(OTHER).unwrap();
    assert!(!path.exists());
    let path = root.join("fb").join(&name);
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    let kept = Listed { blob: OTHER, place: Place::Kept, length: 1, unknown_ms: None };
    assert_eq!(listed(&store), [kept]);
    // A store that is opened again has it.
    drop(store);
    assert_eq!(FolderStore::open(root).unwrap().list(0..=u8::MAX).unwrap().len(), 1);
}

#[test]
fn a_folder_that_fails_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("files");
    let store = FolderStore::open(root.clone()).unwrap();
    fs::remove_dir_all(&root).unwrap();
    fs::write(&root, "").unwrap();
    let errors = [
        store.create(ONE, 1, 0).map(drop).unwrap_err(),
        store.list(0..=u8::MAX).map(drop).unwrap_err(),
        store.remove(ONE, Place::Kept).map(drop).unwrap_err(),
        store.open(ONE).map(drop).unwrap_err(),
        store.keep(ONE).unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("files"), "{error}");
        assert!(matches!(error, StoreError::Io { .. } | StoreError::Folder(_)), "{error}");
    }
}

#[test]
fn a_loss_of_power_takes_what_was_not_synced() {
    let store = MemoryStore::new(1 << 20);
    let coming = store.create(ONE, 30, 0).unwrap();
    coming.append_at(0, &[1; 10]).unwrap();
    coming.sync().unwrap();
    coming.append_at(10, &[2; 10]).unwrap();
    // Four bytes are left, and the length stays.
    let mut chances = [4, 1].into_iter();
    store.lose_power(&mut |_| chances.next().unwrap());
    coming.sync().unwrap();
    store.keep(ONE).unwrap();
    let mut buffer = [9; 20];
    assert_eq!(store.open(ONE).unwrap().read_at(0, &mut buffer).unwrap(), 20);
    assert_eq!(buffer, *[[1; 10], [2, 2, 2, 2, 0, 0, 0, 0, 0, 0]].concat());
    store.lose_power(&mut |_| panic!("a kept blob stays whole"));
    // The length may go as well; what is written again is not certain either.
    let coming = store.create(OTHER, 30, 0).unwrap();
    coming.append_at(0, &[1; 10]).unwrap();
    coming.sync().unwrap();
    coming.append_at(5, &[2; 3]).unwrap();
    store.lose_power(&mut |_| 0);
    assert_eq!(coming.length().unwrap(), 5);
}

#[test]
fn a_store_in_memory_fails_and_is_full_on_demand() {
    let store = MemoryStore::new(10);
    let coming = store.create(ONE, 8, 2).unwrap();
    coming.append_at(0, &[1; 10]).unwrap();
    assert!(matches!(coming.append_at(10, &[1]), Err(StoreError::Full { bytes: 1 })));
    coming.append_at(3, &[2; 7]).unwrap();
    store.set_fails(true);
    assert!(matches!(coming.sync(), Err(StoreError::Io { .. })));
    assert!(matches!(store.list(0..=u8::MAX), Err(StoreError::Io { .. })));
    store.set_fails(false);
    // A handle of a blob that was removed reaches no other one.
    store.remove(ONE, Place::Coming).unwrap();
    store.create(ONE, 1, 0).unwrap();
    coming.append_at(0, b"x").unwrap();
    assert_eq!(store.look_up(ONE).unwrap().unwrap().length, 0);
}

#[test]
fn a_mark_stays_until_the_blob_is_known_again() {
    each(|store| {
        store.create(ONE, 10, 0).unwrap().append_at(0, b"abc").unwrap();
        store.create(OTHER, 3, 0).unwrap().append_at(0, b"abc").unwrap();
        store.keep(OTHER).unwrap();
        let marks = || listed(store).iter().map(|one| one.unknown_ms).collect::<Vec<_>>();
        store.mark(ONE, Place::Coming, Some(86_400_123)).unwrap();
        store.mark(OTHER, Place::Kept, Some(5_000)).unwrap();
        store.mark(OTHER, Place::Coming, Some(7)).unwrap();
        assert_eq!(marks(), [Some(86_400_123), Some(5_000)]);
        assert_eq!(store.open(OTHER).unwrap().length(), 3, "it can be read");
        store.mark(OTHER, Place::Kept, None).unwrap();
        store.create(ONE, 10, 0).unwrap().append_at(3, b"d").unwrap();
        assert_eq!(marks(), [None, None]);
    });
}

#[test]
fn a_loss_of_power_brings_back_what_was_removed_and_not_synced() {
    let store = MemoryStore::new(1 << 20);
    for blob in [ONE, OTHER] {
        store.create(blob, 1, 0).unwrap().append_at(0, b"x").unwrap();
        store.keep(blob).unwrap();
        store.remove(blob, Place::Kept).unwrap();
    }
    store.sync_removed(&[ONE]).unwrap();
    assert_eq!(listed(&store), []);
    store.lose_power(&mut |_| 1);
    assert_eq!(listed(&store).iter().map(|one| one.blob).collect::<Vec<_>>(), [OTHER]);
}

#[test]
fn where_nothing_is_allocated_the_reserve_holds_while_bytes_come() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("files");
    let bytes = vec![1; 64 << 10];
    let written = |store: &FolderStore, blob| {
        // More than is free from now on: what others write meanwhile.
        let reserve = store.free_bytes().unwrap();
        let coming = store.create(blob, 0, 0).unwrap();
        drop(coming);
        let coming = store.create(blob, 0, reserve + (1 << 40)).unwrap();
        (0..32).find(|piece| coming.append_at(piece << 16, &bytes).is_err())
    };
    assert_eq!(written(&FolderStore::open(root.clone()).unwrap(), ONE), None, "the control");
    let at = written(&FolderStore::without_allocation(root), OTHER);
    assert_eq!(at, Some(15), "at the first MiB");
}

#[test]
fn a_copy_that_is_not_whole_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name| FolderStore::open(folder.path().join(name)).unwrap();
    let (from, to) = (open("from"), open("to"));
    let keep = |store: &FolderStore, blob, bytes: &[u8]| {
        store.create(blob, bytes.len() as u64, 0).unwrap().append_at(0, bytes).unwrap();
        store.keep(blob).unwrap();
    };
    keep(&from, ONE, b"whole");
    keep(&to, ONE, b"who");
    assert!(to.copy_from(&from, (ONE, 5)).unwrap());
    assert_eq!(to.open(ONE).unwrap().length(), 5);
    assert_eq!(from.open(ONE).unwrap().length(), 5, "a link is not written through");
    // Nothing is replaced by what is not whole itself.
    assert!(!to.copy_from(&from, (ONE, 6)).unwrap() && !to.copy_from(&from, (OTHER, 5)).unwrap());
    assert_eq!(to.open(ONE).unwrap().length(), 5);
}
