//! The part of this folder for browsers, whose own sockets carry the records.

pub mod dial_error;
