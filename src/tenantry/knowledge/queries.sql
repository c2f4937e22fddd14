-- name: add_document
-- Touches 0 rows when this tenant has these bytes already.
INSERT INTO tenantry.documents (tenant_id, document_id, title, media_type, sha256, size_bytes,
                                pages, chunk_count, embedder, created_by)
VALUES (%(tenant)s, %(document_id)s, %(title)s, %(media_type)s, %(sha256)s, %(size_bytes)s,
        %(pages)s, %(chunk_count)s, %(embedder)s, %(created_by)s)
ON CONFLICT DO NOTHING;

-- name: remove_outdated
-- Another embedder's passages of these bytes, which no search finds any more.
DELETE FROM tenantry.documents WHERE sha256 = %(sha256)s AND embedder <> %(embedder)s;

-- name: add_chunk
INSERT INTO tenantry.chunks (tenant_id, document_id, chunk_no, content, heading, page,
                             start_offset, end_offset, embedding)
VALUES (%(tenant)s, %(document_id)s, %(chunk_no)s, %(content)s, %(heading)s, %(page)s,
        %(start_offset)s, %(end_offset)s, %(embedding)s::extensions.halfvec);

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

-- name: search_chunks
-- Rows: chunks near in meaning or in words, with both ranks (NULL where a list lacks the chunk)
-- and the cosine similarity; at most 2 x depth, in no order.
--
-- One exact pass over the tenant's own chunks: no approximate index, so nothing is missed.
--   own     each chunk's distance to the question, and which of the question's terms it holds.
--           Document by document (OFFSET 0 keeps it so): a plan by the primary key for every
--           tenant. Joined freely, the planner, which cannot know whose rows the policy leaves,
--           reads the whole table as soon as there are few tenants, and the neighbours' size is felt.
--   rarity  inverse document frequency of a term, among the tenant's own chunks: what a neighbour
--           writes never moves a rank.
WITH asked AS MATERIALIZED (
    SELECT row_number() OVER () AS term, quote_literal(lexeme)::tsquery AS query
      FROM unnest(to_tsvector('english', %(words)s))
), own AS MATERIALIZED (
    SELECT d.title, c.document_id, c.chunk_no, c.distance, c.terms
      FROM tenantry.documents AS d
     CROSS JOIN LATERAL (
           SELECT c.document_id, c.chunk_no,
                  c.embedding <=> %(embedding)s::extensions.halfvec AS distance,
                  ARRAY(SELECT a.term FROM asked AS a WHERE c.terms @@ a.query) AS terms
             FROM tenantry.chunks AS c
            WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id
           OFFSET 0) AS c
     WHERE d.embedder = %(embedder)s
), rarity AS MATERIALIZED (
    SELECT t.term, ln(1 + (SELECT count(*) FROM own)::float8 / count(*)) AS weight
      FROM own CROSS JOIN unnest(own.terms) AS t (term)
     GROUP BY t.term
), near AS (
    SELECT document_id, chunk_no, title, distance,
           row_number() OVER (ORDER BY distance, document_id, chunk_no) AS rank
      FROM (SELECT document_id, chunk_no, title, distance
              FROM own ORDER BY distance, document_id, chunk_no LIMIT %(depth)s) AS nearest
), worded AS (
    SELECT document_id, chunk_no, title, distance,
           row_number() OVER (ORDER BY weight DESC, distance, document_id, chunk_no) AS rank
      FROM (SELECT document_id, chunk_no, title, distance,
                   (SELECT sum(r.weight) FROM rarity AS r WHERE r.term = ANY (own.terms)) AS weight
              FROM own WHERE terms <> '{}'
             ORDER BY weight DESC, distance, document_id, chunk_no LIMIT %(depth)s) AS best
), found AS MATERIALIZED (
    SELECT document_id, chunk_no, coalesce(n.title, w.title) AS title,
           coalesce(n.distance, w.distance) AS distance,
           n.rank AS vector_rank, w.rank AS lexical_rank
      FROM near AS n FULL JOIN worded AS w USING (document_id, chunk_no)
)
SELECT f.document_id, f.chunk_no, f.title, c.content, c.heading, c.page, c.start_offset,
       c.end_offset, f.vector_rank, f.lexical_rank, 1 - f.distance AS similarity
  FROM found AS f
 CROSS JOIN LATERAL (
       SELECT c.content, c.heading, c.page, c.start_offset, c.end_offset
         FROM tenantry.chunks AS c
        WHERE c.document_id = f.document_id AND c.chunk_no = f.chunk_no
       OFFSET 0) AS c;
