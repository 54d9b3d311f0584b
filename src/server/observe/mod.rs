//! Log, metrics and service notifications. This folder does not know the observed parts: numbers
//! and health are passed in.

pub mod counters;
pub mod log;
pub mod prometheus;
pub mod systemd;
