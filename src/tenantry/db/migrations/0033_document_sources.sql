-- Where a document comes from, such as a path in a folder that is kept in step: the next version
-- under the same source takes its place (VEC-3).
ALTER TABLE tenantry.documents ADD COLUMN source text CHECK (length(source) BETWEEN 1 AND 300);
CREATE UNIQUE INDEX documents_source ON tenantry.documents (tenant_id, source)
    WHERE source IS NOT NULL;
