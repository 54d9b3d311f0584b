use super::*;
use crate::home::Home;

fn trail(lines: usize) -> (tempfile::TempDir, Audit) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    home.make_folders().unwrap();
    let audit = Audit::of(&home);
    for index in 0..lines {
        let target = format!("person{index}");
        let reason = (index % 2 == 0).then_some("noise");
        let decision =
            Decision { actor: "olga", action: "ban", target: &target, reason, until_ms: Some(0) };
        audit.add(&decision).unwrap();
    }
    (folder, audit)
}

#[test]
fn what_was_written_is_sound() {
    let (_folder, audit) = trail(0);
    assert_eq!(audit.verify().unwrap().lines, 0);
    let (_folder, audit) = trail(3);
    let sound = audit.verify().unwrap();
    assert_eq!((sound.lines, sound.last), (3, 3));
    let text = fs::read_to_string(&audit.trail).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&line["n"], &line["actor"]), (&1.into(), &"olga".into()));
    assert_eq!(
        (&line["target"], &line["until"]),
        (&"person0".into(), &"1970-01-01T00:00:00Z".into())
    );
}

/// Returns a trail of 40 lines, changed in one of 200 ways.
fn tamper(case: usize, text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = case % lines.len();
    match case / 40 {
        // Changes a character anywhere in a line, its MAC included.
        0 => {
            let place = case * 7 % lines[at].len();
            let old = lines[at].as_bytes()[place];
            let new = if old == b'0' { "1" } else { "0" };
            lines[at].replace_range(place..=place, new);
        }
        1 => drop(lines.remove(at)),
        2 => lines.swap(at, (at + 1 + case % 5) % 40),
        3 => lines.insert((at + case % 3) % 40, lines[at].clone()),
        // Truncates the trail, or changes the case of a letter.
        _ if case.is_multiple_of(2) => lines.truncate(40 - case % 40),
        _ => lines[at] = lines[at].to_uppercase(),
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn two_hundred_of_two_hundred_changes_are_found() {
    let (_folder, audit) = trail(40);
    let text = fs::read_to_string(&audit.trail).unwrap();
    assert!(audit.verify().is_ok());
    let mut found = 0;
    for case in 0..200 {
        let changed = tamper(case, &text);
        assert_ne!(changed, text, "case {case} changes nothing");
        fs::write(&audit.trail, changed).unwrap();
        found += usize::from(audit.verify().is_err());
    }
    assert_eq!(found, 200);
    fs::write(&audit.trail, text).unwrap();
    assert!(audit.verify().is_ok());
}

#[test]
fn a_changed_trail_goes_on_and_stays_found_out() {
    let (_folder, audit) = trail(5);
    let text = fs::read_to_string(&audit.trail).unwrap();
    let short: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
    fs::write(&audit.trail, short).unwrap();
    audit.add(&Decision { actor: "olga", action: "kick", ..Decision::default() }).unwrap();
    assert!(audit.verify().is_err());
    let (_folder, audit) = trail(5);
    fs::remove_file(&audit.trail).unwrap();
    assert!(audit.verify().is_err());
    audit.add(&Decision { actor: "olga", action: "kick", ..Decision::default() }).unwrap();
    assert!(audit.verify().is_err(), "a missing trail does not begin again");
    let (_folder, audit) = trail(5);
    fs::remove_file(&audit.head).unwrap();
    audit.add(&Decision { actor: "olga", action: "kick", ..Decision::default() }).unwrap();
    assert!(audit.verify().is_err());
}

/// A copy of a home's data folder, to restore it later.
struct Copy(Vec<(PathBuf, Vec<u8>)>);

impl Copy {
    fn of(folder: &std::path::Path) -> Copy {
        let files = fs::read_dir(folder.join("data")).unwrap().map(|entry| entry.unwrap().path());
        Copy(files.map(|path| (path.clone(), fs::read(path).unwrap())).collect())
    }

    fn put_back(&self) {
        for (path, bytes) in &self.0 {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn who_has_all_of_data_drops_no_line_unnoticed() {
    let (folder, audit) = trail(3);
    let before = Copy::of(folder.path());
    for action in ["ban", "unban"] {
        audit.add(&Decision { actor: "olga", action, ..Decision::default() }).unwrap();
    }
    let after = Copy::of(folder.path());
    before.put_back();
    assert!(audit.verify().is_err(), "the folder as it was before two decisions");
    audit.add(&Decision { actor: "olga", action: "kick", ..Decision::default() }).unwrap();
    assert!(audit.verify().is_err(), "nor does it heal");
    after.put_back();
    for (path, _) in &after.0 {
        fs::remove_file(path).unwrap();
    }
    assert!(audit.verify().is_err(), "an empty folder");
    audit.add(&Decision { actor: "olga", action: "kick", ..Decision::default() }).unwrap();
    assert!(audit.verify().is_err(), "no new trail begins");
}

#[test]
fn a_trail_whose_head_lies_in_data_goes_on() {
    let (folder, audit) = trail(3);
    let former = folder.path().join("data/audit.head");
    fs::rename(&audit.head, &former).unwrap();
    assert_eq!(audit.verify().unwrap().lines, 3);
    audit.add(&Decision { actor: "olga", action: "kick", ..Decision::default() }).unwrap();
    assert_eq!(audit.verify().unwrap().lines, 4);
    assert!(audit.head.exists() && !former.exists());
}

#[test]
fn a_crash_in_the_middle_of_a_line_costs_nothing_that_was_written() {
    let (_folder, audit) = trail(3);
    let old_head = fs::read(&audit.head).unwrap();
    audit.add(&Decision { actor: "olga", action: "kick", ..Decision::default() }).unwrap();
    fs::write(&audit.head, old_head).unwrap();
    assert_eq!(audit.verify().unwrap().lines, 4, "the line came before the head");
    let mut file = audit.open().unwrap();
    file.write_all(b"{\"n\":5,\"ti").unwrap();
    assert!(matches!(audit.verify(), Err(AuditError::Torn { .. })));
    audit.add(&Decision { actor: "olga", action: "unban", ..Decision::default() }).unwrap();
    assert_eq!(audit.verify().unwrap().lines, 5);
}

#[test]
fn old_lines_go_and_the_rest_is_still_sound() {
    let (_folder, audit) = trail(4);
    assert_eq!(audit.expire(0).unwrap(), 0);
    let now_ms = Timestamp::now().as_millisecond();
    assert_eq!(audit.expire(now_ms + 60_000).unwrap(), 4);
    let sound = audit.verify().unwrap();
    assert_eq!((sound.lines, sound.last), (0, 4));
    audit.add(&Decision { actor: "olga", action: "kick", ..Decision::default() }).unwrap();
    let sound = audit.verify().unwrap();
    assert_eq!((sound.lines, sound.last), (1, 5));
    let text = fs::read_to_string(&audit.trail).unwrap();
    fs::write(
        &audit.trail,
        text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
    assert!(audit.verify().is_err(), "the base is part of it");
}
