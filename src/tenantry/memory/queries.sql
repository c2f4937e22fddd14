-- Verified queries: tenantry.patterns, tenantry.pattern_versions.

-- name: create_pattern
INSERT INTO tenantry.patterns (tenant_id, pattern_id, connector_id, current_version)
VALUES (%(tenant)s, %(pattern_id)s, %(connector_id)s, 1);

-- name: lock_pattern
-- Rows: connector_id, held until the transaction ends: versions are numbered one by one.
SELECT connector_id FROM tenantry.patterns WHERE pattern_id = %(pattern_id)s FOR UPDATE;

-- name: add_pattern_version
-- Rows: the number of the new version.
INSERT INTO tenantry.pattern_versions (
    tenant_id, pattern_id, version, question, sql, embedding, embedder, created_by)
SELECT %(tenant)s, %(pattern_id)s, coalesce(max(version), 0) + 1, %(question)s, %(sql)s,
       %(embedding)s::text::extensions.halfvec, %(embedder)s, %(created_by)s
  FROM tenantry.pattern_versions WHERE pattern_id = %(pattern_id)s
RETURNING version;

-- name: point_pattern
-- Touches 0 rows when there is no such version.
UPDATE tenantry.patterns AS p SET current_version = %(version)s
 WHERE p.pattern_id = %(pattern_id)s
   AND EXISTS (SELECT FROM tenantry.pattern_versions AS v
                WHERE v.tenant_id = p.tenant_id AND v.pattern_id = p.pattern_id
                  AND v.version = %(version)s);

-- name: get_pattern
-- Rows: at most one: the given version, or the current one for NULL.
SELECT p.tenant_id AS owner, p.pattern_id, p.connector_id, p.current_version, v.version,
       v.question, v.sql, v.embedder, v.created_by, v.created_at
  FROM tenantry.patterns AS p
  JOIN tenantry.pattern_versions AS v
    ON v.tenant_id = p.tenant_id AND v.pattern_id = p.pattern_id
   AND v.version = coalesce(%(version)s::integer, p.current_version)
 WHERE p.pattern_id = %(pattern_id)s;

-- name: list_patterns
-- Rows: as get_pattern, at the current version; oldest pattern first, after the given id.
SELECT p.tenant_id AS owner, p.pattern_id, p.connector_id, p.current_version, v.version,
       v.question, v.sql, v.embedder, v.created_by, v.created_at
  FROM tenantry.patterns AS p
  JOIN tenantry.pattern_versions AS v
    ON v.tenant_id = p.tenant_id AND v.pattern_id = p.pattern_id AND v.version = p.current_version
 WHERE p.pattern_id > %(after)s
 ORDER BY p.pattern_id LIMIT %(limit)s;

-- name: delete_pattern
-- Touches 0 rows when there is none. Its versions go with it.
DELETE FROM tenantry.patterns WHERE pattern_id = %(pattern_id)s;

-- name: match_pattern
-- Rows: at most one: the current version nearest to the vector, with the cosine similarity.
-- An exact scan inside the tenant. Vectors of another embedder are not comparable, so not seen.
SELECT p.tenant_id AS owner, p.pattern_id, p.connector_id, p.current_version, v.version,
       v.question, v.sql, v.embedder, v.created_by, v.created_at,
       1 - (v.embedding OPERATOR(extensions.<=>) q.embedding) AS similarity
  FROM tenantry.patterns AS p
  JOIN tenantry.pattern_versions AS v
    ON v.tenant_id = p.tenant_id AND v.pattern_id = p.pattern_id AND v.version = p.current_version
 CROSS JOIN (SELECT %(embedding)s::text::extensions.halfvec AS embedding) AS q
 WHERE v.embedder = %(embedder)s
 ORDER BY similarity DESC, p.pattern_id LIMIT 1;
