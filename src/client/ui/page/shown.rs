//! The page as a user interface where no program has an output of its own.

use std::sync::Arc;

use super::core::Core;
use crate::client::model::Output;
use crate::client::ui::Ui;

pub struct Shown(pub Arc<Core>);

impl Ui for Shown {
    fn show(&mut self, output: &Output) {
        self.0.show(output);
    }

    fn end(&mut self, exit_code: u8) -> bool {
        let reason = if exit_code == 0 { "the client has ended" } else { "see the last error" };
        // The page has it already.
        let _ = self.0.end(reason);
        self.0.spool.end();
        true
    }
}
