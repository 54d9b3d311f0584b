//! The holder of a name at the time of a message. A name that is given to another user gets a new
//! holder number.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::rows::parsed;
use crate::chat::UserName;

/// The present holders of reassigned names. Other names have holder 0.
#[derive(Default)]
pub(super) struct Owners(HashMap<UserName, i64>);

impl Owners {
    pub fn load(connection: &Connection) -> rusqlite::Result<Owners> {
        let mut query = connection.prepare("SELECT name, owner FROM owners")?;
        let owners = query.query_map([], |row| Ok((parsed(row, 0)?, row.get(1)?)))?;
        Ok(Owners(owners.collect::<Result<_, _>>()?))
    }

    pub fn of(&self, name: &UserName) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Gives a name a new holder, in memory even if it cannot be stored.
    pub fn renew(&mut self, connection: &Connection, name: &UserName) -> rusqlite::Result<()> {
        let owner = self.of(name) + 1;
        self.0.insert(name.clone(), owner);
        let set = "INSERT OR REPLACE INTO owners (name, owner) VALUES (?1, ?2)";
        connection.execute(set, params![name.folded(), owner]).map(drop)
    }
}
