//! GIF (87a and 89a): blocks. Images, their timing, the number of repetitions and the colour
//! profile stay; comments, XMP and other extensions go, and all behind the trailer.

use super::rest::{Malformed, Rest};

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const GRAPHIC_CONTROL: u8 = 0xf9;
const APPLICATION: u8 = 0xff;

/// Applications whose extensions change how the picture is shown: repetitions and colours.
const KEPT: &[&[u8; 11]] = &[b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

pub fn rewritten(picture: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut rest = Rest(picture);
    let head = rest.take(13)?;
    if !head.starts_with(b"GIF87a") && !head.starts_with(b"GIF89a") {
        return Err(Malformed("it is no GIF"));
    }
    let mut out = Vec::with_capacity(picture.len());
    out.extend_from_slice(head);
    out.extend_from_slice(rest.take(table_bytes(head[10]))?);
    let mut has_image = false;
    loop {
        match rest.byte()? {
            EXTENSION => {
                let label = rest.byte()?;
                let blocks = blocks(&mut rest)?;
                if stays(label, blocks) {
                    out.extend_from_slice(&[EXTENSION, label]);
                    out.extend_from_slice(blocks);
                }
            }
            IMAGE => {
                has_image = true;
                let head = rest.take(9)?;
                out.push(IMAGE);
                out.extend_from_slice(head);
                out.extend_from_slice(rest.take(table_bytes(head[8]))?);
                // The size of codes, and the codes.
                out.push(rest.byte()?);
                out.extend_from_slice(blocks(&mut rest)?);
            }
            TRAILER if has_image => {
                out.push(TRAILER);
                return Ok(out);
            }
            TRAILER => return Err(Malformed("it has no image")),
            _ => return Err(Malformed("bytes are between its blocks")),
        }
    }
}

/// Bytes of the colour table that these flags announce.
fn table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << (1 + (flags & 7)) }
}

/// Takes blocks and the empty one at their end.
fn blocks<'a>(rest: &mut Rest<'a>) -> Result<&'a [u8], Malformed> {
    let begin = rest.0;
    loop {
        let bytes = usize::from(rest.byte()?);
        rest.take(bytes)?;
        if bytes == 0 {
            return Ok(&begin[..begin.len() - rest.0.len()]);
        }
    }
}

fn stays(label: u8, blocks: &[u8]) -> bool {
    match label {
        // One block of four bytes.
        GRAPHIC_CONTROL => blocks.len() == 6 && blocks[0] == 4,
        APPLICATION => {
            let name = blocks.strip_prefix(&[11]).and_then(<[u8]>::first_chunk::<11>);
            name.is_some_and(|name| KEPT.contains(&name) && is_short(name, blocks))
        }
        _ => false,
    }
}

/// The number of repetitions is one block of three bytes; a profile may be long.
fn is_short(name: &[u8; 11], blocks: &[u8]) -> bool {
    name == b"ICCRGBG1012" || blocks.len() <= 12 + 4 + 6 + 1
}
