-- name: add_chunk
INSERT INTO tenantry.chunks (tenant_id, document_id, chunk_no, content, heading, page,
                             start_offset, end_offset, embedding)
VALUES (%(tenant)s, %(document_id)s, %(chunk_no)s, %(content)s, %(heading)s, %(page)s,
        %(start_offset)s, %(end_offset)s, %(embedding)s::extensions.halfvec);

-- name: search_chunks
-- Rows: chunks near in meaning or in words, with both ranks (NULL where a list lacks the chunk)
-- and the cosine similarity; at most 2 x depth, in no order.
-- Exact: an ORDER BY over the tenant's own rows, no approximate index. `similarity` is computed
-- for the lexical list too, so that scores compare.
WITH near AS (
    SELECT document_id, chunk_no, row_number() OVER (ORDER BY distance, document_id, chunk_no) AS rank
      FROM (SELECT c.document_id, c.chunk_no, c.embedding <=> %(embedding)s::extensions.halfvec AS distance
              FROM tenantry.chunks AS c
              JOIN tenantry.documents AS d
                ON d.tenant_id = c.tenant_id AND d.document_id = c.document_id
             WHERE d.embedder = %(embedder)s
             ORDER BY distance, c.document_id, c.chunk_no
             LIMIT %(depth)s) AS nearest
), worded AS (
    SELECT document_id, chunk_no, row_number() OVER (ORDER BY weight DESC, document_id, chunk_no) AS rank
      FROM (SELECT c.document_id, c.chunk_no, ts_rank_cd(c.terms, q.terms) AS weight
              FROM tenantry.chunks AS c
              JOIN tenantry.documents AS d
                ON d.tenant_id = c.tenant_id AND d.document_id = c.document_id
             CROSS JOIN (SELECT websearch_to_tsquery('english', %(words)s) AS terms) AS q
             WHERE c.terms @@ q.terms AND d.embedder = %(embedder)s
             ORDER BY weight DESC, c.document_id, c.chunk_no
             LIMIT %(depth)s) AS best
)
SELECT c.document_id, c.chunk_no, c.content, c.heading, c.page, c.start_offset, c.end_offset,
       d.title, n.rank AS vector_rank, w.rank AS lexical_rank,
       1 - (c.embedding <=> %(embedding)s::extensions.halfvec) AS similarity
  FROM near AS n
  FULL JOIN worded AS w ON w.document_id = n.document_id AND w.chunk_no = n.chunk_no
  JOIN tenantry.chunks AS c
    ON c.document_id = coalesce(n.document_id, w.document_id)
   AND c.chunk_no = coalesce(n.chunk_no, w.chunk_no)
  JOIN tenantry.documents AS d ON d.tenant_id = c.tenant_id AND d.document_id = c.document_id;

-- name: add_document
-- Touches 0 rows when this tenant has these bytes already.
INSERT INTO tenantry.documents (tenant_id, document_id, title, media_type, sha256, size_bytes,
                                pages, chunk_count, embedder, created_by)
VALUES (%(tenant)s, %(document_id)s, %(title)s, %(media_type)s, %(sha256)s, %(size_bytes)s,
        %(pages)s, %(chunk_count)s, %(embedder)s, %(created_by)s)
ON CONFLICT (tenant_id, sha256) DO NOTHING;

-- name: find_document
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, embedder, created_by,
       created_at
  FROM tenantry.documents WHERE sha256 = %(sha256)s;

-- name: get_document
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, embedder, created_by,
       created_at
  FROM tenantry.documents WHERE document_id = %(document_id)s;

-- name: list_documents
-- Rows: documents after the cursor, oldest first.
SELECT document_id, title, media_type, size_bytes, pages, chunk_count, embedder, created_by,
       created_at
  FROM tenantry.documents WHERE document_id > %(after)s ORDER BY document_id LIMIT %(limit)s;

-- name: delete_document
DELETE FROM tenantry.documents WHERE document_id = %(document_id)s;
