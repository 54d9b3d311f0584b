//! What a browser has to know before it reaches the client: the token of this run, and the names of
//! the page's address.

use std::sync::Arc;

use super::core::Core;
use super::routes::Names;
use super::token::Token;

pub struct Access {
    pub token: Token,
    pub names: Names,
    pub core: Arc<Core>,
}
