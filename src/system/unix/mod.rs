//! Linux, and what is like it: Android, macOS.

pub mod files;
pub mod programs;
pub mod terminal;
