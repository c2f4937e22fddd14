-- Statements that the PostgreSQL connector runs at a tenant's server (the platform's own are in
-- queries.sql). Values are sent apart from the text, as $1 and so on; what stands in braces is
-- filled with quoted names, and as `query` with what the guard regenerated. Every function and table
-- is named in full: no search path decides what it means.

-- name: session
-- The settings decide how SQL is read and values are written, and bound what a statement takes.
SELECT pg_catalog.set_config('search_path', 'pg_catalog', false),
       pg_catalog.set_config('default_transaction_read_only', 'on', false),
       pg_catalog.set_config('statement_timeout', $1, false),
       pg_catalog.set_config('idle_in_transaction_session_timeout', $2, false),
       pg_catalog.set_config('lock_timeout', $3, false),
       pg_catalog.set_config(  -- what has no encoding cannot be converted, only passed on
           'client_encoding',
           CASE pg_catalog.getdatabaseencoding()
               WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8'
           END,
           false),
       pg_catalog.set_config('standard_conforming_strings', 'on', false),
       pg_catalog.set_config('TimeZone', 'UTC', false),
       pg_catalog.set_config('DateStyle', 'ISO, YMD', false),
       pg_catalog.set_config('IntervalStyle', 'iso_8601', false),
       pg_catalog.set_config('bytea_output', 'hex', false),
       pg_catalog.set_config('extra_float_digits', '1', false)

-- name: begin
BEGIN TRANSACTION READ ONLY

-- name: rollback
ROLLBACK

-- name: discard
DISCARD ALL

-- name: ping
SELECT 1

-- name: identity
-- Row: who logged in, as whom the session acts, the database, the server, the session there.
SELECT session_user::pg_catalog.text, current_user::pg_catalog.text,
       pg_catalog.current_database()::pg_catalog.text,
       pg_catalog.concat(pg_catalog.host(pg_catalog.inet_server_addr()), ':',
                         pg_catalog.inet_server_port(), '/',
                         pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())),
       pg_catalog.pg_backend_pid()::pg_catalog.text

-- name: plan
-- Row: the plan as JSON.
EXPLAIN (FORMAT JSON) {query}

-- name: roles
-- Rows: each role that the login is or may become, and what it may do.
SELECT rolname, rolsuper, rolbypassrls, rolreplication, rolcreaterole, rolcreatedb
FROM pg_catalog.pg_roles
WHERE rolname = session_user OR pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
ORDER BY rolname

-- name: writes
-- Row: may the login write tables, does it own some, may it create things?
SELECT
    EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname !~ '^pg_'
          AND n.nspname <> 'information_schema'
          AND (pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
               OR pg_catalog.has_any_column_privilege(c.oid, 'INSERT, UPDATE'))),
    EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND pg_catalog.pg_has_role(session_user, c.relowner, 'MEMBER')),
    EXISTS (
        SELECT FROM pg_catalog.pg_namespace AS n
        WHERE n.nspname !~ '^pg_' AND pg_catalog.has_schema_privilege(n.oid, 'CREATE'))
    OR pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')

-- name: tables
-- Rows: schema, table, kind, estimated rows, comment. Partitions are left out, for the table that
-- they are of is there; foreign tables are, for they lead from this database to another.
SELECT n.nspname, c.relname, c.relkind::pg_catalog.text, c.reltuples::pg_catalog.int8,
       pg_catalog.left(pg_catalog.obj_description(c.oid, 'pg_class'), 1000)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::pg_catalog.text[])
  AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
ORDER BY n.nspname, c.relname
LIMIT $2::pg_catalog.int8

-- name: columns
-- Rows: schema, table, column, type, comment, t for a part of the primary key.
SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
       pg_catalog.left(pg_catalog.col_description(c.oid, a.attnum), 1000),
       a.attnum = ANY (i.indkey)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = ANY ($1::pg_catalog.text[])
  AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
  AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY n.nspname, c.relname, a.attnum

-- name: references
-- Rows: schema, table, column, and the schema, table and column that it refers to.
SELECT n.nspname, c.relname, a.attname, tn.nspname, tc.relname, ta.attname
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class AS tc ON tc.oid = k.confrelid
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = tc.relnamespace
CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey))
    AS pair (own, other)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = pair.own
JOIN pg_catalog.pg_attribute AS ta ON ta.attrelid = tc.oid AND ta.attnum = pair.other
WHERE k.contype = 'f' AND n.nspname = ANY ($1::pg_catalog.text[]) AND NOT c.relispartition

-- name: sample
-- Rows: some values of a few columns of a table, whichever come first.
SELECT {columns} FROM {table} LIMIT {most}
