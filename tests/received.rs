//! Files from a client that does not clean them: names, and pictures that grow without bounds.

mod world;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pychat::chat::{Descriptor, FileBytes, FileSecret};
use pychat::crypto::file::{CHUNK_BYTES, FileKey, Layout, chunk_digest, file_hash};
use unicode_normalization::UnicodeNormalization;
use world::World;
use world::job::{LIMITS, folder, runs};
use world::photos::{photos, png_chunk};
use world::program::peak_kib;
use world::sharer::{Sharer, blob};
use zeroize::Zeroizing;

/// Sends a file to the lobby as it is, under this name. Returns the number of its message.
fn shares(alice: &mut Sharer, number: u8, name: &str, file: &[u8]) -> String {
    let (secret, blob) = (Zeroizing::new([number; 32]), blob(number));
    let layout = Layout::open(file.len() as u64).unwrap();
    let key = FileKey::new(&secret, &blob.0, layout);
    let (mut stored, mut out) = (Vec::new(), Vec::new());
    for index in 0..layout.chunks() {
        let begin = index as usize * CHUNK_BYTES;
        key.seal_chunk(index, &file[begin..begin + layout.file_bytes(index)], &mut out).unwrap();
        stored.extend_from_slice(&out);
    }
    alice.shares("#lobby", number, &stored);
    let digests: Vec<_> = file.chunks(CHUNK_BYTES).map(chunk_digest).collect();
    let descriptor = Descriptor {
        v: 1,
        blob,
        name: name.to_owned(),
        bytes: FileBytes(file.len() as u64),
        media: "image/png".into(),
        key: FileSecret(secret),
        hash: FileSecret(Zeroizing::new(file_hash(file.len() as u64, &digests))),
        size: None,
        thumb: None,
        text: None,
    };
    let message = alice.announces_as("#lobby", number, &descriptor.text());
    message["seq"].as_str().expect("it is announced").to_owned()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().expect("UTF-8")).collect()
}

/// Whether a name is plain: no path, device, hidden file or option, and displayed as it is.
fn is_plain(name: &str) -> bool {
    let stem = name.split('.').next().unwrap().to_lowercase();
    let is_odd = |c: char| {
        c.is_control()
            || "/\\:*?\"<>|".contains(c)
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    !name.is_empty()
        && name.len() <= 200
        && !name.contains(is_odd)
        && !name.starts_with(['.', '-', ' '])
        && !name.ends_with(['.', ' '])
        && !["aux", "con", "nul", "prn", "com1", "lpt9"].contains(&stem.trim_end())
        && name.nfc().eq(name.chars())
}

#[test]
fn a_name_that_nobody_cleaned_is_a_plain_name_in_the_folder() {
    let world = World::with(LIMITS);
    let mut alice = Sharer::enters(&world, "alice");
    world.admit("bob");
    let (into, root) = (folder(&world, "bob"), world.home().join(".."));
    let long = "n".repeat(300);
    let cases = [
        "../x",
        "../../etc/x",
        "/tmp/x",
        "C:\\x",
        "\\\\server\\x",
        "x:stream",
        "aux.txt",
        "AUX",
        "nul.tar.gz",
        "com1",
        "lpt9.txt ",
        "photo\u{202e}gpj.exe",
        "a\u{200b}b",
        "\u{feff}x",
        ".bashrc",
        "...",
        "..",
        ".",
        "-rf",
        "--help",
        "e\u{301}te\u{301}.txt",
        "dot.",
        "dot. .",
        " blank ",
        "two\nlines",
        "\u{1b}[31mred",
        "tab\tx",
        "nul\0x",
        "\u{9b}x",
        "~",
        "$(touch x)",
        "a*?\"<>|b",
        &long,
    ];
    // The client makes its folders at its first run.
    let (code, _, told) = runs(&world, "bob", &["--get", "99", "--from", "#lobby"]);
    assert_eq!(code, 9, "{told}");
    let around = names(&root);
    for (number, name) in (1..).zip(cases) {
        let seq = shares(&mut alice, number, name, b"hello");
        let (code, out, told) = runs(&world, "bob", &["--get", &seq, "--from", "#lobby"]);
        assert_eq!(names(&root), around, "{name:?}");
        if name.len() > 200 {
            assert_eq!((code, out.as_str(), names(&into).len()), (9, "", 0), "{name:?}: {told}");
            continue;
        }
        assert_eq!(code, 0, "{name:?}: {told}");
        let written: Vec<_> = names(&into).into_iter().collect();
        assert_eq!(written.len(), 1, "{name:?}: {written:?}");
        assert!(is_plain(&written[0]), "{name:?}: {written:?}");
        assert_eq!(out, format!("./{}\n", written[0]), "{name:?}");
        assert!(!told.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{name:?}: {told:?}");
        let path = into.join(&written[0]);
        let about = fs::symlink_metadata(&path).unwrap();
        assert!(about.is_file() && about.permissions().mode() & 0o777 == 0o600, "{name:?}");
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        fs::remove_file(path).unwrap();
    }
}

/// A PNG of zeros, 15,000 pixels wide and high: 225 MB in 1.4 MB.
fn bomb() -> Vec<u8> {
    const SIDE: u32 = 15_000;
    let bytes = u64::from(SIDE) * u64::from(SIDE + 1);
    let (mut out, mut bits, mut count) = (vec![0x78, 1], 0u64, 0);
    let mut put = |value: u64, length: u32, out: &mut Vec<u8>| {
        bits |= value << count;
        count += length;
        while count >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
    };
    // One block of fixed codes: a zero, then copies of 258 zeros and of 3, and the end.
    put(0b011, 3, &mut out);
    let zero =
        |put: &mut dyn FnMut(u64, u32, &mut Vec<u8>), out: &mut Vec<u8>| put(0b0000_1100, 8, out);
    zero(&mut put, &mut out);
    for _ in 0..(bytes - 1) / 258 {
        put(0b1010_0011, 8, &mut out);
        put(0, 5, &mut out);
    }
    for _ in 0..(bytes - 1) % 258 {
        zero(&mut put, &mut out);
    }
    put(0, 7, &mut out);
    put(0, 7, &mut out);
    let sum = (bytes % 65_521) << 16 | 1;
    out.extend((sum as u32).to_be_bytes());
    let side = SIDE.to_be_bytes();
    let head = [&side[..], &side, &[8, 0, 0, 0, 0]].concat();
    let chunks = [png_chunk(b"IHDR", &head), png_chunk(b"IDAT", &out), png_chunk(b"IEND", b"")];
    [b"\x89PNG\r\n\x1a\n", &chunks.concat()[..]].concat()
}

#[test]
fn a_picture_that_grows_without_bounds_leaves_the_client_alive() {
    let world = World::with(LIMITS);
    let mut alice = Sharer::enters(&world, "alice");
    let mut bob = world.enters("bob");
    let plain: Vec<_> = photos().into_iter().map(|photo| photo.plain).collect();
    let (mut jpeg, mut png, mut webp, mut gif) =
        (plain[0].clone(), plain[1].clone(), plain[2].clone(), plain[3].clone());
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    let head = [&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0][..], &png[24..29]].concat();
    png.splice(8..33, png_chunk(b"IHDR", &head));
    // The 28 bits of width and height behind the signature of VP8L.
    webp[21..25].copy_from_slice(&[0xff, 0xff, 0xff, 0x0f]);
    gif[6..10].copy_from_slice(&[0xff; 4]);
    let before = peak_kib(bob.pid());
    for (number, bytes) in (1..).zip([jpeg, png, webp, gif, bomb()]) {
        let seq = shares(&mut alice, number, "photo.png", &bytes);
        bob.types(&format!("/view {seq}"));
        bob.shows("a word on each", |shown| {
            let said = |line: &&String| line.contains("no preview: ");
            shown.iter().filter(said).count() >= usize::from(number)
        });
    }
    let (all, large) = (bob.seen("no preview: "), bob.seen("no preview: the picture is too large"));
    assert!(all == 5 && large >= 3, "{:#?}", bob.shown());
    let after = peak_kib(bob.pid());
    assert!(after < before + 64 * 1024, "{before} {after}");
    let seq = shares(&mut alice, 9, "photo.png", &plain[1]);
    bob.types(&format!("/view {seq}"));
    bob.shows("the control", |shown| shown.iter().any(|line| line.contains('\u{2593}')));
}
