//! WebAssembly in a browser, which has neither files nor a clock nor threads: the page's Worker
//! states the time before each call, and stores the files after it.

pub mod clock;
pub mod disk;
pub mod files;
pub mod programs;
