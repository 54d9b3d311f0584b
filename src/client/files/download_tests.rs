use proptest::prelude::*;

use super::*;

const BLOB: BlobId = BlobId([7; 16]);

/// A file and what the server stores of it.
fn stored(bytes: usize, hides_size: bool) -> (Vec<u8>, Vec<u8>, Wanted) {
    let file: Vec<u8> = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
    let layout = if hides_size { Layout::sealed } else { Layout::open };
    let layout = layout(bytes as u64).unwrap();
    let secret = zeroize::Zeroizing::new([9; 32]);
    let key = FileKey::new(&secret, &BLOB.0, layout);
    let (mut stored, mut out) = (Vec::new(), Vec::new());
    for index in 0..layout.chunks() {
        let begin = file.len().min(index as usize * CHUNK_BYTES);
        let chunk = &file[begin..begin + layout.file_bytes(index)];
        key.seal_chunk(index, chunk, &mut out).unwrap();
        stored.extend_from_slice(&out);
    }
    let digests: Vec<_> = file.chunks(CHUNK_BYTES).map(chunk_digest).collect();
    let hash = file_hash(bytes as u64, &digests);
    (file, stored, Wanted { blob: BLOB, secret, layout, hash })
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn fetch(folder: &Path, name: &str, stored: &[u8], wanted: &Wanted) -> PathBuf {
    let mut download = Download::begin(folder, name, wanted).unwrap();
    let from = download.offset() as usize;
    stored[from..].chunks(16_368).for_each(|piece| download.take(piece).unwrap());
    assert!(download.is_whole());
    download.finish(name).unwrap()
}

#[test]
fn a_whole_file_gets_a_name_that_is_not_taken() {
    for (size, hides_size) in [(0, false), (0, true), (1, true), (65_536, false), (150_000, true)] {
        let folder = tempfile::tempdir().unwrap();
        let (file, stored, wanted) = stored(size, hides_size);
        for name in ["a.txt", "a (1).txt", "a (2).txt"] {
            let path = fetch(folder.path(), "../a.txt/../a.txt", &stored, &wanted);
            assert_eq!(path.parent(), Some(folder.path()));
            assert_eq!(fs::read(&path).unwrap(), file);
            assert_eq!(files::exposed(&path).unwrap(), None, "0600");
            let path = fetch(folder.path(), "a.txt", &stored, &wanted);
            assert_eq!(path.file_name().unwrap(), name);
        }
        assert!(names(folder.path()).iter().all(|name| !name.ends_with(".part")));
    }
}

#[test]
fn a_download_goes_on_at_a_whole_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let (file, stored, wanted) = stored(200_000, true);
    let mut download = Download::begin(folder.path(), "a", &wanted).unwrap();
    download.take(&stored[..140_000]).unwrap();
    assert_eq!(download.offset(), 140_000);
    drop(download);
    // The end of a chunk that a kill left half written.
    let part = part_path(folder.path(), "a", BLOB);
    let mut half = fs::OpenOptions::new().append(true).open(&part).unwrap();
    half.write_all(&[1; 1_000]).unwrap();
    let download = Download::begin(folder.path(), "a", &wanted).unwrap();
    assert_eq!(download.offset(), 2 * SEALED_CHUNK_BYTES as u64);
    drop(download);
    assert_eq!(fs::read(fetch(folder.path(), "a", &stored, &wanted)).unwrap(), file);
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn a_file_that_another_program_cuts_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let (file, stored, wanted) = stored(200_000, true);
    let mut download = Download::begin(folder.path(), "a", &wanted).unwrap();
    download.take(&stored[..140_000]).unwrap();
    let part = part_path(folder.path(), "a", BLOB);
    fs::OpenOptions::new().write(true).open(&part).unwrap().set_len(10).unwrap();
    let taken = download.take(&stored[140_000..]);
    assert!(matches!(taken, Err(DownloadError::Moved { .. })), "a hole is left: {taken:?}");
    drop(download);
    assert_eq!(fs::read(fetch(folder.path(), "a", &stored, &wanted)).unwrap(), file);
}

#[test]
fn what_its_sender_has_not_sent_gets_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let (_, stored, wanted) = stored(100_000, true);
    for at in [0, 65_551, 65_552, stored.len() - 1] {
        let mut download = Download::begin(folder.path(), "a", &wanted).unwrap();
        let mut bad = stored[download.offset() as usize..].to_vec();
        let at = at - download.offset().min(at as u64) as usize;
        bad[at] ^= 1;
        assert!(matches!(download.take(&bad), Err(DownloadError::NotAsSent)), "{at}");
    }
    // One byte too many.
    let mut download = Download::begin(folder.path(), "a", &wanted).unwrap();
    let rest = [&stored[download.offset() as usize..], b"x"].concat();
    assert!(matches!(download.take(&rest), Err(DownloadError::NotAsSent)));
    download.cancel();
    // Another hash than the sender's, and too few bytes.
    let other = Wanted { hash: [0; 32], secret: wanted.secret.clone(), ..wanted };
    let mut download = Download::begin(folder.path(), "a", &other).unwrap();
    download.take(&stored).unwrap();
    assert!(matches!(download.finish("a"), Err(DownloadError::NotAsSent)));
    let download = Download::begin(folder.path(), "a", &other).unwrap();
    assert!(matches!(download.finish("a"), Err(DownloadError::NotAsSent)));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn two_downloads_do_not_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, stored, wanted) = stored(200_000, true);
    let mut first = Download::begin(folder.path(), "a", &wanted).unwrap();
    first.take(&stored[..140_000]).unwrap();
    let second = || Download::begin(folder.path(), "a", &wanted);
    assert!(matches!(second(), Err(DownloadError::InUse { .. })));
    first.take(&stored[140_000..]).unwrap();
    assert_eq!(fs::read(first.finish("a").unwrap()).unwrap(), file);
    // The control: it begins once the first one has ended.
    second().unwrap().cancel();
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn a_replaced_file_gets_no_name_and_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, stored, wanted) = stored(100_000, true);
    let part = part_path(folder.path(), "a", BLOB);
    for finishes in [true, false] {
        let mut download = Download::begin(folder.path(), "a", &wanted).unwrap();
        download.take(&stored).unwrap();
        fs::rename(&part, folder.path().join("moved")).unwrap();
        fs::write(&part, "mine").unwrap();
        match finishes {
            true => assert!(matches!(download.finish("a"), Err(DownloadError::Moved { .. }))),
            false => download.cancel(),
        }
        assert_eq!(fs::read(&part).unwrap(), b"mine");
        fs::remove_file(&part).unwrap();
    }
    assert_eq!(names(folder.path()), ["moved"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_others_have_put_there_is_not_written() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (_, _, wanted) = stored(10, false);
    let part = part_path(folder.path(), "a", BLOB);
    let mine = folder.path().join("mine");
    fs::write(&mine, "mine").unwrap();
    fs::set_permissions(&mine, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = || Download::begin(folder.path(), "a", &wanted).map(drop).is_err();
    symlink(&mine, &part).unwrap();
    assert!(refused());
    fs::remove_file(&part).unwrap();
    fs::hard_link(&mine, &part).unwrap();
    assert!(refused());
    fs::remove_file(&part).unwrap();
    fs::create_dir(&part).unwrap();
    assert!(refused());
    fs::remove_dir(&part).unwrap();
    fs::write(&part, "x").unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused());
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_it_is_cut_the_file_is_the_same(
        size in 0usize..200_000,
        hides_size: bool,
        pieces in prop::collection::vec((1usize..60_000, any::<bool>()), 1..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (file, stored, wanted) = stored(size, hides_size);
        let begin = || Download::begin(folder.path(), "a", &wanted).unwrap();
        let mut download = begin();
        for (piece, killed) in pieces {
            let from = download.offset() as usize;
            download.take(&stored[from..(from + piece).min(stored.len())]).unwrap();
            if killed {
                drop(download);
                download = begin();
                prop_assert!(from as u64 <= download.offset() + SEALED_CHUNK_BYTES as u64);
            }
        }
        drop(download);
        let path = fetch(folder.path(), "a", &stored, &wanted);
        prop_assert_eq!(fs::read(path).unwrap(), file);
    }
}
