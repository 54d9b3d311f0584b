//! What a browser has of this folder: the page's side of the model.

mod addresses;
mod complete;
mod face;
pub mod highlights;
pub mod json;
mod mention;
mod objects;
#[path = "page/wasm.rs"]
pub mod page;
pub mod rooms;
mod words;

pub use face::{Person, Ui};
