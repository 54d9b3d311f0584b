//! Effects of keys, pastes and clicks on what the user reads and types.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::choosing;
use super::keys::{Act, Keys};
use super::layout;
use super::pane::{Help, Pane};
use super::reader::{Effect, Reader};
use super::settings::Settings;
use super::switcher::{Step, Switcher};
use super::theme::Theme;
use super::typing;
use super::windows::News;
use crate::chat::Target;
use crate::clean;
use crate::client::model::Input;
use crate::client::slash::{self, HelpOn, Notify, ScreenCommand, Setting, SlashCommand, Typed};

/// Rows per step of the wheel.
const WHEEL_ROWS: i64 = 3;

/// Time in which a digit after Esc names a room, in milliseconds.
const ESCAPED_MS: i64 = 1_000;

/// An overlay above the room.
pub enum Overlay {
    Pane(Pane),
    /// Several lines were pasted; asks what to do with them.
    Paste(String),
    Switcher(Switcher),
}

/// What keys, pastes and clicks are held against: the bindings, and what is open above the room.
pub struct Controls {
    keys: Keys,
    overlay: Option<Overlay>,
    /// Colours are allowed (`NO_COLOR`, `--color`).
    colour: bool,
    /// When Esc was pressed with nothing open: a digit after it names a room.
    escaped_ms: Option<i64>,
}

impl Controls {
    pub fn new(keys: Keys, colour: bool) -> Controls {
        Controls { keys, overlay: None, colour, escaped_ms: None }
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn overlay(&self) -> Option<&Overlay> {
        self.overlay.as_ref()
    }

    /// Opens a pane, unless a question is open.
    pub fn open(&mut self, pane: Pane, reader: &mut Reader) {
        if matches!(self.overlay, Some(Overlay::Paste(_))) {
            return reader.flash("an answer arrived: ask again to see it");
        }
        self.overlay = Some(Overlay::Pane(pane));
    }

    /// Handles an event of the terminal.
    pub fn input(&mut self, event: Event, reader: &mut Reader, settings: &mut Settings) {
        let touches = match &event {
            Event::Key(key) => key.kind != KeyEventKind::Release,
            Event::Paste(_) | Event::Mouse(_) => true,
            _ => false,
        };
        reader.untouched &= !touches;
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                self.key(&key, reader, settings)
            }
            Event::Paste(text) => self.paste(&text, reader),
            Event::Mouse(mouse) => self.mouse(mouse, reader),
            Event::FocusGained => {
                reader.focused = Some(true);
                reader.look_at_it();
            }
            Event::FocusLost => {
                reader.focused = Some(false);
                // Later messages are new.
                let window = reader.window_mut();
                if window.unread == 0 {
                    window.divider = None;
                }
            }
            // The size is queried before each frame.
            _ => {}
        }
        self.prompts(reader);
    }

    /// Opens the secret prompt if a password is requested, the line is empty and no paste is
    /// pending. Keys are for the password then: a search, the list of rooms and the choice of a
    /// message end.
    pub fn prompts(&mut self, reader: &mut Reader) {
        if matches!(self.overlay, Some(Overlay::Paste(_))) {
            return;
        }
        reader.input.settles();
        if reader.input.hidden {
            if matches!(self.overlay, Some(Overlay::Switcher(_))) {
                self.overlay = None;
            }
            if reader.scroll.chosen().is_some() {
                choosing::end(reader);
            }
            reader.end_search();
        }
    }

    fn key(&mut self, key: &KeyEvent, reader: &mut Reader, settings: &mut Settings) {
        let act = self.keys.act(key);
        if act.is_none() && key.modifiers.contains(KeyModifiers::ALT) {
            // Esc came together with what was typed behind it.
            self.key(&KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), reader, settings);
            let modifiers = key.modifiers - KeyModifiers::ALT;
            return self.key(&KeyEvent { modifiers, ..*key }, reader, settings);
        }
        if self.names_room(key, reader) {
            return;
        }
        if self.overlay.is_some() && self.over(key, act, reader, settings) {
            return;
        }
        if choosing::key(reader, key, act) {
            return;
        }
        if reader.scroll.is_finding() && reader.finds(key, act) {
            return;
        }
        match act {
            Some(act) => self.act(act, key, reader, settings),
            None => {
                reader.input.key(key);
            }
        }
    }

    /// Goes to a room whose digit follows Esc, as with Alt. Returns whether the key was for that.
    fn names_room(&mut self, key: &KeyEvent, reader: &mut Reader) -> bool {
        let escaped = self.escaped_ms.take();
        let is_soon = escaped.is_some_and(|at| reader.view.now_ms() - at < ESCAPED_MS);
        let KeyCode::Char(digit @ '1'..='9') = key.code else { return false };
        let index = digit as usize - '1' as usize;
        // Behind other text, in a password or without such a room, the digit is typed.
        let is_typed = !reader.input.is_empty() || reader.input.hidden;
        let is_room = index < reader.windows.len();
        let names = is_soon && key.modifiers.is_empty() && !is_typed && is_room;
        if names {
            reader.switch(index);
        }
        names
    }

    fn act(&mut self, act: Act, key: &KeyEvent, reader: &mut Reader, settings: &mut Settings) {
        if reader.input.finding.is_some() && reader.input.act(act) {
            return;
        }
        match act {
            Act::Send => self.send(reader, settings),
            Act::Complete | Act::CompleteBack => typing::complete(reader, act == Act::CompleteBack),
            Act::PageUp => reader.page(1),
            Act::PageDown => reader.page(-1),
            Act::Top => reader.go_to_top(),
            Act::Bottom => reader.go_to_end(),
            Act::Window => {
                if let KeyCode::Char(digit @ '1'..='9') = key.code {
                    reader.switch(digit as usize - '1' as usize);
                }
            }
            Act::NextWindow => reader.switch((reader.windows.current() + 1) % reader.windows.len()),
            Act::PreviousWindow => {
                reader.switch(
                    (reader.windows.current() + reader.windows.len() - 1) % reader.windows.len(),
                );
            }
            Act::NextActive => next_active(reader),
            Act::FirstUnread => reader.go_to_divider(),
            Act::NextMention => reader.go_to_mention(false),
            Act::PreviousMention => reader.go_to_mention(true),
            Act::Search | Act::Choose | Act::Switcher if reader.input.hidden => {
                reader.flash("answer the password prompt first");
            }
            Act::Search => reader.search(),
            Act::Choose => choosing::begin(reader),
            Act::Switcher => self.overlay = Some(Overlay::Switcher(Switcher::default())),
            Act::KillLine if reader.input.split().1.is_empty() && !reader.input.hidden => {
                self.overlay = Some(Overlay::Switcher(Switcher::default()));
            }
            Act::Help => {
                self.overlay = Some(Overlay::Pane(Pane::help(&self.keys, Help::Common)));
            }
            Act::Rooms => {
                reader.view.toggle_rooms();
                needs_width(reader, "rooms", layout::WIDEST);
            }
            Act::People => {
                reader.view.toggle_people();
                needs_width(reader, "people", layout::WIDE);
            }
            Act::Editor if reader.input.hidden => {
                reader.flash("a password cannot be opened in the editor")
            }
            Act::Editor => reader.effects.push(Effect::Edit(reader.input.text())),
            Act::Redraw => reader.effects.push(Effect::Redraw),
            Act::Suspend => reader.effects.push(Effect::Suspend),
            Act::Interrupt => interrupt(reader),
            Act::EndOfInput if reader.input.is_empty() => leave(reader),
            Act::EndOfInput => {
                reader.input.act(Act::EraseNext);
            }
            Act::Close => {
                self.escaped_ms = Some(reader.view.now_ms());
                reader.status.clear();
            }
            act => {
                reader.input.act(act);
            }
        }
    }

    fn send(&mut self, reader: &mut Reader, settings: &mut Settings) {
        if reader.input.hidden {
            return typing::send_secret(reader);
        }
        let draft = reader.input.draft();
        let line = draft.text.trim_end_matches('\n');
        if typing::must_stay(reader, line) {
            return;
        }
        reader.input.set("");
        if line.trim().is_empty() {
            return reader.input.is_entered_empty();
        }
        reader.input.remember(line, draft.within.clone());
        self.say(line, draft.within.clone(), reader, settings);
        match slash::is_mistyped(line) {
            true => reader.input.put(draft),
            false => reader.untouched = true,
        }
    }

    fn say(
        &mut self,
        line: &str,
        within: Option<Target>,
        reader: &mut Reader,
        settings: &mut Settings,
    ) {
        reader.input.accept(line);
        reader.status.settle();
        reader.go_to_end();
        // Writing in a conversation acknowledges its bell.
        let window = reader.window_mut();
        (window.divider, window.rang_ms) = (None, 0);
        // A text of several lines is never a command.
        let several = line.contains('\n');
        if let (false, Typed::Command(command)) = (several, slash::read(line))
            && self.own_command(&command, reader, settings)
        {
            return;
        }
        let line = match several && line.starts_with('/') {
            true => format!("/{line}"),
            false => line.to_owned(),
        };
        let to = reader.window().target.clone();
        reader.send(Input::TypedIn { to, within, line, id: None });
    }

    /// Runs a command of the screen itself. Returns whether it was one.
    fn own_command(
        &mut self,
        command: &SlashCommand,
        reader: &mut Reader,
        settings: &mut Settings,
    ) -> bool {
        let private = matches!(reader.window().target, Target::User(_));
        match command {
            SlashCommand::Help(HelpOn::Command(_)) => return false,
            SlashCommand::Help(on) => {
                let part = match on {
                    HelpOn::Keys => Help::Keys,
                    HelpOn::All => Help::All,
                    _ => Help::Common,
                };
                self.overlay = Some(Overlay::Pane(Pane::help(&self.keys, part)));
            }
            SlashCommand::PartHere if private => reader.close(reader.windows.current()),
            SlashCommand::PartHere if !reader.window().joined => {
                // The entry may be in progress, so the server is notified in any case.
                let (index, to) = (reader.windows.current(), reader.window().target.clone());
                reader.send(Input::TypedIn {
                    to,
                    within: None,
                    line: "/part".to_owned(),
                    id: None,
                });
                reader.close(index);
            }
            SlashCommand::Screen(ScreenCommand::Theme(name)) => self.theme(name, reader, settings),
            SlashCommand::Screen(ScreenCommand::Colors) => {
                reader.look.names = !reader.look.names;
                reader.flash(if reader.look.names {
                    "names are coloured"
                } else {
                    "names are plain"
                });
            }
            SlashCommand::Screen(ScreenCommand::Notify(notify)) => {
                set_notify(*notify, reader, settings)
            }
            SlashCommand::Screen(ScreenCommand::Highlight { word, here }) => {
                highlight(*word, *here, reader);
            }
            SlashCommand::Set(Setting::Show) => {
                reader.notice(reader.windows.current(), settings.to_string());
                // Other user interfaces have this setting too, so the model shows it as well.
                return false;
            }
            SlashCommand::Set(Setting::Screen(setting)) => {
                settings.set(*setting);
                reader.aligned = settings.align;
                reader.effects.push(Effect::Mouse(settings.mouse));
                reader.effects.push(Effect::Save);
                reader.notice(reader.windows.current(), settings.to_string());
            }
            _ => return false,
        }
        true
    }

    fn theme(&mut self, name: &str, reader: &mut Reader, settings: &mut Settings) {
        match Theme::named(name) {
            Some(theme) => {
                if self.colour {
                    let names = reader.look.names;
                    reader.look = theme.look();
                    reader.look.names = names;
                } else {
                    reader.flash("colours are disabled: the theme stays mono");
                }
                settings.theme = Some(theme);
                reader.effects.push(Effect::Save);
            }
            None => reader.error("which theme? /theme dark, light, 16 or mono".into()),
        }
    }

    /// Inserts a pasted line; several lines cause a question.
    fn paste(&mut self, text: &str, reader: &mut Reader) {
        if matches!(self.overlay, Some(Overlay::Paste(_))) {
            return reader.flash("answer the open question first");
        }
        let text = clean::text(&text.replace("\r\n", "\n").replace('\r', "\n"));
        let text = text.trim_end_matches('\n');
        let first = text.lines().next().unwrap_or_default();
        if reader.input.hidden {
            return typing::insert(reader, first);
        }
        if let Some(finding) = &mut reader.input.finding {
            return finding.extend(first);
        }
        if reader.extend_search(first) {
            return;
        }
        match text.contains('\n') {
            true => self.overlay = Some(Overlay::Paste(text.to_owned())),
            false if reader.input.is_empty() && slash::path::is_file(text) => {
                let to = reader.window().target.clone();
                typing::insert(reader, &format!("/send {}", slash::path::quoted(text)));
                reader.flash(format!("a file: Enter sends it to {to}"));
            }
            false => typing::insert(reader, text),
        }
    }

    /// Handles a key while something is open. Returns whether it was for that.
    fn over(
        &mut self,
        key: &KeyEvent,
        act: Option<Act>,
        reader: &mut Reader,
        settings: &mut Settings,
    ) -> bool {
        if let Some(Overlay::Paste(text)) = &self.overlay {
            let text = text.clone();
            match (act, key.code) {
                (Some(Act::Send), _) => {
                    let whole = format!("{}{text}", reader.input.text());
                    if typing::must_stay(reader, &whole) {
                        return true;
                    }
                    let within = reader.input.draft().within;
                    reader.input.set("");
                    self.say(&whole, within, reader, settings);
                }
                (Some(Act::Complete), _) => typing::insert(reader, &text),
                (Some(Act::Close | Act::Interrupt), _) => {}
                // Another key is a mistake: the question stays open.
                _ => return true,
            }
            self.overlay = None;
            return true;
        }
        if let Some(Overlay::Switcher(switcher)) = &mut self.overlay {
            match switcher.key(key, act, &reader.windows) {
                Step::Stays => {}
                Step::Closes => self.overlay = None,
                Step::To(index) => {
                    self.overlay = None;
                    reader.switch(index);
                }
            }
            return true;
        }
        let Some(Overlay::Pane(pane)) = &mut self.overlay else { return false };
        let (width, height) = pane_size(reader, pane);
        let page = height as i64 - 1;
        let turns =
            act == Some(Act::Help) || act == Some(Act::PageDown) && pane.is_at_end(width, height);
        if turns && pane.is_help() {
            // F1 on the last page closes it, and PageDown stays there.
            match pane.next(&self.keys) {
                Some(next) => *pane = next,
                None if act == Some(Act::Help) => self.overlay = None,
                None => {}
            }
            return true;
        }
        match act {
            Some(Act::PageUp) => pane.scroll(-page, width, height),
            Some(Act::PageDown) => pane.scroll(page, width, height),
            Some(Act::Older) => pane.scroll(-1, width, height),
            Some(Act::Newer) => pane.scroll(1, width, height),
            Some(Act::Close | Act::Help | Act::Interrupt) => self.overlay = None,
            // Further typing closes the help.
            _ => {
                self.overlay = None;
                return false;
            }
        }
        true
    }

    fn mouse(&mut self, mouse: MouseEvent, reader: &mut Reader) {
        let areas = reader.areas();
        let at = Position::new(mouse.column, mouse.row);
        match mouse.kind {
            MouseEventKind::ScrollUp => self.wheel(WHEEL_ROWS, reader),
            MouseEventKind::ScrollDown => self.wheel(-WHEEL_ROWS, reader),
            MouseEventKind::Down(MouseButton::Left) => {
                if let Some(rooms) = areas.rooms.filter(|rooms| rooms.contains(at)) {
                    let first = reader.windows.first_room(rooms.height);
                    // Below the title of the pane.
                    let row = usize::from(at.y - rooms.y);
                    if row > 0 {
                        reader.switch(first + row - 1);
                    }
                }
            }
            _ => {}
        }
    }

    /// Scrolls what is open, or the room, up by some rows.
    fn wheel(&mut self, rows: i64, reader: &mut Reader) {
        match &mut self.overlay {
            Some(Overlay::Pane(pane)) => {
                let (width, height) = pane_size(reader, pane);
                pane.scroll(-rows, width, height);
            }
            Some(Overlay::Paste(_) | Overlay::Switcher(_)) => {}
            None => reader.scroll(rows),
        }
    }
}

/// Reports that the terminal is too narrow for a pane.
fn needs_width(reader: &mut Reader, what: &str, columns: u16) {
    if reader.view.width() < columns {
        reader.flash(format!("{what}: needs {columns} columns"));
    }
}

/// Ctrl-C clears the line, and leaves when pressed twice on an empty one.
fn interrupt(reader: &mut Reader) {
    if !reader.input.is_empty() {
        reader.input.set("");
    } else if reader.status.leaves(reader.view.now_ms()) {
        reader.send(Input::Interrupt);
    }
}

fn leave(reader: &mut Reader) {
    reader.send(Input::Line("/exit".into()));
}

/// Shows or sets which messages of the conversation on the screen ring the bell.
fn set_notify(wanted: Option<Notify>, reader: &mut Reader, settings: &mut Settings) {
    let conversation = reader.window().target.to_string();
    let Some(now) = wanted else {
        let now = settings.notify.get(&conversation).copied().unwrap_or(Notify::Mentions);
        return reader
            .notice(reader.windows.current(), format!("{conversation}: {now:?}").to_lowercase());
    };
    let word = match now {
        Notify::Off => "nothing rings the bell",
        Notify::Mentions => "mentions ring the bell",
        Notify::All => "every message rings the bell",
    };
    match now {
        Notify::Mentions => settings.notify.remove(&conversation),
        now => settings.notify.insert(conversation.clone(), now),
    };
    reader.effects.push(Effect::Save);
    reader.notice(reader.windows.current(), format!("{word} in {conversation}"));
}

/// Lists, adds or removes a word that counts as a mention.
fn highlight(word: Option<&str>, here: bool, reader: &mut Reader) {
    let room = reader.window().target.clone();
    let done = match word {
        None => Ok(reader.highlights.list(&room)),
        Some(word) => reader.highlights.toggle(word, Some(&room).filter(|_| here)),
    };
    match done {
        Ok(text) => reader.notice(reader.windows.current(), text),
        Err(problem) => reader.error(problem),
    }
}

fn next_active(reader: &mut Reader) {
    match reader.windows.next_news() {
        News::At { index, from } => {
            reader.switch(index);
            reader.windows.came_from(from);
        }
        News::Here => reader.go_to_end(),
        News::BackTo(index) => reader.switch(index),
        News::Nowhere => reader.flash("nothing is new"),
    }
}

/// Columns and rows of a pane's content.
fn pane_size(reader: &Reader, pane: &Pane) -> (usize, usize) {
    let area = pane.area(reader.areas().lines, reader.view.width());
    (area.width.saturating_sub(2).into(), area.height.saturating_sub(1).into())
}
