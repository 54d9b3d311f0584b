//! Pictures that the terminal shows.

use super::*;

/// A picture with a red upper half and a black lower one.
fn picture() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    let colour = |y: u32| if y < 40 { [255, 0, 0] } else { [0, 0, 0] };
    let picture = image::RgbImage::from_fn(80, 80, |_, y| image::Rgb(colour(y)));
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

#[test]
fn a_picture_is_shown_in_cells_and_not_kept() {
    let world = World::with(LIMITS);
    let (mut bob, json) = (world.enters("bob"), world.enters_as("carol", "--json"));
    json.sees("connected");
    world.admit("alice");
    let here = folder(&world, "alice");
    fs::write(here.join("red.png"), picture()).unwrap();
    // A picture that ends early.
    fs::write(here.join("half.png"), &picture()[..60]).unwrap();
    let (code, _, told) = runs(&world, "alice", &["--send-file", "red.png"]);
    assert_eq!(code, 0, "{told}");
    let message = object(&json.sees("red.png"));
    assert_eq!(message["file"]["size"], json!([80, 80]), "{message}");
    assert_eq!(message["file"]["media"], "image/png");
    let args = ["--send-file", "half.png", "--keep-metadata"];
    let (code, _, told) = runs(&world, "alice", &args);
    assert_eq!(code, 0, "{told}");
    let half = object(&json.sees("half.png"))["seq"].as_str().unwrap().to_owned();
    let seq = message["seq"].as_str().unwrap();
    bob.types(&format!("/view {seq}"));
    // Without colours: the upper half is light, the lower one black.
    bob.sees(&"\u{2591}".repeat(40));
    bob.types(&format!("/view {half}"));
    bob.sees("no preview: the picture is damaged");
    let mut alice = Terminal::run(&world.screen_of("alice"));
    alice.shows("* connected");
    alice.types(&format!("/view {seq}\r"));
    alice.shows(&format!("picture {seq} of #lobby"));
    for person in ["alice", "bob"] {
        let servers = world.data_folder(person).join("servers");
        let folders = fs::read_dir(servers).unwrap().map(|entry| entry.unwrap().path());
        let folders = folders.filter(|path| path.extension().is_some_and(|it| it == "transfers"));
        let left: Vec<_> = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A full screen in a terminal like kitty, which shows a picture.
fn views_in_kitty(world: &World, name: &str, seq: &str) -> Terminal {
    let mut command = world.screen_of(name);
    command.env_remove("NO_COLOR").env("TERM", "xterm-kitty").env("COLORTERM", "truecolor");
    let mut screen = Terminal::run(&command);
    screen.shows("* connected");
    screen.types(&format!("/view {seq}\r"));
    screen.shows(&format!("picture {seq} of #lobby"));
    world.until("the terminal is asked", || screen.bytes().contains("\x1b_Gi=31,s=1,v=1,a=q,"));
    screen
}

#[test]
fn a_picture_is_shown_in_pixels_where_the_terminal_answers_that_it_can() {
    let world = World::with(LIMITS);
    for name in ["alice", "bob"] {
        world.admit(name);
    }
    fs::write(folder(&world, "alice").join("red.png"), picture()).unwrap();
    let (code, _, told) = runs(&world, "alice", &["--send-file", "red.png"]);
    assert_eq!(code, 0, "{told}");
    let mut alice = views_in_kitty(&world, "alice", "1");
    assert!(!alice.bytes().contains("a=T"), "not before the answer");
    alice.types("\x1b_Gi=31;OK\x1b\\");
    let sent = || alice.bytes().split("\x1b_G").skip(1).map(str::to_owned).collect::<Vec<_>>();
    let is_sent = || sent().iter().any(|part| part.contains("m=0;"));
    world.until("the picture is sent", is_sent);
    let parts: Vec<_> = sent().into_iter().skip_while(|part| !part.starts_with("a=T,")).collect();
    assert!(parts[0].contains("f=32,s=80,v=80,"), "{}", parts[0].split(';').next().unwrap());
    let chunk =
        |part: &String| part.split_once(';').unwrap().1.split('\x1b').next().unwrap().to_owned();
    let chunks: Vec<_> = parts.iter().map(chunk).collect();
    assert!(chunks.iter().all(|chunk| chunk.len() <= 4_096));
    let pixels = STANDARD.decode(chunks.concat()).unwrap();
    assert_eq!((pixels.len(), &pixels[..4]), (80 * 80 * 4, &[255, 0, 0, 255][..]));
    // A change of its rows, as by somebody who joins, places it again and sends no pixels.
    let transmitted = || alice.bytes().matches("\x1b_Ga=T,").count();
    let before = transmitted();
    world.admit("carol");
    let carol = world.client("carol", &["--json"]);
    carol.sees("connected");
    world.until("it is placed again", || alice.bytes().contains("\x1b_Ga=p,"));
    assert_eq!((before, transmitted()), (1, 1));
    alice.types("\x1b");
    world.until("it is removed with its pane", || alice.bytes().contains("\x1b_Ga=d,"));
    // The end of the program removes it too.
    let mut alice = views_in_kitty(&world, "alice", "1");
    alice.types("\x1b_Gi=31;OK\x1b\\");
    world.until("the picture is sent", || alice.bytes().contains("m=0;"));
    assert!(!alice.bytes().contains("\x1b_Ga=d,"), "the control");
    alice.signal(Signal::TERM);
    world.until("it is removed", || {
        let bytes = alice.bytes();
        let removed = bytes.rfind("\x1b_Ga=d,");
        removed.is_some() && removed < bytes.rfind("\x1b[?1049l")
    });
    // A terminal that does not answer keeps the half blocks. A part of an answer is no typed text.
    let mut bob = views_in_kitty(&world, "bob", "1");
    bob.types("\x1b_Gi=31;EINVAL\x1b\\");
    bob.types("hello");
    bob.shows("hello");
    assert!(!bob.bytes().contains("a=T") && !bob.screen().contains("EINVAL"), "{}", bob.screen());
}
