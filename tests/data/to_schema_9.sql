DROP TRIGGER conversations_gone;
DROP TRIGGER lines_gone;
DROP TRIGGER lines_changed;
DROP TABLE words;
DROP VIEW spoken;
ALTER TABLE conversations DROP COLUMN indexed;
DROP TABLE unindexed;
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = 'lines', content_rowid = 'line', columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
INSERT INTO words (rowid, text) SELECT line, text FROM lines WHERE text <> '';
CREATE TRIGGER lines_gone AFTER DELETE ON lines WHEN old.text <> '' BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.line, old.text);
END;
CREATE TRIGGER lines_changed AFTER UPDATE OF text ON lines BEGIN
    INSERT INTO words (words, rowid, text) SELECT 'delete', old.line, old.text WHERE old.text <> '';
    INSERT INTO words (rowid, text) SELECT new.line, new.text WHERE new.text <> '';
END;
ALTER TABLE meta DROP COLUMN unicode;
PRAGMA user_version = 9;
