-- The vault (POOL-4): a tenant's credentials, sealed under data keys of its own, which are stored
-- wrapped by a key that is not in this database (docs/adr/0010).

-- A destroyed key's row stays as the record of it; what was sealed under it opens never again.
CREATE TABLE tenantry.vault_keys (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    key_version integer NOT NULL CHECK (key_version >= 1),
    wrapped bytea CHECK (length(wrapped) BETWEEN 1 AND 8192),
    wrapped_by text NOT NULL CHECK (length(wrapped_by) BETWEEN 1 AND 500),
    -- AES-GCM with random nonces: 2^32 seals a key (NIST SP 800-38D, 8.3).
    seals bigint NOT NULL DEFAULT 0 CHECK (seals BETWEEN 0 AND 4294967296),
    created_at timestamptz NOT NULL,
    destroyed_at timestamptz,
    PRIMARY KEY (tenant_id, key_version),
    CHECK ((destroyed_at IS NULL) = (wrapped IS NOT NULL))
);
ALTER TABLE tenantry.vault_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.vault_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.vault_keys TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT ON tenantry.vault_keys TO tenantry_tenant;
GRANT UPDATE (wrapped, wrapped_by, seals, destroyed_at) ON tenantry.vault_keys TO tenantry_tenant;

-- One row a field. `place` numbers a version's fields from 1, so that two writers of one version
-- always collide, whatever their fields are called.
CREATE TABLE tenantry.vault_secrets (
    tenant_id uuid NOT NULL,
    owner_kind text NOT NULL CHECK (owner_kind IN ('connector', 'provider_account')),
    owner_id uuid NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    place smallint NOT NULL CHECK (place BETWEEN 1 AND 32),
    field text NOT NULL CHECK (field ~ '^[a-z][a-z0-9_]{0,62}$'),
    key_version integer NOT NULL,
    -- Nonce (12 bytes), ciphertext, tag (16 bytes).
    sealed bytea NOT NULL CHECK (length(sealed) BETWEEN 28 AND 70000),
    PRIMARY KEY (tenant_id, owner_kind, owner_id, version, place),
    UNIQUE (tenant_id, owner_kind, owner_id, version, field),
    FOREIGN KEY (tenant_id, key_version) REFERENCES tenantry.vault_keys (tenant_id, key_version)
);
CREATE INDEX vault_secrets_by_key ON tenantry.vault_secrets (tenant_id, key_version);
ALTER TABLE tenantry.vault_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.vault_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.vault_secrets TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, DELETE ON tenantry.vault_secrets TO tenantry_tenant;
GRANT UPDATE (key_version, sealed) ON tenantry.vault_secrets TO tenantry_tenant;
