-- Which models a tenant allows itself, and what stands in for a model that cannot answer (COST-4).

CREATE TABLE tenantry.model_policies (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    allowed jsonb CHECK (jsonb_typeof(allowed) = 'array'), -- NULL: every model
    fallbacks jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(fallbacks) = 'object'),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id)
);
ALTER TABLE tenantry.model_policies ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.model_policies FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.model_policies TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.model_policies TO tenantry_tenant;
CREATE TRIGGER models AFTER INSERT OR UPDATE OR DELETE
    ON tenantry.model_policies FOR EACH ROW EXECUTE FUNCTION tenantry.tell_models();
