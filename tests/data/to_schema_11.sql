DROP TRIGGER messages_gone;
DROP TRIGGER messages_changed;
DROP VIEW texts;
DROP INDEX messages_by_time;
DROP INDEX messages_files;
DROP INDEX blobs_by_message;
DROP INDEX used_ids_by_time;
ALTER TABLE messages RENAME TO lines;
ALTER TABLE lines RENAME COLUMN message TO line;
ALTER TABLE blobs RENAME COLUMN message TO line;
ALTER TABLE used_ids RENAME TO spent;
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql, 'texts', 'spoken'), '''message''', '''line''')
    WHERE name = 'words';
PRAGMA writable_schema = RESET;
CREATE INDEX lines_by_time ON lines (conversation, time_ms);
CREATE INDEX lines_files ON lines (line) WHERE kind = 4;
CREATE INDEX blobs_by_line ON blobs (line) WHERE line IS NOT NULL;
CREATE INDEX spent_by_time ON spent (time_ms);
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
PRAGMA user_version = 11;
