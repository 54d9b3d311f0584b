//! Metadata of pictures: where and with which device a photo was taken, and previews of what was
//! cut away. A rewriter for each format copies what it knows to be needed for the same pixels, and
//! nothing else: orientation and colour profile stay.

mod exif;
mod gif;
mod jpeg;
mod png;
mod rest;
mod webp;

use std::io::{self, Read};

use crate::system::fs::File;
pub use rest::Malformed;

/// The largest picture that is rewritten, in bytes. A picture is rewritten in memory. For larger
/// ones, as for other formats, the sender gets a warning.
pub const PICTURE_BYTES_MAX: u64 = 64 << 20;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
    Webp,
    Gif,
    /// A picture or a film whose metadata cannot be removed.
    Other(&'static str),
}

/// What became of a file's metadata.
#[derive(Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// The picture without it.
    Picture(Vec<u8>),
    /// The file has none that is known of: it is sent as it is.
    NoPicture,
    /// The file may have some that cannot be removed, for this reason.
    Cannot(String),
}

/// Bytes that show the format of a file: three packets of a transport stream, and what may come
/// before the first element of an XML file.
const HEAD_BYTES: u64 = 16 << 10;

/// Formats that may contain a place, a time, a device or a name, and that no rewriter knows, by
/// bytes at an offset.
const OTHERS: &[(usize, &[u8], &str)] = &[
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"IIU\0", "RAW"),
    (0, b"IIRO", "RAW"),
    (0, b"IIRS", "RAW"),
    (0, b"MMOR", "RAW"),
    (0, b"FUJIFILM", "RAW"),
    (0, b"FOVb", "RAW"),
    (0, b"\0MRM", "RAW"),
    (0, b"II\xbc", "JPEG XR"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyp", "MP4"),
    (4, b"moov", "MP4"),
    (4, b"mdat", "QuickTime"),
    (4, b"wide", "QuickTime"),
    (4, b"free", "QuickTime"),
    (4, b"skip", "QuickTime"),
    (4, b"pnot", "QuickTime"),
    (8, b"AVI ", "AVI"),
    (8, b"WAVE", "WAV"),
    (8, b"AIFF", "AIFF"),
    (8, b"AIFC", "AIFF"),
    (0, b"\0\0\x01\xba", "MPEG"),
    (0, b"\0\0\x01\xb3", "MPEG"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMV"),
    (0, b"FLV\x01", "FLV"),
    (0, b".RMF", "RealMedia"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska"),
    (0, b"8BPS", "Photoshop"),
    (0, b"gimp xcf", "GIMP"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"HEAPCCDR", "RAW"),
    (6, b"HEAPCCDR", "RAW"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (128, b"DICM", "DICOM"),
    (0, b"AC10", "DWG"),
    (0, b"ID3", "MP3"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "APE"),
    (0, b"caff", "CAF"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (0, b"{\\rtf", "RTF"),
    (0, b"\xd0\xcf\x11\xe0", "office"),
    (30, b"[Content_Types].xml", "office"),
    (30, b"_rels/", "office"),
    (30, b"docProps/", "office"),
    (30, b"word/", "office"),
    (30, b"xl/", "office"),
    (30, b"ppt/", "office"),
    (30, b"mimetype", "office"),
];

/// Returns whether a file begins with packets of an MPEG transport stream, as camcorders write it:
/// 188 bytes each, with or without four bytes before each.
fn is_transport_stream(head: &[u8]) -> bool {
    [(0, 188), (4, 192)]
        .iter()
        .any(|(first, bytes)| (0..3).all(|packet| head.get(first + packet * bytes) == Some(&0x47)))
}

/// Returns whether a file begins with a frame of MPEG audio (layer III) or of AAC: a tag may be at
/// its end.
fn is_mpeg_audio(head: &[u8]) -> bool {
    let &[0xff, flags, ..] = head else { return false };
    let (is_layer_3, is_version) = (flags & 0xe6 == 0xe2, flags & 0x18 != 0x08);
    (is_layer_3 && is_version) || flags & 0xf6 == 0xf0
}

/// Returns whether the first element of an XML file is a drawing: editors write names and paths
/// into it.
fn is_svg(head: &[u8]) -> bool {
    // Of UTF-16, ASCII is every other byte.
    let is_utf_16 = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    let text: Vec<u8> = match is_utf_16 {
        true => head[2..].iter().copied().filter(|byte| *byte != 0).collect(),
        false => head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).to_vec(),
    };
    let mut rest = text.trim_ascii_start();
    loop {
        let end: &[u8] = match rest {
            [b'<', b'?', ..] => b"?>",
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [b'<', b'!', ..] if rest.iter().find(|byte| b"[>".contains(byte)) == Some(&b'[') => {
                b"]>"
            }
            [b'<', b'!', ..] => b">",
            _ => return rest.starts_with(b"<svg") || rest.starts_with(b"<svg:svg"),
        };
        // The first element of a longer prologue is not known: it may be one.
        let Some(at) = rest.windows(end.len()).position(|part| part == end) else { return true };
        rest = rest[at + end.len()..].trim_ascii_start();
    }
}

impl Format {
    /// Returns the format of a file that begins with these bytes.
    pub fn of(head: &[u8]) -> Option<Format> {
        let starts = |bytes: &[u8]| head.starts_with(bytes);
        let at =
            |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|head| head.starts_with(bytes));
        match head {
            _ if starts(b"\xff\xd8\xff") => Some(Format::Jpeg),
            _ if starts(b"\x89PNG") => Some(Format::Png),
            _ if starts(b"RIFF") && at(8, b"WEBP") => Some(Format::Webp),
            _ if starts(b"GIF8") => Some(Format::Gif),
            _ if is_transport_stream(head) => Some(Format::Other("MPEG")),
            _ if is_mpeg_audio(head) => Some(Format::Other("MP3")),
            _ if is_svg(head) => Some(Format::Other("SVG")),
            _ => {
                let other = OTHERS.iter().find(|(offset, bytes, _)| at(*offset, bytes));
                other.map(|(.., name)| Format::Other(name))
            }
        }
    }

    /// Returns the media type of the formats that are rewritten.
    pub fn media(self) -> Option<&'static str> {
        match self {
            Format::Jpeg => Some("image/jpeg"),
            Format::Png => Some("image/png"),
            Format::Webp => Some("image/webp"),
            Format::Gif => Some("image/gif"),
            Format::Other(_) => None,
        }
    }
}

/// Returns a picture of this format without its metadata.
///
/// # Errors
/// The picture is damaged, or of a format that is not rewritten.
pub fn rewritten(format: Format, picture: &[u8]) -> Result<Vec<u8>, Malformed> {
    match format {
        Format::Jpeg => jpeg::rewritten(picture),
        Format::Png => png::rewritten(picture),
        Format::Webp => webp::rewritten(picture),
        Format::Gif => gif::rewritten(picture),
        Format::Other(_) => Err(Malformed("no rewriter knows the format")),
    }
}

/// Reads a file from its begin and removes its metadata, if it is a picture.
///
/// # Errors
/// The file cannot be read.
pub fn cleaned(file: &mut File) -> io::Result<Cleaned> {
    let mut picture = Vec::new();
    Read::by_ref(file).take(HEAD_BYTES).read_to_end(&mut picture)?;
    let Some(format) = Format::of(&picture) else { return Ok(Cleaned::NoPicture) };
    if let Format::Other(name) = format {
        let reason = format!("metadata (place, time, device) of {name} files cannot be removed");
        return Ok(Cleaned::Cannot(reason));
    }
    Read::by_ref(file).take(PICTURE_BYTES_MAX).read_to_end(&mut picture)?;
    if picture.len() as u64 > PICTURE_BYTES_MAX {
        let reason = "metadata of pictures above 64 MiB cannot be removed".to_owned();
        return Ok(Cleaned::Cannot(reason));
    }
    Ok(match rewritten(format, &picture) {
        Ok(clean) => Cleaned::Picture(clean),
        Err(malformed) => Cleaned::Cannot(malformed.to_string()),
    })
}

#[cfg(test)]
mod tests;
