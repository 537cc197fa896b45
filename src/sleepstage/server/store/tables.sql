-- The tables of the store in SQLite, as they came about: a part for each version.
--
-- What is asked for again and again has an index of just that: of many sessions few are due, and of
-- many messages few wait.

CREATE TABLE session (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    label TEXT NOT NULL,
    source TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    created REAL NOT NULL,
    lateness REAL NOT NULL,
    find_rem INTEGER NOT NULL,
    start REAL,
    n_epochs INTEGER NOT NULL,
    due REAL,
    motion_columns INTEGER NOT NULL,
    intake TEXT NOT NULL,
    closed INTEGER NOT NULL,
    version INTEGER NOT NULL,
    newest REAL,
    heard REAL NOT NULL,
    snapshot BLOB,
    result TEXT
);
CREATE INDEX session_owner ON session (owner, created, id);
CREATE INDEX session_open ON session (owner, closed);
CREATE INDEX session_heard ON session (closed, heard);
CREATE INDEX session_due ON session (due) WHERE closed = 0 AND newest >= due;
CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
    id TEXT NOT NULL,
    body BLOB,
    UNIQUE (session, id)
);
CREATE INDEX message_waiting ON message (session, number) WHERE body IS NOT NULL;
CREATE TABLE epoch (
    session INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
    number INTEGER NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (session, number)
) WITHOUT ROWID;
CREATE TABLE sample (
    number INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
    body BLOB NOT NULL
);
CREATE INDEX sample_session ON sample (session);
CREATE TABLE grant (
    id TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    session TEXT REFERENCES session (id) ON DELETE CASCADE,
    created REAL NOT NULL,
    expires REAL
) WITHOUT ROWID;
CREATE INDEX grant_session ON grant (session, created, id);

-- Version 2

ALTER TABLE session ADD COLUMN watermark REAL;
ALTER TABLE session ADD COLUMN reopens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN warnings TEXT NOT NULL DEFAULT '{}';
DROP INDEX session_heard;
CREATE INDEX session_heard ON session (heard);
CREATE INDEX session_silent ON session (heard) WHERE closed = 0;
ALTER TABLE message ADD COLUMN digest BLOB;
ALTER TABLE grant ADD COLUMN token TEXT;
CREATE TABLE flag (name TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
INSERT INTO flag SELECT 'guarded' FROM grant WHERE session IS NULL LIMIT 1;

-- Version 3

ALTER TABLE session ADD COLUMN watch TEXT REFERENCES session (id) ON DELETE CASCADE;
ALTER TABLE session ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN slept REAL;
ALTER TABLE session ADD COLUMN kept REAL;
CREATE INDEX session_watch ON session (watch) WHERE watch IS NOT NULL;

-- Version 4

ALTER TABLE message ADD COLUMN heard REAL;
CREATE INDEX grant_token ON grant (token, owner);
