-- name: create_tenant
-- Role: tenantry_operator, holding the directory's lock, so that a name stands for one tenant.
INSERT INTO tenantry.tenants (tenant_id, name) VALUES (%(tenant_id)s, %(name)s)
RETURNING tenant_id, name, status, created_at;

-- name: lock_directory
-- Role: tenantry_operator. Serialises the creation of tenants; released at commit.
SELECT pg_advisory_xact_lock(7223410002) AS locked;

-- name: find_tenant
-- Role: tenantry_operator.
SELECT tenant_id, name, status, created_at FROM tenantry.tenants WHERE name = %(name)s;

-- name: get_tenant
-- Role: tenantry_operator, or the tenant itself.
SELECT tenant_id, name, status, created_at FROM tenantry.tenants WHERE tenant_id = %(tenant_id)s;

-- name: list_tenants
-- Rows: tenants after the cursor, oldest first. Role: tenantry_operator.
SELECT tenant_id, name, status, created_at FROM tenantry.tenants
 WHERE tenant_id > %(after)s ORDER BY tenant_id LIMIT %(limit)s;

-- name: set_tenant_status
-- Role: tenantry_operator.
UPDATE tenantry.tenants SET status = %(status)s WHERE tenant_id = %(tenant_id)s
RETURNING tenant_id, name, status, created_at;
