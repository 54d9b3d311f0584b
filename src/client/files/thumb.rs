//! ThumbHash: a preview of at most 28 bytes that a message carries. It is shown by arithmetic
//! alone, without a decoder of pictures.

use super::picture::Picture;
use crate::limits::THUMB_BYTES_MAX;

/// Width and height of a picture that is hashed.
pub const SIDE_MAX: u32 = 100;
/// Bytes of the constants of a hash.
const BYTES_MIN: usize = 5;

/// Returns the ThumbHash of a picture of at most `SIDE_MAX` each way; `None` for another one.
pub fn thumb(picture: &Picture) -> Option<Vec<u8>> {
    let (width, height) = (picture.width(), picture.height());
    let fits = |side| (1..=SIDE_MAX).contains(&side);
    (fits(width) && fits(height))
        .then(|| thumbhash::rgba_to_thumb_hash(width as usize, height as usize, picture.rgba()))
}

/// Returns the preview that a hash describes, of at most 32 pixels each way; `None` if it describes
/// none.
pub fn preview(hash: &[u8]) -> Option<Picture> {
    let fits = (BYTES_MIN..=THUMB_BYTES_MAX).contains(&hash.len());
    let (width, height, rgba) = fits.then(|| thumbhash::thumb_hash_to_rgba(hash).ok()).flatten()?;
    Picture::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?, rgba)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_preview_resembles_its_picture() {
        // The left half is red, the right one blue.
        let pixel = |at: usize| if at % 60 < 30 { [255, 0, 0, 255] } else { [0, 0, 255, 255] };
        let rgba = (0..60 * 40).flat_map(pixel).collect();
        let hash = thumb(&Picture::new(60, 40, rgba).unwrap()).unwrap();
        assert!(hash.len() <= THUMB_BYTES_MAX);
        let shown = preview(&hash).unwrap();
        assert_eq!((shown.width(), shown.height()), (32, 23));
        let (left, right) =
            (&shown.rgba()[4 * (32 * 11 + 4)..], &shown.rgba()[4 * (32 * 11 + 27)..]);
        assert!(left[0] > 200 && left[2] < 60 && right[0] < 60 && right[2] > 200);
        let large = Picture::new(101, 1, vec![0; 404]).unwrap();
        assert_eq!(thumb(&large), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_small_preview_or_none(hash in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(shown) = preview(&hash) {
                prop_assert!(shown.width() <= 32 && shown.height() <= 32);
            }
        }

        #[test]
        fn any_small_picture_has_a_hash_that_shows(
            width in 1u32..=100, height in 1u32..=100, seed: u8,
        ) {
            let rgba = (0..width * height * 4).map(|at| (at as u8).wrapping_mul(seed)).collect();
            let hash = thumb(&Picture::new(width, height, rgba).unwrap()).unwrap();
            prop_assert!((BYTES_MIN..=THUMB_BYTES_MAX).contains(&hash.len()));
            // A long and thin picture has no preview.
            let is_thin = width.max(height) > 8 * width.min(height);
            prop_assert!(is_thin || preview(&hash).is_some());
        }
    }
}
