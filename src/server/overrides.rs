//! Settings of the command line that replace those of the configuration, also after a reload.

use std::net::SocketAddr;

use log::LevelFilter;

use crate::config::Config;

#[derive(Clone, Copy, Default)]
pub struct Overrides {
    pub log_level: Option<LevelFilter>,
    /// The address of the web port; `Some(None)` is none.
    pub web: Option<Option<SocketAddr>>,
}

impl Overrides {
    /// Replaces settings of a configuration that was read.
    pub fn apply(&self, config: &mut Config) {
        config.web = self.web.unwrap_or(config.web);
    }
}
