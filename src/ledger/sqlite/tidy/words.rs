//! The index of words: after many removals it is merged, which drops what was removed; after few,
//! words that only removed messages had are taken out of the table in which its pages are looked
//! up.

use rusqlite::{Connection, OptionalExtension, params};

/// Where a look at the index's pages has got to: segment and word.
pub(super) type Position = (i64, Vec<u8>);

/// Removes are noted for a later merge instead of being carried out in each page of the index.
pub(super) fn begin_bulk(connection: &Connection) -> rusqlite::Result<()> {
    set_bulk(connection, true)
}

fn set_bulk(connection: &Connection, bulk: bool) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let set = "INSERT INTO words (words, rank) VALUES (?1, ?2)";
    transaction.execute(set, params!["secure-delete", i64::from(!bulk)])?;
    if bulk {
        transaction.execute("UPDATE meta SET bulk = 1", [])?;
    }
    transaction.commit()
}

/// Merges a part of the index; the `first` call restarts the merge. Returns whether it is done.
///
/// If other segments arrive during a merge, FTS5 goes on with it only if it has more segments than
/// they are, or if they are at least `usermerge`, which are then merged first. Two is the least
/// number: with it, no merge of several segments is left behind.
pub(super) fn merge(connection: &Connection, first: bool, pages: usize) -> rusqlite::Result<bool> {
    if first {
        set_bulk(connection, false)?;
        connection.execute("INSERT INTO words (words, rank) VALUES ('usermerge', 2)", [])?;
    }
    let changes = || connection.query_row("SELECT total_changes()", [], |row| row.get(0));
    let before: i64 = changes()?;
    // A negative number gathers all segments into one.
    let pages = i64::try_from(pages).unwrap_or(i64::MAX) * if first { -1 } else { 1 };
    connection.execute("INSERT INTO words (words, rank) VALUES ('merge', ?1)", [pages])?;
    let after: i64 = changes()?;
    // The command itself is one change.
    let done = after - before < 2;
    if done {
        connection.execute("UPDATE meta SET bulk = 0", [])?;
    }
    Ok(done)
}

/// Looks at `pages_max` pages of the index behind a position; gives the next one, if there are
/// more.
///
/// A page is looked up by a word that is not behind its first one. The index leaves that word as it
/// was when the page's first words are removed: the page's own first word is as good. An
/// unfinished merge has removed the first pages of its segments and left their words, which the
/// index ignores.
pub(super) fn mend(
    connection: &Connection,
    (segment, word): &Position,
    pages_max: usize,
) -> rusqlite::Result<Option<Position>> {
    let pages = {
        let find = "SELECT segid, term, pgno FROM words_idx WHERE (segid, term) > (?1, ?2) \
             ORDER BY segid, term LIMIT ?3";
        let mut find = connection.prepare_cached(find)?;
        let values = params![segment, word, pages_max as i64];
        let read = |row: &rusqlite::Row| Ok((row.get(0)?, bytes(row, 1)?, row.get(2)?));
        let pages: Result<Vec<(i64, Vec<u8>, i64)>, _> = find.query_map(values, read)?.collect();
        pages?
    };
    let next =
        pages.get(pages_max.wrapping_sub(1)).map(|(segment, word, _)| (*segment, word.clone()));
    let transaction = connection.unchecked_transaction()?;
    for (segment, word, page) in pages {
        match first_word(&transaction, segment, page >> 1)? {
            Page::First(first) if !first.starts_with(&word) => {
                let set = "UPDATE OR IGNORE words_idx SET term = ?3 WHERE segid = ?1 AND term = ?2";
                transaction.prepare_cached(set)?.execute(params![segment, word, first])?;
            }
            Page::Gone => {
                let forget = "DELETE FROM words_idx WHERE segid = ?1 AND pgno = ?2";
                transaction.prepare_cached(forget)?.execute([segment, page])?;
            }
            Page::First(_) | Page::Unknown => {}
        }
    }
    transaction.commit()?;
    Ok(next)
}

fn bytes(row: &rusqlite::Row, column: usize) -> rusqlite::Result<Vec<u8>> {
    // The empty word may be stored as either.
    let value = row.get_ref(column)?;
    Ok(value.as_bytes_or_null()?.unwrap_or_default().to_vec())
}

/// What is known of a page of the index.
enum Page {
    /// Its first word.
    First(Vec<u8>),
    /// A merge has removed it.
    Gone,
    /// It has no word of its own, or is damaged.
    Unknown,
}

/// The first word of a page of the index: <https://sqlite.org/fts5.html#the_shadow_tables>, and the
/// comment on its format in fts5_index.c.
fn first_word(connection: &Connection, segment: i64, page: i64) -> rusqlite::Result<Page> {
    let mut find = connection.prepare_cached("SELECT block FROM words_data WHERE id = ?1")?;
    let block = find.query_row([segment << 37 | page], |row| bytes(row, 0)).optional()?;
    Ok(match block {
        None => Page::Gone,
        Some(block) => first_of(&block).map_or(Page::Unknown, |word| Page::First(word.to_vec())),
    })
}

/// Bytes 2 and 3 are where the table of the words' offsets begins; the first word is stored whole,
/// behind its length.
fn first_of(block: &[u8]) -> Option<&[u8]> {
    let table = usize::from(u16::from_be_bytes([*block.get(2)?, *block.get(3)?]));
    let (offset, _) = varint(block.get(table..)?)?;
    let (length, word) = varint(block.get(offset..table)?)?;
    word.get(..length)
}

/// A number and what follows it.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().take(3).enumerate() {
        number = number << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}
