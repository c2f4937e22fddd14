-- Calls that change something, asked for by a model: each waits for its member, is good once, for a
-- few minutes, and for exactly what was asked (SEC-3).

CREATE TABLE tenantry.approvals (
    tenant_id uuid NOT NULL,
    approval_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    conversation_id uuid NOT NULL, -- which is stored when its turn ends
    requested_by uuid NOT NULL,
    operation text NOT NULL,
    arguments jsonb NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32), -- of the operation and all that is sent
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'refused')),
    requested_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    decided_at timestamptz,
    PRIMARY KEY (tenant_id, approval_id),
    FOREIGN KEY (tenant_id, connector_id) REFERENCES tenantry.connectors (tenant_id, connector_id)
        ON DELETE CASCADE
);
CREATE INDEX ON tenantry.approvals (tenant_id, requested_by, expires_at);
ALTER TABLE tenantry.approvals ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.approvals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.approvals TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.approvals TO tenantry_tenant;
