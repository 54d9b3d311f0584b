//! Photos as phones write them, made in the test: each has its pixels, and "Canary" wherever a
//! format has room for a place, a device, a name or a smaller picture.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};

/// What no clean picture has, in any case of letters.
pub const CANARY: &[u8] = b"canary";

/// A photo with its extension and its orientation.
pub struct Photo {
    pub extension: &'static str,
    pub bytes: Vec<u8>,
    /// Without any metadata.
    pub plain: Vec<u8>,
}

pub fn photos() -> Vec<Photo> {
    let photo = |extension, format, tell: fn(&[u8]) -> Vec<u8>| {
        let plain = picture(format);
        Photo { extension, bytes: tell(&plain), plain }
    };
    vec![
        photo("jpg", ImageFormat::Jpeg, jpeg),
        photo("png", ImageFormat::Png, png),
        photo("webp", ImageFormat::WebP, webp),
        photo("gif", ImageFormat::Gif, gif),
    ]
}

fn picture(format: ImageFormat) -> Vec<u8> {
    let colour = |x: u32, y: u32| image::Rgb([(x * 4) as u8, (y * 5) as u8, 90]);
    let mut out = Cursor::new(Vec::new());
    let image = image::RgbImage::from_fn(64, 48, colour);
    DynamicImage::from(image).write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// An entry of an Exif directory.
fn entry(tag: u16, kind: u16, count: u32, value: [u8; 4]) -> Vec<u8> {
    [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value].concat()
}

/// TIFF of a phone: orientation 6, the maker, a place, and a smaller picture.
fn exif() -> Vec<u8> {
    const TEXT: &[u8; 16] = b"Canary 48.8584N\0";
    let thumbnail = [b"\xff\xd8", &b"Canary as it was before it was cut"[..], b"\xff\xd9"].concat();
    let (first, gps, second) = (8u32, 8 + 2 + 3 * 12 + 4, 8 + 2 + 3 * 12 + 4 + 2 + 12 + 4);
    let text = second + 2 + 2 * 12 + 4;
    let long = |value: u32| value.to_be_bytes();
    let mut out = b"MM\0*".to_vec();
    out.extend(long(first));
    out.extend(3u16.to_be_bytes());
    out.extend(entry(0x010f, 2, 16, long(text)));
    out.extend(entry(0x0112, 3, 1, [0, 6, 0, 0]));
    out.extend(entry(0x8825, 4, 1, long(gps)));
    out.extend(long(second));
    out.extend(1u16.to_be_bytes());
    out.extend(entry(0x001b, 2, 16, long(text)));
    out.extend(long(0));
    out.extend(2u16.to_be_bytes());
    out.extend(entry(0x0201, 4, 1, long(text + 16)));
    out.extend(entry(0x0202, 4, 1, long(thumbnail.len() as u32)));
    out.extend(long(0));
    out.extend(TEXT);
    out.extend(thumbnail);
    out
}

const XMP: &[u8] =
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/\
    22-rdf-syntax-ns#'><rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' \
    dc:creator='Canary'/></rdf:RDF></x:xmpmeta>";

fn segment(marker: u8, head: &[u8], body: &[u8]) -> Vec<u8> {
    let bytes = (2 + head.len() + body.len()) as u16;
    [&[0xff, marker][..], &bytes.to_be_bytes(), head, body].concat()
}

fn jpeg(plain: &[u8]) -> Vec<u8> {
    let mpf = [b"MM\0*\0\0\0\x08\0\0\0\0\0\0", &b"Canary in another picture"[..]].concat();
    let extended = [&[b'0'; 32][..], &[0, 0, 0, 6, 0, 0, 0, 0], b"Canary"].concat();
    let before = [
        segment(0xe0, b"JFXX\0", b"\x10Canary, smaller"),
        segment(0xe1, b"Exif\0\0", &exif()),
        segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0", XMP),
        segment(0xe1, b"http://ns.adobe.com/xmp/extension/\0", &extended),
        segment(0xe1, b"Exif\0\0", b"MM\0*\0\0\0\x08\0\0\0\0\0\0 a second one: Canary"),
        segment(0xe2, b"MPF\0", &mpf),
        segment(0xed, b"Photoshop 3.0\0", b"8BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x5a\0\x06Canary"),
        segment(0xe5, b"Samsung\0", b"Canary"),
        segment(0xef, b"", b"Canary"),
        segment(0xfe, b"", b"Canary at home"),
    ];
    let another = [plain, b"Canary"].concat();
    [&plain[..2], &before.concat(), &plain[2..], &another, b"Canary behind the end"].concat()
}

/// CRC-32, bit by bit.
pub fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 }
        })
    })
}

pub fn png_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [&kind[..], body].concat();
    let (bytes, sum) = ((body.len() as u32).to_be_bytes(), checksum(&named).to_be_bytes());
    [&bytes[..], &named, &sum].concat()
}

/// zlib without compression.
fn stored(text: &[u8]) -> Vec<u8> {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in text {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let bytes = text.len() as u16;
    let head = [&[0x78, 1, 1][..], &bytes.to_le_bytes(), &(!bytes).to_le_bytes()].concat();
    [&head[..], text, &(b << 16 | a).to_be_bytes()].concat()
}

fn png(plain: &[u8]) -> Vec<u8> {
    let packed = [b"Comment\0\0", &stored(b"Canary at home")[..]].concat();
    let xmp = [b"XML:com.adobe.xmp\0\0\0\0\0", XMP].concat();
    let before = [
        png_chunk(b"tEXt", b"Author\0Canary"),
        png_chunk(b"zTXt", &packed),
        png_chunk(b"iTXt", &xmp),
        png_chunk(b"eXIf", &exif()),
        png_chunk(b"tIME", &[7, 234, 1, 2, 3, 4, 5]),
        png_chunk(b"caNv", b"Canary"),
    ];
    // Behind the head of 8 bytes and IHDR, and before and behind IEND.
    let (head, rest) = plain.split_at(8 + 25);
    let (data, end) = rest.split_at(rest.len() - 12);
    let late = png_chunk(b"tEXt", b"Comment\0Canary");
    [head, &before.concat(), data, &late, end, b"Canary behind the end"].concat()
}

fn webp_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let even = vec![0; body.len() % 2];
    [&kind[..], &(body.len() as u32).to_le_bytes(), body, &even].concat()
}

fn webp(plain: &[u8]) -> Vec<u8> {
    // Exif and XMP; width and height less one.
    let extended = webp_chunk(b"VP8X", &[0x0c, 0, 0, 0, 63, 0, 0, 47, 0, 0]);
    let behind =
        [webp_chunk(b"EXIF", &exif()), webp_chunk(b"XMP ", XMP), webp_chunk(b"CANV", b"Canary")];
    let body = [b"WEBP", &extended[..], &plain[12..], &behind.concat()].concat();
    let riff = [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat();
    [&riff[..], b"Canary behind the end"].concat()
}

fn gif(plain: &[u8]) -> Vec<u8> {
    // Behind the head and its table of colours.
    let colours = match plain[10] & 0x80 {
        0 => 0,
        _ => 3 << ((plain[10] & 7) + 1),
    };
    let (head, rest) = plain.split_at(13 + colours);
    let (data, end) = rest.split_at(rest.len() - 1);
    let comment = b"\x21\xfe\x0eCanary at home\0";
    let mut xmp = b"\x21\xff\x0bXMP DataXMP".to_vec();
    xmp.extend_from_slice(XMP);
    xmp.push(1);
    xmp.extend((0..=255).rev());
    xmp.push(0);
    let own = b"\x21\xff\x0bCANARY  1.0\x06Canary\0";
    let all = [head, &comment[..], &xmp, &own[..], data, &comment[..], end];
    [&all.concat()[..], b"Canary behind the end"].concat()
}
