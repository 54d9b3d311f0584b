//! Linux and similar systems: Android, macOS.

pub mod files;
mod keys;
pub mod programs;
pub mod terminal;
