-- What answers carry besides their text: charts, and results too large for a prompt, as files.

ALTER TABLE tenantry.messages ADD COLUMN attachments jsonb NOT NULL DEFAULT '[]';

CREATE TABLE tenantry.result_files (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    result_id uuid NOT NULL,
    connector text NOT NULL, -- its name when the query ran
    sql text NOT NULL,
    row_count bigint NOT NULL,
    is_whole boolean NOT NULL, -- false: a ceiling cut the result
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0), -- of the CSV text
    content bytea NOT NULL, -- the CSV text, gzipped
    created_by uuid NOT NULL, -- the one member who may read it
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, result_id),
    FOREIGN KEY (tenant_id, created_by) REFERENCES tenantry.members (tenant_id, member_id)
        ON DELETE CASCADE
);
CREATE INDEX result_files_expiry ON tenantry.result_files (tenant_id, expires_at);
ALTER TABLE tenantry.result_files ALTER COLUMN content SET STORAGE EXTERNAL; -- gzipped already
ALTER TABLE tenantry.result_files ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.result_files FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.result_files TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, DELETE ON tenantry.result_files TO tenantry_tenant;

CREATE OR REPLACE FUNCTION tenantry.stored_sizes()
    RETURNS TABLE (what text, size_bytes bigint, row_count bigint)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, extensions, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT 'conversations', coalesce(sum(octet_length(m.content) + pg_column_size(m.citations)
                                         + pg_column_size(m.attachments)), 0)::bigint,
           count(*) FROM tenantry.messages AS m
    UNION ALL
    SELECT 'tool_calls', coalesce(sum(pg_column_size(t.arguments)), 0)::bigint, count(*)
      FROM tenantry.tool_calls AS t
    UNION ALL
    SELECT 'documents', coalesce(sum(octet_length(c.content) + octet_length(c.heading)
                                     + pg_column_size(c.terms)), 0)::bigint, count(*)
      FROM tenantry.chunks AS c
    UNION ALL
    SELECT 'vectors', coalesce(sum(pg_column_size(c.embedding)), 0)::bigint, count(*)
      FROM tenantry.chunks AS c
    UNION ALL
    SELECT 'files', coalesce(sum(f.size_bytes), 0)::bigint, count(*) FROM tenantry.data_files AS f
    UNION ALL
    SELECT 'results', coalesce(sum(octet_length(r.content)), 0)::bigint, count(*)
      FROM tenantry.result_files AS r
    UNION ALL
    SELECT 'patterns', coalesce(sum(octet_length(p.question) + octet_length(p.sql)
                                    + pg_column_size(p.embedding)), 0)::bigint, count(*)
      FROM tenantry.pattern_versions AS p;
END
$$;
