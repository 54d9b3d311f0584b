//! Environment variables, none of which a browser has.

/// Variable with the user's folder.
pub const HOME: &str = "HOME";
