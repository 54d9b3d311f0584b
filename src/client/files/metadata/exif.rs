//! The one thing of Exif that changes how a picture looks: its orientation.

/// How a picture is turned and mirrored: 2 to 8, as Exif numbers it. 1 is as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation(u8);

const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;
const ENTRY_BYTES: usize = 12;

impl Orientation {
    /// Finds the orientation in the first directory of a TIFF structure. `None` if there is none,
    /// or none that turns the picture: a damaged structure says nothing.
    pub fn find(tiff: &[u8]) -> Option<Orientation> {
        let (is_big, rest) = match tiff.split_first_chunk::<4>()? {
            (b"MM\0*", rest) => (true, rest),
            (b"II*\0", rest) => (false, rest),
            _ => return None,
        };
        let short = |bytes: [u8; 2]| match is_big {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        };
        let begin = *rest.first_chunk::<4>()?;
        let begin = if is_big { u32::from_be_bytes(begin) } else { u32::from_le_bytes(begin) };
        let directory = tiff.get(usize::try_from(begin).ok()?..)?;
        let (count, entries) = directory.split_first_chunk::<2>()?;
        let entries = entries.as_chunks::<ENTRY_BYTES>().0.iter();
        let mut entries = entries.take(usize::from(short(*count)));
        let entry = entries.find(|entry| short([entry[0], entry[1]]) == ORIENTATION)?;
        let value = short([entry[8], entry[9]]);
        let turns = short([entry[2], entry[3]]) == SHORT && (2..=8).contains(&value);
        turns.then_some(Orientation(value as u8))
    }

    /// Returns a TIFF structure with the orientation alone.
    pub fn tiff(self) -> Vec<u8> {
        let mut tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        tiff.extend_from_slice(&[self.0, 0, 0, 0, 0, 0, 0]);
        tiff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orientation_is_found_and_written() {
        for value in 2..=8 {
            let orientation = Orientation(value);
            assert_eq!(Orientation::find(&orientation.tiff()), Some(orientation));
            assert_eq!(orientation.tiff().len(), 26);
        }
        // A camera's: little-endian, after another entry.
        let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
        tiff.extend_from_slice(b"\x0f\x01\x02\0\x04\0\0\0abc\0");
        tiff.extend_from_slice(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
        assert_eq!(Orientation::find(&tiff), Some(Orientation(6)));
        for cut in 0..34 {
            assert_eq!(Orientation::find(&tiff[..cut]), None, "{cut}");
        }
        for value in [0, 1, 9, 255] {
            assert_eq!(Orientation::find(&Orientation(value).tiff()), None);
        }
        assert_eq!(Orientation::find(b"MM\0*\xff\xff\xff\xff\0\x01"), None);
    }
}
