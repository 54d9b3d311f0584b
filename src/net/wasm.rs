//! What a browser has of this folder: its own sockets carry the records.

pub mod dial_error;
