//! Key bindings, as one table for the program and for F1.

use std::collections::{BTreeMap, HashMap};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Send,
    Newline,
    Complete,
    CompleteBack,
    Older,
    Newer,
    FindTyped,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Erase,
    EraseNext,
    KillLine,
    KillToHome,
    KillWord,
    KillNextWord,
    Yank,
    Undo,
    PageUp,
    PageDown,
    Top,
    Bottom,
    /// The digit of the key selects the room.
    Window,
    NextWindow,
    PreviousWindow,
    NextActive,
    FirstUnread,
    NextMention,
    PreviousMention,
    Search,
    /// Choose a message.
    Choose,
    /// Choose a room by name or number.
    Switcher,
    Help,
    Rooms,
    People,
    Editor,
    Redraw,
    Interrupt,
    EndOfInput,
    Suspend,
    Close,
}

/// A row of the table.
pub struct Binding {
    pub act: Act,
    /// Its name under `keys` in screen.json.
    pub name: &'static str,
    pub keys: &'static [&'static str],
    pub does: &'static str,
}

const fn bind(
    act: Act,
    name: &'static str,
    keys: &'static [&'static str],
    does: &'static str,
) -> Binding {
    Binding { act, name, keys, does }
}

/// Every binding, in the order of F1.
pub const BINDINGS: &[Binding] = &[
    bind(Act::Send, "send", &["enter"], "send"),
    bind(Act::Newline, "newline", &["alt-enter", "ctrl-j"], "a new line in the message"),
    bind(Act::Complete, "complete", &["tab"], "complete a command, name, channel or path"),
    bind(Act::CompleteBack, "complete-back", &["shift-tab"], "the previous completion"),
    bind(Act::Older, "older", &["up"], "the previous typed line"),
    bind(Act::Newer, "newer", &["down"], "the next typed line"),
    bind(Act::FindTyped, "find-typed", &["ctrl-r"], "search the typed lines"),
    bind(Act::PageUp, "page-up", &["pageup"], "scroll up; loads older messages"),
    bind(Act::PageDown, "page-down", &["pagedown"], "scroll down"),
    bind(Act::Top, "top", &["alt-home"], "the oldest loaded message"),
    bind(Act::Bottom, "bottom", &["alt-end"], "the newest message"),
    bind(
        Act::Window,
        "window",
        &["alt-1", "alt-2", "alt-3", "alt-4", "alt-5", "alt-6", "alt-7", "alt-8", "alt-9"],
        "the room with that number",
    ),
    bind(Act::NextWindow, "next-room", &["ctrl-n", "alt-down"], "the next room"),
    bind(Act::PreviousWindow, "previous-room", &["ctrl-p", "alt-up"], "the previous room"),
    bind(
        Act::NextActive,
        "next-active",
        &["alt-a"],
        "the next room with unread messages, mentions first; then back",
    ),
    bind(Act::FirstUnread, "first-unread", &["alt-u"], "the first unread message"),
    bind(Act::PreviousMention, "previous-mention", &["alt-p"], "the previous mention"),
    bind(Act::NextMention, "next-mention", &["alt-n"], "the next mention"),
    bind(Act::Search, "search", &["ctrl-f"], "search this room; Enter goes further up"),
    bind(Act::Choose, "choose", &["alt-m"], "choose a message: r answers, e edits, d deletes"),
    bind(Act::Switcher, "switcher", &["alt-j"], "choose a room by name or number"),
    bind(Act::Help, "help", &["f1"], "this help"),
    bind(Act::Rooms, "rooms", &["f7"], "hide or show the list of rooms"),
    bind(Act::People, "people", &["f8"], "hide or show the list of people"),
    bind(Act::Editor, "editor", &["ctrl-x"], "write the message in $EDITOR"),
    bind(Act::Redraw, "redraw", &["ctrl-l"], "redraw the screen"),
    bind(Act::Close, "close", &["esc"], "close the open pane"),
    bind(Act::Interrupt, "interrupt", &["ctrl-c"], "clear the line; twice leaves"),
    bind(Act::EndOfInput, "end", &["ctrl-d"], "delete a character; leave on an empty line"),
    bind(Act::Suspend, "suspend", &["ctrl-z"], "suspend; fg resumes"),
    bind(Act::Left, "left", &["left", "ctrl-b"], "a character to the left"),
    bind(Act::Right, "right", &["right"], "a character to the right"),
    bind(Act::WordLeft, "word-left", &["alt-b", "ctrl-left", "alt-left"], "a word to the left"),
    bind(
        Act::WordRight,
        "word-right",
        &["alt-f", "ctrl-right", "alt-right"],
        "a word to the right",
    ),
    bind(Act::Home, "home", &["home", "ctrl-a"], "the start of the line"),
    bind(Act::End, "line-end", &["end", "ctrl-e"], "the end of the line"),
    bind(Act::Erase, "erase", &["backspace", "ctrl-h"], "delete the previous character"),
    bind(Act::EraseNext, "erase-next", &["delete"], "delete the next character"),
    bind(
        Act::KillLine,
        "kill-line",
        &["ctrl-k"],
        "cut to the end of the line; choose a room at its end",
    ),
    bind(Act::KillToHome, "kill-to-home", &["ctrl-u"], "cut to the start of the line"),
    bind(Act::KillWord, "kill-word", &["ctrl-w", "alt-backspace"], "cut the previous word"),
    bind(Act::KillNextWord, "kill-next-word", &["alt-d"], "cut the next word"),
    bind(Act::Yank, "yank", &["ctrl-y"], "insert the text that was cut last"),
    bind(Act::Undo, "undo", &["ctrl-_"], "undo"),
];

type Chord = (KeyCode, KeyModifiers);

/// The active bindings.
pub struct Keys {
    acts: HashMap<Chord, Act>,
    own: BTreeMap<String, Vec<String>>,
}

impl Keys {
    /// Builds the table; the user's keys replace the default ones.
    pub fn new(own: &BTreeMap<String, Vec<String>>) -> Result<Keys, String> {
        if let Some(name) = own.keys().find(|name| !BINDINGS.iter().any(|one| one.name == **name)) {
            return Err(format!("keys: there is no {name:?}: F1 lists the names"));
        }
        let mut acts = HashMap::new();
        for binding in BINDINGS.iter().filter(|binding| !own.contains_key(binding.name)) {
            acts.extend(binding.keys.iter().filter_map(|key| Some((chord(key)?, binding.act))));
        }
        let mut taken = HashMap::new();
        for binding in BINDINGS {
            for key in own.get(binding.name).into_iter().flatten() {
                let chord = chord(key).ok_or_else(|| format!("keys: {key:?} is not a key"))?;
                let digit = matches!(chord.0, KeyCode::Char('1'..='9'));
                if binding.act == Act::Window && !digit {
                    return Err(format!(
                        "keys: window: {key:?} does not end in a digit from 1 to 9"
                    ));
                }
                if let Some(other) = taken.insert(chord, binding.name) {
                    let name = binding.name;
                    return Err(format!("keys: {key:?} is bound to {other:?} and to {name:?}"));
                }
                acts.insert(chord, binding.act);
            }
        }
        Ok(Keys { acts, own: own.clone() })
    }

    /// The text of F1: every key and its action. A default key that the user has bound to another
    /// action is omitted.
    pub fn help(&self) -> Vec<String> {
        let row = |binding: &Binding| {
            let own =
                self.own.get(binding.name).map(|own| own.iter().map(String::as_str).collect());
            let keys: Vec<&str> = own.unwrap_or_else(|| binding.keys.to_vec());
            let does = |key: &&str| {
                chord(key).and_then(|chord| self.acts.get(&chord)) == Some(&binding.act)
            };
            let keys: Vec<&str> = keys.into_iter().filter(does).collect();
            let keys = match keys.is_empty() {
                true => "(no key)".to_owned(),
                false if binding.act == Act::Window && keys == binding.keys => {
                    "alt-1..9".to_owned()
                }
                false => keys.join(", "),
            };
            format!("{keys:<28} {}", binding.does)
        };
        BINDINGS.iter().map(row).collect()
    }

    pub fn act(&self, key: &KeyEvent) -> Option<Act> {
        self.acts.get(&normal(key)).copied()
    }
}

/// The case of letters is part of the character, and Shift-Tab is a key of its own.
fn normal(key: &KeyEvent) -> Chord {
    let mut modifiers = key.modifiers;
    match key.code {
        KeyCode::Char(c) if modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
            modifiers.remove(KeyModifiers::SHIFT);
            (KeyCode::Char(c.to_ascii_lowercase()), modifiers)
        }
        KeyCode::Char(_) | KeyCode::BackTab => {
            modifiers.remove(KeyModifiers::SHIFT);
            (key.code, modifiers)
        }
        code => (code, modifiers),
    }
}

/// Parses `ctrl-x`, `alt-enter`, `f1`, `pageup`.
pub fn chord(text: &str) -> Option<Chord> {
    let mut modifiers = KeyModifiers::NONE;
    let mut rest = text;
    loop {
        let (modifier, left) = match rest.split_once('-') {
            Some(("ctrl", left)) => (KeyModifiers::CONTROL, left),
            Some(("alt", left)) => (KeyModifiers::ALT, left),
            Some(("shift", "tab")) => return Some((KeyCode::BackTab, modifiers)),
            Some(("shift", left)) => (KeyModifiers::SHIFT, left),
            _ => break,
        };
        (modifiers, rest) = (modifiers | modifier, left);
    }
    let code = match rest {
        "enter" => KeyCode::Enter,
        "tab" => KeyCode::Tab,
        "esc" => KeyCode::Esc,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "pageup" => KeyCode::PageUp,
        "pagedown" => KeyCode::PageDown,
        "backspace" => KeyCode::Backspace,
        "delete" => KeyCode::Delete,
        "insert" => KeyCode::Insert,
        // The code that terminals send for Ctrl-_.
        "_" if modifiers == KeyModifiers::CONTROL => KeyCode::Char('7'),
        key => match key.strip_prefix('f').and_then(|number| number.parse().ok()) {
            Some(number @ 1..=24) => KeyCode::F(number),
            _ => {
                let mut letters = key.chars();
                match (letters.next(), letters.next()) {
                    (Some(letter), None) => KeyCode::Char(letter.to_ascii_lowercase()),
                    _ => return None,
                }
            }
        },
    };
    Some((code, modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_is_one_and_does_one_thing() {
        let mut seen = HashMap::new();
        for binding in BINDINGS {
            for key in binding.keys {
                let chord = chord(key).unwrap_or_else(|| panic!("{key}"));
                assert!(seen.insert(chord, binding.name).is_none(), "{key} is there twice");
            }
        }
        assert_eq!(Keys::new(&BTreeMap::new()).unwrap().help().len(), BINDINGS.len());
    }

    #[test]
    fn the_document_lists_the_same_table() {
        let row = |one: &Binding| {
            let keys: Vec<_> = one.keys.iter().map(|key| format!("`{key}`")).collect();
            format!("| `{}` | {} | {} |", one.name, keys.join(", "), one.does)
        };
        let rows = BINDINGS.iter().map(row).collect::<Vec<_>>().join("\n");
        let document = include_str!("../../../../docs/screen.md");
        let (_, table) = document.split_once("| name | keys | does |\n|---|---|---|\n").unwrap();
        assert_eq!(table.split("\n\n").next().unwrap().trim_end(), rows);
    }

    #[test]
    fn the_users_keys_replace_the_default_ones() {
        let own = BTreeMap::from([("page-up".to_owned(), vec!["ctrl-b".to_owned()])]);
        let keys = Keys::new(&own).unwrap();
        let act = |code, modifiers| keys.act(&KeyEvent::new(code, modifiers));
        assert_eq!(act(KeyCode::PageUp, KeyModifiers::NONE), None);
        assert_eq!(act(KeyCode::Char('b'), KeyModifiers::CONTROL), Some(Act::PageUp));
        assert_eq!(act(KeyCode::Enter, KeyModifiers::NONE), Some(Act::Send));
        let error = |own| Keys::new(&own).err().unwrap();
        assert!(error(BTreeMap::from([("fly".to_owned(), vec![])])).contains("fly"));
        let own = |name: &str, keys: &[&str]| {
            (name.to_owned(), keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
        };
        assert!(error(BTreeMap::from([own("send", &["hyper-x"])])).contains("hyper-x"));
        let same = [own("help", &["ctrl-g"]), own("rooms", &["f9", "ctrl-g"])];
        assert!(error(BTreeMap::from(same)).contains("bound to \"help\" and to \"rooms\""));
        assert!(error(BTreeMap::from([own("window", &["f2"])])).contains("digit"));
        // F1 shows the current action of a key, not its default one.
        let taken = BTreeMap::from([own("help", &["ctrl-f"]), own("undo", &[])]);
        let help = Keys::new(&taken).unwrap().help();
        let row = |does: &str| help.iter().find(|row| row.ends_with(does)).unwrap().clone();
        assert!(row(" this help").starts_with("ctrl-f "));
        assert!(row("Enter goes further up").starts_with("(no key) "));
        assert!(row(" undo").starts_with("(no key) "));
        assert!(row("with that number").starts_with("alt-1..9 "));
    }
}
