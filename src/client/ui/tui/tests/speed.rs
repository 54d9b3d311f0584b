//! Costs with a full scrollback: `cargo test --release --lib screen::tests::speed -- --ignored
//! --nocapture` prints the figures of docs/performance.md.

use std::time::Instant;

use serde_json::json;

use super::super::window::LINES_MAX;
use super::*;

/// Bound on the time from a key to the screen, in milliseconds.
const KEY_MS: f64 = 50.0;

/// Milliseconds of the slowest of these calls.
fn slowest(calls: usize, mut call: impl FnMut()) -> f64 {
    let once = |()| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64() * 1e3
    };
    std::iter::repeat_n((), calls).map(once).fold(0.0, f64::max)
}

#[test]
#[ignore = "it measures: in release, with nothing else under way"]
fn a_key_with_100_000_lines() {
    let mut desk = Desk::new(200, 50);
    let text = "some words as people say them, about the length of two rows on a phone, or so";
    let mut seq = 0;
    let mut say = |desk: &mut Desk| {
        seq += 1;
        desk.says("bob", "#lobby", &format!("{text} {seq}"));
    };
    let start = Instant::now();
    for _ in 0..LINES_MAX {
        say(&mut desk);
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / LINES_MAX as f64;
    println!("| a line that comes, us, the mean of 100,000 | {each:.1} |");
    assert_eq!(desk.app.reader.window().lines.len(), LINES_MAX);
    desk.draws();
    let mut slow = Vec::new();
    let mut measure = |what: &str, calls: usize, does: &mut dyn FnMut(&mut Desk)| {
        let ms = slowest(calls, || {
            does(&mut desk);
            desk.draws();
        });
        println!("| {what} | {ms:.2} |");
        slow.extend((ms >= KEY_MS).then(|| what.to_owned()));
    };
    measure("a character is typed", 100, &mut |desk| desk.types("x"));
    measure("17 lines and a character", 100, &mut |desk| {
        (0..17).for_each(|_| say(desk));
        desk.types("x");
    });
    measure("PageUp", 100, &mut |desk| desk.presses("pageup"));
    measure("the oldest line (Alt-Home)", 10, &mut |desk| desk.presses("alt-end alt-home"));
    measure("17 lines and a character, scrolled up", 100, &mut |desk| {
        (0..17).for_each(|_| say(desk));
        desk.types("x");
    });
    measure("Ctrl-F for what is nowhere, each letter", 10, &mut |desk| {
        desk.presses("ctrl-f");
        desk.types("q");
        desk.presses("esc");
    });
    measure("the mention before, where there is none", 10, &mut |desk| desk.presses("alt-p"));
    measure("the first new line, where there is none", 10, &mut |desk| desk.presses("alt-u"));
    measure("another size", 10, &mut |desk| {
        let width = if desk.app.reader.view.width() == 200 { 80 } else { 200 };
        desk.resizes(width, 50);
    });
    measure("10,000 characters are typed", 10, &mut |desk| {
        desk.app.reader.input.set(&text.repeat(130))
    });
    measure("an edit of a line that is gone", 10, &mut |desk| {
        desk.says_as("bob", "#lobby", "no", json!({"kind": "edit", "of": "1"}));
    });
    assert!(slow.is_empty(), "{slow:?}");
}
