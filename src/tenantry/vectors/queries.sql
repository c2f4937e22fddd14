-- name: add_chunks
-- One row for each element of the arrays, for whom its document is.
INSERT INTO tenantry.chunks (tenant_id, document_id, chunk_no, content, heading, page,
                             start_offset, end_offset, names, audience, terms)
SELECT d.tenant_id, d.document_id, n.chunk_no, n.content, n.heading, n.page, n.start_offset,
       n.end_offset, n.names, d.audience,
       setweight(to_tsvector(%(language)s::regconfig, n.heading), 'A')
       || to_tsvector(%(language)s::regconfig, n.content)
  FROM unnest(%(chunk_no)s::integer[], %(content)s::text[], %(heading)s::text[],
              %(page)s::integer[], %(start_offset)s::integer[], %(end_offset)s::integer[],
              %(names)s::text[])
       AS n (chunk_no, content, heading, page, start_offset, end_offset, names)
  JOIN tenantry.searchable_documents AS d ON d.document_id = %(document_id)s;

-- name: add_embeddings
-- One row for each element of the arrays, for whom its document is.
INSERT INTO tenantry.chunk_embeddings (tenant_id, document_id, version, chunk_no, embedding,
                                       audience)
SELECT d.tenant_id, d.document_id, %(version)s, n.chunk_no, n.embedding::extensions.halfvec,
       d.audience
  FROM unnest(%(chunk_no)s::integer[], %(embedding)s::text[]) AS n (chunk_no, embedding)
  JOIN tenantry.searchable_documents AS d ON d.document_id = %(document_id)s;

-- name: add_lacking
-- One row for each element of the arrays whose document is as it was read; what is there stays.
-- None for a version that was given up meanwhile.
INSERT INTO tenantry.chunk_embeddings (tenant_id, document_id, version, chunk_no, embedding,
                                       audience)
SELECT d.tenant_id, d.document_id, %(version)s, n.chunk_no, n.embedding::extensions.halfvec,
       d.audience
  FROM unnest(%(document_id)s::uuid[], %(sha256)s::bytea[], %(chunk_no)s::integer[],
              %(embedding)s::text[]) AS n (document_id, sha256, chunk_no, embedding)
  JOIN tenantry.searchable_documents AS d USING (document_id, sha256)
 WHERE EXISTS (SELECT FROM tenantry.vector_versions AS v
                WHERE v.version = %(version)s AND v.state IN ('preparing', 'active'))
ON CONFLICT DO NOTHING;

-- name: document_vectors
-- Rows: the passages of one document with their vectors of one version, as text.
SELECT c.heading, c.content, e.embedding::text AS embedding
  FROM tenantry.chunks AS c
  JOIN tenantry.chunk_embeddings AS e USING (tenant_id, document_id, chunk_no)
 WHERE c.document_id = %(document_id)s AND e.version = %(version)s;

-- name: nearest_exact
-- Rows: the nearest passages, nearest first.
--
-- Document by document (OFFSET 0 keeps it so): a plan by the primary key for every tenant. Joined
-- freely, the planner, which cannot know whose rows the policy leaves, reads the whole table as soon
-- as there are few tenants, and the neighbours' size is felt.
SELECT d.document_id, e.chunk_no, e.distance
  FROM tenantry.searchable_documents AS d
 CROSS JOIN LATERAL (
       SELECT e.chunk_no, e.embedding <=> %(embedding)s::extensions.halfvec AS distance
         FROM tenantry.chunk_embeddings AS e
        WHERE e.tenant_id = d.tenant_id AND e.document_id = d.document_id
          AND e.version = %(version)s
       OFFSET 0) AS e
 WHERE (%(only_documents)s::uuid[] IS NULL OR d.document_id = ANY (%(only_documents)s))
   AND (%(media_types)s::text[] IS NULL OR d.media_type = ANY (%(media_types)s))
   AND (%(added_from)s::timestamptz IS NULL OR d.created_at >= %(added_from)s)
   AND (%(added_before)s::timestamptz IS NULL OR d.created_at < %(added_before)s)
 ORDER BY e.distance, d.document_id, e.chunk_no LIMIT %(most)s;

-- name: nearest_on_shelf
-- Rows: the nearest passages by the shelf's index, nearest first; maybe too few.
SELECT document_id, chunk_no, distance
  FROM tenantry.nearest_on_shelf(%(shelf)s, %(dimension)s, %(embedding)s::extensions.halfvec,
                                 %(most)s, %(version)s, %(only_documents)s::uuid[],
                                 %(media_types)s::text[], %(added_from)s::timestamptz,
                                 %(added_before)s::timestamptz);

-- name: ready_shelf
-- Rows: the tenant's ready shelf, and how many passages pass the filter; none without a shelf.
SELECT s.shelf, s.dimension,
       (SELECT coalesce(sum(d.chunk_count), 0) FROM tenantry.searchable_documents AS d
         WHERE (%(only_documents)s::uuid[] IS NULL OR d.document_id = ANY (%(only_documents)s))
           AND (%(media_types)s::text[] IS NULL OR d.media_type = ANY (%(media_types)s))
           AND (%(added_from)s::timestamptz IS NULL OR d.created_at >= %(added_from)s)
           AND (%(added_before)s::timestamptz IS NULL OR d.created_at < %(added_before)s)
       ) AS passing
  FROM tenantry.vector_shelves AS s
 WHERE s.version = %(version)s AND s.state = 'ready' AND s.dimension = %(dimension)s;

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
      FROM (SELECT DISTINCT d.language FROM tenantry.searchable_documents AS d) AS l
     CROSS JOIN LATERAL unnest(to_tsvector(l.language::regconfig, %(words)s)) AS t
), every AS MATERIALIZED (
    SELECT d.tenant_id, d.document_id, d.language, c.chunk_no, c.terms
      FROM tenantry.searchable_documents AS d
     CROSS JOIN LATERAL (
           SELECT c.chunk_no,
                  ARRAY(SELECT a.term FROM asked AS a
                         WHERE a.language = d.language AND c.terms @@ a.query) AS terms
             FROM tenantry.chunks AS c
            WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id
           OFFSET 0) AS c
     WHERE (%(only_documents)s::uuid[] IS NULL OR d.document_id = ANY (%(only_documents)s))
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
SELECT e.document_id, e.chunk_no, v.distance,
       (SELECT sum(r.weight) FROM rarity AS r WHERE r.term = ANY (e.terms)) / w.weight AS share
  FROM every AS e JOIN whole AS w USING (language)
  LEFT JOIN LATERAL (
       SELECT v.embedding <=> %(embedding)s::extensions.halfvec AS distance
         FROM tenantry.chunk_embeddings AS v
        WHERE v.tenant_id = e.tenant_id AND v.document_id = e.document_id
          AND v.version = %(version)s AND v.chunk_no = e.chunk_no
       OFFSET 0) AS v ON true
 WHERE e.terms <> '{}'
 ORDER BY share DESC, v.distance, e.document_id, e.chunk_no LIMIT %(most)s;

-- name: named
-- Rows: passages with a code or name that is like one of the question's, likest first, for those that
-- no passage spells as the question does: a slip. `share` is the likeness, 0 to 1 on average.
WITH alike AS MATERIALIZED (
    SELECT d.tenant_id, d.document_id, c.chunk_no, c.name, c.likeness
      FROM tenantry.searchable_documents AS d
     CROSS JOIN LATERAL (
           SELECT c.chunk_no, n.name,
                  extensions.strict_word_similarity(n.name, c.names) AS likeness
             FROM tenantry.chunks AS c CROSS JOIN unnest(%(names)s::text[]) AS n (name)
            WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id AND c.names <> ''
           OFFSET 0) AS c
     WHERE c.likeness >= %(likeness)s
       AND (%(only_documents)s::uuid[] IS NULL OR d.document_id = ANY (%(only_documents)s))
       AND (%(media_types)s::text[] IS NULL OR d.media_type = ANY (%(media_types)s))
       AND (%(added_from)s::timestamptz IS NULL OR d.created_at >= %(added_from)s)
       AND (%(added_before)s::timestamptz IS NULL OR d.created_at < %(added_before)s)
)
SELECT a.document_id, a.chunk_no, v.distance, a.share
  FROM (SELECT tenant_id, document_id, chunk_no,
               sum(likeness) / cardinality(%(names)s::text[]) AS share
          FROM alike
         WHERE name NOT IN (SELECT a.name FROM alike AS a WHERE a.likeness = 1)
         GROUP BY tenant_id, document_id, chunk_no) AS a
  LEFT JOIN LATERAL (
       SELECT v.embedding <=> %(embedding)s::extensions.halfvec AS distance
         FROM tenantry.chunk_embeddings AS v
        WHERE v.tenant_id = a.tenant_id AND v.document_id = a.document_id
          AND v.version = %(version)s AND v.chunk_no = a.chunk_no
       OFFSET 0) AS v ON true
 ORDER BY a.share DESC, v.distance, a.document_id, a.chunk_no LIMIT %(most)s;

-- name: passages
-- Rows: the passages named by the arrays, in no order, with the cosine similarity to the question,
-- and the text before and after each within its section.
SELECT n.document_id, n.chunk_no, d.title, c.content, c.heading, c.page, c.start_offset,
       c.end_offset, 1 - v.distance AS similarity, coalesce(c.before, '') AS before,
       coalesce(c.after, '') AS after
  FROM unnest(%(document_ids)s::uuid[], %(chunk_nos)s::integer[]) AS n (document_id, chunk_no)
  JOIN tenantry.searchable_documents AS d USING (document_id)
 CROSS JOIN LATERAL (
       SELECT c.content, c.heading, c.page, c.start_offset, c.end_offset,
              (SELECT p.content FROM tenantry.chunks AS p
                WHERE p.tenant_id = c.tenant_id AND p.document_id = c.document_id
                  AND p.chunk_no = c.chunk_no - 1 AND p.heading = c.heading) AS before,
              (SELECT p.content FROM tenantry.chunks AS p
                WHERE p.tenant_id = c.tenant_id AND p.document_id = c.document_id
                  AND p.chunk_no = c.chunk_no + 1 AND p.heading = c.heading) AS after
         FROM tenantry.chunks AS c
        WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id
          AND c.chunk_no = n.chunk_no
       OFFSET 0) AS c
  LEFT JOIN LATERAL (
       SELECT v.embedding <=> %(embedding)s::extensions.halfvec AS distance
         FROM tenantry.chunk_embeddings AS v
        WHERE v.tenant_id = d.tenant_id AND v.document_id = d.document_id
          AND v.version = %(version)s AND v.chunk_no = n.chunk_no
       OFFSET 0) AS v ON true;

-- name: shelf_of
-- Rows: the tenant's shelf of a version and how many passages it has; a row always.
SELECT s.state, s.shelf,
       (SELECT coalesce(sum(d.chunk_count), 0) FROM tenantry.searchable_documents AS d) AS passages
  FROM (SELECT) AS one LEFT JOIN tenantry.vector_shelves AS s ON s.version = %(version)s;

-- name: shelf_due
-- Rows: one, whether the tenant's indexes are other than its size says: a shelf is to be opened for
-- its active version, or any of its shelves to be finished or given up.
WITH kept AS MATERIALIZED (
    SELECT coalesce(sum(d.chunk_count), 0) AS passages FROM tenantry.searchable_documents AS d)
SELECT EXISTS (SELECT FROM tenantry.vector_shelves AS s CROSS JOIN kept AS k
                WHERE s.state <> 'ready' OR k.passages < %(demote_below)s)
       OR EXISTS (SELECT FROM tenantry.vector_versions AS v CROSS JOIN kept AS k
                   WHERE v.state = 'active' AND v.dimension <= %(most_dimensions)s
                     AND k.passages >= %(promote_at)s
                     AND NOT EXISTS (SELECT FROM tenantry.vector_shelves AS s
                                      WHERE s.version = v.version)) AS is_due;

-- name: shelves
-- Rows: every shelf of the tenant.
SELECT version, state, shelf, dimension, changed_at FROM tenantry.vector_shelves
 ORDER BY version;

-- name: open_shelf
SELECT tenantry.open_shelf(%(version)s, %(dimension)s);

-- name: advance_shelf
SELECT tenantry.advance_shelf(%(version)s);

-- name: retire_shelf
SELECT tenantry.retire_shelf(%(version)s);

-- name: free_shelf
SELECT tenantry.free_shelf(%(version)s);

-- name: allow_building
-- What building an index takes: time, and memory for the graph; ends with the transaction.
SELECT pg_catalog.set_config('statement_timeout', '0', true),
       pg_catalog.set_config('maintenance_work_mem', %(memory)s, true),
       pg_catalog.set_config('max_parallel_maintenance_workers', '0', true);

-- name: versions
-- Rows: the tenant's versions that have vectors, or will have, oldest first.
SELECT version, embedder, is_default, dimension, is_shortened, query_prefix, passage_prefix, state,
       is_behind, job_id, changed_at
  FROM tenantry.vector_versions WHERE state <> 'gone' ORDER BY version;

-- name: hold_active
-- Rows: the active version; it stays active until the transaction ends.
SELECT version FROM tenantry.vector_versions WHERE state = 'active' FOR SHARE;

-- name: lock_active
-- Rows: the active version; nobody stores a document of the tenant until the transaction ends.
SELECT version FROM tenantry.vector_versions WHERE state = 'active' FOR UPDATE;

-- name: is_active
-- Rows: one, whether a version is the active one; 0 is the one of a tenant that has none.
SELECT coalesce((SELECT version FROM tenantry.vector_versions WHERE state = 'active'), 0)
       = %(version)s AS active;

-- name: first_version
-- The tenant's first version; touches 0 rows when it has one.
INSERT INTO tenantry.vector_versions (tenant_id, version, embedder, is_default, dimension,
                                      is_shortened, query_prefix, passage_prefix, state)
VALUES (%(tenant)s, 1, %(embedder)s, %(is_default)s, %(dimension)s, %(is_shortened)s,
        %(query_prefix)s, %(passage_prefix)s, 'active')
ON CONFLICT DO NOTHING;

-- name: add_version
-- Rows: the number of the version that is being prepared from now on.
INSERT INTO tenantry.vector_versions (tenant_id, version, embedder, is_default, dimension,
                                      is_shortened, query_prefix, passage_prefix, state)
SELECT %(tenant)s, max(version) + 1, %(embedder)s, %(is_default)s, %(dimension)s, %(is_shortened)s,
       %(query_prefix)s, %(passage_prefix)s, 'preparing'
  FROM tenantry.vector_versions
RETURNING version;

-- name: prepared_by
UPDATE tenantry.vector_versions SET job_id = %(job_id)s WHERE version = %(version)s;

-- name: is_behind
-- Touches 0 rows when the version is another's turn already.
UPDATE tenantry.vector_versions SET is_behind = %(behind)s
 WHERE version = %(version)s AND state IN ('preparing', 'active');

-- name: keep_default
-- The version in force goes on with the deployment, or not.
UPDATE tenantry.vector_versions SET is_default = %(is_default)s WHERE version = %(version)s;

-- name: leave_version
-- Touches 0 rows unless the version was in the state.
UPDATE tenantry.vector_versions SET state = 'leaving', changed_at = now()
 WHERE version = %(version)s AND state = %(state)s;

-- name: enter_version
-- Touches 0 rows unless the version is ready: prepared, and not behind.
UPDATE tenantry.vector_versions SET state = 'active', changed_at = now()
 WHERE version = %(version)s AND state = 'preparing' AND NOT is_behind;

-- name: version_gone
UPDATE tenantry.vector_versions SET state = 'gone', changed_at = now()
 WHERE version = %(version)s AND state = 'leaving';

-- name: lacking
-- Rows: passages from a document on that lack vectors of the version, in order.
--
-- Document by document, as a search goes: by key, whatever the planner thinks of the tenant.
SELECT d.document_id, d.sha256, c.chunk_no, c.heading, c.content
  FROM tenantry.searchable_documents AS d
 CROSS JOIN LATERAL (
       SELECT c.chunk_no, c.heading, c.content FROM tenantry.chunks AS c
        WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id
          AND NOT EXISTS (SELECT FROM tenantry.chunk_embeddings AS e
                           WHERE e.tenant_id = c.tenant_id AND e.document_id = c.document_id
                             AND e.version = %(version)s AND e.chunk_no = c.chunk_no)
       OFFSET 0) AS c
 WHERE d.document_id >= %(since)s
 ORDER BY d.document_id, c.chunk_no LIMIT %(limit)s;

-- name: how_far
-- Rows: one: how many passages have vectors of the version, and how many there are.
SELECT (SELECT count(*) FROM tenantry.chunk_embeddings AS e WHERE e.version = %(version)s) AS done,
       (SELECT coalesce(sum(d.chunk_count), 0)
          FROM tenantry.searchable_documents AS d) AS passages;

-- name: remove_embeddings
-- Rows: the last of the next documents, whose vectors of the version are removed; none at the end.
WITH page AS MATERIALIZED (
    SELECT d.tenant_id, d.document_id FROM tenantry.searchable_documents AS d
     WHERE d.document_id > %(after)s ORDER BY d.document_id LIMIT %(limit)s
), removed AS (
    DELETE FROM tenantry.chunk_embeddings AS e USING page AS p
     WHERE e.tenant_id = p.tenant_id AND e.document_id = p.document_id
       AND e.version = %(version)s
)
SELECT document_id FROM page ORDER BY document_id DESC LIMIT 1;
