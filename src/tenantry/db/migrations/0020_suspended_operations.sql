-- Operations whose source changed them since they were accepted: not called until accepted anew
-- (SEC-3). An acceptance is a new one each time, so that accepting lifts what was before it.

CREATE TABLE tenantry.suspended_operations (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    acceptance uuid NOT NULL,
    operation text NOT NULL CHECK (length(operation) <= 200),
    suspended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connector_id, acceptance, operation),
    FOREIGN KEY (tenant_id, connector_id) REFERENCES tenantry.connectors (tenant_id, connector_id)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.suspended_operations ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.suspended_operations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.suspended_operations TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, DELETE ON tenantry.suspended_operations TO tenantry_tenant;
