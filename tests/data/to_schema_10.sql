DROP TRIGGER lines_gone;
DROP TRIGGER lines_changed;
DROP VIEW spoken;
ALTER TABLE conversations DROP COLUMN indexed;
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
PRAGMA user_version = 10;
