//! JPEG (ITU-T T.81): segments. Those of the image itself stay, and of the application's segments
//! JFIF without its preview, the colour profile, Adobe's colour transform and the orientation. All
//! behind the end of the image goes: previews, and the films of live photos.

use super::exif::Orientation;
use super::rest::{Malformed, Rest};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

pub fn rewritten(picture: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut rest = Rest(picture);
    let mut out = Vec::with_capacity(picture.len());
    if rest.array()? != [0xff, SOI] {
        return Err(Malformed("it is no JPEG"));
    }
    out.extend_from_slice(&[0xff, SOI]);
    let (mut has_frame, mut has_scan, mut is_turned) = (false, false, false);
    loop {
        let marker = marker(&mut rest)?;
        match marker {
            EOI if has_scan => {
                out.extend_from_slice(&[0xff, EOI]);
                return Ok(out);
            }
            0x01 | 0xd0..=0xd7 => {}
            SOI | EOI | 0x00 => return Err(Malformed("a marker is at a wrong place")),
            _ => {
                let bytes = usize::from(u16::from_be_bytes(rest.array()?));
                let body =
                    rest.take(bytes.checked_sub(2).ok_or(Malformed("a segment has no size"))?)?;
                match marker {
                    SOS if has_frame => {
                        segment(marker, body, &mut out);
                        scan(&mut rest, &mut out)?;
                        has_scan = true;
                    }
                    SOS => return Err(Malformed("it has no frame")),
                    0xe0..=0xef => application(marker, body, &mut is_turned, &mut out),
                    _ if is_of_image(marker) => {
                        has_frame |= is_frame(marker);
                        segment(marker, body, &mut out);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The next marker, after bytes that fill.
fn marker(rest: &mut Rest<'_>) -> Result<u8, Malformed> {
    if rest.byte()? != 0xff {
        return Err(Malformed("bytes are between its segments"));
    }
    loop {
        match rest.byte()? {
            0xff => {}
            marker => return Ok(marker),
        }
    }
}

fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf)
}

/// Frames, Huffman and arithmetic tables, quantisation, number of lines, restart interval and the
/// segments of hierarchical images.
fn is_of_image(marker: u8) -> bool {
    is_frame(marker) || matches!(marker, 0xc4 | 0xcc | 0xdb..=0xdf)
}

fn segment(marker: u8, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xff, marker]);
    let bytes = u16::try_from(body.len() + 2).expect("a segment was as long or longer");
    out.extend_from_slice(&bytes.to_be_bytes());
    out.extend_from_slice(body);
}

fn application(marker: u8, body: &[u8], is_turned: &mut bool, out: &mut Vec<u8>) {
    match marker {
        // Version, unit and density; then the size of a preview.
        0xe0 if body.starts_with(b"JFIF\0") && body.len() >= 14 => {
            segment(marker, &[&body[..12], &[0, 0]].concat(), out);
        }
        0xe1 if !*is_turned => {
            let tiff = body.strip_prefix(b"Exif\0").and_then(|body| body.get(1..));
            if let Some(orientation) = tiff.and_then(Orientation::find) {
                *is_turned = true;
                segment(marker, &[&b"Exif\0\0"[..], &orientation.tiff()].concat(), out);
            }
        }
        0xe2 if body.starts_with(b"ICC_PROFILE\0") => segment(marker, body, out),
        0xee if body.starts_with(b"Adobe") && body.len() >= 12 => segment(marker, &body[..12], out),
        _ => {}
    }
}

/// Copies the data of a scan, up to its next marker that is no restart.
fn scan(rest: &mut Rest<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let data = rest.0;
    let mut at = 0;
    loop {
        let found = data[at..].iter().position(|byte| *byte == 0xff);
        at += found.ok_or(Malformed("it ends early"))?;
        match data.get(at + 1).ok_or(Malformed("it ends early"))? {
            0x00 | 0xd0..=0xd7 => at += 2,
            // It fills, before a marker.
            0xff => at += 1,
            _ => break,
        }
    }
    out.extend_from_slice(&data[..at]);
    rest.0 = &data[at..];
    Ok(())
}
