//! What the server says of itself to people and programs that watch it. Nothing here knows what is
//! watched: the numbers and the health are handed in.

pub mod counters;
pub mod log;
pub mod prometheus;
pub mod systemd;
