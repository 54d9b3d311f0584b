//! Tests of a conversation's lines and members.

use super::*;

fn said(seq: u64) -> Line {
    let what = What::Said {
        who: "ana".parse().unwrap(),
        text: format!("line {seq}"),
        form: Form::Text,
        own: false,
        mention: false,
        change: Change::None,
        preview: Vec::new(),
    };
    Line { time_ms: 0, day: 0, seq: Some(Seq(seq)), what }
}

fn seqs(window: &Window) -> Vec<u64> {
    window.lines.iter().filter_map(|line| line.seq).map(|seq| seq.0).collect()
}

#[test]
fn older_lines_come_before_and_numbers_stay() {
    let mut window = Window::new("#tea".parse().unwrap());
    window.push(said(5));
    window.push(said(6));
    let number = window.numbers().start;
    window.merge(vec![said(3), said(4), said(5)]);
    assert_eq!(seqs(&window), [3, 4, 5, 6]);
    assert_eq!(window.line(number).unwrap().seq, Some(Seq(5)));
    window.merge(vec![said(1), said(2)]);
    assert_eq!(seqs(&window), [1, 2, 3, 4, 5, 6]);
    assert_eq!(window.line(number).unwrap().seq, Some(Seq(5)));
}

#[test]
fn lines_are_bounded() {
    let mut window = Window::new("#tea".parse().unwrap());
    for seq in 1..=LINES_MAX as u64 + 10 {
        window.push(said(seq));
    }
    assert_eq!((window.lines.len(), window.oldest()), (LINES_MAX, Some(Seq(11))));
    assert_eq!(window.numbers().start, 10);
    assert_eq!(window.older, Older::Perhaps);
}

#[test]
fn joins_and_parts_are_folded() {
    let mut window = Window::new("#tea".parse().unwrap());
    let names: Vec<UserName> = ["dave", "erin", "frank"].map(|n| n.parse().unwrap()).into();
    window.moved(&names[0], true, (0, 0));
    window.moved(&names[1], true, (0, 0));
    window.moved(&names[2], false, (0, 0));
    window.moved(&names[1], false, (0, 0));
    let left = vec![names[2].clone()];
    let joined = vec![names[0].clone()];
    assert_eq!(window.lines.len(), 1);
    assert_eq!(window.lines[0].what, What::Moves { joined, left });
}

#[test]
fn an_edit_is_shown_and_a_deletion_is_final() {
    let change = |from: &str, kind: Kind| {
        let said = Message::said(9, "#tea", from, "corrected");
        Message { kind, ..said }
    };
    let mut window = Window::new("#tea".parse().unwrap());
    window.push(said(5));
    let shown = |window: &Window| match &window.lines[0].what {
        What::Said { text, change, .. } => (text.clone(), *change),
        _ => unreachable!(),
    };
    let (edit, delete) = (Kind::Edit { of: Seq(5) }, Kind::Delete { of: Seq(5) });
    window.change(&change("bob", edit));
    assert_eq!(shown(&window), ("line 5".into(), Change::None), "a change of somebody else");
    window.change(&change("ana", edit));
    assert_eq!(shown(&window), ("corrected".into(), Change::Edited));
    for kind in [delete, edit] {
        window.change(&change("ana", kind));
        assert_eq!(shown(&window), (String::new(), Change::Deleted));
    }
}
