//! Effects of keys, pastes and clicks.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::app::{App, Effect, Overlay};
use super::complete::{self, Known};
use super::keys::Act;
use super::layout;
use super::pane::Pane;
use super::theme::Theme;
use super::windows::News;
use crate::chat::{SecretText, Target, UserName};
use crate::clean;
use crate::client::mistyped;
use crate::client::model::Input;
use crate::client::slash::{self, HelpOn, Notify, ScreenCommand, Setting, SlashCommand, Typed};

/// Rows per step of the wheel.
const WHEEL_ROWS: i64 = 3;

impl App {
    /// Handles an event of the terminal.
    pub fn input(&mut self, event: Event) {
        let touches = match &event {
            Event::Key(key) => key.kind != KeyEventKind::Release,
            Event::Paste(_) | Event::Mouse(_) => true,
            _ => false,
        };
        self.untouched &= !touches;
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(&key),
            Event::Paste(text) => self.paste(&text),
            Event::Mouse(mouse) => self.mouse(mouse),
            Event::FocusGained => {
                self.focused = Some(true);
                self.look_at_it();
            }
            Event::FocusLost => {
                self.focused = Some(false);
                // Later messages are new.
                let window = self.window_mut();
                if window.unread == 0 {
                    window.divider = None;
                }
            }
            // The size is queried before each frame.
            _ => {}
        }
        self.prompts();
    }

    /// Opens the secret prompt if a password is requested, the line is empty and no paste is
    /// pending.
    pub fn prompts(&mut self) {
        if !matches!(self.overlay, Some(Overlay::Paste(_))) {
            self.input.settles();
        }
    }

    fn key(&mut self, key: &KeyEvent) {
        let act = self.keys.act(key);
        if act.is_none() && key.modifiers.contains(KeyModifiers::ALT) {
            // Esc came together with what was typed behind it.
            self.key(&KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
            let modifiers = key.modifiers - KeyModifiers::ALT;
            return self.key(&KeyEvent { modifiers, ..*key });
        }
        if self.overlay.is_some() && self.over(key, act) {
            return;
        }
        if self.scroll.is_finding() && self.finds(key, act) {
            return;
        }
        match act {
            Some(act) => self.act(act, key),
            None => {
                self.input.key(key);
            }
        }
    }

    fn act(&mut self, act: Act, key: &KeyEvent) {
        if self.input.finding.is_some() && self.input.act(act) {
            return;
        }
        match act {
            Act::Send => self.send(),
            Act::Complete | Act::CompleteBack => self.complete(act == Act::CompleteBack),
            Act::PageUp => self.page(1),
            Act::PageDown => self.page(-1),
            Act::Top => self.go_to_top(),
            Act::Bottom => self.go_to_end(),
            Act::Window => {
                if let KeyCode::Char(digit @ '1'..='9') = key.code {
                    self.switch(digit as usize - '1' as usize);
                }
            }
            Act::NextWindow => self.switch((self.windows.current() + 1) % self.windows.len()),
            Act::PreviousWindow => {
                self.switch((self.windows.current() + self.windows.len() - 1) % self.windows.len());
            }
            Act::NextActive => self.next_active(),
            Act::FirstUnread => self.go_to_divider(),
            Act::NextMention => self.go_to_mention(false),
            Act::PreviousMention => self.go_to_mention(true),
            Act::Search => self.search(),
            Act::Help => {
                self.overlay = Some(Overlay::Pane(Pane::help(&self.keys)));
            }
            Act::Rooms => {
                self.view.toggle_rooms();
                self.needs_width("rooms", layout::WIDEST);
            }
            Act::People => {
                self.view.toggle_people();
                self.needs_width("people", layout::WIDE);
            }
            Act::Editor if self.input.hidden => self.flash("a password stays here"),
            Act::Editor => self.effects.push(Effect::Edit(self.input.text())),
            Act::Redraw => self.effects.push(Effect::Redraw),
            Act::Suspend => self.effects.push(Effect::Suspend),
            Act::Interrupt => self.interrupt(),
            Act::EndOfInput if self.input.is_empty() => self.leave(),
            Act::EndOfInput => {
                self.input.act(Act::EraseNext);
            }
            Act::Close => self.status.clear(),
            act => {
                self.input.act(act);
            }
        }
    }

    /// Reports that the terminal is too narrow for a pane.
    fn needs_width(&mut self, what: &str, columns: u16) {
        if self.view.width() < columns {
            self.flash(format!("{what}: needs {columns} columns"));
        }
    }

    /// Ctrl-C clears the line, and leaves when pressed twice on an empty one.
    fn interrupt(&mut self) {
        if !self.input.is_empty() {
            self.input.set("");
        } else if self.status.leaves(self.view.now_ms()) {
            self.happen(Input::Interrupt);
        }
    }

    fn leave(&mut self) {
        self.happen(Input::Line("/exit".into()));
    }

    fn send(&mut self) {
        if self.input.hidden {
            return self.send_secret();
        }
        let draft = self.input.draft();
        let line = draft.text.trim_end_matches('\n');
        if self.must_stay(line) {
            return;
        }
        self.input.set("");
        if line.trim().is_empty() {
            return self.input.is_entered_empty();
        }
        self.input.remember(line, draft.within.clone());
        self.say(line, draft.within.clone());
        match slash::is_slip(line) {
            true => self.input.put(draft),
            false => self.untouched = true,
        }
    }

    fn send_secret(&mut self) {
        if !self.input.is_empty() {
            let secret = SecretText::new(self.input.take_secret());
            self.happen(Input::Secret(secret));
        }
    }

    /// Keeps a line that must not be sent, and reports it.
    fn must_stay(&mut self, line: &str) -> bool {
        let says = slash::says_here(line) && !line.trim().is_empty();
        let target = self.window().target.clone();
        if says && self.window().gone {
            self.flash(format!("you are no longer in {target}: it stays here"));
            return true;
        }
        let within = self.input.within().filter(|_| says && !target.is_sealed());
        if let Some(within) = within {
            self.flash(format!("typed for {within}, which is sealed: it stays here"));
            return true;
        }
        if let Some(command) = mistyped::mistyped(line)
            && !self.input.is_confirmed(line)
        {
            self.flash(mistyped::question(command));
            return true;
        }
        self.is_too_long(line)
    }

    /// Keeps a text that exceeds the server's limit, so that it can be shortened.
    fn is_too_long(&mut self, line: &str) -> bool {
        let command = !line.contains('\n') && !matches!(slash::read(line), Typed::Text(_));
        let (bytes, most) = (line.len(), self.text_bytes_max);
        let too_long = !command && bytes > most;
        if too_long {
            self.flash(format!("too long: {bytes} bytes of {most}"));
        }
        too_long
    }

    fn say(&mut self, line: &str, within: Option<Target>) {
        self.go_to_end();
        // Writing in a conversation acknowledges its bell.
        let window = self.window_mut();
        (window.divider, window.rang_ms) = (None, 0);
        // A text of several lines is never a command.
        let several = line.contains('\n');
        if let (false, Typed::Command(command)) = (several, slash::read(line))
            && self.own_command(&command)
        {
            return;
        }
        let line = match several && line.starts_with('/') {
            true => format!("/{line}"),
            false => line.to_owned(),
        };
        let to = self.window().target.clone();
        self.happen(Input::TypedIn { to, within, line });
    }

    /// Runs a command of the screen itself. Returns whether it was one.
    fn own_command(&mut self, command: &SlashCommand) -> bool {
        let private = matches!(self.window().target, Target::User(_));
        match command {
            SlashCommand::Help(HelpOn::OwnCommands | HelpOn::AllCommands) => {
                self.overlay = Some(Overlay::Pane(Pane::help(&self.keys)));
            }
            SlashCommand::PartHere if private => self.close(self.windows.current()),
            SlashCommand::PartHere if !self.window().joined => {
                // The entry may be in progress, so the server is notified in any case.
                let (index, to) = (self.windows.current(), self.window().target.clone());
                self.happen(Input::TypedIn { to, within: None, line: "/part".to_owned() });
                self.close(index);
            }
            SlashCommand::Screen(ScreenCommand::Theme(name)) => self.theme(name),
            SlashCommand::Screen(ScreenCommand::Colors) => {
                self.look.names = !self.look.names;
                self.flash(if self.look.names { "names are coloured" } else { "names are plain" });
            }
            SlashCommand::Screen(ScreenCommand::Notify(notify)) => self.notify(*notify),
            SlashCommand::Set(Setting::Show) => {
                self.notice(self.windows.current(), self.settings.to_string());
                // Other user interfaces have this setting too, so the model shows it as well.
                return false;
            }
            SlashCommand::Set(Setting::Screen(setting)) => {
                self.settings.set(*setting);
                self.effects.push(Effect::Mouse(self.settings.mouse));
                self.effects.push(Effect::Save);
                self.notice(self.windows.current(), self.settings.to_string());
            }
            _ => return false,
        }
        true
    }

    fn theme(&mut self, name: &str) {
        match Theme::named(name) {
            Some(theme) => {
                if self.colour {
                    let names = self.look.names;
                    self.look = theme.look();
                    self.look.names = names;
                } else {
                    self.flash("colours are disabled: the theme stays mono");
                }
                self.settings.theme = Some(theme);
                self.effects.push(Effect::Save);
            }
            None => self.error("which theme? /theme dark, light, 16 or mono".into()),
        }
    }

    fn notify(&mut self, wanted: Option<Notify>) {
        let conversation = self.window().target.to_string();
        let Some(now) = wanted else {
            let now = self.settings.notify.get(&conversation).copied().unwrap_or(Notify::Mentions);
            return self
                .notice(self.windows.current(), format!("{conversation}: {now:?}").to_lowercase());
        };
        let word = match now {
            Notify::Off => "nothing rings the bell",
            Notify::Mentions => "mentions ring the bell",
            Notify::All => "every message rings the bell",
        };
        match now {
            Notify::Mentions => self.settings.notify.remove(&conversation),
            now => self.settings.notify.insert(conversation.clone(), now),
        };
        self.effects.push(Effect::Save);
        self.notice(self.windows.current(), format!("{word} in {conversation}"));
    }

    fn complete(&mut self, back: bool) {
        let people = self.likely_people();
        let rooms = self.windows.iter().map(|window| window.target.to_string());
        let mut channels: Vec<String> = rooms.filter(|name| name.starts_with('#')).collect();
        for listed in &self.listed {
            if !channels.contains(listed) {
                channels.push(listed.clone());
            }
        }
        let known = Known { people: &people, channels: &channels, paths: complete::paths };
        self.input.complete(back, |before| complete::candidates(before, &known));
    }

    /// Candidates for completion; the latest speakers come first.
    fn likely_people(&self) -> Vec<UserName> {
        let mut people: Vec<(i64, UserName)> = Vec::new();
        for window in [self.window(), &self.windows[0]] {
            let mut here: Vec<_> = window.people.iter().collect();
            here.sort_by_key(|(name, presence)| (-presence.active_ms, (*name).clone()));
            people.extend(here.into_iter().map(|(name, one)| (one.active_ms, name.clone())));
        }
        if let Target::User(name) = &self.window().target {
            people.insert(0, (0, name.clone()));
        }
        let mut known = Vec::new();
        for (_, name) in people {
            if !known.contains(&name) && self.own.as_ref() != Some(&name) {
                known.push(name);
            }
        }
        known
    }

    /// Inserts a pasted line; several lines cause a question.
    fn paste(&mut self, text: &str) {
        if matches!(self.overlay, Some(Overlay::Paste(_))) {
            return self.flash("answer the open question first");
        }
        let text = clean::text(&text.replace("\r\n", "\n").replace('\r', "\n"));
        let text = text.trim_end_matches('\n');
        let first = text.lines().next().unwrap_or_default();
        if self.input.hidden {
            return self.insert(first);
        }
        if let Some(finding) = &mut self.input.finding {
            return finding.extend(first);
        }
        if self.scroll.paste(first) {
            return self.find_anew();
        }
        match text.contains('\n') {
            true => self.overlay = Some(Overlay::Paste(text.to_owned())),
            false => self.insert(text),
        }
    }

    fn insert(&mut self, text: &str) {
        if !self.input.insert(text) {
            self.flash("too long: the text was not inserted");
        }
    }

    /// Handles a key while something is open. Returns whether it was for that.
    fn over(&mut self, key: &KeyEvent, act: Option<Act>) -> bool {
        if let Some(Overlay::Paste(text)) = &self.overlay {
            let text = text.clone();
            match (act, key.code) {
                (Some(Act::Send), _) => {
                    let whole = format!("{}{text}", self.input.text());
                    if self.must_stay(&whole) {
                        return true;
                    }
                    let within = self.input.draft().within;
                    self.input.set("");
                    self.say(&whole, within);
                }
                (Some(Act::Complete), _) => self.insert(&text),
                (Some(Act::Close | Act::Interrupt), _) => {}
                // Another key is a mistake: the question stays open.
                _ => return true,
            }
            self.overlay = None;
            return true;
        }
        let (width, height) = self.pane_size();
        let Some(Overlay::Pane(pane)) = &mut self.overlay else { return false };
        let page = height as i64 - 1;
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

    fn next_active(&mut self) {
        match self.windows.next_news() {
            News::At { index, from } => {
                self.switch(index);
                self.windows.came_from(from);
            }
            News::Here => self.go_to_end(),
            News::BackTo(index) => self.switch(index),
            News::Nowhere => self.flash("nothing is new"),
        }
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        let areas = self.areas();
        let at = Position::new(mouse.column, mouse.row);
        match mouse.kind {
            MouseEventKind::ScrollUp => self.wheel(WHEEL_ROWS),
            MouseEventKind::ScrollDown => self.wheel(-WHEEL_ROWS),
            MouseEventKind::Down(MouseButton::Left) => {
                if let Some(rooms) = areas.rooms.filter(|rooms| rooms.contains(at)) {
                    let first = self.windows.first_room(rooms.height);
                    // Below the title of the pane.
                    let row = usize::from(at.y - rooms.y);
                    if row > 0 {
                        self.switch(first + row - 1);
                    }
                }
            }
            _ => {}
        }
    }

    /// Scrolls what is open, or the room, up by some rows.
    fn wheel(&mut self, rows: i64) {
        let (width, height) = self.pane_size();
        match &mut self.overlay {
            Some(Overlay::Pane(pane)) => pane.scroll(-rows, width, height),
            Some(Overlay::Paste(_)) => {}
            None => self.scroll(rows),
        }
    }

    /// Columns and rows of a pane's content.
    fn pane_size(&self) -> (usize, usize) {
        let area = self.areas().lines;
        (area.width.saturating_sub(2).into(), area.height.saturating_sub(1).into())
    }
}
