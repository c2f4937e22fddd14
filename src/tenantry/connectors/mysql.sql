-- Statements that the MySQL and MariaDB connector runs at a tenant's server (the platform's own are
-- in queries.sql). What stands in braces is filled with numbers, with texts written as hexadecimal
-- digits, with quoted names, and as `query` with what the guard regenerated.

-- name: session_mysql
-- The modes decide how text is read: no ANSI_QUOTES, no NO_BACKSLASH_ESCAPES, no PIPES_AS_CONCAT, as
-- the guard reads and writes it.
SET NAMES utf8mb4, SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES',
    SESSION lock_wait_timeout = {lock_s}, SESSION innodb_lock_wait_timeout = {lock_s},
    SESSION max_execution_time = {statement_ms}

-- name: session_mariadb
-- Without ONLY_FULL_GROUP_BY, which here refuses columns that depend on the grouped key.
SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_TRANS_TABLES',
    SESSION lock_wait_timeout = {lock_s}, SESSION innodb_lock_wait_timeout = {lock_s},
    SESSION max_statement_time = {statement_s}

-- name: read_only
SET SESSION TRANSACTION READ ONLY

-- name: begin
START TRANSACTION READ ONLY

-- name: rollback
ROLLBACK

-- name: identity
-- Row: the account as `name@host`, the database, the server, this connection's number there.
SELECT CURRENT_USER(), DATABASE(), CONCAT(@@hostname, ':', @@port, '/', @@server_id), CONNECTION_ID()

-- name: stop
KILL QUERY {connection}

-- name: plan
-- Rows: one for each table that would be read, with the estimated rows of it.
EXPLAIN FORMAT=TRADITIONAL {query}

-- name: grants
-- Rows: one grant of the login each, as text.
SHOW GRANTS

-- name: tables
-- Rows: table, kind, estimated rows, comment.
SELECT table_name, table_type, table_rows, table_comment
FROM information_schema.tables
WHERE table_schema = {database} AND table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')
ORDER BY table_name
LIMIT {most}

-- name: columns
-- Rows: table, column, type, comment, PRI for a part of the primary key.
SELECT table_name, column_name, column_type, column_comment, column_key
FROM information_schema.columns
WHERE table_schema = {database}
ORDER BY table_name, ordinal_position

-- name: references
-- Rows: table, column, and the database, table and column that it refers to.
SELECT table_name, column_name,
       referenced_table_schema, referenced_table_name, referenced_column_name
FROM information_schema.key_column_usage
WHERE table_schema = {database} AND referenced_table_name IS NOT NULL

-- name: sample
-- Rows: some values of a few columns of a table, whichever come first.
SELECT {columns} FROM {table} LIMIT {most}
