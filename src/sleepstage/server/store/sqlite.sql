-- What is asked of SQLite and changed in it: the statements of each step.
--
-- Of those that change something, the first decides: the others are done if it changed a row.
-- $session and $grant stand for the fields of a record, $advance for those that a commit sets.

--: session
SELECT $session FROM session WHERE id = :id;

--: sessions
SELECT $session FROM session WHERE owner = :owner ORDER BY created DESC, id DESC LIMIT :limit;

--: count_open
SELECT count(*) FROM session WHERE owner = :owner AND closed = 0;

--: open_session
INSERT INTO session ($session_names) SELECT $session_values
WHERE :watch IS NULL OR EXISTS (SELECT 1 FROM session WHERE id = :watch)
ON CONFLICT (id) DO NOTHING;

--: delete_session
DELETE FROM session WHERE id = :id AND ifnull(heard < :heard_before, 1);

--: add_message
INSERT INTO message (session, id, digest, body, heard)
SELECT number, :message, :digest, :body, :now FROM session
WHERE id = :id AND (closed = 0 OR (reopens AND :newest IS NOT NULL))
ON CONFLICT (session, id) DO NOTHING;
UPDATE session SET
    newest = max(ifnull(newest, :newest), ifnull(:newest, newest)),
    heard = :now,
    due = ifnull(due, :oldest + 30 + lateness),
    version = version + closed,
    result = iif(closed, NULL, result),
    reopens = iif(closed, 0, reopens),
    closed = 0,
    warnings = iif(:warnings = '{}', warnings, json_patch(warnings, (
        SELECT json_group_object(
            key, value + ifnull(json_extract(session.warnings, '$$."' || key || '"'), 0)
        )
        FROM json_each(:warnings)
    )))
WHERE id = :id;

--: delivery
SELECT CASE
    WHEN :stored THEN 'stored'
    WHEN message.id IS NULL THEN 'closed'
    -- Without a digest, it came before there were any.
    WHEN ifnull(digest, :digest) = :digest THEN 'repeated'
    ELSE 'conflict'
END, $session
FROM session LEFT JOIN message ON message.session = session.number AND message.id = :message
WHERE session.id = :id;

--: backlog
SELECT snapshot, $session FROM session WHERE id = :id;
SELECT message.number, body FROM message JOIN session ON session.number = message.session
WHERE session.id = :id AND body IS NOT NULL ORDER BY message.number;

--: commit
UPDATE session SET $advance, snapshot = :snapshot, result = :result
WHERE id = :id AND (closed = 0 OR reopens) AND version = :expected AND NOT (
    :closed AND EXISTS (
        SELECT 1 FROM message
        WHERE session = session.number AND body IS NOT NULL AND message.number > :used
    )
);
UPDATE message SET body = NULL
WHERE session = (SELECT number FROM session WHERE id = :id)
AND body IS NOT NULL AND number <= :used;
DELETE FROM message
WHERE :forgotten IS NOT NULL AND session = (SELECT number FROM session WHERE id = :id)
AND body IS NULL AND heard < :forgotten;
INSERT INTO epoch (session, number, said)
SELECT session.number, n_epochs - json_array_length(:epochs) + key, value
FROM session JOIN json_each(:epochs) WHERE session.id = :id;
DELETE FROM epoch
WHERE session = (SELECT number FROM session WHERE id = :id) AND number < :first;
DELETE FROM sample WHERE number IN (
    SELECT number FROM sample WHERE session = (SELECT number FROM session WHERE id = :id)
    ORDER BY number LIMIT :dropped
);
INSERT INTO sample (session, body)
SELECT number, :samples FROM session WHERE id = :id AND :samples IS NOT NULL;

--: due
SELECT json_group_array(id) FROM (
    SELECT id FROM session INDEXED BY session_due  -- unasked, SQLite may take another
    WHERE closed = 0 AND newest >= due ORDER BY due LIMIT :limit
);

--: silent
SELECT json_group_array(id) FROM (
    SELECT id FROM session WHERE closed = 0 AND heard < :since ORDER BY heard LIMIT :limit
);

--: outdated
SELECT json_group_array(id) FROM (
    SELECT id FROM session WHERE heard < :since ORDER BY heard LIMIT :limit
);

--: epochs
-- One row for all: each row that is fetched costs a turn with Python's other threads.
SELECT '[' || group_concat(said) || ']' FROM (
    SELECT said FROM epoch JOIN session ON session.number = epoch.session
    WHERE session.id = :id AND epoch.number >= :after ORDER BY epoch.number
);

--: samples
SELECT body FROM sample JOIN session ON session.number = sample.session
WHERE session.id = :id ORDER BY sample.number;

--: result
SELECT result FROM session WHERE id = :id;

--: versions
SELECT json_group_object(id, version) FROM session
WHERE id IN (SELECT value FROM json_each(:ids));

--: add_grant
INSERT INTO grant ($grant) SELECT $grant_values
WHERE :session IS NULL OR EXISTS (SELECT 1 FROM session WHERE id = :session)
ON CONFLICT DO NOTHING;
INSERT INTO flag SELECT 'guarded' WHERE :session IS NULL ON CONFLICT DO NOTHING;

--: grant
SELECT $grant FROM grant WHERE digest = :digest;

--: grants
SELECT $grant FROM grant WHERE session IS :session;

--: remove_grant
DELETE FROM grant WHERE id = :id OR (
    token = :id AND session IS NOT NULL
    AND EXISTS (SELECT 1 FROM grant AS gone WHERE gone.id = :id AND gone.session IS NULL)
) OR (
    token IS NULL AND session IS NOT NULL
    AND owner = (SELECT owner FROM grant AS gone WHERE gone.id = :id AND gone.session IS NULL)
    AND NOT EXISTS (
        SELECT 1 FROM grant AS other
        WHERE other.session IS NULL AND other.owner = grant.owner AND other.id != :id
    )
);

--: guarded
SELECT 1 FROM flag WHERE name = 'guarded';
