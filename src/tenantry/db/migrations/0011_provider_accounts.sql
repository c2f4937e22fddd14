-- Tenants' own accounts at model providers (COST-4); their keys are in the vault (0010).

-- A removed account's row stays, without its key, until its name is released: what names it must
-- go on failing, and never lead to an account of the platform's that has the same name.
CREATE TABLE tenantry.provider_accounts (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    account_id uuid NOT NULL,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$' AND name <> 'keyless'),
    kind text NOT NULL CHECK (kind IN ('openai_compatible', 'anthropic', 'google')),
    base_url text NOT NULL CHECK (length(base_url) BETWEEN 1 AND 2000),
    max_tokens_field text NOT NULL
        CHECK (max_tokens_field IN ('max_completion_tokens', 'max_tokens')),
    models jsonb NOT NULL CHECK (jsonb_typeof(models) = 'array'),
    credential_version integer NOT NULL CHECK (credential_version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    PRIMARY KEY (tenant_id, account_id),
    UNIQUE (tenant_id, name)
);
ALTER TABLE tenantry.provider_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.provider_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.provider_accounts TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.provider_accounts TO tenantry_tenant;

-- Tells every process that a tenant's models lead elsewhere from now on: what is remembered of them
-- is then dropped, and clients that hold an earlier key are let go. The notice names the tenant.
CREATE FUNCTION tenantry.tell_models() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('tenantry_models', coalesce(NEW.tenant_id, OLD.tenant_id)::text);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tenantry.tell_models() FROM PUBLIC;
CREATE TRIGGER models AFTER INSERT OR UPDATE OR DELETE
    ON tenantry.provider_accounts FOR EACH ROW EXECUTE FUNCTION tenantry.tell_models();
