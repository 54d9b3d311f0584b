//! Drawing: from the state to cells. Nothing here changes the state.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::app::App;
use super::controls::Overlay;
use super::graphics::Graphic;
use super::layout::Areas;
use super::links::Hyperlink;
use super::pane::Pane;
use super::pixels;
use super::rows::Visible;
use super::status::ConnectionState;
use super::theme::Theme;
use super::window::{At, Window};
use super::wrap::{self, clip};
use crate::chat::{Retention, Target};
use crate::client::ui::words::{LOCK, span};
use crate::client::ui::{gutter, picture};

const WAITS: &str = "This goes on by itself once they have. Ctrl-C twice leaves; the next \
    `pychat client` goes on here, and `pychat key show` prints the line for copying.";
/// Minimum rows for which the request for admission has a heading and more than its code.
const WAITS_ROWS: u16 = 6;

/// What a frame has besides its cells.
pub struct Drawn {
    /// The first message of the room is visible.
    pub first: bool,
    pub links: Vec<Hyperlink>,
    /// The picture in a pane.
    pub graphic: Option<Graphic>,
}

/// Draws everything.
pub fn draw(app: &App, frame: &mut Frame) -> Drawn {
    let areas = app.reader.areas();
    title(app, frame, areas.title);
    if let Some(area) = areas.rooms {
        rooms(app, frame, area);
    }
    if let Some(area) = areas.people {
        people(app, frame, area);
    }
    let height = usize::from(areas.lines.height);
    let window = app.reader.window();
    let Visible { rows, links, top } = app.reader.paper(&areas).view(window, height);
    let first = top < window.numbers().start;
    // A few messages are at the bottom, next to the input.
    let above = height.saturating_sub(rows.len()) as u16;
    let lines = Rect { y: areas.lines.y + above, height: rows.len() as u16, ..areas.lines };
    frame.render_widget(Paragraph::new(rows), lines);
    let mut links: Vec<Hyperlink> =
        links.into_iter().filter_map(|link| link.within(lines)).collect();
    status(app, frame, &areas, top);
    input(app, frame, areas.input);
    let mut graphic = None;
    match app.controls.overlay() {
        Some(Overlay::Pane(pane)) => {
            open(app, frame, pane.area(areas.lines, frame.area().width), pane);
            graphic = pane.graphic(areas.lines).filter(|_| app.reader.look.theme != Theme::Mono);
        }
        Some(Overlay::Switcher(switcher)) => {
            let rows = usize::from(areas.lines.height).saturating_sub(1);
            open(app, frame, areas.lines, &switcher.pane(&app.reader.windows, rows));
        }
        Some(Overlay::Paste(text)) => open(app, frame, areas.lines, &paste(app, text)),
        None if matches!(app.reader.status.connection(), ConnectionState::Waiting { .. }) => {
            waits(app, frame, &areas);
        }
        None => {}
    }
    // What lies over the messages has no links.
    let choices = areas.input.y.saturating_sub(2);
    let is_free = |link: &Hyperlink| app.reader.input.choices().is_none() || link.row != choices;
    let waits = matches!(app.reader.status.connection(), ConnectionState::Waiting { .. });
    let is_covered = app.controls.overlay().is_some() || waits;
    links.retain(|link| !is_covered && is_free(link));
    Drawn { first, links, graphic }
}

/// Draws the instructions for a user who is not admitted yet. Nothing is drawn beside text that is
/// meant to be copied.
fn waits(app: &App, frame: &mut Frame, areas: &Areas) {
    let area = Rect { x: 0, width: frame.area().width, ..areas.lines };
    if area.height < WAITS_ROWS {
        // The code uses the rows of the title too.
        let area = Rect { y: areas.title.y, height: areas.title.height + area.height, ..area };
        let code = app.admission.first().cloned().unwrap_or_default();
        let rows = wrap::rows(&[Span::styled(code, app.reader.look.own)], area.width.into(), 0);
        frame.render_widget(Clear, area);
        return frame.render_widget(Paragraph::new(rows), area);
    }
    // The long line is last, so that a small screen cuts that line only.
    let mut text = app.admission.clone();
    text.splice(2.min(text.len())..2.min(text.len()), [WAITS.to_owned()]);
    open(app, frame, area, &Pane::flat("not admitted yet", text));
}

/// Draws a bar with text at both ends; the left one is shortened.
fn bar(frame: &mut Frame, area: Rect, style: Style, left: Vec<Span>, right: &str) {
    frame.buffer_mut().set_style(area, style);
    let width = usize::from(area.width);
    let right = clip(right, width.saturating_sub(1));
    let room = width.saturating_sub(Row::raw(right.as_str()).width() + 1);
    let mut used = 0;
    let mut spans = Vec::new();
    for one in left {
        // A separator with nothing after it is omitted.
        if used + 4 > room && one.content.trim() == "|" {
            break;
        }
        let text = clip(&one.content, room.saturating_sub(used));
        used += Row::raw(text.as_str()).width();
        spans.push(Span::styled(text, one.style));
    }
    frame.render_widget(Row::from(spans), area);
    frame.render_widget(Row::raw(right).right_aligned(), area);
}

fn title(app: &App, frame: &mut Frame, area: Rect) {
    let window = app.reader.window();
    let label = app.reader.windows.label(app.reader.windows.current());
    let mut left = vec![Span::raw(label)];
    // The topic is server text, also in the title.
    left.extend(window.topic.iter().map(|topic| Span::raw(format!(" {}{topic}", gutter::SERVER))));
    let wide = area.width >= super::layout::WIDE;
    if window.gone {
        let text = format!("you are no longer in {}", window.target);
        return bar(
            frame,
            area,
            app.reader.look.bar,
            vec![Span::raw(window.target.to_string())],
            &text,
        );
    }
    let mut right = Vec::new();
    right.push(who_can_read(window, wide));
    match window.retention {
        Retention::Forever => {}
        Retention::Off => right.push("not stored".to_owned()),
        Retention::For(time) => right.push(format!("stored {time}")),
    }
    match &window.target {
        Target::Channel(_) if !window.joined => {}
        Target::Channel(_) => right.push(format!("{} online", window.here())),
        Target::User(name) => {
            let here = app.reader.windows[0].people.get(name).is_some_and(|one| one.here);
            right.push(if here { "online" } else { "offline" }.to_owned());
        }
    }
    bar(frame, area, app.reader.look.bar, left, &right.join("  "));
}

/// The lock, and who can read this conversation.
fn who_can_read(window: &Window, wide: bool) -> String {
    match (&window.target, wide) {
        (Target::Channel(channel), false) if !channel.has_pin() => "open".to_owned(),
        (_, false) => format!("{LOCK} sealed"),
        (Target::Channel(channel), true) if channel.has_pin() => {
            format!("{LOCK} sealed: PIN holders read")
        }
        (Target::Channel(_), true) => "open: members and the operator read".to_owned(),
        (Target::User(_), true) => format!("{LOCK} sealed: you two read"),
    }
}

/// A room's number, name and unread count.
fn room(app: &App, index: usize) -> (String, Style) {
    let window = &app.reader.windows[index];
    let news = match (window.mentions, window.unread) {
        (0, 0) => String::new(),
        (0, unread) => format!(" {unread}"),
        (mentions, _) => format!(" {mentions}!"),
    };
    let style = match (index == app.reader.windows.current(), window.mentions, window.unread) {
        (true, ..) => app.reader.look.chosen,
        (_, 1.., _) => app.reader.look.mention,
        (_, _, 1..) => app.reader.look.unread,
        _ => Style::new(),
    };
    (format!("{}{news}", app.reader.windows.label(index)), style)
}

fn rooms(app: &App, frame: &mut Frame, area: Rect) {
    let block = Block::new().borders(Borders::RIGHT).border_style(app.reader.look.dim);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let first = app.reader.windows.first_room(area.height);
    let mut rows = vec![Row::styled("rooms", app.reader.look.dim)];
    for index in first..app.reader.windows.len() {
        let (text, style) = room(app, index);
        let text = format!("{} {text}", index + 1);
        rows.push(Row::styled(clip(&text, inner.width.into()), style));
    }
    frame.render_widget(Paragraph::new(rows), inner);
}

fn people(app: &App, frame: &mut Frame, area: Rect) {
    let block = Block::new().borders(Borders::LEFT).border_style(app.reader.look.dim);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let mut rows = vec![Row::styled("people", app.reader.look.dim)];
    let width = usize::from(inner.width);
    let lobby = &app.reader.windows[0].people;
    let window = app.reader.window();
    let mut names: Vec<(bool, &crate::chat::UserName)> = match &window.target {
        Target::Channel(_) => window.people.iter().map(|(name, one)| (one.here, name)).collect(),
        Target::User(name) => {
            let both = [Some(name), app.reader.own.as_ref()];
            let here = |name| lobby.get(name).is_some_and(|one| one.here);
            both.into_iter().flatten().map(|name| (here(name), name)).collect()
        }
    };
    names.sort_by_key(|(here, name)| (!here, *name));
    let height = usize::from(inner.height).saturating_sub(1);
    // Members omitted by a bounded list are counted with those that do not fit.
    let more = names.len() > height || window.omitted > 0;
    let room = if more { height.saturating_sub(1) } else { height };
    for (here, name) in names.iter().take(room) {
        let (mark, style) = match here {
            true => ("* ", app.reader.look.name(name)),
            false => ("o ", app.reader.look.dim),
        };
        let name = Span::styled(clip(name.as_str(), width.saturating_sub(2)), style);
        rows.push(Row::from(vec![Span::styled(mark, style), name]));
    }
    if more {
        let left = names.len().saturating_sub(room).saturating_add(window.omitted);
        rows.push(Row::styled(clip(&format!("and {left} more"), width), app.reader.look.dim));
    }
    frame.render_widget(Paragraph::new(rows), inner);
}

fn status(app: &App, frame: &mut Frame, areas: &Areas, top: i64) {
    let (look, area) = (&app.reader.look, areas.status);
    let narrow = area.width < super::layout::WIDE;
    let left_s = |until: i64| span((until - app.reader.view.now_ms()).max(0) as u64 + 999);
    let link = match (app.reader.status.connection(), app.reader.status.latency_ms()) {
        (ConnectionState::Connecting, _) => Span::styled("o connecting", look.error),
        (ConnectionState::Up, Some(ms)) if narrow => Span::styled(format!("* {ms} ms"), look.good),
        (ConnectionState::Up, None) => Span::styled("* connected", look.good),
        (ConnectionState::Up, Some(ms)) => Span::styled(format!("* connected {ms} ms"), look.good),
        (ConnectionState::Silent { since_ms }, _) => {
            let silent = span((app.reader.view.now_ms() - since_ms).max(0) as u64);
            let server = if narrow { "" } else { "the server is " };
            Span::styled(format!("o {server}silent for {silent}"), look.error)
        }
        (ConnectionState::Off { retry_at_ms }, _) => {
            let now = if narrow { "" } else { " (/reconnect: now)" };
            let left = left_s(*retry_at_ms);
            Span::styled(format!("o offline, retry in {left}{now}"), look.error)
        }
        (ConnectionState::Waiting { retry_at_ms }, _) => {
            Span::styled(format!("o waiting, asks in {}", left_s(*retry_at_ms)), look.error)
        }
        (ConnectionState::Refused, _) => Span::styled("o refused", look.error),
    };
    let mut left = vec![Span::raw(" "), link];
    if let (ConnectionState::Up, Some(missed)) =
        (app.reader.status.connection(), app.reader.status.missed())
    {
        let missed = match (missed.loaded, missed.omitted) {
            (0, 0) => "nothing was missed".to_owned(),
            (1, 0) => "1 missed message loaded".to_owned(),
            (many, 0) => format!("{many} missed messages loaded"),
            (loaded, omitted) => {
                format!("{} missed messages, {loaded} loaded", loaded.saturating_add(omitted))
            }
        };
        left[1] = Span::styled(format!("* back, {missed}"), look.good);
    }
    let status = &app.reader.status;
    let flash = status.word().filter(|word| !word.is_empty()).map(str::to_owned);
    let flash = flash.or_else(|| status.transfer());
    if let Some(word) =
        flash.filter(|word| !word.is_empty()).or_else(|| elsewhere(app.reader.window(), top))
    {
        left.extend([Span::raw(" | "), Span::styled(word, look.unread)]);
    }
    let help = if narrow { "F1 " } else { "F1 help " };
    let used: usize = left.iter().chain([&Span::raw(help)]).map(Span::width).sum();
    left.extend(rooms_in_line(app, areas, usize::from(area.width).saturating_sub(used + 1)));
    bar(frame, area, look.bar, left, help);
}

/// The rooms, if no pane shows them and all fit; otherwise those with unread messages.
fn rooms_in_line(app: &App, areas: &Areas, cells: usize) -> Vec<Span<'static>> {
    let span = |index: usize| {
        let (text, mut style) = room(app, index);
        if index == app.reader.windows.current() && app.reader.look.chosen == app.reader.look.bar {
            style = style.add_modifier(Modifier::UNDERLINED);
        }
        Span::styled(format!("{}:{text}", index + 1), style)
    };
    let all: Vec<_> = (0..app.reader.windows.len()).map(span).collect();
    let fit = all.iter().map(|room| room.width() + 2).sum::<usize>() < cells;
    let shown = match areas.rooms.is_none() && fit && all.len() > 1 {
        true => all,
        false => {
            let news = |index: &usize| {
                let window = &app.reader.windows[*index];
                *index != app.reader.windows.current() && window.unread + window.mentions > 0
            };
            (0..app.reader.windows.len()).filter(news).map(span).collect()
        }
    };
    let mut spans = Vec::new();
    for room in shown {
        spans.push(Span::raw(if spans.is_empty() { " | " } else { "  " }));
        spans.push(room);
    }
    spans
}

/// The hint about new messages below or above the view, which begins with the line `top`.
fn elsewhere(window: &Window, top: i64) -> Option<String> {
    match (window.at, window.unread, window.new_above(top)) {
        (At::Line { .. }, unread @ 1.., _) => Some(format!("{unread} new below: Alt-End")),
        (_, _, Some(new)) => Some(format!("{new} new, the first above: Alt-U")),
        (At::Line { .. }, 0, None) => Some("scrolled up: Alt-End".to_owned()),
        (At::End, _, None) => None,
    }
}

fn input(app: &App, frame: &mut Frame, area: Rect) {
    if area.height == 0 {
        return;
    }
    if let Some(finder) = app.reader.scroll.finder() {
        let note = match (finder.found.is_some(), finder.exhausted) {
            (_, true) => "  (no other here: Enter asks the server)",
            (true, false) => "  (Enter: the previous one, Esc: back)",
            (false, false) => "",
        };
        return line(app, frame, area, ("search: ", &finder.query, note));
    }
    if let Some(finding) = &app.reader.input.finding {
        let found =
            app.reader.input.found().map_or("  (nothing)".into(), |found| format!("  {found}"));
        return line(app, frame, area, ("typed: ", &finding.query, &found.replace('\n', " / ")));
    }
    let wide = app.reader.prompt_cells();
    frame.render_widget(Span::styled(app.reader.prompt(), app.reader.look.own), area);
    let room = Rect { x: area.x + wide, width: area.width - wide, ..area };
    let typed = app.reader.input.lay_out(room.width.into());
    let (row, column) = typed.cursor;
    // If there are more rows than fit, those up to the cursor's.
    let hidden = (row + 1).saturating_sub(room.height.into());
    let rows: Vec<Row> = typed.rows.into_iter().skip(hidden).map(Row::raw).collect();
    frame.render_widget(Clear, room);
    frame.render_widget(Paragraph::new(rows), room);
    let x = room.x + (column as u16).min(room.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(x, room.y + (row - hidden) as u16));
    if let Some((choices, chosen)) = app.reader.input.choices() {
        suggest(app, frame, area, choices, chosen);
    }
}

/// Draws a question in place of the input: its label, the answer as far as it is typed, and a note.
fn line(app: &App, frame: &mut Frame, area: Rect, (label, typed, note): (&str, &str, &str)) {
    let cells = usize::from(area.width).saturating_sub(Row::raw(label).width() + 1);
    let typed = wrap::clip_start(typed, cells);
    let column = Row::raw(label).width() + Row::raw(typed.as_str()).width();
    let spans = vec![
        Span::styled(label, app.reader.look.own),
        Span::raw(typed),
        Span::styled(note, app.reader.look.dim),
    ];
    frame.render_widget(Row::from(spans), area);
    let x = (area.x + column as u16).min(area.right().max(1) - 1);
    frame.set_cursor_position(Position::new(x, area.y));
}

/// Draws the completion candidates above the status line.
fn suggest(app: &App, frame: &mut Frame, area: Rect, choices: &[String], chosen: usize) {
    let mut spans = Vec::new();
    let mut used = 0;
    // The chosen candidate is always visible.
    for (index, choice) in choices.iter().enumerate().skip(chosen.saturating_sub(2)) {
        let text = format!(" {} ", choice.trim_end());
        used += Row::raw(text.as_str()).width();
        if used > usize::from(area.width) {
            break;
        }
        let style = if index == chosen { app.reader.look.chosen } else { app.reader.look.dim };
        spans.push(Span::styled(text, style));
    }
    let above = Rect { y: area.y.saturating_sub(2), height: 1, ..area };
    frame.render_widget(Clear, above);
    frame.render_widget(Row::from(spans), above);
}

/// Draws a pane over the messages.
fn open(app: &App, frame: &mut Frame, area: Rect, pane: &Pane) {
    if area.height < 2 || area.width < 4 {
        return;
    }
    frame.render_widget(Clear, area);
    let heading = Rect { height: 1, ..area };
    let inner = pane.inner(area);
    let rows = match pane.shown() {
        Some(shown) => {
            let cells = picture::cells(shown, inner.width.into(), inner.height.into());
            cells.iter().map(|row| pixels::row(row, app.reader.look.theme).into()).collect()
        }
        None => pane.rows(inner.width.into()),
    };
    let most = rows.len().saturating_sub(inner.height.into());
    let hint = match app.controls.overlay() {
        None => "",
        Some(_) if pane.is_help() => "F1 or PgDn: next  Esc closes ",
        Some(_) if most > 0 => "PgUp PgDn  Esc closes ",
        Some(_) => "Esc closes ",
    };
    let title = vec![Span::raw(" "), Span::raw(pane.marked_title())];
    bar(frame, heading, app.reader.look.chosen, title, hint);
    let rows: Vec<Row> = rows.into_iter().skip(pane.scroll.min(most)).collect();
    frame.render_widget(Paragraph::new(rows), inner);
}

fn paste(app: &App, text: &str) -> Pane {
    let lines = text.lines().count();
    let mut said = vec![
        format!("{lines} lines were pasted."),
        String::new(),
        "Enter  sends them as one message".to_owned(),
        "Tab    inserts them into your text".to_owned(),
        "Esc    discards them".to_owned(),
        String::new(),
    ];
    if text.len() > app.reader.text_bytes_max {
        let (bytes, most) = (text.len(), app.reader.text_bytes_max);
        said.insert(1, format!("They are {bytes} bytes, and a message is limited to {most}."));
    }
    said.extend(text.lines().take(20).map(|line| format!("  {}", wrap::clip(line, 200))));
    Pane::new("paste", said)
}
