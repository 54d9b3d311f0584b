//! Themes: unread messages and mentions are visible in each of them.

use insta::assert_snapshot;
use ratatui::style::{Color, Modifier, Style};

use super::*;

/// The styled runs of each row, with their styles.
fn styled(desk: &mut Desk) -> String {
    let buffer = desk.draws();
    let width = usize::from(buffer.area.width);
    let mut rows = Vec::new();
    for cells in buffer.content.chunks(width) {
        let mut runs: Vec<(String, Style)> = Vec::new();
        for cell in cells {
            match runs.last_mut() {
                Some((text, style)) if *style == cell.style() => text.push_str(cell.symbol()),
                _ => runs.push((cell.symbol().to_owned(), cell.style())),
            }
        }
        let runs = runs.iter().filter_map(|(text, style)| {
            let how = how(*style);
            let text = text.trim();
            (!how.is_empty() && !text.is_empty()).then(|| format!("{text} [{how}]"))
        });
        let row = runs.collect::<Vec<_>>().join(" ");
        if !row.is_empty() {
            rows.push(row);
        }
    }
    rows.join("\n")
}

fn how(style: Style) -> String {
    let mut how = Vec::new();
    for (ground, colour) in [("", style.fg), ("on ", style.bg)] {
        if let Some(colour) = colour.filter(|colour| *colour != Color::Reset) {
            how.push(format!("{ground}{colour}"));
        }
    }
    let modifier = style.add_modifier;
    for (one, word) in [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::REVERSED, "reversed"),
        (Modifier::UNDERLINED, "underlined"),
    ] {
        if modifier.contains(one) {
            how.push(word.to_owned());
        }
    }
    how.join(" ")
}

/// Unread messages in two rooms, a mention, an own message, one that is not stored yet, and an
/// error.
fn lively(theme: Theme) -> Desk {
    let mut desk = Desk::with(100, 9, theme);
    desk.enters("#work", 0, 0, &["alice", "bob"]);
    desk.says("bob", "#work", "three");
    desk.says("bob", "@alice", "psst");
    desk.says("carol", "#lobby", "alice, look");
    desk.says("alice", "#lobby", "seen");
    desk.sends(1, "#lobby", "soon");
    desk.app.show(Output::Error("no".into()));
    desk
}

#[test]
fn dark() {
    assert_snapshot!(styled(&mut lively(Theme::Dark)), @"
    #lobby                                                 open: members and the operator read  3 online [252 on 236]
    rooms [244] │ [244] │people [244]
    1 #lobby [255 on 240] │ [244] │ [244] * alice [31]
    2 #work 1 [117 bold] │[14:03:02] [244] carol [100 bold] alice [213 bold] │ [244] * bob [28]
    3 @bob 1! [213 bold] │[14:03:03] [244] You [bold] │ [244] * carol [100]
    │[14:03:04] [244] You [244 bold] soon ... [244] │ [244]
    │ [244] =!= no [203] │ [244]
    * connected 12 ms [108 on 236] | [252 on 236] 2:#work 1 [117 on 236 bold] 3:@bob 1! [213 on 236 bold] F1 help [252 on 236]
    alice> [bold]
    ");
}

#[test]
fn light() {
    assert_snapshot!(styled(&mut lively(Theme::Light)), @"
    #lobby                                                 open: members and the operator read  3 online [236 on 254]
    rooms [242] │ [242] │people [242]
    1 #lobby [232 on 250] │ [242] │ [242] * alice [31]
    2 #work 1 [25 bold] │[14:03:02] [242] carol [100 bold] alice [127 bold] │ [242] * bob [28]
    3 @bob 1! [127 bold] │[14:03:03] [242] You [bold] │ [242] * carol [100]
    │[14:03:04] [242] You [242 bold] soon ... [242] │ [242]
    │ [242] =!= no [160] │ [242]
    * connected 12 ms [28 on 254] | [236 on 254] 2:#work 1 [25 on 254 bold] 3:@bob 1! [127 on 254 bold] F1 help [236 on 254]
    alice> [bold]
    ");
}

#[test]
fn sixteen_colours() {
    assert_snapshot!(styled(&mut lively(Theme::Sixteen)), @"
    #lobby                                                 open: members and the operator read  3 online [reversed]
    rooms [DarkGray] │ [DarkGray] │people [DarkGray]
    1 #lobby [reversed] │ [DarkGray] │ [DarkGray] * alice [Magenta]
    2 #work 1 [bold underlined] │[14:03:02] [DarkGray] carol [bold] alice [Magenta bold] │ [DarkGray] * bob [Magenta]
    3 @bob 1! [Magenta bold] │[14:03:03] [DarkGray] You [bold] │ [DarkGray]
    │[14:03:04] [DarkGray] You [DarkGray bold] soon ... [DarkGray] │ [DarkGray]
    │ [DarkGray] =!= no [Red] │ [DarkGray]
    * connected 12 ms | [reversed] 2:#work 1 [bold reversed underlined] 3:@bob 1! [Magenta bold reversed] F1 help [reversed]
    alice> [bold]
    ");
}

#[test]
fn unread_messages_are_visible_without_colours() {
    let mut desk = lively(Theme::Mono);
    assert_snapshot!(styled(&mut desk), @"
    #lobby                                                 open: members and the operator read  3 online [reversed]
    rooms [dim] │ [dim] │people [dim]
    1 #lobby [reversed] │ [dim] │ [dim]
    2 #work 1 [bold] │[14:03:02] [dim] carol [bold reversed] alice [bold reversed] │ [dim]
    3 @bob 1! [bold reversed] │[14:03:03] [dim] You [bold] │ [dim]
    │[14:03:04] [dim] You [bold dim] soon ... [dim] │ [dim]
    │ [dim] =!= no [bold] │ [dim]
    * connected 12 ms | [reversed] 2:#work 1 [bold reversed] 3:@bob 1! [bold reversed] F1 help [reversed]
    alice> [bold]
    ");
    let plain = |cell: &Cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset);
    assert!(desk.draws().content.iter().all(plain));
}

#[test]
fn the_theme_changes_at_once_and_is_stored() {
    let mut desk = lively(Theme::Dark);
    desk.enter("/theme light");
    assert_eq!(styled(&mut desk), {
        let mut light = lively(Theme::Light);
        styled(&mut light)
    });
    assert_eq!(desk.app.settings.theme, Some(Theme::Light));
    assert!(desk.effects().contains(&"Save".to_owned()));
    desk.enter("/theme pink");
    assert!(desk.picture().contains("which theme?"));
}

#[test]
fn disabled_colours_override_the_theme() {
    let settings = Settings { theme: Some(Theme::Light), ..Settings::default() };
    let of = |theme| App::new(settings.clone(), theme, TimeZone::UTC).unwrap().reader.look.theme;
    assert_eq!((of(Theme::Mono), of(Theme::Dark)), (Theme::Mono, Theme::Light));
    let mut desk = lively(Theme::Mono);
    let before = styled(&mut desk);
    desk.enter("/theme dark");
    desk.waits(20_000);
    assert_eq!(styled(&mut desk), before);
    assert_eq!(desk.app.settings.theme, Some(Theme::Dark), "for where there are colours");
}

#[test]
fn names_are_coloured_everywhere_unless_plain() {
    let mut desk = Desk::new(100, 8);
    desk.says("bob", "#lobby", "hi");
    let bob = desk.app.reader.look.name(&"bob".parse().unwrap());
    let with = |desk: &mut Desk| {
        let buffer = desk.draws();
        let cells = buffer.content.iter().filter(|cell| Some(cell.fg) == bob.fg);
        cells.map(|cell| cell.symbol()).collect::<String>()
    };
    let named = with(&mut desk);
    assert_eq!(named.matches("bob").count(), 2, "{named}");
    desk.enter("/colors");
    assert!(!with(&mut desk).contains("bob"));
}
