//! The page in a browser, which has its files from the server.

/// The server states which files it has (`/server.json`), not the client.
pub fn tag() -> Option<String> {
    None
}
