//! A decoded picture.

/// Why there is no preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPreview {
    #[error("no preview: it is not a picture that pychat can show")]
    NoPicture,
    #[error("no preview: the picture is too large")]
    TooLarge,
    #[error("no preview: the picture is damaged")]
    Damaged,
    #[error("no preview: the decoder could not be started")]
    NotStarted,
}

/// A picture made smaller, and the size that it had.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded {
    pub picture: Picture,
    pub original: [u32; 2],
}

/// Pixels: red, green, blue and opacity of each, in rows.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
}

impl Picture {
    /// `None` if the pixels are not as many as width and height say, or none.
    pub fn new(width: u32, height: u32, rgba: Vec<u8>) -> Option<Picture> {
        let bytes = 4 * u128::from(width) * u128::from(height);
        (bytes > 0 && rgba.len() as u128 == bytes).then_some(Picture { width, height, rgba })
    }

    pub fn width(&self) -> u32 {
        self.width
    }

    pub fn height(&self) -> u32 {
        self.height
    }

    pub fn rgba(&self) -> &[u8] {
        &self.rgba
    }
}
