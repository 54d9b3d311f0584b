//! Layout of the screen by the terminal's width. Pure.

use ratatui::layout::Rect;

/// Width from which the list of people, and the seconds of a time, are shown.
pub const WIDE: u16 = 60;
/// Width from which the list of rooms is shown too.
pub const WIDEST: u16 = 100;
const ROOMS: u16 = 18;
/// Bounds on the width of the list of people, which is otherwise as wide as its names. The minimum
/// has room for "and 99 more". `PEOPLE_WIDEST` is the maximum from `WIDEST` on, `PEOPLE_MAX` below
/// it.
const PEOPLE_MIN: u16 = 12;
const PEOPLE_MAX: u16 = 16;
const PEOPLE_WIDEST: u16 = 24;
/// Cells beside a name: the border and the mark.
const PEOPLE_BESIDE: u16 = 3;
/// Bound on the rows of the input.
pub const INPUT_ROWS_MAX: u16 = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Areas {
    pub title: Rect,
    pub rooms: Option<Rect>,
    pub lines: Rect,
    pub people: Option<Rect>,
    pub status: Rect,
    pub input: Rect,
}

/// Returns the areas of a terminal, for an input of this many rows. `people` is the width of their
/// widest name, if the list is shown.
pub fn areas(size: Rect, input_rows: u16, rooms: bool, people: Option<u16>) -> Areas {
    // The messages keep a row as long as there is one.
    let input_rows = input_rows.clamp(1, INPUT_ROWS_MAX).min(size.height.saturating_sub(3).max(1));
    let mut left = size.height;
    let mut rows = |wanted: u16| {
        let got = wanted.min(left);
        left -= got;
        got
    };
    let (input, status, title) = (rows(input_rows), rows(1), rows(1));
    let middle = left;
    let across = |y: u16, height: u16| Rect::new(size.x, size.y + y, size.width, height);
    let rooms_wide = if rooms && size.width >= WIDEST { ROOMS } else { 0 };
    let people_wide = match people {
        Some(names) if size.width >= WIDE => {
            let most = if size.width >= WIDEST { PEOPLE_WIDEST } else { PEOPLE_MAX };
            names.saturating_add(PEOPLE_BESIDE).clamp(PEOPLE_MIN, most)
        }
        _ => 0,
    };
    let pane = |x: u16, width: u16| Rect::new(size.x + x, size.y + title, width, middle);
    Areas {
        title: across(0, title),
        rooms: (rooms_wide > 0).then(|| pane(0, rooms_wide)),
        lines: pane(rooms_wide, size.width - rooms_wide - people_wide),
        people: (people_wide > 0).then(|| pane(size.width - people_wide, people_wide)),
        status: across(title + middle, status),
        input: across(title + middle + status, input),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn panes_come_with_the_width() {
        let at = |width| areas(Rect::new(0, 0, width, 24), 1, true, Some(5));
        assert!(at(100).rooms.is_some() && at(100).people.is_some());
        assert!(at(99).rooms.is_none() && at(99).people.is_some());
        assert!(at(59).people.is_none());
        assert_eq!(at(40).lines, Rect::new(0, 1, 40, 21));
    }

    #[test]
    fn the_list_of_people_is_as_wide_as_its_names_within_bounds() {
        let wide = |width, names| areas(Rect::new(0, 0, width, 24), 1, true, Some(names)).people;
        let wide = |width, names| wide(width, names).map(|area| area.width);
        assert_eq!([0, 5, 8, 13, 32].map(|names| wide(80, names).unwrap()), [12, 12, 12, 16, 16]);
        assert_eq!([13, 21, 32].map(|names| wide(100, names).unwrap()), [16, 24, 24]);
    }

    proptest! {
        #[test]
        fn no_cell_is_in_two_areas_and_none_outside(
            width in 0u16..220, height in 0u16..80, rows in 0u16..9, rooms: bool,
            people: Option<u16>,
        ) {
            let size = Rect::new(0, 0, width, height);
            let all = areas(size, rows, rooms, people);
            let parts = [Some(all.title), all.rooms, Some(all.lines), all.people, Some(all.status),
                Some(all.input)];
            let cells: u32 = parts.iter().flatten().map(|area| area.area()).sum();
            prop_assert_eq!(cells, size.area());
            for part in parts.iter().flatten() {
                prop_assert_eq!(part.intersection(size).area(), part.area());
            }
        }
    }
}
