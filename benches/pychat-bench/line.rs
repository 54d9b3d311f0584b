//! A line's text says who sent it and when, whatever protocol carries it.

/// Of a text, the least size of the usual figures.
const TEXT_BYTES: usize = 64;
/// Once in each text, and nowhere else in what a server sends.
const MARK: u8 = b'^';
const SENDER: usize = 8;
const MOMENT: usize = 16;

pub fn text(sender: usize, moment_us: u64) -> String {
    let stamp = format!("{}{sender:0SENDER$x}{moment_us:0MOMENT$x}", char::from(MARK));
    format!("{stamp:x<TEXT_BYTES$}")
}

/// How many lines are there.
pub fn count(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == MARK).count() as u64
}

/// Who sent them, and when.
pub fn stamps(bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    bytes.split(|byte| *byte == MARK).skip(1).map(|rest| {
        let hex = |from: usize, digits: usize| {
            let digits = std::str::from_utf8(&rest[from..from + digits]).unwrap();
            u64::from_str_radix(digits, 16).unwrap()
        };
        (hex(0, SENDER) as usize, hex(SENDER, MOMENT))
    })
}
