//! Pictures, decoded on request only. A picture of somebody else is decoded in a process of its own
//! that has no keys, no environment and no files but the picture, and bounds on its memory and
//! time: whatever a picture does to its decoder, the client lives and shows no preview.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::metadata::{Format, PICTURE_BYTES_MAX};
pub use super::picture::{Decoded, NoPreview, Picture};
use crate::system::programs;

/// The hidden command of the decoding process; its arguments are the largest width and height.
pub const COMMAND: &str = "decode-picture";

/// Width and height of a picture that is decoded: those of the largest cameras.
const SIDE_MAX: u32 = 20_000;
/// Bytes that a decoder may allocate: 60 million pixels of four bytes.
const DECODED_BYTES_MAX: u64 = 240 << 20;
/// Memory of the process: the picture, its decoded form twice (turned, and made smaller), and the
/// program.
const PROCESS_BYTES_MAX: u64 = 900 << 20;
const CPU_S_MAX: u64 = 10;
/// Time until an answer, on a busy computer.
const ANSWER: Duration = Duration::from_secs(30);
/// Width and height of an answer.
const ANSWER_SIDE_MAX: u32 = 4_096;
/// Bytes of an answer before its pixels: width and height of the picture, and of the answer.
const HEAD_BYTES: usize = 16;

/// Starts decoding processes.
pub struct Decoder {
    /// This program.
    program: PathBuf,
}

impl Decoder {
    /// `program` is this program's file.
    pub fn new(program: PathBuf) -> Decoder {
        Decoder { program }
    }

    /// Decodes the picture in a file, from where it stands, in a process of its own. The result has
    /// at most `width` and `height` pixels.
    ///
    /// # Errors
    /// It is no picture, too large or damaged, or the process fails or takes too long.
    pub fn decode(&self, file: File, width: u32, height: u32) -> Result<Decoded, NoPreview> {
        let (width, height) = (width.min(ANSWER_SIDE_MAX), height.min(ANSWER_SIDE_MAX));
        let mut command = Command::new(&self.program);
        command.arg(COMMAND).args([width.to_string(), height.to_string()]).env_clear();
        command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|_| NoPreview::NotStarted)?;
        let answer = answer(&mut child, 1 + HEAD_BYTES + 4 * width as usize * height as usize);
        // A child that a picture has taken over may close its output and never end.
        let _ = child.kill();
        let _ = child.wait();
        match answer.as_deref() {
            Some([DECODED, answer @ ..]) => read(answer, width, height).ok_or(NoPreview::Damaged),
            Some([NO_PICTURE]) => Err(NoPreview::NoPicture),
            Some([TOO_LARGE]) => Err(NoPreview::TooLarge),
            _ => Err(NoPreview::Damaged),
        }
    }
}

/// Reads the whole answer of a child; `None` if it takes too long.
fn answer(child: &mut Child, bytes_max: usize) -> Option<Vec<u8>> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut answer = Vec::new();
        let read = stdout.take(bytes_max as u64 + 1).read_to_end(&mut answer);
        // Nobody waits for it any more.
        let _ = sender.send(read.ok().map(|_| answer));
    };
    thread::Builder::new().name("picture".into()).spawn(read).ok()?;
    let answer = receiver.recv_timeout(ANSWER).ok()??;
    (answer.len() <= bytes_max).then_some(answer)
}

/// The answer of a process that may have been taken over by a picture.
fn read(answer: &[u8], width_max: u32, height_max: u32) -> Option<Decoded> {
    let (head, rgba) = answer.split_first_chunk::<HEAD_BYTES>()?;
    let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| head[4 * at + byte]));
    let (original, width, height) = ([number(0), number(1)], number(2), number(3));
    let fits = width <= width_max && height <= height_max && !original.contains(&0);
    let picture = Picture::new(width, height, rgba.to_vec()).filter(|_| fits)?;
    Some(Decoded { picture, original })
}

/// The first byte of an answer, and the exit code of the process.
const DECODED: u8 = 0;
const DAMAGED: u8 = 1;
const NO_PICTURE: u8 = 2;
const TOO_LARGE: u8 = 3;

/// The decoding process: reads a picture from stdin and writes the answer to stdout. Returns its
/// exit code.
pub fn serve(width: u32, height: u32) -> u8 {
    if programs::confine(PROCESS_BYTES_MAX, CPU_S_MAX).is_err() {
        return DAMAGED;
    }
    let mut picture = Vec::new();
    let mut stdin = io::stdin().lock().take(PICTURE_BYTES_MAX + 1);
    if stdin.read_to_end(&mut picture).is_err() {
        return DAMAGED;
    }
    let (code, decoded) = match decoded(&picture, width, height) {
        Ok(decoded) => (DECODED, Some(decoded)),
        Err(NoPreview::NoPicture) => (NO_PICTURE, None),
        Err(NoPreview::TooLarge) => (TOO_LARGE, None),
        Err(NoPreview::Damaged | NoPreview::NotStarted) => (DAMAGED, None),
    };
    match write(code, decoded.as_ref()) {
        Ok(()) => code,
        Err(_) => DAMAGED,
    }
}

fn write(code: u8, decoded: Option<&Decoded>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&[code])?;
    let Some(Decoded { picture, original: [width, height] }) = decoded else { return out.flush() };
    for number in [*width, *height, picture.width(), picture.height()] {
        out.write_all(&number.to_be_bytes())?;
    }
    out.write_all(picture.rgba())?;
    out.flush()
}

/// Decodes a picture, or the first one of an animation, turned as its orientation says, and makes
/// it fit. All limits are checked before anything is decoded.
///
/// # Errors
/// It is no picture, too large or damaged.
pub fn decoded(picture: &[u8], width: u32, height: u32) -> Result<Decoded, NoPreview> {
    let format = match Format::of(picture) {
        Some(Format::Jpeg) => ImageFormat::Jpeg,
        Some(Format::Png) => ImageFormat::Png,
        Some(Format::Webp) => ImageFormat::WebP,
        Some(Format::Gif) => ImageFormat::Gif,
        Some(Format::Other(_)) | None => return Err(NoPreview::NoPicture),
    };
    if picture.len() as u64 > PICTURE_BYTES_MAX {
        return Err(NoPreview::TooLarge);
    }
    let mut reader = ImageReader::with_format(Cursor::new(picture), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    let failed = |error| match error {
        image::ImageError::Limits(_) => NoPreview::TooLarge,
        _ => NoPreview::Damaged,
    };
    let mut decoder = reader.into_decoder().map_err(failed)?;
    if decoder.total_bytes() > DECODED_BYTES_MAX {
        return Err(NoPreview::TooLarge);
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    let original = [image.width(), image.height()];
    if image.width() > width || image.height() > height {
        image = image.thumbnail(width.max(1), height.max(1));
    }
    let (width, height) = (image.width(), image.height());
    let picture = Picture::new(width, height, image.into_rgba8().into_raw());
    Ok(Decoded { picture: picture.ok_or(NoPreview::Damaged)?, original })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_not_believed() {
        let answer = |numbers: [u32; 4], bytes: usize| {
            let head: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            read(&[head, vec![7; bytes]].concat(), 2, 2).is_some()
        };
        assert!(answer([9, 9, 2, 1], 8));
        assert!(!answer([9, 9, 2, 1], 7) && !answer([9, 9, 2, 1], 9));
        assert!(!answer([9, 9, 3, 1], 12) && !answer([9, 9, 1, 3], 12));
        assert!(!answer([9, 9, 0, 1], 0) && !answer([0, 9, 1, 1], 4));
        assert!(!answer([9, 9, u32::MAX, u32::MAX], 8));
        assert!(read(&[0; 15], 2, 2).is_none());
    }

    #[test]
    fn a_picture_is_turned_and_made_to_fit() {
        let mut png = Cursor::new(Vec::new());
        let image = image::RgbImage::from_fn(300, 200, |x, _| image::Rgb([x as u8, 0, 0]));
        image.write_to(&mut png, ImageFormat::Png).unwrap();
        let decoded = decoded(png.get_ref(), 30, 30).ok().unwrap();
        assert_eq!(decoded.original, [300, 200]);
        assert_eq!((decoded.picture.width(), decoded.picture.height()), (30, 20));
        assert_eq!(super::decoded(b"%PDF-1.7", 9, 9).err(), Some(NoPreview::NoPicture));
        assert_eq!(super::decoded(b"\x89PNG\r\n", 9, 9).err(), Some(NoPreview::Damaged));
    }
}
