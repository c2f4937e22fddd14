-- Verified queries: a question of the tenant's and the SQL that answers it (MEM-1).

CREATE TABLE tenantry.patterns (
    tenant_id uuid NOT NULL,
    pattern_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    current_version integer NOT NULL CHECK (current_version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, pattern_id),
    FOREIGN KEY (tenant_id, connector_id) REFERENCES tenantry.connectors (tenant_id, connector_id)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.patterns ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.patterns FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.patterns TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.patterns TO tenantry_tenant;

CREATE TABLE tenantry.pattern_versions (
    tenant_id uuid NOT NULL,
    pattern_id uuid NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    question text NOT NULL CHECK (length(question) BETWEEN 3 AND 1000),
    sql text NOT NULL CHECK (length(sql) BETWEEN 1 AND 20000),
    embedding extensions.halfvec NOT NULL,
    embedder text NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, pattern_id, version),
    FOREIGN KEY (tenant_id, pattern_id) REFERENCES tenantry.patterns (tenant_id, pattern_id)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.pattern_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.pattern_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.pattern_versions TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT ON tenantry.pattern_versions TO tenantry_tenant;
