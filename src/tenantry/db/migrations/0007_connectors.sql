-- Data sources and uploaded data files (CON-1, CON-2).

CREATE TABLE tenantry.connectors (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    connector_id uuid NOT NULL,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    kind text NOT NULL,
    options jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connector_id),
    UNIQUE (tenant_id, name)
);
ALTER TABLE tenantry.connectors ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.connectors FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.connectors TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.connectors TO tenantry_tenant;

CREATE TABLE tenantry.data_files (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    table_name text NOT NULL CHECK (table_name ~ '^[a-z][a-z0-9_]{0,62}$'),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32), -- of what was uploaded
    stored_sha256 bytea NOT NULL CHECK (length(stored_sha256) = 32), -- of the Parquet file kept
    size_bytes bigint NOT NULL CHECK (size_bytes > 0), -- of the Parquet file kept
    row_count bigint NOT NULL,
    columns jsonb NOT NULL,
    description text NOT NULL DEFAULT '',
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connector_id, table_name),
    FOREIGN KEY (tenant_id, connector_id) REFERENCES tenantry.connectors (tenant_id, connector_id)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.data_files ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.data_files FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.data_files TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.data_files TO tenantry_tenant;
