//! Signals, as a program with the full screen hears them.

/// What the system tells a program that has the full screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C, from somewhere else than this terminal in raw mode.
    Interrupt,
    End,
    /// Into the background, and back from it.
    Suspend,
    Continue,
    /// The window has another size.
    Resize,
}
