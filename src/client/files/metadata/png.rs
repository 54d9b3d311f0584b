//! PNG (third edition, APNG included): chunks. Those of the image and its colours stay; texts,
//! times, and what this table does not know, go.

use super::exif::Orientation;
use super::rest::{Malformed, Rest};

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// Chunks that stay as they are, beside IHDR, IDAT and IEND.
const KEPT: &[&[u8; 4]] = &[
    b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT",
    b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

pub fn rewritten(picture: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut rest = Rest(picture);
    if rest.take(8)? != SIGNATURE {
        return Err(Malformed("it is no PNG"));
    }
    let mut out = Vec::with_capacity(picture.len());
    out.extend_from_slice(SIGNATURE);
    let (mut is_first, mut has_data, mut is_turned) = (true, false, false);
    loop {
        let bytes = usize::try_from(u32::from_be_bytes(rest.array()?));
        let kind: [u8; 4] = rest.array()?;
        let body = rest.take(bytes.map_err(|_| Malformed("a chunk is too long"))?)?;
        let sum = u32::from_be_bytes(rest.array()?);
        if is_first != (kind == *b"IHDR") || is_first && body.len() != 13 {
            return Err(Malformed("its header is not the first chunk"));
        }
        is_first = false;
        let stays = matches!(&kind, b"IHDR" | b"IDAT" | b"IEND") || KEPT.contains(&&kind);
        // A chunk that no reader may skip has a capital letter first.
        if !stays && kind[0].is_ascii_uppercase() {
            return Err(Malformed("it has a chunk that nobody knows"));
        }
        if stays && sum != checksum(&kind, body) {
            return Err(Malformed("a chunk is not as it was written"));
        }
        if stays {
            chunk(&kind, body, &mut out);
        }
        match &kind {
            b"eXIf" if !is_turned => {
                if let Some(orientation) = Orientation::find(body) {
                    is_turned = true;
                    chunk(&kind, &orientation.tiff(), &mut out);
                }
            }
            b"IDAT" => has_data = true,
            b"IEND" if !has_data => return Err(Malformed("it has no image")),
            b"IEND" => return Ok(out),
            _ => {}
        }
    }
}

fn chunk(kind: &[u8; 4], body: &[u8], out: &mut Vec<u8>) {
    let bytes = u32::try_from(body.len()).expect("a chunk was as long or longer");
    out.extend_from_slice(&bytes.to_be_bytes());
    out.extend_from_slice(kind);
    out.extend_from_slice(body);
    out.extend_from_slice(&checksum(kind, body).to_be_bytes());
}

/// The remainders of all bytes (annex D of the specification).
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

/// CRC-32 of a chunk's type and body.
pub(super) fn checksum(kind: &[u8; 4], body: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8);
    !kind.iter().chain(body).fold(u32::MAX, step)
}
