-- Words in their own language, and codes and names by likeness (VEC-3).
--
-- A passage's terms are made with the stemming of its document's language, which a generated column
-- cannot do: a cast to regconfig depends on the catalogue. The insert makes them.

ALTER TABLE tenantry.documents ADD COLUMN language text NOT NULL DEFAULT 'english'
    CHECK (language ~ '^[a-z]{1,20}$'); -- a text search configuration of pg_catalog
ALTER TABLE tenantry.chunks ALTER COLUMN terms DROP EXPRESSION;
ALTER TABLE tenantry.chunks ALTER COLUMN terms SET DEFAULT '';
-- Codes and names of the passage, in lower case without punctuation: what a slip is looked for in.
ALTER TABLE tenantry.chunks ADD COLUMN names text NOT NULL DEFAULT '';
ALTER TABLE tenantry.chunks ALTER COLUMN names SET STATISTICS 0;

CREATE OR REPLACE VIEW tenantry.searchable_documents WITH (security_invoker = true) AS
    SELECT tenant_id, document_id, title, media_type, embedder, chunk_count, created_at, language
      FROM tenantry.documents;
