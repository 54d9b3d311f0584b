//! WebP (RFC 9649): chunks in a RIFF container. Those of the image, its animation and its colour
//! profile stay, also inside the frames of an animation.

use super::exif::Orientation;
use super::rest::{Malformed, Rest};

/// Flags of VP8X: animation, transparency and profile stay, XMP goes, Exif as it turns out.
const KEPT_FLAGS: u8 = 0x02 | 0x10 | 0x20;
const HAS_EXIF: u8 = 0x08;
/// Bytes of ANMF before its chunks.
const FRAME_BYTES: usize = 16;
/// Bytes before the flags of VP8X in a file: RIFF, size, WEBP, VP8X, size.
const FLAGS_AT: usize = 20;

pub fn rewritten(picture: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut head = Rest(picture);
    let riff: [u8; 4] = head.array()?;
    let bytes = usize::try_from(u32::from_le_bytes(head.array()?));
    let kind: [u8; 4] = head.array()?;
    if &riff != b"RIFF" || &kind != b"WEBP" {
        return Err(Malformed("it is no WebP"));
    }
    let bytes = bytes.ok().and_then(|bytes| bytes.checked_sub(4));
    let mut rest = Rest(head.take(bytes.ok_or(Malformed("it has no size"))?)?);
    let mut out = Vec::with_capacity(picture.len());
    out.extend_from_slice(b"RIFF\0\0\0\0WEBP");
    let (mut is_first, mut is_extended, mut has_image) = (true, false, false);
    while !rest.0.is_empty() {
        let (kind, body) = chunk(&mut rest)?;
        match &kind {
            b"VP8X" if is_first && body.len() == 10 => {
                is_extended = true;
                let flags = body[0] & KEPT_FLAGS;
                write(&kind, &[&[flags, 0, 0, 0], &body[4..]].concat(), &mut out);
            }
            b"VP8 " | b"VP8L" if is_first || is_extended => {
                has_image = true;
                write(&kind, body, &mut out);
            }
            _ if !is_extended => return Err(Malformed("its first chunk is no image")),
            b"ALPH" | b"ANIM" | b"ICCP" => write(&kind, body, &mut out),
            b"ANMF" => {
                has_image = true;
                write(&kind, &frame(body)?, &mut out);
            }
            b"EXIF" => {
                // Some programs write the head that it has in JPEG.
                let tiff = body.strip_prefix(b"Exif\0\0").unwrap_or(body);
                if let Some(orientation) = Orientation::find(tiff)
                    && out[FLAGS_AT] & HAS_EXIF == 0
                {
                    out[FLAGS_AT] |= HAS_EXIF;
                    write(&kind, &orientation.tiff(), &mut out);
                }
            }
            _ => {}
        }
        is_first = false;
        if !is_extended {
            // A simple file is one chunk.
            break;
        }
    }
    if !has_image {
        return Err(Malformed("it has no image"));
    }
    let bytes = u32::try_from(out.len() - 8).map_err(|_| Malformed("it is too long"))?;
    out[4..8].copy_from_slice(&bytes.to_le_bytes());
    Ok(out)
}

/// The next chunk, without its padding to an even size.
fn chunk<'a>(rest: &mut Rest<'a>) -> Result<([u8; 4], &'a [u8]), Malformed> {
    let kind = rest.array()?;
    let bytes = usize::try_from(u32::from_le_bytes(rest.array()?));
    let body = rest.take(bytes.map_err(|_| Malformed("a chunk is too long"))?)?;
    // Some programs leave the last padding away.
    if body.len() % 2 == 1 && !rest.0.is_empty() {
        rest.byte()?;
    }
    Ok((kind, body))
}

fn write(kind: &[u8; 4], body: &[u8], out: &mut Vec<u8>) {
    let bytes = u32::try_from(body.len()).expect("a chunk was as long or longer");
    out.extend_from_slice(kind);
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(body);
    if body.len() % 2 == 1 {
        out.push(0);
    }
}

/// A frame of an animation, which has chunks of its own.
fn frame(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut rest = Rest(body);
    let mut out = rest.take(FRAME_BYTES)?.to_vec();
    while !rest.0.is_empty() {
        let (kind, body) = chunk(&mut rest)?;
        if matches!(&kind, b"ALPH" | b"VP8 " | b"VP8L") {
            write(&kind, body, &mut out);
        }
    }
    Ok(out)
}
