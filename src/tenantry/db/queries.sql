-- name: assume_owner
SET ROLE tenantry_owner;

-- name: wait_at_most
-- The setting of this session: who waits for a table keeps everybody after it waiting.
SELECT set_config('lock_timeout', %(wait)s, false);

-- name: content_tables
-- Rows: name and bytes, with indexes and TOAST, of each table that holds something of a document,
-- a job or a conversation; a partition counts, the table it belongs to does not.
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes
  FROM pg_catalog.pg_class AS c
 WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind = 'r'
   AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = c.oid AND NOT a.attisdropped
                  AND a.attname IN ('document_id', 'job_id', 'conversation_id'))
 ORDER BY c.relname;

-- name: table_bytes
SELECT pg_total_relation_size(format('tenantry.%%I', %(name)s::text)::regclass) AS bytes;
