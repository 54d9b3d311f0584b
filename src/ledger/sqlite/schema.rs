//! The file's schema, one step for each version (`user_version` counts them). A released step never
//! changes; changes are new steps.
//!
//! The table `messages` has a row for each message, and its column `message` is the row id. The
//! index of words refers to both through the view `texts`. Every connection that writes or verifies
//! has the function `pychat_words` (`connection.rs`).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::Connection;

use super::connection::faults;
use crate::ledger::LedgerError;

pub const STEPS: &[&str] = &[
    "
CREATE TABLE meta (
    log INTEGER NOT NULL            -- the id of this file's logs
) STRICT;
CREATE TABLE conversations (
    conversation INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,      -- #channel or @one@other
    last INTEGER NOT NULL DEFAULT 0,
    topic TEXT
) STRICT;
CREATE TABLE lines (
    line INTEGER PRIMARY KEY,       -- conversation << 40 | seq: a conversation's lines lie side by side, here and
                                    -- in the index of words, so that a span of them is read at once
    conversation INTEGER NOT NULL REFERENCES conversations,
    id BLOB NOT NULL,
    sender TEXT NOT NULL,
    device TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    kind INTEGER NOT NULL,          -- 0 say, 1 me, 2 edit, 3 delete, 4 file
    target INTEGER,                 -- the seq that an edit or a deletion is about
    state INTEGER NOT NULL DEFAULT 0, -- 0 as sent, 1 edited, 2 deleted
    text TEXT NOT NULL,             -- an edit's text stands in its target
    checksum INTEGER NOT NULL,
    UNIQUE (conversation, sender, id)
) STRICT;
CREATE INDEX lines_by_time ON lines (conversation, time_ms);
CREATE TABLE spent (                -- ids of lines that are gone, for a week
    conversation INTEGER NOT NULL REFERENCES conversations,
    sender TEXT NOT NULL,
    id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (conversation, sender, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE reads (
    person TEXT NOT NULL,
    conversation INTEGER NOT NULL REFERENCES conversations,
    seq INTEGER NOT NULL DEFAULT 0,
    away INTEGER,                   -- the newest seq when the person was last here
    PRIMARY KEY (person, conversation)
) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = 'lines', content_rowid = 'line', columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER lines_added AFTER INSERT ON lines WHEN new.text <> '' BEGIN
    INSERT INTO words (rowid, text) VALUES (new.line, new.text);
END;
CREATE TRIGGER lines_gone AFTER DELETE ON lines WHEN old.text <> '' BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.line, old.text);
END;
CREATE TRIGGER lines_changed AFTER UPDATE OF text ON lines BEGIN
    INSERT INTO words (words, rowid, text) SELECT 'delete', old.line, old.text WHERE old.text <> '';
    INSERT INTO words (rowid, text) SELECT new.line, new.text WHERE new.text <> '';
END;
",
    "
ALTER TABLE lines ADD COLUMN sealed BLOB; -- instead of a text: what only people can read
",
    // A commit's new messages are indexed together: a trigger runs a statement in a statement, for
    // whose savepoint the index writes its whole batch.
    "
DROP TRIGGER lines_added;
",
    // Conversations without messages are dropped. The ids of removed messages survive them.
    "
ALTER TABLE meta ADD COLUMN floor INTEGER NOT NULL DEFAULT 0; -- the greatest seq of a dropped conversation
ALTER TABLE conversations ADD COLUMN first INTEGER NOT NULL DEFAULT 0; -- its lines come behind this seq
CREATE TABLE gone (
    name TEXT NOT NULL,             -- of the conversation
    sender TEXT NOT NULL,
    id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (name, sender, id)
) STRICT, WITHOUT ROWID;
INSERT INTO gone SELECT name, sender, id, seq, time_ms FROM spent JOIN conversations USING (conversation);
DROP TABLE spent;
ALTER TABLE gone RENAME TO spent;
",
    // Names can be given to other users, and removals are done in parts.
    "
ALTER TABLE lines ADD COLUMN owner INTEGER NOT NULL DEFAULT 0; -- which holder of the sender's name
CREATE TABLE owners (               -- of names that were given to somebody else: the holder now
    name TEXT PRIMARY KEY,
    owner INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE conversations ADD COLUMN topic_by TEXT;
CREATE INDEX spent_by_time ON spent (time_ms);
CREATE TABLE erasing (              -- whose texts are being erased, and how far
    sender TEXT PRIMARY KEY,
    conversation INTEGER NOT NULL DEFAULT 0,
    id BLOB NOT NULL DEFAULT x'',   -- messages of that conversation up to this id are erased
    erased INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
ALTER TABLE meta ADD COLUMN removals INTEGER NOT NULL DEFAULT 0; -- commits that removed a text
ALTER TABLE meta ADD COLUMN tidied INTEGER NOT NULL DEFAULT 0; -- of those, removed from the free space too
ALTER TABLE meta ADD COLUMN bulk INTEGER NOT NULL DEFAULT 0; -- 1: the index of words is to be merged
ALTER TABLE meta ADD COLUMN passes INTEGER NOT NULL DEFAULT 0; -- of cleaned pages
",
    // The number of messages ever stored.
    "
ALTER TABLE meta ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0; -- of those, in dropped conversations
",
    // Encrypted files.
    "
ALTER TABLE lines ADD COLUMN blob BLOB;         -- of kind 4: the file that the message announces
ALTER TABLE lines ADD COLUMN descriptor TEXT;   -- of kind 4: its text, which is not searched
CREATE INDEX lines_files ON lines (line) WHERE kind = 4;
CREATE TABLE blobs (
    stored BLOB PRIMARY KEY,        -- the file's name in the store
    blob BLOB NOT NULL,             -- its name for clients
    owner TEXT NOT NULL,
    holder INTEGER NOT NULL,        -- which holder of the owner's name
    conversation TEXT NOT NULL,     -- its name: a conversation gets a row with its first message
    bytes INTEGER NOT NULL,
    state INTEGER NOT NULL,         -- 0 coming, 1 kept, 2 doomed, 3 gone
    why INTEGER NOT NULL DEFAULT 0, -- 1 deleted, 2 expired, 3 lost
    made_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,       -- what until_ms becomes when a message announces the file
    line INTEGER                    -- the message that announces it
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_by_owner ON blobs (owner, holder, state, bytes);
CREATE INDEX blobs_by_id ON blobs (blob);
CREATE INDEX blobs_by_bytes ON blobs (state, bytes);
CREATE INDEX blobs_by_state ON blobs (state, until_ms);
CREATE INDEX blobs_by_line ON blobs (line) WHERE line IS NOT NULL;
",
    // Quotas are read in a time that does not depend on the number of files.
    "
CREATE TABLE blob_sums (            -- sums over blobs, changed by triggers with each row
    owner TEXT NOT NULL,
    holder INTEGER NOT NULL,
    state INTEGER NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,         -- a file counts a block of the disk at least
    PRIMARY KEY (owner, holder, state)
) STRICT, WITHOUT ROWID;
INSERT INTO blob_sums
    SELECT owner, holder, state, count(*), sum(max(bytes, 4096)) FROM blobs GROUP BY owner, holder, state;
CREATE TRIGGER blobs_added AFTER INSERT ON blobs BEGIN
    INSERT INTO blob_sums VALUES (new.owner, new.holder, new.state, 1, max(new.bytes, 4096))
        ON CONFLICT DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER blobs_gone AFTER DELETE ON blobs BEGIN
    UPDATE blob_sums SET files = files - 1, bytes = bytes - max(old.bytes, 4096)
        WHERE owner = old.owner AND holder = old.holder AND state = old.state;
    DELETE FROM blob_sums
        WHERE owner = old.owner AND holder = old.holder AND state = old.state AND files = 0;
END;
CREATE TRIGGER blobs_changed AFTER UPDATE OF owner, holder, state, bytes ON blobs BEGIN
    UPDATE blob_sums SET files = files - 1, bytes = bytes - max(old.bytes, 4096)
        WHERE owner = old.owner AND holder = old.holder AND state = old.state;
    DELETE FROM blob_sums
        WHERE owner = old.owner AND holder = old.holder AND state = old.state AND files = 0;
    INSERT INTO blob_sums VALUES (new.owner, new.holder, new.state, 1, max(new.bytes, 4096))
        ON CONFLICT DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
DROP INDEX blobs_by_bytes;
DROP INDEX blobs_by_owner;
CREATE INDEX blobs_by_owner ON blobs (owner, holder, made_ms DESC, stored) WHERE state < 2;
",
    // From here on, names of users are folded in every column that is compared (`fold.rs`): `bob`
    // and `BOB` are one user.
    "
ALTER TABLE lines ADD COLUMN spelled TEXT; -- the sender's name, where it is not in lower case
",
    // The index contains the words of `chat/words.rs`. `EMPTY_WORDS` creates it.
    "
DROP TRIGGER lines_gone;
DROP TRIGGER lines_changed;
DROP TABLE words;
CREATE TABLE unindexed (
    conversation INTEGER PRIMARY KEY,
    upto INTEGER NOT NULL           -- lines of the conversation up to this one are not in the index
) STRICT;
CREATE VIEW spoken AS SELECT line, pychat_words(text) AS text FROM lines l WHERE text <> ''
    AND NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = l.conversation AND l.line <= u.upto);
CREATE TRIGGER lines_gone AFTER DELETE ON lines WHEN old.text <> ''
    AND NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = old.conversation AND old.line <= u.upto)
BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.line, pychat_words(old.text));
END;
CREATE TRIGGER lines_changed AFTER UPDATE OF text ON lines
    WHEN NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = old.conversation AND old.line <= u.upto)
BEGIN
    INSERT INTO words (words, rowid, text)
        SELECT 'delete', old.line, pychat_words(old.text) WHERE old.text <> '';
    INSERT INTO words (rowid, text) SELECT new.line, pychat_words(new.text) WHERE new.text <> '';
END;
CREATE TRIGGER conversations_gone AFTER DELETE ON conversations BEGIN
    DELETE FROM unindexed WHERE conversation = old.conversation;
END;
-- The version of Unicode of the program that filled the index: words depend on it.
ALTER TABLE meta ADD COLUMN unicode TEXT NOT NULL DEFAULT '';
",
    // The words of new messages are indexed after their commit, in parts (`fresh.rs`).
    "
ALTER TABLE conversations ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0; -- lines after this seq are not in the index
UPDATE conversations SET indexed = last;
DROP VIEW spoken;
DROP TRIGGER lines_gone;
DROP TRIGGER lines_changed;
CREATE VIEW spoken AS SELECT line, pychat_words(text) AS text FROM lines l WHERE text <> ''
    AND line <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = l.conversation)
    AND NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = l.conversation AND l.line <= u.upto);
CREATE TRIGGER lines_gone AFTER DELETE ON lines WHEN old.text <> ''
    AND old.line <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = old.conversation)
    AND NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = old.conversation AND old.line <= u.upto)
BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.line, pychat_words(old.text));
END;
CREATE TRIGGER lines_changed AFTER UPDATE OF text ON lines
    WHEN old.line <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = old.conversation)
    AND NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = old.conversation AND old.line <= u.upto)
BEGIN
    INSERT INTO words (words, rowid, text)
        SELECT 'delete', old.line, pychat_words(old.text) WHERE old.text <> '';
    INSERT INTO words (rowid, text) SELECT new.line, pychat_words(new.text) WHERE new.text <> '';
END;
",
    // The names `messages`, `message` and `used_ids`, for what was `lines`, `line` and `spent`. The
    // index of words stays: only its declaration changes, in the way that SQLite documents for
    // changes without effect on what is stored (<https://sqlite.org/lang_altertable.html>).
    "
DROP TRIGGER lines_gone;
DROP TRIGGER lines_changed;
DROP VIEW spoken;
DROP INDEX lines_by_time;
DROP INDEX lines_files;
DROP INDEX blobs_by_line;
DROP INDEX spent_by_time;
ALTER TABLE lines RENAME TO messages;
ALTER TABLE messages RENAME COLUMN line TO message;
ALTER TABLE blobs RENAME COLUMN line TO message;
ALTER TABLE spent RENAME TO used_ids;
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql, 'spoken', 'texts'), '''line''', '''message''')
    WHERE name = 'words';
PRAGMA writable_schema = RESET;
CREATE INDEX messages_by_time ON messages (conversation, time_ms);
CREATE INDEX messages_files ON messages (message) WHERE kind = 4;
CREATE INDEX blobs_by_message ON blobs (message) WHERE message IS NOT NULL;
CREATE INDEX used_ids_by_time ON used_ids (time_ms);
CREATE VIEW texts AS SELECT message, pychat_words(text) AS text FROM messages m WHERE text <> ''
    AND message <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = m.conversation)
    AND NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = m.conversation AND m.message <= u.upto);
CREATE TRIGGER messages_gone AFTER DELETE ON messages WHEN old.text <> ''
    AND old.message <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = old.conversation)
    AND NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = old.conversation AND old.message <= u.upto)
BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.message, pychat_words(old.text));
END;
CREATE TRIGGER messages_changed AFTER UPDATE OF text ON messages
    WHEN old.message <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = old.conversation)
    AND NOT EXISTS (SELECT 1 FROM unindexed u WHERE u.conversation = old.conversation AND old.message <= u.upto)
BEGIN
    INSERT INTO words (words, rowid, text)
        SELECT 'delete', old.message, pychat_words(old.text) WHERE old.text <> '';
    INSERT INTO words (rowid, text) SELECT new.message, pychat_words(new.text) WHERE new.text <> '';
END;
",
    // `conversations.indexed` alone says how far the index of words is.
    "
UPDATE meta SET unicode = '' WHERE EXISTS (SELECT 1 FROM unindexed); -- an index that is not filled begins again
DROP TRIGGER conversations_gone;
DROP TRIGGER messages_gone;
DROP TRIGGER messages_changed;
DROP VIEW texts;
DROP TABLE unindexed;
CREATE VIEW texts AS SELECT message, pychat_words(text) AS text FROM messages m WHERE text <> ''
    AND message <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = m.conversation);
CREATE TRIGGER messages_gone AFTER DELETE ON messages WHEN old.text <> ''
    AND old.message <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = old.conversation)
BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.message, pychat_words(old.text));
END;
CREATE TRIGGER messages_changed AFTER UPDATE OF text ON messages
    WHEN old.message <= (SELECT conversation << 40 | indexed FROM conversations c WHERE c.conversation = old.conversation)
BEGIN
    INSERT INTO words (words, rowid, text)
        SELECT 'delete', old.message, pychat_words(old.text) WHERE old.text <> '';
    INSERT INTO words (rowid, text) SELECT new.message, pychat_words(new.text) WHERE new.text <> '';
END;
",
];

/// Creates an empty index of words. The messages of each conversation are indexed from its first
/// one on, like new ones (`fresh.rs`).
pub const EMPTY_WORDS: &str = "
DROP TABLE IF EXISTS words;
UPDATE conversations SET indexed = coalesce((SELECT min(message) FROM messages INDEXED BY messages_by_time
    WHERE messages.conversation = conversations.conversation) - (conversation << 40) - 1, last);
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = 'texts', content_rowid = 'message', columnsize = 0, tokenize = 'ascii'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
";

/// Place of `user_version` in the header of the file (<https://sqlite.org/fileformat2.html>).
const VERSION_AT: usize = 60;

/// Returns whether the file has a schema already without its write-ahead log.
pub fn has_version(path: &Path) -> bool {
    let mut head = [0; VERSION_AT + 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head[VERSION_AT..] != [0; 4]
}

/// Returns the schema of the file, if this version knows it.
pub fn version(connection: &Connection, path: &Path) -> Result<i64, LedgerError> {
    let fault = faults(path);
    let ask = |query| connection.query_row(query, [], |row| row.get(0)).map_err(&fault);
    let (found, known) = (ask("PRAGMA user_version")?, STEPS.len() as i64);
    if found > known {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known });
    }
    let columns = "SELECT count(*) FROM pragma_table_info('lines') WHERE name = 'seq'";
    if ask(columns)? > 0 {
        return Err(LedgerError::Unreleased { path: path.to_owned() });
    }
    Ok(found)
}
