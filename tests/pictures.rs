//! Pictures with the real program: decoded in a process of its own, and without metadata, with
//! exiftool as the witness.

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageFormat};
use pychat::client::files::decode::{Decoder, NoPreview};
use pychat::client::files::metadata::{self, Cleaned};
use pychat::client::files::thumb;

fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90])
    });
    let mut out = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn decode(bytes: &[u8]) -> Result<[u32; 2], NoPreview> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let decoder = Decoder::new(env!("CARGO_BIN_EXE_pychat").into());
    let decoded = decoder.decode(File::open(file.path()).unwrap(), 100, 100)?;
    assert!(decoded.picture.width() <= 100 && decoded.picture.height() <= 100);
    assert!(thumb::thumb(&decoded.picture).unwrap().len() <= 28);
    Ok(decoded.original)
}

#[test]
fn a_picture_is_decoded_in_a_process_of_its_own() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let bytes = picture(format, 320, 200);
        assert_eq!(decode(&bytes), Ok([320, 200]), "{format:?}");
        for cut in [0, 1, 12, 40, bytes.len() / 2] {
            // Some decoders show the first half of a picture.
            if let Err(error) = decode(&bytes[..cut]) {
                assert!(matches!(error, NoPreview::Damaged | NoPreview::NoPicture));
            }
        }
    }
    assert_eq!(decode(b"#!/bin/sh\necho hello"), Err(NoPreview::NoPicture));
    assert_eq!(decode(b""), Err(NoPreview::NoPicture));
    let decoder = Decoder::new("/none/pychat".into());
    let file = File::open("/dev/null").unwrap();
    assert_eq!(decoder.decode(file, 9, 9).err(), Some(NoPreview::NotStarted));
}

#[test]
fn a_picture_that_grows_without_bounds_ends_its_decoder_only() {
    let mut png = picture(ImageFormat::Png, 1, 1);
    let mut gif = picture(ImageFormat::Gif, 1, 1);
    let begun = Instant::now();
    for side in [19_999u32, 25_000, 100_000] {
        // Another size in the header, with the right checksum.
        png[16..20].copy_from_slice(&side.to_be_bytes());
        png[20..24].copy_from_slice(&side.to_be_bytes());
        let sum = checksum(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(decode(&png), Err(NoPreview::TooLarge), "{side}");
    }
    gif[6..10].copy_from_slice(&[0xff; 4]);
    assert_eq!(decode(&gif), Err(NoPreview::TooLarge));
    assert!(begun.elapsed() < Duration::from_secs(120), "nothing was decoded");
}

/// CRC-32, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 }
        })
    })
}

/// A process that stays and does not answer, or answers too much.
#[cfg(unix)]
#[test]
fn another_program_is_not_believed() {
    let file = || File::open("/dev/null").unwrap();
    for program in ["/bin/true", "/bin/false", "/usr/bin/yes", "/bin/echo"] {
        let decoded = Decoder::new(program.into()).decode(file(), 100, 100);
        assert_eq!(decoded.err(), Some(NoPreview::Damaged), "{program}");
    }
}

#[test]
fn the_decoder_takes_no_environment_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pychat"));
    let path = folder.path().join("a.png");
    fs::write(&path, picture(ImageFormat::Png, 9, 9)).unwrap();
    command.args(["decode-picture", "9", "9"]).env_clear().current_dir(folder.path());
    let output = command.stdin(File::open(&path).unwrap()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 17 + 9 * 9 * 4));
    assert!(output.stderr.is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let help = Command::new(env!("CARGO_BIN_EXE_pychat")).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("decode-picture"));
}

/// The process has its bounds before it reads a byte of the picture.
#[cfg(target_os = "linux")]
#[test]
fn the_decoder_is_confined_before_it_reads() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pychat"));
    command.args(["decode-picture", "9", "9"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let path = format!("/proc/{}/limits", child.id());
    let deadline = Instant::now() + Duration::from_secs(60);
    let wanted = [
        ("Max address space", "943718400"),
        ("Max cpu time", "10"),
        ("Max file size", "0"),
        ("Max open files", "0"),
        ("Max processes", "0"),
        ("Max core file size", "0"),
    ];
    let is_confined = |limits: &str| {
        wanted.iter().all(|(name, value)| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().take(2).all(|one| one == *value)
        })
    };
    while !is_confined(&fs::read_to_string(&path).unwrap()) {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(&path).unwrap());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(2), "nothing is no picture");
}

/// Whether exiftool is there. Where `.ci/run` asks for it, it has to be.
fn has_exiftool() -> bool {
    let there = Command::new("exiftool").arg("-ver").output().is_ok_and(|out| out.status.success());
    let is_needed = std::env::var_os("PYCHAT_NEEDS_EXIFTOOL").is_some();
    assert!(there || !is_needed, "exiftool is missing: apt-get install libimage-exiftool-perl");
    if !there {
        eprintln!("SKIPPED: there is no exiftool here (apt-get install libimage-exiftool-perl)");
    }
    there
}

fn exiftool(arguments: &[&str], path: &Path) -> String {
    let output = Command::new("exiftool").args(arguments).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a phone writes into a photo.
const PHOTO: &[&str] = &[
    "-q",
    "-overwrite_original",
    "-n",
    "-Make=Canary",
    "-Model=Canary 12",
    "-SerialNumber=CANARY1234",
    "-Artist=Canary Alice",
    "-ImageDescription=Canary at home",
    "-UserComment=Canary",
    "-GPSLatitude=48.8584",
    "-GPSLatitudeRef=N",
    "-GPSLongitude=2.2945",
    "-GPSLongitudeRef=E",
    "-DateTimeOriginal=2026:01:02 03:04:05",
    "-OffsetTime=+01:00",
    "-XMP:Creator=Canary Alice",
    "-XMP:City=Canary",
    "-IPTC:City=Canary",
    "-Comment=Canary",
    "-Orientation=6",
];

#[test]
fn a_witness_finds_no_metadata_in_a_clean_picture() {
    if !has_exiftool() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile.icc");
    let formats = [
        (ImageFormat::Jpeg, "jpg"),
        (ImageFormat::Png, "png"),
        (ImageFormat::WebP, "webp"),
        (ImageFormat::Gif, "gif"),
    ];
    fs::write(&profile, icc_profile()).unwrap();
    for (format, extension) in formats {
        let path = folder.path().join("photo").with_extension(extension);
        fs::write(&path, picture(format, 64, 48)).unwrap();
        if format == ImageFormat::Gif {
            let canaries = ["-q", "-overwrite_original", "-Comment=Canary", "-XMP:Creator=Canary"];
            exiftool(&canaries, &path);
        } else {
            let with = format!("-ICC_Profile<={}", profile.display());
            exiftool(&[PHOTO, &[with.as_str()]].concat(), &path);
        }
        let before = exiftool(&["-a", "-G1", "-s", "-u", "-n"], &path);
        assert!(before.contains("Canary"), "{before}");
        let Cleaned::Picture(clean) = metadata::cleaned(&mut File::open(&path).unwrap()).unwrap()
        else {
            panic!("{extension} can be cleaned")
        };
        assert!(!clean.windows(6).any(|part| part.eq_ignore_ascii_case(b"canary")));
        let cleaned = folder.path().join("clean").with_extension(extension);
        fs::write(&cleaned, &clean).unwrap();
        let after = exiftool(&["-a", "-G1", "-s", "-u", "-n"], &cleaned);
        let groups = ["GPS", "XMP", "IPTC", "ExifIFD", "MakerNotes", "Photoshop"];
        for group in groups {
            assert!(!after.contains(&format!("[{group}")), "{extension}: {after}");
        }
        let of_ifd0 = after.lines().filter(|line| line.starts_with("[IFD0]"));
        assert!(of_ifd0.into_iter().all(|line| line.contains("Orientation")), "{after}");
        assert!(!after.contains("Warning"), "{extension}: {after}");
        if format != ImageFormat::Gif {
            let kept = exiftool(&["-n", "-s3", "-Orientation"], &cleaned);
            assert_eq!(kept.trim(), "6", "{extension}");
            let profile = |path| exiftool(&["-icc_profile:all", "-s", "-a"], path);
            assert!(profile(&cleaned).contains("ProfileDescription"), "{extension}: {after}");
            assert_eq!(profile(&cleaned), profile(&path), "{extension}");
        }
        let load = |path: &Path| image::open(path).unwrap();
        assert_eq!(load(&cleaned), load(&path), "{extension}");
    }
}

/// The smallest profile that programs accept: a head and a description.
fn icc_profile() -> Vec<u8> {
    let mut description = b"desc\0\0\0\0\0\0\0\x05Test\0".to_vec();
    description.resize(104, 0);
    let bytes = 128 + 4 + 12 + description.len();
    let mut profile = (bytes as u32).to_be_bytes().to_vec();
    profile.extend_from_slice(b"\0\0\0\0\x02\x10\0\0mntrRGB XYZ ");
    profile.resize(36, 0);
    profile.extend_from_slice(b"acsp");
    profile.resize(128, 0);
    profile.extend_from_slice(&1u32.to_be_bytes());
    profile.extend_from_slice(b"desc");
    profile.extend_from_slice(&144u32.to_be_bytes());
    profile.extend_from_slice(&(description.len() as u32).to_be_bytes());
    profile.extend_from_slice(&description);
    profile
}
