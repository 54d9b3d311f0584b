//! The part of this folder for browsers: the engine in steps, without a thread and a desktop.

mod arrival;
mod engine;
mod job;
mod meter;
mod ports;
mod reading;
pub mod steps;
mod upload;

pub use ports::Desk;
