use std::fs;

use super::*;

fn key() -> Zeroizing<[u8; 32]> {
    Zeroizing::new([7; 32])
}

fn say(id: u8) -> NewMessage {
    let line = format!(
        r##"{{"type":"say","to":"#lobby","id":"{}","text":"hi there"}}"##,
        "0".repeat(30) + &format!("{id:02x}")
    );
    serde_json::from_str(&line).unwrap()
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
    let mut written = fs::read(&path).unwrap();
    // An entry that was cut off was never reported as stored.
    fs::write(&path, [&written[..], b"{\"locked\":\"sa"].concat()).unwrap();
    drop(file);
    for _ in 0..2 {
        let Opened { unsent, damage, is_first, .. } = opened(&stem);
        assert_eq!(unsent.messages, [say(1), say(3)]);
        assert_eq!(unsent.sealed, HashMap::from([(say(3).id, body.clone())]));
        assert!(damage.is_empty() && is_first, "{damage:?}");
        // Nothing is rewritten that a kill or a full disk could interrupt.
        assert!(fs::read(&path).unwrap() == written);
    }
    let mut file = opened(&stem).file;
    file.add(&say(4)).unwrap();
    file.done(say(4).id).unwrap();
    [1, 3].into_iter().for_each(|id| file.refused(say(id).id).unwrap());
    file.retry(say(3).id).unwrap();
    file.sync().unwrap();
    written = fs::read(&path).unwrap();
    assert!(!String::from_utf8(written).unwrap().contains("lobby"));
    drop(file);
    let Opened { mut file, unsent, .. } = opened(&stem);
    assert_eq!((unsent.messages.len(), unsent.refused), (2, HashSet::from([say(1).id])));
    [1, 3].into_iter().for_each(|id| file.done(say(id).id).unwrap());
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
