//! What a browser has of this folder: the page's side of the model.

mod complete;
pub mod highlights;
mod interface;
pub mod json;
mod mention;
mod objects;
#[path = "page/wasm.rs"]
pub mod page;
pub mod rooms;
mod words;

pub use interface::{Person, Ui};
