//! What a terminal answers beside keys.

use ratatui::crossterm::event::Event;

/// Asks a terminal whether it has kitty's graphics protocol: whether it would take one pixel.
pub const GRAPHICS_QUERY: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\";

/// An input of a terminal.
pub enum Heard {
    Event(Event),
    /// The answer that it has the protocol.
    Graphics,
}
