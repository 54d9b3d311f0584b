DROP TABLE blobs;
DROP TABLE blob_sums;
DROP INDEX lines_files;
ALTER TABLE lines DROP COLUMN blob;
ALTER TABLE lines DROP COLUMN descriptor;
ALTER TABLE lines DROP COLUMN spelled;
DROP TABLE erasing;
DROP TABLE owners;
ALTER TABLE meta DROP COLUMN removals;
ALTER TABLE meta DROP COLUMN tidied;
ALTER TABLE meta DROP COLUMN bulk;
ALTER TABLE meta DROP COLUMN passes;
ALTER TABLE meta DROP COLUMN dropped;
ALTER TABLE conversations DROP COLUMN topic_by;
ALTER TABLE lines DROP COLUMN owner;
ALTER TABLE lines DROP COLUMN sealed;
CREATE TRIGGER lines_added AFTER INSERT ON lines WHEN new.text <> '' BEGIN
    INSERT INTO words (rowid, text) VALUES (new.line, new.text);
END;
ALTER TABLE meta DROP COLUMN floor;
ALTER TABLE conversations DROP COLUMN first;
DROP TABLE spent;
CREATE TABLE spent (
    conversation INTEGER NOT NULL REFERENCES conversations,
    sender TEXT NOT NULL,
    id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (conversation, sender, id)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
