//! Folds the names of users in files of before version `FOLDED` of the schema, whose columns had
//! the spelling with which a name was first used.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::rows::{COLUMNS, FROM, checksum, is_row_damaged, read_row};
use crate::chat::{Conversation, UserName};

/// The columns with names of users, apart from `messages.sender` and `owners.name`.
const NAMES: [(&str, &str); 5] = [
    ("reads", "person"),
    ("used_ids", "sender"),
    ("erasing", "sender"),
    ("conversations", "topic_by"),
    ("blobs", "owner"),
];

/// Folds the names of users in all columns. Rows of one user under two spellings become one.
pub(super) fn fold_names(connection: &Connection) -> rusqlite::Result<()> {
    fold_conversations(connection)?;
    let user = |name: &str| Some(name.parse::<UserName>().ok()?.folded().to_owned());
    // One pass over all messages, which have no index of their senders.
    connection
        .execute_batch("CREATE TEMP TABLE folded (old TEXT PRIMARY KEY, new TEXT NOT NULL)")?;
    rename(connection, ("messages", "sender"), user, "INSERT INTO temp.folded VALUES (?1, ?2)")?;
    connection.execute_batch(
        "UPDATE OR IGNORE messages SET spelled = sender, \
             sender = (SELECT new FROM temp.folded WHERE old = sender) \
             WHERE sender IN (SELECT old FROM temp.folded); \
         DROP TABLE temp.folded",
    )?;
    // Of two holders of one name, the later one has it.
    let holders = "INSERT INTO owners (name, owner) SELECT ?2, owner FROM owners WHERE name = ?1 \
        ON CONFLICT (name) DO UPDATE SET owner = max(owner, excluded.owner)";
    rename(connection, ("owners", "name"), user, holders)?;
    rename(
        connection,
        ("owners", "name"),
        user,
        "DELETE FROM owners WHERE name = ?1 AND ?2 <> ''",
    )?;
    for (table, column) in NAMES {
        let set = format!("UPDATE OR REPLACE {table} SET {column} = ?2 WHERE {column} = ?1");
        rename(connection, (table, column), user, &set)?;
    }
    let conversation = |name: &str| Some(name.parse::<Conversation>().ok()?.folded());
    let set = "UPDATE OR REPLACE used_ids SET name = ?2 WHERE name = ?1";
    rename(connection, ("used_ids", "name"), conversation, set)
}

/// Applies `set` to each name of a column that is not folded.
fn rename(
    connection: &Connection,
    (table, column): (&str, &str),
    folded: impl Fn(&str) -> Option<String>,
    set: &str,
) -> rusqlite::Result<()> {
    let find = format!("SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL");
    let mut find = connection.prepare(&find)?;
    let names: Vec<String> = find.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        if let Some(new) = folded(&name).filter(|new| *new != name) {
            connection.execute(set, [&name, &new])?;
        }
    }
    Ok(())
}

/// Folds the names of conversations, over which the checksums of their messages are.
fn fold_conversations(connection: &Connection) -> rusqlite::Result<()> {
    let find = "SELECT conversation, name FROM conversations c ORDER BY \
        (SELECT count(*) FROM messages m WHERE m.conversation = c.conversation) DESC, conversation";
    let mut find = connection.prepare(find)?;
    let rows = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
    let (mut taken, mut renamed) = (HashMap::new(), Vec::new());
    for (row, name) in rows {
        // A detached conversation has a prefix.
        let (prefix, own) = name.split_at(name.find(' ').map_or(0, |space| space + 1));
        let Ok(conversation) = own.parse::<Conversation>() else { continue };
        let folded = conversation.folded();
        let mut new = format!("{prefix}{folded}");
        if prefix.is_empty()
            && let Some(kept) = taken.insert(folded.clone(), row)
        {
            // Another spelling of the users, with more messages, has the name. The messages of this
            // one are only in the copy of the file from before this step.
            log::warn!(
                "conversation {row}: another spelling of {} has more messages. The messages of this \
                 one are only in the copy of the ledger from before this version",
                conversation.in_log()
            );
            new = format!("-{row} {folded}");
            taken.insert(folded, kept);
            // No number is given twice.
            let set = "UPDATE conversations SET last = max(last, \
                (SELECT last FROM conversations WHERE conversation = ?2)) WHERE conversation = ?1";
            connection.execute(set, [kept, row])?;
        }
        if new != name {
            renamed.push((row, new));
        }
    }
    // What is detached first, because another one gets its name.
    renamed.sort_by_key(|(_, new)| !new.starts_with('-'));
    for (row, new) in renamed {
        fold_conversation(connection, row, &new)?;
    }
    Ok(())
}

/// Renames a conversation, with its messages. Damaged ones stay damaged.
fn fold_conversation(connection: &Connection, row: i64, new: &str) -> rusqlite::Result<()> {
    let find = format!("SELECT {COLUMNS} {FROM} WHERE m.conversation = ?1");
    let mut find = connection.prepare(&find)?;
    let mut messages = find.query([row])?;
    let set = "UPDATE messages SET checksum = ?2 WHERE message = ?1";
    while let Some(message) = messages.next()? {
        match read_row(message) {
            Ok(stored) => {
                let sum = checksum(&stored.sent, (stored.seq, stored.owner), stored.state);
                connection.prepare_cached(set)?.execute([message.get(0)?, sum])?;
            }
            Err(error) if is_row_damaged(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let set = "UPDATE conversations SET name = ?2 WHERE conversation = ?1";
    connection.execute(set, params![row, new])?;
    if new.starts_with('-') {
        connection.execute("DELETE FROM reads WHERE conversation = ?1", [row])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rows::{FOLDED, checksum_in};
    use super::super::{Sqlite, SqliteReader};
    use crate::chat::Seq;
    use crate::ledger::contract_tests::{PAGE, on_disk, sent};
    use crate::ledger::{Jobs, Ledger, Outcome, Reader, Record, jobs};

    /// Two messages of a ledger from before this step, in a conversation of this name, and another
    /// conversation of the same users.
    const BEFORE: &str = "UPDATE conversations SET name = '@alice@Bob';
        UPDATE lines SET sender = 'Bob' WHERE sender = 'bob';
        UPDATE reads SET person = 'Bob';
        INSERT INTO owners VALUES ('Carol', 2), ('carol', 5), ('CAROL', 3);
        INSERT INTO spent VALUES ('@alice@Bob', 'Bob', x'09090909090909090909090909090909', 9, 1000);
        INSERT INTO conversations (name, last) VALUES ('@alice@bob', 2);
        ALTER TABLE lines DROP COLUMN spelled;";

    #[test]
    fn a_ledger_from_before_has_one_form_of_each_name() {
        let (mut ledger, folder, path) = on_disk();
        let messages = [sent("@alice@Bob", "Bob", 1, "one"), sent("@alice@Bob", "alice", 2, "two")];
        let read = Record::Read("bob".parse().unwrap(), "@alice@bob".parse().unwrap(), Seq(1));
        ledger
            .commit(&[
                Record::message(messages[0].clone()),
                Record::message(messages[1].clone()),
                read,
            ])
            .unwrap();
        ledger.break_with(crate::ledger::jobs_tests::TO_SCHEMA_9);
        ledger.break_with(BEFORE);
        for (seq, message) in (1..).zip(&messages) {
            let sum = checksum_in("@alice@Bob", message, (Seq(seq), 0), 0);
            ledger
                .break_with(&format!("UPDATE lines SET checksum = {sum} WHERE line & 255 = {seq}"));
        }
        ledger.break_with(&format!("PRAGMA user_version = {}", FOLDED - 1));
        drop(ledger);
        assert_eq!(jobs(&path).verify().unwrap().messages, 2, "before the step");
        let mut ledger = Sqlite::open(&path, 60).unwrap();
        assert_eq!(jobs(&path).verify().unwrap().messages, 2, "after it");
        let found = |reader: SqliteReader| {
            reader.read(&"@alice@bob".parse().unwrap(), Seq(0), Seq(9), PAGE).unwrap()
        };
        let shown = found(ledger.reader());
        let shown: Vec<_> =
            shown.iter().map(|message| (message.from.as_str(), message.body.text())).collect();
        assert_eq!(shown, [("Bob", "one"), ("alice", "two")]);
        let says = |ledger: &mut Sqlite, id, text| {
            ledger.commit(&[Record::message(sent("@alice@BOB", "bob", id, text))]).unwrap()[0]
        };
        assert_eq!(says(&mut ledger, 1, "one"), Outcome::Known(Seq(1)));
        assert_eq!(says(&mut ledger, 9, "gone"), Outcome::Known(Seq(9)));
        assert_eq!(says(&mut ledger, 3, "three"), Outcome::Stored(Seq(3)));
        assert_eq!(ledger.owners.of(&"carol".parse().unwrap()), 5, "the last holder has the name");
        let known = ledger.remembered(9).unwrap();
        assert_eq!(known.len(), 1, "the other one is not shown");
        assert_eq!(known[0].reads, [("bob".parse().unwrap(), Seq(1))]);
        while ledger.remove_detached().unwrap() {}
        assert_eq!(found(ledger.reader()).len(), 3);
        let copy = folder.path().join(format!("ledger.schema-{}.backup", FOLDED - 1));
        assert_eq!(jobs(&copy).verify().unwrap().conversations, 2, "the copy has both");
    }
}
