//! The four rewriters: pixels, colour profile and orientation stay, everything else goes.

use std::io::Cursor;

use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use proptest::prelude::*;

use super::exif::Orientation;
use super::*;

/// What no rewritten picture contains.
const SECRET: &[u8] = b"48.8584N 2.2945E";

const FORMATS: [(Format, ImageFormat); 4] = [
    (Format::Jpeg, ImageFormat::Jpeg),
    (Format::Png, ImageFormat::Png),
    (Format::Webp, ImageFormat::WebP),
    (Format::Gif, ImageFormat::Gif),
];

/// A picture without metadata.
fn plain(format: ImageFormat) -> Vec<u8> {
    let image = image::RgbImage::from_fn(40, 30, |x, y| {
        image::Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8])
    });
    let mut out = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// Exif as a camera writes it: a place, an orientation, a preview behind.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    tiff.extend_from_slice(b"\x0e\x01\x02\0\x10\0\0\0\x26\0\0\0");
    tiff.extend_from_slice(&[0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0]);
    tiff.extend_from_slice(SECRET);
    tiff
}

fn jpeg_segment(marker: u8, body: &[u8]) -> Vec<u8> {
    [&[0xff, marker], &(body.len() as u16 + 2).to_be_bytes()[..], body].concat()
}

fn png_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let sum = super::png::checksum(kind, body).to_be_bytes();
    [&(body.len() as u32).to_be_bytes()[..], kind, body, &sum].concat()
}

fn webp_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let pad = &[0][..body.len() % 2];
    [kind, &(body.len() as u32).to_le_bytes()[..], body, pad].concat()
}

const PROFILE: &[u8] = b"a colour profile";

/// The same picture with all metadata that its format has room for.
fn loaded(format: Format, orientation: u8) -> Vec<u8> {
    let exif = exif(orientation);
    match format {
        Format::Jpeg => loaded_jpeg(&plain(ImageFormat::Jpeg), &exif),
        Format::Png => loaded_png(&plain(ImageFormat::Png), &exif),
        Format::Webp => loaded_webp(&plain(ImageFormat::WebP), &exif),
        Format::Gif => loaded_gif(&plain(ImageFormat::Gif)),
        Format::Other(_) => unreachable!(),
    }
}

fn loaded_jpeg(plain: &[u8], exif: &[u8]) -> Vec<u8> {
    let jfif_end = 2 + 2 + usize::from(u16::from_be_bytes([plain[4], plain[5]]));
    let mut preview = plain[6..jfif_end].to_vec();
    let at = preview.len() - 2;
    preview[at..].copy_from_slice(&[2, 1]);
    preview.extend_from_slice(b"RGBrgb");
    [
        &plain[..2],
        &jpeg_segment(0xe0, &preview),
        &jpeg_segment(0xe0, &[b"JFXX\0\x10", SECRET].concat()),
        &jpeg_segment(0xe1, &[b"Exif\0\0", exif].concat()),
        &jpeg_segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat()),
        &jpeg_segment(0xe2, &[b"ICC_PROFILE\0\x01\x01", PROFILE].concat()),
        &jpeg_segment(0xe2, &[b"MPF\0", SECRET].concat()),
        &jpeg_segment(0xed, &[b"Photoshop 3.0\0", SECRET].concat()),
        &jpeg_segment(0xfe, SECRET),
        b"\xff\xff",
        &plain[jfif_end..],
        SECRET,
    ]
    .concat()
}

fn loaded_png(plain: &[u8], exif: &[u8]) -> Vec<u8> {
    // A stored block of zlib.
    let (len, sum) = ((PROFILE.len() as u16).to_le_bytes(), adler(PROFILE).to_be_bytes());
    let zlib = [&[0x78, 1, 1], &len[..], &len.map(|byte| !byte), PROFILE, &sum].concat();
    let end = plain.len() - 12;
    [
        &plain[..33],
        &png_chunk(b"iCCP", &[&b"name\0\0"[..], &zlib].concat()),
        &png_chunk(b"gAMA", &45_455u32.to_be_bytes()),
        &png_chunk(b"tEXt", &[b"Comment\0", SECRET].concat()),
        &png_chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0", SECRET].concat()),
        &png_chunk(b"tIME", &[0; 7]),
        &png_chunk(b"eXIf", exif),
        &png_chunk(b"prIv", SECRET),
        &plain[33..end],
        &png_chunk(b"zTXt", SECRET),
        &plain[end..],
        SECRET,
    ]
    .concat()
}

fn loaded_webp(plain: &[u8], exif: &[u8]) -> Vec<u8> {
    let chunks = [
        &webp_chunk(b"VP8X", &[0x2c, 0, 0, 0, 39, 0, 0, 29, 0, 0]),
        &webp_chunk(b"ICCP", PROFILE),
        &plain[12..],
        &webp_chunk(b"EXIF", exif),
        &webp_chunk(b"XMP ", &[SECRET, b"x"].concat()),
        &webp_chunk(b"priv", SECRET),
    ]
    .concat();
    [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunks, SECRET].concat()
}

fn loaded_gif(plain: &[u8]) -> Vec<u8> {
    let table = if plain[10] & 0x80 == 0 { 0 } else { 3 << (1 + (plain[10] & 7)) };
    let (head, image) = plain.split_at(13 + table);
    let block = |body: &[u8]| [&[body.len() as u8], body, &[0]].concat();
    let xmp = [&b"\x21\xff\x0bXMP DataXMP"[..], &block(SECRET)].concat();
    let comment = [&b"\x21\xfe"[..], &block(SECRET)].concat();
    let text = [&b"\x21\x01"[..], &block(SECRET)].concat();
    let hidden = [&b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0"[..], &block(SECRET)].concat();
    let again = &b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x05\0\0"[..];
    [head, again, &comment, &xmp, &text, &hidden, image, SECRET].concat()
}

fn adler(body: &[u8]) -> u32 {
    let (a, b) = body.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

/// What a program sees of a picture: pixels, colour profile, orientation.
fn seen(format: ImageFormat, picture: &[u8]) -> (DynamicImage, Option<Vec<u8>>, u8) {
    let reader = ImageReader::with_format(Cursor::new(picture), format);
    let mut decoder = reader.into_decoder().unwrap();
    let profile = decoder.icc_profile().unwrap();
    let orientation = decoder.orientation().unwrap().to_exif();
    (DynamicImage::from_decoder(decoder).unwrap(), profile, orientation)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn pixels_profile_and_orientation_stay_and_nothing_else() {
    for (format, kind) in FORMATS {
        for orientation in 1..=8 {
            let loaded = loaded(format, orientation);
            assert!(contains(&loaded, SECRET));
            let clean = rewritten(format, &loaded).unwrap();
            assert_eq!(seen(kind, &clean), seen(kind, &loaded), "{format:?}");
            assert!(!contains(&clean, SECRET), "{format:?}");
            assert!(!contains(&clean, &SECRET[..8]), "{format:?}");
            if format != Format::Gif {
                assert_eq!(seen(kind, &clean).2, orientation, "{format:?}");
                assert_eq!(seen(kind, &clean).1.unwrap(), b"a colour profile");
            }
            assert_eq!(rewritten(format, &clean).as_ref(), Ok(&clean), "{format:?}");
            assert_eq!(Format::of(&clean), Some(format));
        }
    }
    let clean = rewritten(Format::Jpeg, &loaded(Format::Jpeg, 6)).unwrap();
    assert!(contains(&clean, b"JFIF") && !contains(&clean, b"RGBrgb"), "no preview");
    let clean = rewritten(Format::Gif, &loaded(Format::Gif, 1)).unwrap();
    assert!(contains(&clean, b"NETSCAPE2.0\x03\x01\x05\0\0"), "repetitions");
}

#[test]
fn a_picture_without_metadata_stays_byte_for_byte() {
    for (format, kind) in FORMATS {
        let plain = plain(kind);
        assert_eq!(rewritten(format, &plain).as_ref(), Ok(&plain), "{format:?}");
    }
}

#[test]
fn the_frames_of_an_animation_stay() {
    let frame = |shade: u8| {
        let image = image::RgbaImage::from_pixel(9, 9, image::Rgba([shade, 0, 0, 255]));
        image::Frame::from_parts(image, 0, 0, image::Delay::from_numer_denom_ms(70, 1))
    };
    let mut gif = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut gif);
    encoder.encode_frames([10, 120, 250].map(frame)).unwrap();
    drop(encoder);
    let clean = rewritten(Format::Gif, &gif).unwrap();
    let frames = |gif: &[u8]| {
        let decoder = image::codecs::gif::GifDecoder::new(Cursor::new(gif)).unwrap();
        let frames = decoder.into_frames().collect_frames().unwrap();
        let about = frames
            .into_iter()
            .map(|frame| (frame.delay().numer_denom_ms(), frame.into_buffer().into_raw()));
        about.collect::<Vec<_>>()
    };
    assert_eq!(frames(&clean).len(), 3);
    assert_eq!(frames(&clean), frames(&gif));
    // Inside the frames of an animated WebP as well.
    let image = &plain(ImageFormat::WebP)[12..];
    let place = [0, 0, 0, 0, 0, 0, 39, 0, 0, 29, 0, 0, 70, 0, 0, 0];
    let frame = |extra: &[u8]| webp_chunk(b"ANMF", &[&place[..], image, extra].concat());
    let webp = |extra: &[u8]| {
        let head = webp_chunk(b"VP8X", &[0x02, 0, 0, 0, 39, 0, 0, 29, 0, 0]);
        let chunks = [head, webp_chunk(b"ANIM", &[0; 6]), frame(extra), frame(extra)].concat();
        [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunks].concat()
    };
    let loaded = webp(&webp_chunk(b"priv", SECRET));
    assert_eq!(rewritten(Format::Webp, &loaded), Ok(webp(b"")));
}

#[test]
fn a_picture_that_ends_early_is_malformed() {
    for (format, kind) in FORMATS {
        let plain = plain(kind);
        for cut in 0..plain.len() {
            assert!(rewritten(format, &plain[..cut]).is_err(), "{format:?} {cut}");
        }
    }
    let png = loaded(Format::Png, 1);
    let at = png.windows(4).position(|kind| kind == b"IDAT").unwrap() + 9;
    let mut bad = png.clone();
    bad[at] ^= 1;
    assert_eq!(rewritten(Format::Png, &bad), Err(Malformed("a chunk is not as it was written")));
    let mut unknown = png[..33].to_vec();
    unknown.extend(png_chunk(b"NEWX", b""));
    assert_eq!(
        rewritten(Format::Png, &unknown),
        Err(Malformed("it has a chunk that nobody knows"))
    );
}

#[test]
fn formats_are_known_by_their_first_bytes() {
    let comment = [b"<?xml?><!--", &b" <svg> "[..].repeat(300)[..], b"-->"].concat();
    let wide: Vec<u8> = b"<svg/>".iter().flat_map(|byte| [*byte, 0]).collect();
    let wide = [b"\xff\xfe", &wide[..]].concat();
    let (drawing, page) = ([&comment[..], b"<svg>"].concat(), [&comment[..], b"<html>"].concat());
    let kinds: [(&[u8], Option<Format>); 32] = [
        (&drawing, Some(Format::Other("SVG"))),
        (&page, None),
        (&wide, Some(Format::Other("SVG"))),
        (b"<!DOCTYPE svg [ <!ENTITY a \"b\"> ]><svg>", Some(Format::Other("SVG"))),
        (b"<!DOCTYPE html><html><svg>", None),
        (b"\xff\xe3\x40\xc4", Some(Format::Other("MP3"))),
        (b"\xff\xf1\x50\x80", Some(Format::Other("MP3"))),
        (b"\xff\xfeh\0i\0", None),
        (b"\0\0\0\x18ftypheic", Some(Format::Other("HEIC"))),
        (b"\0\0\0\x18ftypavif", Some(Format::Other("AVIF"))),
        (b"\0\0\0\x18ftypisom", Some(Format::Other("MP4"))),
        (b"II*\0", Some(Format::Other("TIFF"))),
        (b"RIFF\0\0\0\0WAVE", Some(Format::Other("WAV"))),
        (b"RIFF\0\0\0\0AVI LIST", Some(Format::Other("AVI"))),
        (b"\0\0\0\x08wide\0\0\0\0mdat", Some(Format::Other("QuickTime"))),
        (b"FUJIFILMCCD-RAW ", Some(Format::Other("RAW"))),
        (b"%PDF-1.7", Some(Format::Other("PDF"))),
        (b"{\\rtf1\\ansi{\\info{\\author alice}}}", Some(Format::Other("RTF"))),
        (b"%!PS-Adobe-3.0 EPSF-3.0", Some(Format::Other("PostScript"))),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", Some(Format::Other("WMV"))),
        (b"\0\0\x01\xba\x44", Some(Format::Other("MPEG"))),
        (b"FLV\x01\x05", Some(Format::Other("FLV"))),
        (b"FORM\0\0\0\0AIFFCOMM", Some(Format::Other("AIFF"))),
        (b"\xff\xfb\x90\x64", Some(Format::Other("MP3"))),
        (b"<?xml version=\"1.0\"?>\n<!-- a drawing -->\n<svg>", Some(Format::Other("SVG"))),
        (b"\xef\xbb\xbf <svg width=\"4\">", Some(Format::Other("SVG"))),
        (b"<html><body>no drawing", None),
        (b"a text about <svg> and metadata", None),
        (b"PK\x03\x04abcdefghijklmnopqrstuvwxyzmimetype", Some(Format::Other("office"))),
        (b"PK\x03\x04abcdefghijklmnopqrstuvwxyzholiday.txt", None),
        (b"", None),
        (b"hello", None),
    ];
    for (head, format) in kinds {
        assert_eq!(Format::of(head), format);
    }
    for (first, bytes) in [(0, 188), (4, 192)] {
        let mut head = vec![0; 400];
        (0..3).for_each(|packet| head[first + packet * bytes] = 0x47);
        assert_eq!(Format::of(&head), Some(Format::Other("MPEG")));
        // The control: a text that begins with G.
        head[first + bytes] = 0;
        assert_eq!(Format::of(&head), None);
    }
    let cleaned = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        super::cleaned(&mut file).unwrap()
    };
    assert_eq!(cleaned(b"hello"), Cleaned::NoPicture);
    let picture = loaded(Format::Png, 3);
    assert_eq!(cleaned(&picture), Cleaned::Picture(rewritten(Format::Png, &picture).unwrap()));
    let heic = "metadata (place, time, device) of HEIC files cannot be removed";
    assert_eq!(cleaned(b"\0\0\0\x18ftypheic"), Cleaned::Cannot(heic.to_owned()));
    let cut = "the picture is damaged: it ends early";
    assert_eq!(cleaned(&picture[..100]), Cleaned::Cannot(cut.to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_changed_picture_is_rewritten_once_or_malformed(
        which in 0usize..4,
        orientation in 1u8..9,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (format, _) = FORMATS[which];
        let mut picture = loaded(format, orientation);
        for (at, byte) in changes {
            // Near the begin is what has a meaning.
            let at = at.index(picture.len()) * at.index(picture.len()) / picture.len();
            picture[at] = byte;
        }
        if let Some(cut) = cut {
            picture.truncate(cut.index(picture.len()));
        }
        if let Ok(clean) = rewritten(format, &picture) {
            prop_assert!(clean.len() <= picture.len() + 26, "an orientation may be written longer");
            prop_assert_eq!(&rewritten(format, &clean).unwrap(), &clean);
        }
    }

    #[test]
    fn any_bytes_are_malformed_or_rewritten(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (format, kind) in FORMATS {
            let head = plain(kind);
            for begin in [0, 3, 8, 12, 13, 33, head.len() / 2] {
                let _ = rewritten(format, &[&head[..begin], &bytes].concat());
            }
        }
        let _ = Orientation::find(&bytes);
        let _ = Orientation::find(&[b"MM\0*", &bytes[..]].concat());
    }
}
