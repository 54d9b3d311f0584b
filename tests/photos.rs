//! Phone photos sent by the real client: the received file has the same pixels, and no place, time
//! or device.

mod world;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use world::World;
use world::job::{LIMITS, coming, command, ended, folder, object, runs};
use world::photos::{CANARY, photos};

fn has_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|part| part.eq_ignore_ascii_case(CANARY))
}

/// What exiftool finds, where it is installed.
fn witness(path: &Path) -> Option<String> {
    let args = ["-a", "-G1", "-s", "-u", "-n", "-ee"];
    let output = Command::new("exiftool").args(args).arg(path).output();
    let is_needed = std::env::var_os("PYCHAT_NEEDS_EXIFTOOL").is_some();
    assert!(output.is_ok() || !is_needed, "exiftool is missing");
    Some(String::from_utf8_lossy(&output.ok()?.stdout).into_owned())
}

#[test]
fn photos_arrive_with_their_pixels_alone() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    let (from, into) = (folder(&world, "alice"), folder(&world, "bob"));
    for (seq, photo) in (1..).step_by(2).zip(photos()) {
        let name = format!("photo.{}", photo.extension);
        let seq: u32 = seq;
        fs::write(from.join(&name), &photo.bytes).unwrap();
        assert!(has_canary(&photo.bytes) && !has_canary(&photo.plain));
        for (number, keeps) in [(seq, false), (seq + 1, true)] {
            let keep = keeps.then_some("--keep-metadata");
            let args: Vec<_> = ["--send-file", &name].into_iter().chain(keep).collect();
            let (code, _, told) = runs(&world, "alice", &args);
            assert_eq!(code, 0, "{name}: {told}");
            let get = ["--get", &number.to_string(), "--from", "#lobby"];
            let (code, path, told) = runs(&world, "bob", &get);
            assert_eq!(code, 0, "{name}: {told}");
            let path = into.join(path.trim_end());
            let arrived = fs::read(&path).unwrap();
            let found = witness(&path);
            if keeps {
                assert!(arrived == photo.bytes, "the control: {name}");
                let control = |found: &String| found.contains("Canary");
                assert!(found.as_ref().is_none_or(control), "the control: {name} {found:?}");
                continue;
            }
            assert!(!has_canary(&arrived), "{name}");
            let load = |bytes: &[u8]| image::load_from_memory(bytes).unwrap();
            assert_eq!(load(&arrived), load(&photo.plain), "{name}");
            let Some(found) = found else { continue };
            for group in ["GPS", "XMP", "IPTC", "IFD1", "MPF", "MPImage", "Photoshop", "Trailer"] {
                assert!(!found.contains(&format!("[{group}")), "{name}: {found}");
            }
            assert!(!found.contains("Warning"), "{name}: {found}");
            let turned =
                found.lines().any(|line| line.contains("Orientation") && line.contains('6'));
            assert_eq!(turned, photo.extension != "gif", "{name}: {found}");
        }
    }
    assert_eq!(fs::read_dir(&from).unwrap().count(), 4, "the photos themselves stay as they are");
}

#[test]
fn a_picture_that_cannot_be_cleaned_is_refused_with_a_reason() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let mut bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    let from = folder(&world, "alice");
    let jpeg = photos().swap_remove(0).bytes;
    let kinds: [(&str, &[u8], &str); 8] = [
        ("half.jpg", &jpeg[..300], "damaged"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        ("film.mov", b"\0\0\0\x08wide\0\0\0\0mdat", "QuickTime"),
        ("raw.orf", b"IIRO\x08\0\0\0", "RAW"),
        ("photo.tif", b"II*\0\x08\0\0\0", "TIFF"),
        ("film.wmv", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "WMV"),
        ("letter.rtf", b"{\\rtf1{\\info{\\author alice}}}", "RTF"),
        ("plan.svg", b"<?xml version='1.0'?><svg><metadata/></svg>", "SVG"),
    ];
    for (name, bytes, word) in kinds {
        fs::write(from.join(name), bytes).unwrap();
        let (code, _, told) = runs(&world, "alice", &["--send-file", name]);
        assert_eq!(code, 8, "{name}: {told}");
        assert!(told.contains(word) && told.contains("--keep-metadata"), "{name}: {told}");
    }
    assert!(coming(&world).is_empty(), "nothing was sent");
    let (code, _, told) = runs(&world, "alice", &["--send-file", "half.jpg", "--keep-metadata"]);
    assert_eq!(code, 0, "the control: {told}");
    assert_eq!(object(&bob.sees("half.jpg"))["seq"], "1", "no other file was announced");
    bob.types(r#"{"type":"quit"}"#);
    assert!(bob.ends().success());
    assert_eq!(bob.seen(r#""kind":"file""#), 1);
}

#[test]
fn names_that_the_user_chooses_stay_or_are_refused() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let from = folder(&world, "alice");
    fs::write(from.join("notes.txt"), "tea at five").unwrap();
    let (code, _, told) = runs(&world, "alice", &["--send-file", "notes.txt"]);
    assert_eq!(code, 0, "{told}");
    let get = ["--get", "1", "--from", "#lobby", "-o", ".hidden"];
    for name in [".hidden", ".hidden (1)"] {
        let (code, path, told) = runs(&world, "alice", &get);
        assert_eq!(code, 0, "{told}");
        assert!(path.trim_end().ends_with(name) && from.join(name).exists(), "{path}");
    }
    // A name that is not UTF-8 can neither be stored nor shown as it is.
    let odd = OsStr::from_bytes(b"odd\xff.txt");
    fs::write(from.join(odd), "x").unwrap();
    let (code, _, told) =
        ended(&command(&world, "alice", &["--send-file"]).arg(odd).output().unwrap());
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("is not UTF-8: rename or copy it"), "{told}");
    assert!(coming(&world).is_empty(), "nothing was sent");
    fs::remove_file(from.join(odd)).unwrap();
    let before = fs::read_dir(&from).unwrap().count();
    let (code, _, told) = ended(&command(&world, "alice", &get[..5]).arg(odd).output().unwrap());
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("has a name that is not UTF-8"), "{told}");
    assert_eq!(fs::read_dir(&from).unwrap().count(), before, "no file was written");
}
