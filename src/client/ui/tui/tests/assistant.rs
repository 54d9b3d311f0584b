//! Snapshots of the first contact.

use insta::assert_snapshot;

use super::super::assistant::{Sheet, draw};
use super::*;

fn picture(sheet: &Sheet) -> String {
    let mut terminal = Terminal::new(TestBackend::new(60, 14)).unwrap();
    terminal.draw(|frame| draw(frame, &Theme::Dark.look(), sheet)).unwrap();
    let at = terminal.backend_mut().get_cursor_position().unwrap();
    format!(
        "{}\ncursor {},{}",
        rows(terminal.backend().buffer()).join("\n").trim_matches(['\n', ' ']),
        at.x,
        at.y
    )
}

fn done() -> Vec<(String, String)> {
    let pair = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    vec![pair("server", "pychat://192.168.1.20:5000/q2bA"), pair("name", "bob")]
}

#[test]
fn the_server_is_requested_and_an_error_is_shown() {
    let sheet = Sheet {
        done: &[],
        asked: &["Which server?", "Paste the line that its operator sent you"],
        brief: None,
        trouble: Some("nowhere:5000 is not known yet: paste the invite of its operator, please"),
        typed: Some("nowhere"),
        hidden: false,
    };
    assert_snapshot!(picture(&sheet), @"
    pychat: the first contact

      Which server?
      Paste the line that its operator sent you
      =!= nowhere:5000 is not known yet: paste the invite of
          its operator, please

      > nowhere

      Enter goes on, Ctrl-C leaves
    cursor 11,8
    ");
}

#[test]
fn the_key_is_made_while_something_moves() {
    let sheet = Sheet {
        done: &done(),
        asked: &["making an RSA-3072 key ... /"],
        brief: None,
        trouble: None,
        typed: None,
        hidden: false,
    };
    assert_snapshot!(picture(&sheet), @"
    pychat: the first contact

      server  pychat://192.168.1.20:5000/q2bA
      name    bob

      making an RSA-3072 key ... /
    cursor 0,0
    ");
}

#[test]
fn a_passphrase_is_stars() {
    let sheet = Sheet {
        done: &done(),
        asked: &["A passphrase for your new key?", "Empty leaves the key open."],
        brief: None,
        trouble: None,
        typed: Some("tall tree"),
        hidden: true,
    };
    assert_snapshot!(picture(&sheet), @"
    pychat: the first contact

      server  pychat://192.168.1.20:5000/q2bA
      name    bob

      A passphrase for your new key?
      Empty leaves the key open.

      > *********

      Enter goes on, Ctrl-C leaves
    cursor 13,9
    ");
}

#[test]
fn the_smallest_terminal_shows_the_question_and_the_answer() {
    let mut terminal = Terminal::new(TestBackend::new(12, 4)).unwrap();
    let sheet = Sheet {
        done: &done(),
        asked: &["Your name there? [bob]", "The name that the operator registers for you."],
        brief: None,
        trouble: None,
        typed: Some("bob"),
        hidden: false,
    };
    terminal.draw(|frame| draw(frame, &Theme::Dark.look(), &sheet)).unwrap();
    let shown = rows(terminal.backend().buffer());
    assert_eq!(shown[..3], ["Your name", "there? [bob]", "> bob"], "{shown:?}");
}

#[test]
fn no_size_is_too_small() {
    let done = done();
    for (width, height) in [(0, 0), (1, 1), (5, 3), (20, 4)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let typed = Some("a rather long answer");
        let sheet = Sheet {
            done: &done,
            asked: &["Which?"],
            brief: None,
            trouble: Some("no"),
            typed,
            hidden: false,
        };
        terminal.draw(|frame| draw(frame, &Theme::Dark.look(), &sheet)).unwrap();
    }
}
