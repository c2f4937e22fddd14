-- name: add_document
-- Touches 0 rows when this tenant has these bytes already for the same readers.
INSERT INTO tenantry.documents (tenant_id, document_id, title, media_type, sha256, size_bytes,
                                pages, chunk_count, created_by, language, source, audience)
VALUES (%(tenant)s, %(document_id)s, %(title)s, %(media_type)s, %(sha256)s, %(size_bytes)s,
        %(pages)s, %(chunk_count)s, %(created_by)s, %(language)s, %(source)s,
        %(audience)s)
ON CONFLICT DO NOTHING;

-- name: remove_replaced
-- The version before, under the same source: whose place this one takes, or for the same readers.
DELETE FROM tenantry.documents
 WHERE source = %(source)s
   AND (document_id = %(document_id)s AND (sha256 <> %(sha256)s OR audience <> %(audience)s)
        OR audience = %(audience)s AND sha256 <> %(sha256)s);

-- name: find_source
-- Rows: what stands under a source; for the readers that are named, or for the fewest.
SELECT document_id FROM tenantry.documents WHERE source = %(source)s
 ORDER BY audience = %(audience)s DESC, audience <> 0 DESC, document_id LIMIT 1;

-- name: find_readers
-- Rows: for whom these bytes are already, or what stands under a source; the fewest first.
SELECT audience FROM tenantry.documents
 WHERE sha256 = %(sha256)s OR source = %(source)s
 ORDER BY audience <> 0 DESC, document_id LIMIT 1;

-- name: restrict_document
-- Touches 0 rows when there is none. Its passages follow by their foreign key.
UPDATE tenantry.documents SET audience = %(audience)s WHERE document_id = %(document_id)s;

-- name: find_document
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, created_by, created_at,
       source, audience <> 0 AS is_restricted, tenantry.audience_names(audience) AS groups
  FROM tenantry.documents WHERE sha256 = %(sha256)s AND audience = %(audience)s;

-- name: get_document
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, created_by, created_at,
       source, audience <> 0 AS is_restricted, tenantry.audience_names(audience) AS groups
  FROM tenantry.documents WHERE document_id = %(document_id)s;

-- name: list_documents
-- Rows: documents after the cursor, oldest first.
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, created_by, created_at,
       source, audience <> 0 AS is_restricted, tenantry.audience_names(audience) AS groups
  FROM tenantry.documents WHERE document_id > %(after)s ORDER BY document_id LIMIT %(limit)s;

-- name: delete_document
DELETE FROM tenantry.documents WHERE document_id = %(document_id)s;
