//! The terminal of the full screen: taken over, read on a thread of its own, and restored on every
//! way out.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::crossterm::event::Event;
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode, size};
use ratatui::layout::{Position, Size};
use ratatui::{Frame, Terminal};

use super::graphics::{Graphic, Graphics};
use super::links::{self, Hyperlink};
use super::painter::Painter;
use super::sgr16::Short;
use crate::system::{GRAPHICS_QUERY, Heard, Signal, terminal};

/// Time after which a program that was asked to end is ended, because its terminal is blocked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Puts the title of the window on the terminal's stack, and takes it from there.
const TITLE_SAVED: &str = "\x1b[22;2t";
const TITLE_RESTORED: &str = "\x1b[23;2t";

/// The full screen owns the terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Another program uses the terminal, so Ctrl-C is for that one.
static LENT: AtomicBool = AtomicBool::new(false);

/// A picture in pixels lies over the screen.
static PICTURE: AtomicBool = AtomicBool::new(false);
/// Removes it, also where the end of the program has cut its transmission off.
const REMOVES: &[u8] = b"\x1b\\\x1b_Ga=d,d=I,i=31,q=2\x1b\\";

/// An event of the terminal or the system.
#[derive(Debug)]
pub enum Word {
    Input(Event),
    /// The terminal has answered that it has kitty's graphics protocol.
    Graphics,
    /// The terminal is gone.
    Gone,
    /// A signal asks the program to end.
    Stop,
    /// The program is suspended, or resumed.
    Suspend,
    Continue,
    /// The window has another size, which is asked for before each picture.
    Resize,
}

/// What a frame has besides its cells.
type Over = (Vec<Hyperlink>, Option<Graphic>);

pub struct Tty {
    terminal: Terminal<Canvas>,
    painter: Painter<Short<BufWriter<Stdout>>>,
    /// Lets the reader continue: its next input may be for another program.
    read_on: Sender<()>,
    /// Receives a notice of each SIGCONT.
    continued: Receiver<()>,
    mouse: bool,
    /// The title that was set.
    title: Option<String>,
    /// The terminal has links.
    links: bool,
    graphics: Graphics,
}

impl Tty {
    /// Takes over the terminal. Its events go to `words`, wrapped by `wrap`.
    pub fn open<W: Send + 'static>(
        words: SyncSender<W>,
        wrap: fn(Word) -> W,
        mouse: bool,
    ) -> io::Result<Tty> {
        restore_on_panic();
        let continued = heed_signals(words.clone(), wrap)?;
        let terminal = Terminal::new(Canvas::default())?;
        let painter = Painter::new(Short::new(out()));
        let (read_on, may_read) = mpsc::channel();
        let links = links::are_known(|name| std::env::var(name).ok());
        let graphics = Graphics::of(|name| std::env::var(name).ok());
        let tty =
            Tty { terminal, painter, read_on, continued, mouse, title: None, links, graphics };
        tty.enter()?;
        let read = move || read(&words, wrap, &may_read);
        thread::Builder::new().name("keys".into()).spawn(read)?;
        Ok(tty)
    }

    fn enter(&self) -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        let mut out = io::stdout().lock();
        out.write_all(terminal::ENTER)?;
        if self.mouse {
            terminal::hear_mouse(&mut out, true)?;
        }
        out.flush()
    }

    /// Lets the reader read the next input.
    pub fn read_on(&self) {
        // A reader that has ended has already reported it.
        let _ = self.read_on.send(());
    }

    /// Draws a frame with the links and the picture that `draw` returns. Asks the terminal about
    /// pictures before the first one.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame) -> Over) -> io::Result<()> {
        let (mut links, mut graphic) = (Vec::new(), None);
        let drawn = self.terminal.draw(|frame| (links, graphic) = draw(frame))?;
        let picture = drawn.buffer.clone();
        links.retain(|_| self.links);
        if graphic.is_some() && self.graphics.asks() {
            self.write(GRAPHICS_QUERY)?;
        }
        self.painter.cover(graphic.filter(|_| self.graphics == Graphics::There));
        // Before the terminal gets it: the program may end meanwhile.
        PICTURE.fetch_or(self.painter.will_have_graphic(), Ordering::SeqCst);
        self.painter.paint(picture, links, self.terminal.backend().cursor)?;
        PICTURE.store(self.painter.has_graphic(), Ordering::SeqCst);
        Ok(())
    }

    /// Records that the terminal has kitty's graphics protocol.
    pub fn has_graphics(&mut self) {
        self.graphics.answered();
    }

    /// Sets the title of the window, or restores the one before. A name has only characters that a
    /// title may have.
    pub fn title(&mut self, title: Option<String>) -> io::Result<()> {
        if self.title == title {
            return Ok(());
        }
        let save = if self.title.is_none() { TITLE_SAVED } else { "" };
        let bytes = match &title {
            Some(title) => format!("{save}\x1b]2;{title}\x07"),
            None => TITLE_RESTORED.to_owned(),
        };
        self.title = title;
        self.write(bytes.as_bytes())
    }

    /// Redraws everything.
    pub fn redraw(&mut self) {
        self.painter.forget();
    }

    pub fn mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        let mut out = io::stdout().lock();
        terminal::hear_mouse(&mut out, on).and_then(|()| out.flush())
    }

    /// Writes bytes that are not part of the frame.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    }

    /// Takes over the terminal again after another program used it.
    pub fn take_again(&mut self) -> io::Result<()> {
        // The other program may have left any state, so ours is set completely.
        disable_raw_mode()?;
        self.enter()?;
        self.redraw();
        Ok(())
    }

    /// Suspends the program until the shell resumes it. Returns false if no shell would.
    pub fn suspend(&mut self) -> io::Result<bool> {
        if !terminal::may_stop() {
            return Ok(false);
        }
        leave();
        while self.continued.try_recv().is_ok() {}
        terminal::stop()?;
        // The signal may stop another thread first; this one must wait until the program is
        // resumed.
        let _ = self.continued.recv();
        self.take_again()?;
        Ok(true)
    }

    /// Runs a program that uses the terminal, which may set a title of its own.
    pub fn lend<T>(&mut self, run: impl FnOnce() -> T) -> io::Result<T> {
        leave();
        LENT.store(true, Ordering::SeqCst);
        let done = run();
        LENT.store(false, Ordering::SeqCst);
        self.take_again()?;
        Ok(done)
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // A terminal that is gone has no title.
        let _ = self.title(None);
        leave();
    }
}

/// Restores the terminal, if it was taken over.
pub fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let picture = if PICTURE.swap(false, Ordering::SeqCst) { REMOVES } else { b"" };
        terminal::give_back(picture);
    }
}

/// Makes a panic of any thread end the program, with a restored terminal that shows the message.
fn restore_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        leave();
        usual(panic);
        std::process::exit(101);
    }));
}

/// Reports signals, and each SIGCONT.
fn heed_signals<W: Send + 'static>(
    words: SyncSender<W>,
    wrap: fn(Word) -> W,
) -> io::Result<Receiver<()>> {
    let (tell, continued) = mpsc::channel();
    terminal::heed_signals(move |signal| {
        let word = match signal {
            Signal::Interrupt if LENT.load(Ordering::SeqCst) => return true,
            Signal::Interrupt | Signal::End => Word::Stop,
            Signal::Suspend => Word::Suspend,
            Signal::Continue => Word::Continue,
            Signal::Resize => Word::Resize,
        };
        match word {
            // Only a suspended program waits for it.
            Word::Continue => drop(tell.send(())),
            Word::Stop => drop(thread::spawn(end_anyway)),
            _ => {}
        }
        words.send(wrap(word)).is_ok()
    })?;
    Ok(continued)
}

/// Ends a program that is blocked by its terminal; by then all others have ended.
fn end_anyway() {
    thread::sleep(PATIENCE);
    thread::spawn(leave);
    thread::sleep(PATIENCE / 8);
    std::process::exit(130);
}

fn read<W>(words: &SyncSender<W>, wrap: fn(Word) -> W, may_read: &Receiver<()>) {
    let mut keys = terminal::Keys::open();
    loop {
        let (word, gone) = match keys.wait() {
            Ok(Heard::Event(event)) => (Word::Input(event), false),
            Ok(Heard::Graphics) => (Word::Graphics, false),
            Err(_) => (Word::Gone, true),
        };
        if words.send(wrap(word)).is_err() || gone || may_read.recv().is_err() {
            return;
        }
    }
}

fn out() -> BufWriter<Stdout> {
    BufWriter::with_capacity(64 << 10, io::stdout())
}

/// The surface for frames before they are painted. It stores the terminal's size and the cursor.
/// It queries nothing, because an answer would mix with typed keys.
#[derive(Default)]
struct Canvas {
    cursor: Option<Position>,
}

impl Backend for Canvas {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, _: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.cursor = None;
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.cursor = Some(position.into());
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let (columns, rows) = size()?;
        Ok(Size::new(columns, rows))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use portable_pty::{CommandBuilder, PtySize, native_pty_system};

    use super::*;

    #[test]
    #[ignore = "the test below runs it, on a terminal of its own"]
    fn panics() {
        let (words, _told) = mpsc::sync_channel(8);
        let _tty = Tty::open(words, |word| word, true).unwrap();
        let _ = thread::spawn(|| panic!("for a good reason")).join();
        unreachable!("a panic of any thread ends the program");
    }

    #[test]
    fn a_panic_restores_the_terminal_before_its_message() {
        let pair = native_pty_system().openpty(PtySize::default()).unwrap();
        let before = pair.master.get_termios().unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        let name = format!("{}::panics", module_path!().split_once("::").unwrap().1);
        command.args([&name, "--exact", "--ignored", "--nocapture"]);
        let mut child = pair.slave.spawn_command(command).unwrap();
        let mut screen = pair.master.try_clone_reader().unwrap();
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        let mut read_until = |wanted: &str| {
            while !String::from_utf8_lossy(&said).contains(wanted) {
                match screen.read(&mut buffer) {
                    Ok(bytes @ 1..) => said.extend_from_slice(&buffer[..bytes]),
                    _ => panic!("{:?}", String::from_utf8_lossy(&said)),
                }
            }
            String::from_utf8_lossy(&said).into_owned()
        };
        let said = read_until("for a good reason");
        assert_eq!(child.wait().unwrap().exit_code(), 101);
        let at = |text: &[u8]| said.find(std::str::from_utf8(text).unwrap()).unwrap();
        assert!(
            at(terminal::ENTER) < at(terminal::LEAVE)
                && at(terminal::LEAVE) < at(b"for a good reason"),
            "{said:?}"
        );
        let after = pair.master.get_termios().unwrap();
        assert_eq!(
            (before.local_flags, before.output_flags),
            (after.local_flags, after.output_flags)
        );
    }
}
