//! Files that are sent and fetched: their names, their bytes on this disk, and pictures. Without
//! sockets and without the model.

pub mod decode;
pub mod download;
pub mod metadata;
pub mod name;
pub mod picture;
pub mod source;
pub mod thumb;
