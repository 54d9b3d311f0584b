//! Decodes sequences that start with `ESC [` or `ESC O`.

use ratatui::crossterm::event::{
    Event, KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::{Step, key};

/// Bound on a sequence, in bytes.
const BYTES_MAX: usize = 32;

/// Decodes a sequence; `None` if these bytes do not start one.
pub fn read(bytes: &[u8]) -> Option<Step> {
    match (bytes[1], bytes.get(2)) {
        (_, None) => Some(Step::More),
        (b'O', Some(last)) => {
            let code = named(*last).or_else(|| function(*last))?;
            Some(Step::Event(Some(key(code, KeyModifiers::NONE)), 3))
        }
        // The first function keys of the Linux console.
        (_, Some(b'[')) => match bytes.get(3) {
            None => Some(Step::More),
            Some(last @ b'A'..=b'E') => {
                let code = KeyCode::F(last - b'A' + 1);
                Some(Step::Event(Some(key(code, KeyModifiers::NONE)), 4))
            }
            Some(_) => None,
        },
        // The oldest protocol for the mouse.
        (_, Some(b'M')) => match bytes.get(3..6) {
            None => Some(Step::More),
            Some(told) => {
                let at = |byte: u8| u16::from(byte.saturating_sub(33));
                Some(Step::Event(mouse(told[0].saturating_sub(32), at(told[1]), at(told[2])), 6))
            }
        },
        _ => control_sequence(bytes),
    }
}

fn control_sequence(bytes: &[u8]) -> Option<Step> {
    let body = &bytes[2..];
    let Some(end) = body.iter().position(|byte| !matches!(byte, 0x20..=0x3f)) else {
        return (body.len() < BYTES_MAX).then_some(Step::More);
    };
    let (parameters, last) = (&body[..end], body[end]);
    // No terminal sends this: it was typed.
    if !(0x40..=0x7e).contains(&last) || parameters.is_empty() && last.is_ascii_lowercase() {
        return None;
    }
    let used = end + 3;
    let text = std::str::from_utf8(parameters).ok()?;
    if let Some(told) = text.strip_prefix('<') {
        return Some(Step::Event(sgr_mouse(told, last), used));
    }
    let mut numbers = text.split(';').map(|part| {
        // Ignores sub-parameters after a colon.
        part.split(':').next().unwrap_or_default().parse::<u32>().ok()
    });
    let (first, second) = (numbers.next().flatten(), numbers.next().flatten());
    if (first, last) == (Some(200), b'~') {
        return Some(Step::PasteBegins(used));
    }
    Some(Step::Event(event(first, second, numbers.next().flatten(), last), used))
}

fn event(first: Option<u32>, second: Option<u32>, third: Option<u32>, last: u8) -> Option<Event> {
    let modifiers = modifiers(second);
    let code = match (last, first) {
        (b'I', None) => return Some(Event::FocusGained),
        (b'O', None) => return Some(Event::FocusLost),
        (b'Z', _) => return Some(key(KeyCode::BackTab, modifiers | KeyModifiers::SHIFT)),
        (b'~', Some(27)) => coded(third?)?,
        (b'~', Some(number)) => numbered(number)?,
        (b'u', Some(number)) => coded(number)?,
        (last, None | Some(1)) => named(last).or_else(|| function(last))?,
        _ => return None,
    };
    Some(key(code, modifiers))
}

fn modifiers(number: Option<u32>) -> KeyModifiers {
    let bits = number.unwrap_or(1).saturating_sub(1);
    let all =
        [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL)].into_iter();
    all.filter(|(bit, _)| bits & bit != 0).map(|(_, modifier)| modifier).collect()
}

fn named(last: u8) -> Option<KeyCode> {
    Some(match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'M' => KeyCode::Enter,
        _ => return None,
    })
}

fn function(last: u8) -> Option<KeyCode> {
    matches!(last, b'P'..=b'S').then(|| KeyCode::F(last - b'P' + 1))
}

fn numbered(number: u32) -> Option<KeyCode> {
    Some(match number {
        1 | 7 => KeyCode::Home,
        2 => KeyCode::Insert,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        11..=15 => KeyCode::F(number as u8 - 10),
        17..=21 => KeyCode::F(number as u8 - 11),
        23..=26 => KeyCode::F(number as u8 - 12),
        28 | 29 => KeyCode::F(number as u8 - 13),
        31..=34 => KeyCode::F(number as u8 - 14),
        _ => return None,
    })
}

/// Decodes a key that is given by its character.
fn coded(number: u32) -> Option<KeyCode> {
    Some(match char::from_u32(number)? {
        '\r' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        '\u{1b}' => KeyCode::Esc,
        '\u{7f}' => KeyCode::Backspace,
        c if c.is_control() => return None,
        c => KeyCode::Char(c),
    })
}

fn sgr_mouse(told: &str, last: u8) -> Option<Event> {
    let mut numbers = told.split(';').map(|part| part.parse::<u16>().ok());
    let (code, x, y) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let event = mouse(u8::try_from(code).ok()?, x.saturating_sub(1), y.saturating_sub(1))?;
    match (event, last) {
        (event, b'M') => Some(event),
        (Event::Mouse(mouse), _) => match mouse.kind {
            MouseEventKind::Down(button) => {
                Some(Event::Mouse(MouseEvent { kind: MouseEventKind::Up(button), ..mouse }))
            }
            _ => None,
        },
        _ => None,
    }
}

fn mouse(code: u8, column: u16, row: u16) -> Option<Event> {
    let kind = match code & 0b1110_0011 {
        0 => MouseEventKind::Down(MouseButton::Left),
        1 => MouseEventKind::Down(MouseButton::Middle),
        2 => MouseEventKind::Down(MouseButton::Right),
        3 => MouseEventKind::Up(MouseButton::Left),
        64 => MouseEventKind::ScrollUp,
        65 => MouseEventKind::ScrollDown,
        _ => return None,
    };
    let modifiers = KeyModifiers::NONE;
    Some(Event::Mouse(MouseEvent { kind, column, row, modifiers }))
}
