-- Tenants, their members and keys, and the operators beside them (SEC-6, DB-2).

CREATE TABLE tenantry.tenants (
    tenant_id uuid PRIMARY KEY CHECK (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tenantry.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.tenants TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY directory ON tenantry.tenants TO tenantry_operator USING (true) WITH CHECK (true);
CREATE POLICY sign_in ON tenantry.tenants FOR SELECT TO tenantry_auth USING (true);
GRANT SELECT ON tenantry.tenants TO tenantry_tenant, tenantry_auth;
GRANT SELECT, INSERT, UPDATE ON tenantry.tenants TO tenantry_operator;

CREATE TABLE tenantry.members (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    member_id uuid NOT NULL,
    external_id text NOT NULL CHECK (length(external_id) BETWEEN 1 AND 200),
    display_name text NOT NULL DEFAULT '' CHECK (length(display_name) <= 200),
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'analyst', 'viewer')),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, member_id),
    UNIQUE (tenant_id, external_id)
);
ALTER TABLE tenantry.members ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.members FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.members TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY sign_in ON tenantry.members FOR SELECT TO tenantry_auth USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.members TO tenantry_tenant;
GRANT SELECT ON tenantry.members TO tenantry_auth;

-- A key is found by its public id before its tenant is known: only tenantry_auth may do that.
CREATE TABLE tenantry.api_keys (
    tenant_id uuid NOT NULL,
    key_id uuid NOT NULL,
    member_id uuid NOT NULL,
    public_id text NOT NULL CHECK (public_id ~ '^[0-9A-Za-z]{8}$'),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (tenant_id, key_id),
    FOREIGN KEY (tenant_id, member_id) REFERENCES tenantry.members (tenant_id, member_id)
        ON DELETE CASCADE
);
CREATE INDEX api_keys_by_public_id ON tenantry.api_keys (public_id);
ALTER TABLE tenantry.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.api_keys TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY sign_in ON tenantry.api_keys FOR SELECT TO tenantry_auth USING (true);
CREATE POLICY last_use ON tenantry.api_keys FOR UPDATE TO tenantry_auth USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON tenantry.api_keys TO tenantry_tenant;
GRANT SELECT, UPDATE (last_used_at) ON tenantry.api_keys TO tenantry_auth;

-- Operators stand outside every tenant; a platform key of theirs mints member tokens.
CREATE TABLE tenantry.operators (
    operator_id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE tenantry.operator_keys (
    key_id uuid PRIMARY KEY,
    operator_id uuid NOT NULL REFERENCES tenantry.operators (operator_id),
    public_id text NOT NULL CHECK (public_id ~ '^[0-9A-Za-z]{8}$'),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX operator_keys_by_public_id ON tenantry.operator_keys (public_id);
GRANT SELECT ON tenantry.operators, tenantry.operator_keys TO tenantry_auth;
GRANT UPDATE (last_used_at) ON tenantry.operator_keys TO tenantry_auth;
GRANT SELECT, INSERT ON tenantry.operators TO tenantry_operator;
GRANT SELECT, INSERT, UPDATE ON tenantry.operator_keys TO tenantry_operator;
