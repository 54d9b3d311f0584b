//! View parameters: the terminal's size, the time, and the visible panes.

use jiff::tz::TimeZone;
use ratatui::layout::Rect;

use super::layout::{self, Areas, WIDE};
use super::rows::Times;
use super::window::day;

pub struct View {
    size: Rect,
    now_ms: i64,
    zone: TimeZone,
    timestamps: bool,
    rooms: bool,
    people: bool,
}

impl View {
    pub fn new(zone: TimeZone) -> View {
        let size = Rect::new(0, 0, 80, 24);
        View { size, now_ms: 0, zone, timestamps: true, rooms: true, people: true }
    }

    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Advances the time.
    pub fn pass(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
    }

    pub fn width(&self) -> u16 {
        self.size.width
    }

    pub fn resize(&mut self, size: Rect) {
        self.size = size;
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// A time with its local day.
    pub fn stamp(&self, time_ms: i64) -> (i64, i32) {
        (time_ms, day(time_ms, &self.zone))
    }

    pub fn today(&self) -> i32 {
        day(self.now_ms, &self.zone)
    }

    pub fn show_times(&mut self, on: bool) {
        self.timestamps = on;
    }

    pub fn times(&self) -> Times {
        match (self.timestamps, self.size.width >= WIDE) {
            (false, _) => Times::Hidden,
            (true, true) => Times::Seconds,
            (true, false) => Times::Minutes,
        }
    }

    /// Shows or hides the pane of rooms.
    pub fn toggle_rooms(&mut self) {
        self.rooms = !self.rooms;
    }

    /// Shows or hides the pane of people.
    pub fn toggle_people(&mut self) {
        self.people = !self.people;
    }

    /// The parts of the screen, with this many rows of input, and names of this width.
    pub fn areas(&self, rows: u16, names: u16) -> Areas {
        layout::areas(self.size, rows, self.rooms, self.people.then_some(names))
    }
}
