DROP TRIGGER messages_gone;
DROP TRIGGER messages_changed;
DROP VIEW texts;
CREATE TABLE unindexed (
    conversation INTEGER PRIMARY KEY,
    upto INTEGER NOT NULL
) STRICT;
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
CREATE TRIGGER conversations_gone AFTER DELETE ON conversations BEGIN
    DELETE FROM unindexed WHERE conversation = old.conversation;
END;
PRAGMA user_version = 12;
