-- Documents and their chunks with embeddings (VEC-1, VEC-2, VEC-3).

CREATE TABLE tenantry.documents (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    document_id uuid NOT NULL,
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 300),
    media_type text NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    pages integer NOT NULL DEFAULT 1,
    chunk_count integer NOT NULL,
    embedder text NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, document_id),
    UNIQUE (tenant_id, sha256)
);
ALTER TABLE tenantry.documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.documents FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.documents TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, DELETE ON tenantry.documents TO tenantry_tenant;

CREATE TABLE tenantry.chunks (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL,
    chunk_no integer NOT NULL CHECK (chunk_no >= 0),
    content text NOT NULL,
    heading text NOT NULL DEFAULT '',
    page integer NOT NULL DEFAULT 1,
    start_offset integer NOT NULL CHECK (start_offset >= 0),
    end_offset integer NOT NULL CHECK (end_offset > start_offset),
    embedding extensions.halfvec NOT NULL,
    terms tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', heading), 'A') || to_tsvector('english', content)) STORED,
    PRIMARY KEY (tenant_id, document_id, chunk_no),
    FOREIGN KEY (tenant_id, document_id) REFERENCES tenantry.documents (tenant_id, document_id)
        ON DELETE CASCADE
);
-- A search reads these two of every chunk a tenant has, the content only of those it returns: what
-- makes a row too wide leaves it, and that must be the content.
ALTER TABLE tenantry.chunks ALTER COLUMN embedding SET STORAGE MAIN;
ALTER TABLE tenantry.chunks ALTER COLUMN terms SET STORAGE MAIN;
-- No samples of what tenants write: estimates would tell how frequent a word is with the others.
ALTER TABLE tenantry.chunks ALTER COLUMN embedding SET STATISTICS 0;
ALTER TABLE tenantry.chunks ALTER COLUMN terms SET STATISTICS 0;
ALTER TABLE tenantry.chunks ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.chunks TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, DELETE ON tenantry.chunks TO tenantry_tenant;
