//! What a browser has of this folder: the model, its storage, the connection without sockets, and
//! the page.

pub(crate) mod addresses;
mod clock_watch;
#[path = "connection/wasm.rs"]
mod connection;
pub(crate) mod conversations;
pub mod core;
pub mod files {
    //! Files that are sent and fetched. The browser decodes pictures.
    pub mod download;
    pub mod metadata;
    pub mod name;
    pub mod picture;
    pub mod source;
    pub mod thumb;
}
#[path = "desk/wasm.rs"]
mod desk;
mod input;
mod mistyped;
pub mod model;
pub(crate) mod outbox;
mod restored;
mod runtime;
pub mod slash;
pub mod storage;
mod ticket;
pub mod transfer;
#[path = "ui/wasm.rs"]
mod ui;
