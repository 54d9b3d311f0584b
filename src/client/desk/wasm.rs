//! The page in a browser opens addresses itself, and writes no files.

use super::model::{LogWish, Output};
use crate::chat::Target;

#[derive(Default)]
pub struct Desk;

impl Desk {
    /// Writes nothing.
    pub fn note(&mut self, _: &Output) -> Option<Output> {
        None
    }

    /// Declines `/log`.
    pub fn log(&mut self, _: &Target, _: LogWish) -> Output {
        Output::Error("the page cannot write files".to_owned())
    }

    /// Shows the address, which the user can open.
    pub fn open(&self, address: &str, _: bool) -> Output {
        Output::Notice(address.to_owned())
    }
}
