//! The page in a browser, which has its files from the server.

/// Returns a text that differs between builds with other files: the Worker adds it.
pub fn tag() -> Option<String> {
    None
}
