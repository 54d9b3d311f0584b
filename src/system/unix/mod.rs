//! Linux, and what is like it: Android, macOS.

pub mod files;
mod keys;
pub mod programs;
pub mod terminal;
