//! A picture in cells of text: two pixels in each, one above the other, in the 256 colours that
//! terminals share; without colours, by how full a character is.

use crate::client::files::decode::Picture;

/// The upper and the lower pixel of a cell.
pub type Cell = [[u8; 3]; 2];

/// The upper half of a cell is full.
pub const HALF: &str = "\u{2580}";
/// From dark to light.
const SHADES: [&str; 5] = [" ", "\u{2591}", "\u{2592}", "\u{2593}", "\u{2588}"];

/// The rows of cells of a picture that fits into so many columns and rows.
pub fn cells(picture: &Picture, columns: usize, rows: usize) -> Vec<Vec<Cell>> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (across, down) = pixels(picture, columns, rows);
    let pixel = |x: usize, y: usize| match y < down {
        true => mean(picture, (x * width / across, (x + 1) * width / across), {
            (y * height / down, (y + 1) * height / down)
        }),
        false => [0; 3],
    };
    let cell = |x: usize, row: usize| [pixel(x, 2 * row), pixel(x, 2 * row + 1)];
    (0..down.div_ceil(2)).map(|row| (0..across).map(|x| cell(x, row)).collect()).collect()
}

/// The columns and rows of these cells.
pub fn size(picture: &Picture, columns: usize, rows: usize) -> (usize, usize) {
    let (across, down) = pixels(picture, columns, rows);
    (across, down.div_ceil(2))
}

/// The pixels of a picture that fits into so many columns and rows.
fn pixels(picture: &Picture, columns: usize, rows: usize) -> (usize, usize) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (columns, rows) = (columns.max(1), rows.max(1));
    // Pixels of the picture for each one that is shown, in 1/256.
    let scale = (width * 256).div_ceil(columns).max((height * 256).div_ceil(2 * rows)).max(256);
    let fits = |pixels: usize| (pixels * 256 / scale).max(1);
    (fits(width), fits(height))
}

/// The mean of the pixels in a part of a picture, over black.
fn mean(
    picture: &Picture,
    (left, right): (usize, usize),
    (top, bottom): (usize, usize),
) -> [u8; 3] {
    let mut sums = [0u64; 3];
    let (right, bottom) = (right.max(left + 1), bottom.max(top + 1));
    for y in top..bottom {
        for x in left..right {
            let at = 4 * (y * picture.width() as usize + x);
            let Some([red, green, blue, alpha]) = picture.rgba().get(at..at + 4) else { continue };
            for (sum, colour) in sums.iter_mut().zip([red, green, blue]) {
                *sum += u64::from(*colour) * u64::from(*alpha) / 255;
            }
        }
    }
    let count = ((right - left) * (bottom - top)) as u64;
    sums.map(|sum| (sum / count) as u8)
}

/// The nearest of the 256 colours: of the cube of 6 x 6 x 6, or of the greys.
pub fn indexed([red, green, blue]: [u8; 3]) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let level = |colour: u8| {
        (0..6u8).min_by_key(|level| LEVELS[usize::from(*level)].abs_diff(colour)).unwrap_or(0)
    };
    let (r, g, b) = (level(red), level(green), level(blue));
    let grey = ((u16::from(red) + u16::from(green) + u16::from(blue)) / 3) as u8;
    let step = (grey.saturating_sub(3) / 10).min(23);
    let distance = |shown: [u8; 3]| {
        let apart = |one: u8, other: u8| u32::from(one.abs_diff(other)).pow(2);
        apart(shown[0], red) + apart(shown[1], green) + apart(shown[2], blue)
    };
    let cube = distance([r, g, b].map(|level| LEVELS[usize::from(level)]));
    match distance([8 + 10 * step; 3]) < cube {
        true => 232 + step,
        false => 16 + 36 * r + 6 * g + b,
    }
}

/// A character for a cell without colours.
pub fn shade(cell: Cell) -> &'static str {
    let light = |[red, green, blue]: [u8; 3]| {
        (2 * u32::from(red) + 5 * u32::from(green) + u32::from(blue)) / 8
    };
    let mean = (light(cell[0]) + light(cell[1])) / 2;
    SHADES[(mean as usize * SHADES.len() / 256).min(SHADES.len() - 1)]
}

/// A picture as rows of text for a terminal, with colours or without.
pub fn text(picture: &Picture, (columns, rows): (usize, usize), colours: bool) -> String {
    let row = |cells: &Vec<Cell>| {
        let cell = |cell: &Cell| match colours {
            true => {
                let [upper, lower] = cell.map(indexed);
                format!("\u{1b}[38;5;{upper};48;5;{lower}m{HALF}")
            }
            false => shade(*cell).to_owned(),
        };
        let end = if colours { "\u{1b}[0m" } else { "" };
        cells.iter().map(cell).collect::<String>() + end
    };
    cells(picture, columns, rows).iter().map(row).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Picture {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Picture::new(width, height, pixels.flat_map(|(x, y)| pixel(x, y)).collect()).unwrap()
    }

    #[test]
    fn a_picture_fits_and_keeps_its_form() {
        for (size, room, wanted) in [
            ((100, 100), (40, 20), (40, 20)),
            ((100, 50), (40, 20), (40, 10)),
            ((50, 100), (40, 20), (20, 20)),
            ((10, 10), (40, 20), (10, 5)),
            ((1, 1), (40, 20), (1, 1)),
            ((5_000, 1), (40, 20), (40, 1)),
            ((1, 5_000), (40, 20), (1, 20)),
        ] {
            let cells = cells(&picture(size.0, size.1, |_, _| [9; 4]), room.0, room.1);
            assert_eq!((cells[0].len(), cells.len()), wanted, "{size:?}");
        }
    }

    #[test]
    fn pixels_are_where_they_were() {
        let red_over_blue = picture(40, 80, |_, y| match y < 40 {
            true => [255, 0, 0, 255],
            false => [0, 0, 255, 255],
        });
        let cells = cells(&red_over_blue, 1, 1);
        assert_eq!(cells, [[[[255, 0, 0], [0, 0, 255]]]]);
        assert_eq!(text(&red_over_blue, (1, 1), true), "\u{1b}[38;5;196;48;5;21m\u{2580}\u{1b}[0m");
        assert_eq!(text(&picture(1, 1, |_, _| [255; 4]), (1, 1), false), "\u{2592}");
    }

    #[test]
    fn the_nearest_colour_is_taken() {
        assert_eq!(indexed([0, 0, 0]), 16);
        assert_eq!(indexed([255, 255, 255]), 231);
        assert_eq!(indexed([128, 128, 128]), 244);
        assert_eq!(indexed([0, 135, 255]), 33);
    }
}
