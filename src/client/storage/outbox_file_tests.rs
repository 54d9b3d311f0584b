use std::fs;

use super::*;

fn key() -> Zeroizing<[u8; 32]> {
    Zeroizing::new([7; 32])
}

fn say(id: u32) -> NewMessage {
    let line = format!(r##"{{"type":"say","to":"#lobby","id":"{id:032x}","text":"hi there"}}"##);
    serde_json::from_str(&line).unwrap()
}

/// Adds messages that the server stores at once.
fn says_and_stores(file: &mut OutboxFile, ids: Range<u32>) {
    for id in ids {
        file.add(&say(id)).unwrap();
        file.sync().unwrap();
        file.done(say(id).id).unwrap();
    }
    file.sync().unwrap();
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// A folder with the path of an outbox in it, without extensions.
fn stem() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let stem = folder.path().join("server");
    (folder, stem)
}

fn opened(stem: &Path) -> Opened {
    OutboxFile::open(stem, &key()).unwrap()
}

#[test]
fn only_unstored_messages_are_restored() {
    let (_folder, stem) = stem();
    let mut file = opened(&stem).file;
    (1..=3).for_each(|id| file.add(&say(id)).unwrap());
    file.done(say(2).id).unwrap();
    let body = Opaque::new(b"sealed").unwrap();
    file.seal(say(3).id, &body).unwrap();
    file.sync().unwrap();
    let path = stem.with_extension("outbox");
    let written = fs::read(&path).unwrap();
    // An entry that was cut off was never reported as stored.
    fs::write(&path, [&written[..], b"{\"locked\":\"sa"].concat()).unwrap();
    drop(file);
    let mut lengths = Vec::new();
    for _ in 0..2 {
        let Opened { unsent, damage, is_first, .. } = opened(&stem);
        assert_eq!(unsent.messages, [say(1), say(3)]);
        assert_eq!(unsent.sealed, HashMap::from([(say(3).id, body.clone())]));
        assert!(damage.is_empty() && is_first, "{damage:?}");
        lengths.push(length(&path));
    }
    assert!(lengths[0] < written.len() as u64 && lengths[0] == lengths[1], "{lengths:?}");
    let mut file = opened(&stem).file;
    file.add(&say(4)).unwrap();
    file.done(say(4).id).unwrap();
    [1, 3].into_iter().for_each(|id| file.refused(say(id).id).unwrap());
    file.retry(say(3).id).unwrap();
    file.sync().unwrap();
    let written = fs::read(&path).unwrap();
    assert!(!String::from_utf8(written).unwrap().contains("lobby"));
    drop(file);
    let Opened { mut file, unsent, .. } = opened(&stem);
    assert_eq!((unsent.messages.len(), unsent.refused), (2, HashSet::from([say(1).id])));
    [1, 3].into_iter().for_each(|id| file.done(say(id).id).unwrap());
    file.sync().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn each_client_has_a_file_and_the_next_one_takes_over_what_is_left() {
    let (_folder, stem) = stem();
    let mut first = opened(&stem);
    let mut second = opened(&stem);
    assert!(first.is_first && !second.is_first);
    first.file.add(&say(1)).unwrap();
    second.file.add(&say(2)).unwrap();
    second.file.refused(say(2).id).unwrap();
    [&mut first, &mut second].into_iter().for_each(|one| one.file.sync().unwrap());
    drop(second);
    let mut third = opened(&stem);
    assert_eq!(third.unsent.messages, [say(2)], "it has the file of the second");
    assert_eq!(third.unsent.refused, HashSet::from([say(2).id]));
    third.file.add(&say(3)).unwrap();
    third.file.sync().unwrap();
    drop((first, third));
    for _ in 0..2 {
        let all = opened(&stem);
        assert_eq!(all.unsent.messages, [say(1), say(2), say(3)]);
        assert_eq!(all.unsent.refused, HashSet::from([say(2).id]));
        assert_eq!(fs::metadata(stem.with_extension("outbox-2")).unwrap().len(), 0);
    }
    let clients: Vec<_> = (0..OUTBOX_FILES_MAX).map(|_| opened(&stem)).collect();
    assert!(OutboxFile::open(&stem, &key()).is_err(), "one more than {}", clients.len());
}

#[test]
fn a_file_that_cannot_be_emptied_stays_locked_and_is_emptied_later() {
    let (_folder, stem) = stem();
    let others = stem.with_extension("outbox-2");
    let [mut first, mut second] = [(); 2].map(|()| opened(&stem));
    second.file.add(&say(2)).unwrap();
    second.file.sync().unwrap();
    drop(second);
    let (mut other, unsent, _) = OutboxFile::lock(&stem, 2, false, &key()).unwrap().unwrap();
    // A file that was opened to be read only is not shortened.
    let writable = std::mem::replace(&mut other.file, File::open(&others).unwrap());
    first.take_over(unsent, other).unwrap();
    assert_eq!(first.unsent.messages, [say(2)]);
    assert!(length(&others) > 0);
    let third = opened(&stem);
    assert_eq!(third.unsent.messages, [], "the messages have a client");
    assert!(third.file.path.ends_with("server.outbox-3"), "{}", third.file.path.display());
    first.file.taken_over[0].file = writable;
    first.file.sync().unwrap();
    assert_eq!((length(&others), first.file.taken_over.len()), (0, 0));
    drop((first, third));
    assert_eq!(opened(&stem).unsent.messages, [say(2)], "once");
}

#[test]
fn what_is_taken_over_from_a_damaged_file_is_taken_over_once() {
    let (_folder, stem) = stem();
    let [mut first, mut second] = [(); 2].map(|()| opened(&stem));
    (1..=2).for_each(|id| second.file.add(&say(id)).unwrap());
    second.file.sync().unwrap();
    first.file.sync().unwrap();
    drop((first, second));
    let others = stem.with_extension("outbox-2");
    let mut damaged = fs::read(&others).unwrap();
    damaged[40] ^= 1;
    fs::write(&others, &damaged).unwrap();
    // The damaged line cannot be copied.
    fs::create_dir(stem.with_extension("outbox-damaged")).unwrap();
    let Opened { mut file, unsent, .. } = opened(&stem);
    assert_eq!(unsent.messages, [say(2)]);
    file.done(say(2).id).unwrap();
    drop(file);
    assert!(fs::read(&others).unwrap().starts_with(&damaged));
    assert_eq!(opened(&stem).unsent.messages, [], "the server has stored it");
}

#[test]
fn a_flipped_bit_is_told_and_costs_one_message_at_most() {
    let (_folder, stem) = stem();
    let mut file = opened(&stem).file;
    (1..=4).for_each(|id| file.add(&say(id)).unwrap());
    file.done(say(4).id).unwrap();
    file.sync().unwrap();
    drop(file);
    let (path, aside) = (stem.with_extension("outbox"), stem.with_extension("outbox-damaged"));
    let whole = fs::read(&path).unwrap();
    // Without the last entry: if that is gone, a stored message is sent again, which is harmless.
    let length = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let is_newline = |bit: &usize| whole[bit / 8] == b'\n';
    let some = |bit: &usize| bit.is_multiple_of(13) || is_newline(bit);
    for bit in (0..8 * length).filter(some) {
        let _ = fs::remove_file(&aside);
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &damaged).unwrap();
        let Opened { file, unsent, damage, .. } = opened(&stem);
        assert_eq!(damage.len(), 1, "bit {bit}");
        let (named, kept) = (path.display().to_string(), aside.display().to_string());
        assert!(damage[0].contains(&named) && damage[0].contains(&kept), "{damage:?}");
        let left = unsent.messages;
        assert!(
            left.len() >= 2 && left.iter().all(|one| one.id != say(4).id),
            "bit {bit}: {left:?}"
        );
        let parts = fs::read(&aside).unwrap();
        let line = damaged
            .split(|byte| *byte == b'\n')
            .nth(damaged[..bit / 8].iter().filter(|byte| **byte == b'\n').count());
        let line = line.unwrap();
        assert!(parts.windows(line.len()).any(|part| part == line), "bit {bit} is set aside");
        // The rest is there at the next start, and is not reported again.
        drop(file);
        let Opened { unsent, damage, .. } = opened(&stem);
        let ids = |messages: &[NewMessage]| messages.iter().map(|it| it.id).collect::<HashSet<_>>();
        assert_eq!(ids(&unsent.messages), ids(&left), "bit {bit}");
        assert!(damage.is_empty(), "bit {bit}: {damage:?}");
    }
}

#[test]
fn an_end_that_no_interrupted_write_leaves_is_told() {
    let (_folder, stem) = stem();
    let path = stem.with_extension("outbox");
    {
        let mut opened = opened(&stem);
        says_and_stores(&mut opened.file, 1..4);
        opened.file.add(&say(9)).unwrap();
        opened.file.sync().unwrap();
    }
    let whole = fs::read(&path).unwrap();
    let line = whole.split_inclusive(|byte| *byte == b'\n').next_back().unwrap().to_vec();
    let ends: [(&[u8], bool); 6] = [
        (&line[..line.len() / 2], false),
        (&line[..3], false),
        (b"", false),
        (&[0; 200], true),
        (b"junk", true),
        (&[&line[..20], &[0; 100]].concat(), true),
    ];
    for (end, is_told) in ends {
        fs::write(&path, [&whole[..], end].concat()).unwrap();
        let opened = opened(&stem);
        assert_eq!(!opened.damage.is_empty(), is_told, "{end:?}");
        let left: Vec<_> = opened.unsent.messages.iter().map(|message| message.id).collect();
        assert_eq!(left, [say(9).id], "{end:?}");
    }
    fs::write(&path, vec![0; whole.len()]).unwrap();
    assert_eq!(opened(&stem).damage.len(), 1, "all of it is lost");
}

#[test]
fn a_truncated_file_is_reported_at_every_length() {
    let (_folder, stem) = stem();
    let path = stem.with_extension("outbox");
    let mut file = opened(&stem).file;
    (1..=3).for_each(|id| file.add(&say(id)).unwrap());
    file.sync().unwrap();
    let (synced, known) = (length(&path), fs::read(stem.with_extension("unsent")).unwrap());
    file.add(&say(4)).unwrap();
    drop(file);
    let whole = fs::read(&path).unwrap();
    let line = synced / 3;
    for bytes in (0..=whole.len()).step_by(7).chain([synced as usize - 1, synced as usize]) {
        fs::write(&path, &whole[..bytes]).unwrap();
        fs::write(stem.with_extension("unsent"), &known).unwrap();
        let Opened { unsent, damage, .. } = opened(&stem);
        let (bytes, left) = (bytes as u64, unsent.messages.len() as u64);
        // A line that lacks only its end, `"}` and a newline, counts as a line.
        assert!((bytes / line..=(bytes + 3) / line).contains(&left), "{bytes}: {left}");
        if bytes >= synced {
            assert!(damage.is_empty(), "the last entry was never reported as stored: {damage:?}");
            continue;
        }
        assert_eq!(damage.len(), 1, "{bytes}: {damage:?}");
        let lost = match 3 - left {
            0 => "no message is missing".to_owned(),
            1 => "a message that was not sent yet may be missing".to_owned(),
            lost => format!("up to {lost} messages that were not sent yet may be missing"),
        };
        let had = format!("it had {synced} bytes and has {bytes}: {lost}");
        assert!(damage[0].starts_with(&path.display().to_string()), "{damage:?}");
        assert!(damage[0].contains(&had), "{bytes}: {damage:?}");
        assert!(opened(&stem).damage.is_empty(), "{bytes}: it is reported once");
    }
}

#[test]
fn a_missing_file_is_reported() {
    let (_folder, stem) = stem();
    let names = ["outbox", "outbox-2"];
    for name in names {
        let mut clients = [(); 2].map(|()| opened(&stem).file);
        for (id, file) in (1..).zip(&mut clients) {
            file.add(&say(id)).unwrap();
            file.sync().unwrap();
        }
        drop(clients);
        fs::remove_file(stem.with_extension(name)).unwrap();
        let Opened { mut file, unsent, damage, .. } = opened(&stem);
        assert_eq!((unsent.messages.len(), damage.len()), (1, 1), "{name}: {damage:?}");
        assert!(damage[0].contains(&format!(".{name}: ")), "{damage:?}");
        file.done(unsent.messages[0].id).unwrap();
        file.sync().unwrap();
        drop(file);
        // A message that the server has stored is not missing.
        names.iter().for_each(|name| drop(fs::remove_file(stem.with_extension(name))));
        assert!(opened(&stem).damage.is_empty(), "{name}");
    }
    let length = stem.with_extension("unsent");
    for damaged in [&b""[..], b"junk", &[0; 64]] {
        fs::write(&length, damaged).unwrap();
        let damage = opened(&stem).damage;
        assert!(damage.len() == 1 && damage[0].contains(".unsent: it is damaged"), "{damage:?}");
        assert!(opened(&stem).damage.is_empty(), "it is reported once");
    }
}

#[test]
fn nothing_is_removed_if_the_length_cannot_be_corrected() {
    let (_folder, stem) = stem();
    let path = stem.with_extension("outbox");
    let mut file = opened(&stem).file;
    file.add(&say(1)).unwrap();
    file.sync().unwrap();
    file.length.refuses(true);
    file.done(say(1).id).unwrap();
    file.sync().unwrap();
    assert!(length(&path) > 0);
    file.length.refuses(false);
    file.sync().unwrap();
    assert_eq!(length(&path), 0);
    drop(file);
    assert!(opened(&stem).damage.is_empty());
}

#[test]
fn what_cannot_be_copied_is_not_removed() {
    let (_folder, stem) = stem();
    let mut file = opened(&stem).file;
    (1..=2).for_each(|id| file.add(&say(id)).unwrap());
    file.sync().unwrap();
    drop(file);
    let path = stem.with_extension("outbox");
    let mut damaged = fs::read(&path).unwrap();
    damaged[40] ^= 1;
    fs::write(&path, &damaged).unwrap();
    fs::create_dir(stem.with_extension("outbox-damaged")).unwrap();
    let Opened { mut file, unsent, damage, .. } = opened(&stem);
    assert_eq!((unsent.messages, damage.len()), (vec![say(2)], 1));
    file.done(say(2).id).unwrap();
    drop(file);
    assert!(fs::read(&path).unwrap().starts_with(&damaged));
    let Opened { unsent, damage, .. } = opened(&stem);
    assert_eq!((unsent.messages, damage.len()), (vec![], 1), "it is reported until it is copied");
}

#[test]
fn what_could_not_be_written_is_written_later() {
    let (_folder, stem) = stem();
    let Opened { mut file, .. } = opened(&stem);
    file.add(&say(1)).unwrap();
    file.sync().unwrap();
    // A file that was opened to be read only takes nothing, as a full disk.
    let path = stem.with_extension("outbox");
    let writable = std::mem::replace(&mut file.file, File::open(&path).unwrap());
    assert!(file.add(&say(2)).is_err());
    assert!(file.add(&say(3)).is_err());
    assert!(file.done(say(3).id).is_ok() && file.sync().is_err());
    file.file = writable;
    file.sync().unwrap();
    drop(file);
    assert_eq!(opened(&stem).unsent.messages, [say(1), say(2)]);
}

#[test]
fn a_refused_message_does_not_let_the_file_grow() {
    let (_folder, stem) = stem();
    let path = stem.with_extension("outbox");
    let mut file = opened(&stem).file;
    file.add(&say(1)).unwrap();
    file.refused(say(1).id).unwrap();
    file.sync().unwrap();
    let (open, mut longest) = (length(&path), 0);
    for start in (2..2_000).step_by(50) {
        says_and_stores(&mut file, start..start + 50);
        longest = longest.max(length(&path));
    }
    assert!(longest > OUTDATED_BYTES / 2, "it is rewritten after a while: {longest}");
    assert!(longest <= OUTDATED_BYTES + 2 * open + 1_000, "{longest}");
    assert!(!opened(&stem).is_first, "the rewritten file is locked");
    // A message that is retried and refused again and again is no other case.
    for _ in 0..1_000 {
        file.retry(say(1).id).unwrap();
        file.refused(say(1).id).unwrap();
    }
    file.sync().unwrap();
    assert!(length(&path) <= OUTDATED_BYTES, "{}", length(&path));
    says_and_stores(&mut file, 2..20);
    drop(file);
    for _ in 0..2 {
        let Opened { file: _file, unsent, is_first, .. } = opened(&stem);
        assert_eq!((unsent.messages, is_first), (vec![say(1)], true));
        assert_eq!(unsent.refused, HashSet::from([say(1).id]));
        assert_eq!(length(&path), open, "each start removes what is outdated");
    }
}

#[test]
fn a_rewrite_that_fails_leaves_the_file_and_waits() {
    let (folder, stem) = stem();
    let mut file = opened(&stem).file;
    file.add(&say(1)).unwrap();
    file.sync().unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    says_and_stores(&mut file, 2..500);
    let bytes = file.file.metadata().unwrap().len();
    assert_eq!(file.bytes, bytes, "entries are appended");
    assert!(file.rewrites_from > bytes && bytes > OUTDATED_BYTES, "{}", file.rewrites_from);
    fs::create_dir(folder.path()).unwrap();
    says_and_stores(&mut file, 500..1_500);
    assert!(file.bytes <= OUTDATED_BYTES, "it is rewritten later: {}", file.bytes);
    drop(file);
    assert_eq!(opened(&stem).unsent.messages, [say(1)]);
}

#[test]
fn a_disk_that_fails_to_sync_does_not_let_the_file_grow() {
    let (_folder, stem) = stem();
    let path = stem.with_extension("outbox");
    let mut file = opened(&stem).file;
    file.add(&say(1)).unwrap();
    file.sync().unwrap();
    let synced = length(&path);
    file.add(&say(2)).unwrap();
    file.seal(say(2).id, &Opaque::new(b"sealed").unwrap()).unwrap();
    let written = length(&path);
    for _ in 0..3 {
        file.write().unwrap();
        assert_eq!(length(&path), written, "it is written once");
        assert!(file.ends_sync(Err(io::Error::other("the disk fails"))).is_err());
        assert_eq!(length(&path), synced);
    }
    // A message that was written, and not synced, is not written again once it is stored.
    file.add(&say(3)).unwrap();
    assert!(file.ends_sync(Err(io::Error::other("the disk fails"))).is_err());
    file.done(say(3).id).unwrap();
    file.sync().unwrap();
    assert_eq!(length(&path), written);
    drop(file);
    assert_eq!(opened(&stem).unsent.messages, [say(1), say(2)]);
}

#[test]
fn a_file_does_not_become_too_long_to_be_read() {
    let (_folder, stem) = stem();
    let path = stem.with_extension("outbox");
    let mut file = opened(&stem).file;
    file.add(&say(1)).unwrap();
    file.sync().unwrap();
    let bytes = std::mem::replace(&mut file.bytes, OUTBOX_FILE_BYTES_MAX - 10);
    let other = Lengths { add: OUTBOX_FILE_BYTES_MAX, ..Lengths::default() };
    file.open.insert(say(9).id, other);
    let error = file.add(&say(2)).unwrap_err();
    assert!(error.to_string().contains("bytes of unsent messages"), "{error}");
    assert_eq!(length(&path), bytes);
    (file.bytes, _) = (bytes, file.open.remove(&say(9).id));
    file.sync().unwrap();
    drop(file);
    assert_eq!(opened(&stem).unsent.messages, [say(1), say(2)]);
}

#[test]
fn clients_that_start_while_a_file_is_rewritten_lose_nothing() {
    const CLIENTS: u32 = 3;
    const STARTS: u32 = 40;
    let (_folder, stem) = stem();
    let starts = |client: u32| {
        for start in 0..STARTS {
            let mut file = opened(&stem).file;
            let id = 2 * (client * STARTS + start);
            file.add(&say(id)).unwrap();
            // Its line is outdated at the next start.
            says_and_stores(&mut file, id + 1..id + 2);
        }
    };
    std::thread::scope(|scope| {
        (0..CLIENTS).for_each(|client| drop(scope.spawn(move || starts(client))));
    });
    let left = opened(&stem).unsent.messages;
    let is_lost = |id: &u32| !left.contains(&say(*id));
    let lost: Vec<_> = (0..CLIENTS * STARTS).map(|number| 2 * number).filter(is_lost).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
