-- name: add_document
-- Touches 0 rows when this tenant has these bytes already.
INSERT INTO tenantry.documents (tenant_id, document_id, title, media_type, sha256, size_bytes,
                                pages, chunk_count, created_by, language, source)
VALUES (%(tenant)s, %(document_id)s, %(title)s, %(media_type)s, %(sha256)s, %(size_bytes)s,
        %(pages)s, %(chunk_count)s, %(created_by)s, %(language)s, %(source)s)
ON CONFLICT DO NOTHING;

-- name: remove_replaced
-- The version before, under the same source.
DELETE FROM tenantry.documents WHERE source = %(source)s AND sha256 <> %(sha256)s;

-- name: find_source
SELECT document_id FROM tenantry.documents WHERE source = %(source)s;

-- name: find_document
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, created_by, created_at,
       source
  FROM tenantry.documents WHERE sha256 = %(sha256)s;

-- name: get_document
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, created_by, created_at,
       source
  FROM tenantry.documents WHERE document_id = %(document_id)s;

-- name: list_documents
-- Rows: documents after the cursor, oldest first.
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, created_by, created_at,
       source
  FROM tenantry.documents WHERE document_id > %(after)s ORDER BY document_id LIMIT %(limit)s;

-- name: delete_document
DELETE FROM tenantry.documents WHERE document_id = %(document_id)s;
