//! What a browser has of this folder: the page's side of the model.

mod complete;
mod face;
pub mod json;
mod objects;
#[path = "page/wasm.rs"]
pub mod page;
pub mod rooms;
mod words;

pub use face::{Person, Ui};
