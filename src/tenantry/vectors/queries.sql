-- name: add_chunks
-- One row for each element of the arrays.
INSERT INTO tenantry.chunks (tenant_id, document_id, chunk_no, content, heading, page,
                             start_offset, end_offset, embedding, names, terms)
SELECT %(tenant)s, %(document_id)s, n.chunk_no, n.content, n.heading, n.page, n.start_offset,
       n.end_offset, n.embedding::extensions.halfvec, n.names,
       setweight(to_tsvector(%(language)s::regconfig, n.heading), 'A')
       || to_tsvector(%(language)s::regconfig, n.content)
  FROM unnest(%(chunk_no)s::integer[], %(content)s::text[], %(heading)s::text[],
              %(page)s::integer[], %(start_offset)s::integer[], %(end_offset)s::integer[],
              %(embedding)s::text[], %(names)s::text[])
       AS n (chunk_no, content, heading, page, start_offset, end_offset, embedding, names);

-- name: document_vectors
-- Rows: the passages of one document with their vectors, as text.
SELECT heading, content, embedding::text AS embedding
  FROM tenantry.chunks WHERE document_id = %(document_id)s;

-- name: nearest_exact
-- Rows: the nearest passages, nearest first.
--
-- Document by document (OFFSET 0 keeps it so): a plan by the primary key for every tenant. Joined
-- freely, the planner, which cannot know whose rows the policy leaves, reads the whole table as soon
-- as there are few tenants, and the neighbours' size is felt.
SELECT d.document_id, c.chunk_no, c.distance
  FROM tenantry.searchable_documents AS d
 CROSS JOIN LATERAL (
       SELECT c.chunk_no, c.embedding <=> %(embedding)s::extensions.halfvec AS distance
         FROM tenantry.chunks AS c
        WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id
       OFFSET 0) AS c
 WHERE d.embedder = %(embedder)s
   AND (%(only_documents)s::uuid[] IS NULL OR d.document_id = ANY (%(only_documents)s))
   AND (%(media_types)s::text[] IS NULL OR d.media_type = ANY (%(media_types)s))
   AND (%(added_from)s::timestamptz IS NULL OR d.created_at >= %(added_from)s)
   AND (%(added_before)s::timestamptz IS NULL OR d.created_at < %(added_before)s)
 ORDER BY c.distance, d.document_id, c.chunk_no LIMIT %(most)s;

-- name: nearest_on_shelf
-- Rows: the nearest passages by the shelf's index, nearest first; maybe too few.
SELECT document_id, chunk_no, distance
  FROM tenantry.nearest_on_shelf(%(shelf)s, %(dimension)s, %(embedding)s::extensions.halfvec,
                                 %(most)s, %(embedder)s, %(only_documents)s::uuid[],
                                 %(media_types)s::text[], %(added_from)s::timestamptz,
                                 %(added_before)s::timestamptz);

-- name: ready_shelf
-- Rows: the tenant's ready shelf, and how many passages pass the filter; none without a shelf.
SELECT s.shelf, s.dimension,
       (SELECT coalesce(sum(d.chunk_count), 0) FROM tenantry.searchable_documents AS d
         WHERE d.embedder = %(embedder)s
           AND (%(only_documents)s::uuid[] IS NULL OR d.document_id = ANY (%(only_documents)s))
           AND (%(media_types)s::text[] IS NULL OR d.media_type = ANY (%(media_types)s))
           AND (%(added_from)s::timestamptz IS NULL OR d.created_at >= %(added_from)s)
           AND (%(added_before)s::timestamptz IS NULL OR d.created_at < %(added_before)s)
       ) AS passing
  FROM tenantry.vector_shelves AS s
 WHERE s.embedder = %(embedder)s AND s.state = 'ready' AND s.dimension = %(dimension)s;

-- name: worded
-- Rows: passages that hold terms of the question, best first; ties by distance. `share` is how much
-- of the question's weight the passage holds, 0 to 1.
--
--   asked   the question's terms in each language that the tenant's documents are in.
--   every   each passage and the terms it holds, document by document, by the primary key.
--   rarity  inverse document frequency of a term, among the tenant's own passages: what a neighbour
--           writes never moves a rank.
WITH asked AS MATERIALIZED (
    SELECT l.language, row_number() OVER () AS term, quote_literal(t.lexeme)::tsquery AS query
      FROM (SELECT DISTINCT d.language FROM tenantry.searchable_documents AS d
             WHERE d.embedder = %(embedder)s) AS l
     CROSS JOIN LATERAL unnest(to_tsvector(l.language::regconfig, %(words)s)) AS t
), every AS MATERIALIZED (
    SELECT d.document_id, d.language, c.chunk_no, c.distance, c.terms
      FROM tenantry.searchable_documents AS d
     CROSS JOIN LATERAL (
           SELECT c.chunk_no, c.embedding <=> %(embedding)s::extensions.halfvec AS distance,
                  ARRAY(SELECT a.term FROM asked AS a
                         WHERE a.language = d.language AND c.terms @@ a.query) AS terms
             FROM tenantry.chunks AS c
            WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id
           OFFSET 0) AS c
     WHERE d.embedder = %(embedder)s
       AND (%(only_documents)s::uuid[] IS NULL OR d.document_id = ANY (%(only_documents)s))
       AND (%(media_types)s::text[] IS NULL OR d.media_type = ANY (%(media_types)s))
       AND (%(added_from)s::timestamptz IS NULL OR d.created_at >= %(added_from)s)
       AND (%(added_before)s::timestamptz IS NULL OR d.created_at < %(added_before)s)
), rarity AS MATERIALIZED (
    SELECT a.term, a.language,
           ln(1 + (SELECT count(*) FROM every)::float8 / greatest(1, count(h.term))) AS weight
      FROM asked AS a
      LEFT JOIN (SELECT unnest(e.terms) AS term FROM every AS e) AS h ON h.term = a.term
     GROUP BY a.term, a.language
), whole AS MATERIALIZED (
    SELECT language, sum(weight) AS weight FROM rarity GROUP BY language
)
SELECT e.document_id, e.chunk_no, e.distance,
       (SELECT sum(r.weight) FROM rarity AS r WHERE r.term = ANY (e.terms)) / w.weight AS share
  FROM every AS e JOIN whole AS w USING (language)
 WHERE e.terms <> '{}'
 ORDER BY share DESC, e.distance, e.document_id, e.chunk_no LIMIT %(most)s;

-- name: named
-- Rows: passages with a code or name that is like one of the question's, likest first, for those that
-- no passage spells as the question does: a slip. `share` is the likeness, 0 to 1 on average.
WITH alike AS MATERIALIZED (
    SELECT d.document_id, c.chunk_no, c.distance, c.name, c.likeness
      FROM tenantry.searchable_documents AS d
     CROSS JOIN LATERAL (
           SELECT c.chunk_no, n.name, c.embedding <=> %(embedding)s::extensions.halfvec AS distance,
                  extensions.strict_word_similarity(n.name, c.names) AS likeness
             FROM tenantry.chunks AS c CROSS JOIN unnest(%(names)s::text[]) AS n (name)
            WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id AND c.names <> ''
           OFFSET 0) AS c
     WHERE d.embedder = %(embedder)s AND c.likeness >= %(likeness)s
       AND (%(only_documents)s::uuid[] IS NULL OR d.document_id = ANY (%(only_documents)s))
       AND (%(media_types)s::text[] IS NULL OR d.media_type = ANY (%(media_types)s))
       AND (%(added_from)s::timestamptz IS NULL OR d.created_at >= %(added_from)s)
       AND (%(added_before)s::timestamptz IS NULL OR d.created_at < %(added_before)s)
)
SELECT document_id, chunk_no, distance, sum(likeness) / cardinality(%(names)s::text[]) AS share
  FROM alike
 WHERE name NOT IN (SELECT a.name FROM alike AS a WHERE a.likeness = 1)
 GROUP BY document_id, chunk_no, distance
 ORDER BY share DESC, distance, document_id, chunk_no LIMIT %(most)s;

-- name: passages
-- Rows: the passages named by the arrays, in no order, with the cosine similarity to the question,
-- and the text before and after each within its section.
SELECT n.document_id, n.chunk_no, d.title, c.content, c.heading, c.page, c.start_offset,
       c.end_offset, 1 - c.distance AS similarity, coalesce(c.before, '') AS before,
       coalesce(c.after, '') AS after
  FROM unnest(%(document_ids)s::uuid[], %(chunk_nos)s::integer[]) AS n (document_id, chunk_no)
  JOIN tenantry.searchable_documents AS d USING (document_id)
 CROSS JOIN LATERAL (
       SELECT c.content, c.heading, c.page, c.start_offset, c.end_offset,
              c.embedding <=> %(embedding)s::extensions.halfvec AS distance,
              (SELECT p.content FROM tenantry.chunks AS p
                WHERE p.tenant_id = c.tenant_id AND p.document_id = c.document_id
                  AND p.chunk_no = c.chunk_no - 1 AND p.heading = c.heading) AS before,
              (SELECT p.content FROM tenantry.chunks AS p
                WHERE p.tenant_id = c.tenant_id AND p.document_id = c.document_id
                  AND p.chunk_no = c.chunk_no + 1 AND p.heading = c.heading) AS after
         FROM tenantry.chunks AS c
        WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id
          AND c.chunk_no = n.chunk_no
       OFFSET 0) AS c;

-- name: shelf_of
-- Rows: the tenant's shelf of an embedder and how many passages it has; a row always.
SELECT s.state, s.shelf,
       (SELECT coalesce(sum(d.chunk_count), 0) FROM tenantry.searchable_documents AS d
         WHERE d.embedder = %(embedder)s) AS passages
  FROM (SELECT) AS one LEFT JOIN tenantry.vector_shelves AS s ON s.embedder = %(embedder)s;

-- name: shelves
-- Rows: every shelf of the tenant.
SELECT embedder, state, shelf, dimension, changed_at FROM tenantry.vector_shelves
 ORDER BY embedder;

-- name: open_shelf
SELECT tenantry.open_shelf(%(embedder)s, %(dimension)s);

-- name: advance_shelf
SELECT tenantry.advance_shelf(%(embedder)s);

-- name: retire_shelf
SELECT tenantry.retire_shelf(%(embedder)s);

-- name: free_shelf
SELECT tenantry.free_shelf(%(embedder)s);

-- name: allow_building
-- What building an index takes: time, and memory for the graph; ends with the transaction.
SELECT pg_catalog.set_config('statement_timeout', '0', true),
       pg_catalog.set_config('maintenance_work_mem', %(memory)s, true),
       pg_catalog.set_config('max_parallel_maintenance_workers', '0', true);
