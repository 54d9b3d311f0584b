//! Messages of a conversation as rows of the screen. Pure.

use std::ops::Range;

use jiff::tz::TimeZone;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line as Row, Span};

use super::find::find;
use super::links::{Hyperlink, links};
use super::pixels;
use super::theme::Look;
use super::window::{At, Change, Form, Line, What, Window};
use super::wrap;
use crate::chat::UserName;
use crate::client::model::Origin;
use crate::client::ui::mention::mentions;
use crate::client::ui::words::names;
use crate::client::ui::{gutter, picture};

/// Bound on the names in a line of joins and parts.
const NAMED_MAX: usize = 8;
/// Cells of the column of names, where names are aligned.
pub const NAMES: usize = 12;

/// How messages are shown.
pub struct Paper<'a> {
    pub look: &'a Look,
    pub zone: &'a TimeZone,
    pub width: usize,
    pub times: Times,
    /// In days since 1970, in the local time zone.
    pub today: i32,
    /// The search text to highlight.
    pub query: &'a str,
    /// The words that count as mentions, folded.
    pub words: Vec<String>,
    /// Cells of the column in which names end, if they are aligned.
    pub column: Option<usize>,
    /// The number of the line that is chosen.
    pub chosen: Option<i64>,
}

/// The visible part of a conversation.
pub struct Visible {
    pub rows: Vec<Row<'static>>,
    /// Links, by the number of the row.
    pub links: Vec<Hyperlink>,
    /// The number of the first visible line: of the one before all where there is room for more.
    pub top: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Hidden,
    Minutes,
    Seconds,
}

impl Paper<'_> {
    /// The rows of a message, with the date or the divider before it.
    pub fn rows(&self, window: &Window, number: i64) -> Vec<Row<'static>> {
        let Some(line) = window.line(number) else { return Vec::new() };
        let mut rows = Vec::new();
        // The first message shows its date, unless that is today.
        let before = window.line(number - 1).map_or(self.today, |before| before.day);
        if before != line.day {
            rows.push(Row::styled(format!("-- {} --", self.date(line.time_ms)), self.look.dim));
        }
        if window.divides(number) {
            let dashes = "-".repeat(self.width.saturating_sub(5) / 2);
            rows.push(Row::styled(format!("{dashes} new {dashes}"), self.look.divider));
        }
        let (spans, indent) = self.spans(line);
        if matches!(line.what, What::Server { .. }) {
            rows.extend(wrap::marked(self.width, |width| wrap::rows(&spans, width, 0)));
            return rows;
        }
        let mut own = wrap::rows(&spans, self.width, indent);
        if self.chosen == Some(number) {
            own.iter_mut().for_each(|row| *row = std::mem::take(row).patch_style(self.look.chosen));
        }
        rows.extend(own);
        rows.extend(self.preview(&line.what, indent));
        if let What::Outgoing { refused: Some((Origin::Server, why)), .. } = &line.what {
            let why = [Span::styled(format!("not sent: {why}"), self.look.error)];
            rows.extend(wrap::marked(self.width, |width| wrap::rows(&why, width, 0)));
        }
        rows
    }

    /// The rows of a preview below its message.
    fn preview(&self, what: &What, indent: usize) -> Vec<Row<'static>> {
        let What::Said { preview, change, .. } = what else { return Vec::new() };
        if *change == Change::Deleted || !pixels::has_colours(self.look.theme) {
            return Vec::new();
        }
        let row = |cells: &Vec<picture::Cell>| {
            let cells = &cells[..cells.len().min(self.width.saturating_sub(indent))];
            let mut spans = vec![Span::raw(" ".repeat(indent))];
            spans.extend(pixels::row(cells, self.look.theme));
            Row::from(spans)
        };
        preview.iter().map(row).collect()
    }

    fn spans(&self, line: &Line) -> (Vec<Span<'_>>, usize) {
        let look = self.look;
        let time = self.time(line.time_ms);
        let mut spans = vec![Span::styled(time, look.dim)];
        match &line.what {
            What::Said { who, text, form, own, mention, change, .. } => {
                let style = match (*mention, *own) {
                    // The colour tells who has written it.
                    (true, _) => look.name(who).add_modifier(look.mention.add_modifier),
                    (false, true) => look.own,
                    (false, false) => look.name(who),
                };
                spans.extend(self.head(who, *own, *form == Form::Action, style));
                if *change == Change::Deleted {
                    spans.push(Span::styled("(deleted)", look.dim));
                } else {
                    let words = if *mention { mentions(text, &self.words) } else { Vec::new() };
                    self.marked(text, Style::new(), &words, &mut spans);
                }
                if *change == Change::Edited {
                    spans.push(Span::styled(" (edited)", look.dim));
                }
            }
            What::Outgoing { text, me, refused, who, .. } => {
                spans.extend(self.head(who, true, *me, look.dim));
                self.text(text, look.dim, &mut spans);
                match refused {
                    None => spans.push(Span::styled(" ...", look.dim)),
                    Some((Origin::Client, why)) => {
                        spans
                            .push(Span::styled(format!("  x not sent, /retry: {why}"), look.error));
                    }
                    // Server text about it gets rows of its own.
                    Some((Origin::Server, _)) => {
                        spans.push(Span::styled("  x not sent, /retry", look.error));
                    }
                }
            }
            What::Moves { joined, left } => {
                let mut said = Vec::new();
                for (who, does) in [(joined, "joined"), (left, "left")] {
                    if !who.is_empty() {
                        said.push(format!("{} {does}", some(who)));
                    }
                }
                spans = vec![Span::styled(format!("<> {}", said.join(", ")), look.dim)];
            }
            What::Notice(text) | What::Transfer { text, .. } => {
                spans = vec![Span::styled(gutter::NOTICE, look.dim)];
                self.text(text, look.dim, &mut spans);
            }
            What::Error(text) => {
                spans = vec![Span::styled(format!("{}{text}", gutter::ERROR), look.error)];
            }
            What::Server { text, error } => {
                spans.clear();
                self.text(text, if *error { look.error } else { look.dim }, &mut spans);
            }
        }
        (spans, self.indent(line))
    }

    /// The name at the start of a message.
    fn head(&self, who: &UserName, own: bool, me: bool, style: Style) -> Vec<Span<'static>> {
        let name = if own && !me { "You".to_owned() } else { who.to_string() };
        let style = if own { style.add_modifier(Modifier::BOLD) } else { style };
        let pad =
            |cells: usize| Span::raw(" ".repeat(self.column.unwrap_or(0).saturating_sub(cells)));
        if me {
            let star = if self.column.is_some() { "*  " } else { "* " };
            return vec![pad(1), Span::raw(star), Span::styled(format!("{name} "), style)];
        }
        let name = self.column.map_or(name.clone(), |column| wrap::clip(&name, column));
        let name = Span::styled(name, style);
        vec![pad(name.width()), name, Span::raw(": ")]
    }

    /// The cells before the further rows of a line.
    fn indent(&self, line: &Line) -> usize {
        let is_message = matches!(line.what, What::Said { .. } | What::Outgoing { .. });
        match (is_message, self.times) {
            (true, Times::Seconds) => {
                self.time(line.time_ms).len() + self.column.map_or(0, |column| column + 2)
            }
            (true, _) => 2,
            (false, _) => 3,
        }
    }

    /// A message without styles.
    pub fn plain(&self, line: &Line) -> String {
        let date = self.date(line.time_ms);
        let text: String = self.spans(line).0.iter().map(|span| span.content.as_ref()).collect();
        let mark = if matches!(line.what, What::Server { .. }) { gutter::SERVER } else { "" };
        format!("{date} {mark}{}", text.replace('\n', " / "))
    }

    /// A text with the search text highlighted.
    fn text(&self, text: &str, style: Style, spans: &mut Vec<Span<'_>>) {
        self.marked(text, style, &[], spans);
    }

    /// A text with the search text and some words highlighted, of which the search text counts.
    fn marked(&self, text: &str, style: Style, words: &[Range<usize>], spans: &mut Vec<Span<'_>>) {
        let hits = find(text, self.query);
        let ends = |range: &Range<usize>| [range.start, range.end];
        let mut cuts: Vec<usize> = hits.iter().chain(words).flat_map(ends).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts.into_iter().filter(|cut| *cut > 0) {
            let is_in = |ranges: &[Range<usize>]| ranges.iter().any(|range| range.contains(&from));
            let style = match (is_in(&hits), is_in(words)) {
                (true, _) => self.look.hit,
                (false, true) => self.look.mention,
                (false, false) => style,
            };
            if from < cut {
                spans.push(Span::styled(text[from..cut].to_owned(), style));
            }
            from = cut;
        }
    }

    fn time(&self, time_ms: i64) -> String {
        let format = match self.times {
            Times::Hidden => return String::new(),
            Times::Minutes => "%H:%M ",
            Times::Seconds => "[%H:%M:%S] ",
        };
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
        time.to_zoned(self.zone.clone()).strftime(format).to_string()
    }

    fn date(&self, time_ms: i64) -> String {
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
        time.to_zoned(self.zone.clone()).strftime("%a %-d %b %Y").to_string()
    }

    /// The links in the rows of a message.
    fn links(&self, line: &Line, number: i64, rows: &[Row]) -> Vec<Hyperlink> {
        let half = self.width.max(4) / 2;
        let indent = match &line.what {
            What::Server { .. } => gutter::SERVER.len().min(half),
            _ => self.indent(line).min(half),
        };
        links(line.text(), rows, indent, &number.to_string())
    }

    /// What is visible of a conversation in so many rows.
    pub fn view(&self, window: &Window, height: usize) -> Visible {
        let numbers = window.numbers();
        let (mut number, mut below) = match window.at {
            At::End => (numbers.end - 1, 0),
            At::Line { number, rows_below } => (number, rows_below),
        };
        let mut view: Vec<(Row, Vec<Hyperlink>)> = Vec::with_capacity(height);
        while view.len() < height && number >= numbers.start {
            let mut rows = self.rows(window, number);
            let line = window.line(number);
            let links = line.map_or(Vec::new(), |line| self.links(line, number, &rows));
            rows.truncate(rows.len().saturating_sub(below).max(1));
            for (index, row) in rows.into_iter().enumerate().rev() {
                let own = links.iter().filter(|link| usize::from(link.row) == index);
                view.push((row, own.cloned().collect()));
            }
            (number, below) = (number - 1, 0);
        }
        let more = number < numbers.start && view.len() <= height;
        view.truncate(height);
        view.reverse();
        let (rows, links): (Vec<_>, Vec<_>) = view.into_iter().unzip();
        let place = |(row, own): (u16, Vec<Hyperlink>)| {
            own.into_iter().map(move |link| Hyperlink { row, ..link })
        };
        let links = (0..).zip(links).flat_map(place).collect();
        Visible { rows, links, top: if more { number } else { number + 1 } }
    }

    /// The position after scrolling by some rows, up or down.
    pub fn moved(&self, window: &Window, rows: i64, height: usize) -> At {
        let numbers = window.numbers();
        if numbers.is_empty() {
            return At::End;
        }
        let count = |number| self.rows(window, number).len().max(1) as i64;
        let (mut number, mut below) = match window.at {
            At::End => (numbers.end - 1, 0),
            At::Line { number, rows_below } => (number, rows_below as i64 % count(number)),
        };
        below += rows;
        while below >= count(number) && number > numbers.start {
            below -= count(number);
            number -= 1;
        }
        // The first message stops at the top of the view.
        let mut above = count(number) - below;
        let mut next = number;
        while above < height as i64 && next > numbers.start {
            next -= 1;
            above += count(next);
        }
        below -= (height as i64 - above).max(0);
        while below < 0 {
            number += 1;
            if number >= numbers.end {
                return At::End;
            }
            below += count(number);
        }
        match (number + 1 == numbers.end, below) {
            (true, 0) => At::End,
            _ => At::Line { number, rows_below: below as usize },
        }
    }

    /// The position that begins with the first message.
    pub fn top(&self, window: &Window, height: usize) -> At {
        let numbers = window.numbers();
        let mut rows = 0;
        for number in numbers.clone() {
            rows += self.rows(window, number).len();
            if rows >= height {
                return match (number + 1 == numbers.end, rows - height) {
                    (true, 0) => At::End,
                    (_, rows_below) => At::Line { number, rows_below },
                };
            }
        }
        At::End
    }

    /// The position with this message, or the hit in it, in the middle.
    pub fn around(&self, window: &Window, number: i64, height: usize) -> At {
        let rows = self.rows(window, number);
        let hit = |row: &Row| row.spans.iter().any(|span| span.style == self.look.hit);
        let wanted = rows.iter().position(hit).unwrap_or(0);
        let mut below = height as i64 / 2 - (rows.len() as i64 - 1 - wanted as i64);
        let (mut number, last) = (number, window.numbers().end - 1);
        while below > 0 && number < last {
            number += 1;
            below -= self.rows(window, number).len() as i64;
        }
        if number == last && below >= 0 {
            At::End
        } else {
            At::Line { number, rows_below: -below as usize }
        }
    }
}

/// Names; of many only the first.
fn some(who: &[UserName]) -> String {
    let (named, others) = who.split_at(who.len().min(NAMED_MAX));
    match others.len() {
        0 => names(named),
        1 => names(who),
        others => format!("{} and {others} others", names(named)),
    }
}
