//! Signals to a full-screen program.

/// A signal to a full-screen program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C from elsewhere, because this terminal is in raw mode.
    Interrupt,
    End,
    /// Suspend, and continue after it.
    Suspend,
    Continue,
    /// The size of the window has changed.
    Resize,
}
