-- name: create_tenant
-- Role: tenantry_operator, holding the directory's lock, so that a name stands for one tenant.
INSERT INTO tenantry.tenants (tenant_id, name) VALUES (%(tenant_id)s, %(name)s)
RETURNING tenant_id, name, status, weight, created_at;

-- name: lock_directory
-- Role: tenantry_operator. Serialises the creation of tenants; released at commit.
SELECT pg_advisory_xact_lock(7223410002) AS locked;

-- name: find_tenant
-- Role: tenantry_operator.
SELECT tenant_id, name, status, weight, created_at FROM tenantry.tenants WHERE name = %(name)s;

-- name: get_tenant
-- Role: tenantry_operator, or the tenant itself.
SELECT tenant_id, name, status, weight, created_at FROM tenantry.tenants WHERE tenant_id = %(tenant_id)s;

-- name: list_tenants
-- Rows: tenants after the cursor, oldest first. Role: tenantry_operator.
SELECT tenant_id, name, status, weight, created_at FROM tenantry.tenants
 WHERE tenant_id > %(after)s ORDER BY tenant_id LIMIT %(limit)s;

-- name: set_tenant_status
-- Role: tenantry_operator.
UPDATE tenantry.tenants SET status = %(status)s WHERE tenant_id = %(tenant_id)s
RETURNING tenant_id, name, status, weight, created_at;

-- name: set_tenant_weight
-- Role: tenantry_operator.
UPDATE tenantry.tenants SET weight = %(weight)s WHERE tenant_id = %(tenant_id)s
RETURNING tenant_id, name, status, weight, created_at;

-- name: list_tenant_weights
-- Rows: tenants that do not weigh 1. Role: tenantry_operator.
SELECT tenant_id, weight FROM tenantry.tenants WHERE weight <> 1;

-- name: listen_weights
-- Hear, for as long as the session lives, of tenants whose weight changes. Role: tenantry_auth.
LISTEN tenantry_weights;

-- name: catalogue_relations
-- Rows: tables, views and sequences of our schemas, and whatever else has a column tenant_id.
SELECT n.nspname || '.' || c.relname AS name, c.relkind::text AS kind, r.rolname AS owner,
       c.relrowsecurity AS is_enabled, c.relforcerowsecurity AS is_forced,
       coalesce(c.reloptions, '{}') AS options,
       EXISTS (SELECT FROM pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
           AS has_tenant,
       EXISTS (SELECT FROM pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attname = 'audience' AND NOT a.attisdropped
                  AND n.nspname || '.' || c.relname <> 'tenantry.audiences')
           AS has_audience,
       EXISTS (SELECT FROM pg_rewrite AS w WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN')
           AS has_rules
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_roles AS r ON r.oid = c.relowner
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND (n.nspname IN ('tenantry', 'tenantry_private', 'tenantry_queue')
        OR EXISTS (SELECT FROM pg_attribute AS a
                    WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
 ORDER BY name;

-- name: catalogue_unique_indexes
-- Rows: unique indexes and exclusion constraints; columns in order, NULL for an expression.
SELECT n.nspname || '.' || c.relname AS relation, x.relname AS name, i.indisprimary AS is_primary,
       ARRAY(SELECT a.attname::text
               FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, place)
               LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
                    AND k.attnum <> 0
              ORDER BY k.place) AS columns
  FROM pg_index AS i
  JOIN pg_class AS c ON c.oid = i.indrelid
  JOIN pg_class AS x ON x.oid = i.indexrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE (i.indisunique OR i.indisexclusion)
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
 ORDER BY relation, name;

-- name: catalogue_foreign_keys
-- Rows: foreign keys with their columns on both sides, in order.
SELECT n.nspname || '.' || c.relname AS relation, k.conname AS name,
       fn.nspname || '.' || f.relname AS target,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
               JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
              ORDER BY u.place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
               JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.attnum
              ORDER BY u.place) AS target_columns
  FROM pg_constraint AS k
  JOIN pg_class AS c ON c.oid = k.conrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_class AS f ON f.oid = k.confrelid
  JOIN pg_namespace AS fn ON fn.oid = f.relnamespace
 WHERE k.contype = 'f'
 ORDER BY relation, name;

-- name: catalogue_policies
-- Rows: row-level security policies; PUBLIC is written as an empty name.
SELECT n.nspname || '.' || c.relname AS relation, p.polname AS name,
       p.polpermissive AS is_permissive, p.polcmd::text AS command,
       ARRAY(SELECT coalesce(r.rolname::text, '') FROM unnest(p.polroles) AS u (oid)
               LEFT JOIN pg_roles AS r ON r.oid = u.oid ORDER BY 1) AS roles,
       pg_get_expr(p.polqual, p.polrelid) AS condition,
       pg_get_expr(p.polwithcheck, p.polrelid) AS check_condition
  FROM pg_policy AS p
  JOIN pg_class AS c ON c.oid = p.polrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 ORDER BY relation, name;

-- name: catalogue_functions
-- Rows: functions of our schemas, and definer-rights functions anywhere but in PostgreSQL itself.
SELECT n.nspname || '.' || p.proname AS name, p.prosecdef AS is_definer,
       p.proleakproof AS is_leakproof,
       coalesce((SELECT substr(s.setting, 13) FROM unnest(p.proconfig) AS s (setting)
                  WHERE s.setting LIKE 'search\_path=%%'), '') AS search_path,
       ARRAY(SELECT DISTINCT coalesce(r.rolname::text, '')
               FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
               LEFT JOIN pg_roles AS r ON r.oid = a.grantee
              WHERE a.grantee <> p.proowner ORDER BY 1) AS callers
  FROM pg_proc AS p
  JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname IN ('tenantry', 'tenantry_private', 'tenantry_queue')
    OR (p.prosecdef AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_')
 ORDER BY name;

-- name: catalogue_grants
-- Rows: what relations, columns and schemas of ours grant to anybody but their owner; PUBLIC is
-- written as an empty name, a column's privilege as `UPDATE(column)`.
SELECT g.object, coalesce(r.rolname::text, '') AS role, g.privilege
  FROM (
    SELECT n.nspname || '.' || c.relname AS object, a.grantee, a.privilege_type AS privilege
      FROM pg_class AS c
      JOIN pg_namespace AS n ON n.oid = c.relnamespace
     CROSS JOIN LATERAL aclexplode(c.relacl) AS a
     WHERE n.nspname IN ('tenantry', 'tenantry_private', 'tenantry_queue') AND a.grantee <> c.relowner
    UNION ALL
    SELECT n.nspname || '.' || c.relname, a.grantee, a.privilege_type || '(' || t.attname || ')'
      FROM pg_class AS c
      JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_attribute AS t ON t.attrelid = c.oid
     CROSS JOIN LATERAL aclexplode(t.attacl) AS a
     WHERE n.nspname IN ('tenantry', 'tenantry_private', 'tenantry_queue') AND a.grantee <> c.relowner
    UNION ALL
    SELECT n.nspname, a.grantee, a.privilege_type
      FROM pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
     WHERE n.nspname IN ('tenantry', 'tenantry_private', 'tenantry_queue') AND a.grantee <> n.nspowner
  ) AS g
  LEFT JOIN pg_roles AS r ON r.oid = g.grantee
 ORDER BY 1, 2, 3;

-- name: shared_surfaces
-- Rows: functions of PostgreSQL that reach over sessions and that the tenants' role can call.
SELECT p.oid::regprocedure::text AS routine
  FROM pg_proc AS p
 WHERE p.pronamespace = 'pg_catalog'::regnamespace
   AND (p.proname IN ('pg_stat_get_activity', 'pg_cancel_backend', 'pg_terminate_backend',
                      'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_open', 'lo_get', 'lo_put',
                      'lo_unlink')
        OR p.proname LIKE 'pg\_stat\_get\_backend\_%%' OR p.proname ~ '^pg_(try_)?advisory_lock')
   AND has_function_privilege('tenantry_tenant', p.oid, 'EXECUTE')
 ORDER BY 1;

-- name: describe_role
-- Rows: one, a role's attributes and what it may do beyond using tables; none if it is unknown.
SELECT r.rolname::text AS name, r.rolsuper AS is_superuser,
       r.rolbypassrls AS bypasses_rls, r.rolcreaterole AS creates_roles,
       r.rolcreatedb AS creates_databases, r.rolreplication AS replicates,
       ARRAY(SELECT g.rolname::text FROM pg_roles AS g
              WHERE g.oid <> r.oid AND pg_has_role(r.oid, g.oid, 'MEMBER') ORDER BY 1) AS member_of,
       ARRAY(SELECT privilege FROM unnest(ARRAY['TEMP', 'CREATE']) AS privilege
              WHERE has_database_privilege(r.oid, d.oid, privilege) ORDER BY 1) AS database_rights,
       ARRAY(SELECT n.nspname::text FROM pg_namespace AS n
              WHERE has_schema_privilege(r.oid, n.oid, 'CREATE') ORDER BY 1) AS creates_in,
       ARRAY(SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relowner = r.oid
              UNION ALL
             SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE p.proowner = r.oid
              UNION ALL
             SELECT 'schema ' || n.nspname FROM pg_namespace AS n WHERE n.nspowner = r.oid
              UNION ALL
             SELECT 'database ' || o.datname FROM pg_database AS o WHERE o.datdba = r.oid
              ORDER BY 1 LIMIT 5) AS owns,
       ARRAY(SELECT v.setting FROM pg_db_role_setting AS s CROSS JOIN unnest(s.setconfig) AS v (setting)
              WHERE s.setrole = r.oid AND s.setdatabase IN (0, d.oid) ORDER BY 1) AS settings,
       ARRAY(SELECT a.parname FROM pg_parameter_acl AS a CROSS JOIN LATERAL aclexplode(a.paracl) AS x
              WHERE x.grantee IN (0, r.oid) ORDER BY 1) AS parameters
  FROM pg_roles AS r, pg_database AS d
 WHERE r.rolname = %(role)s AND d.datname = current_database();

-- name: session_roles
-- Rows: one, the role this session signed in as and the one it acts as.
SELECT session_user::text AS signed_in, current_user::text AS acting;

-- name: open_break_glass
-- Rows: id and expiry of the new grant; recorded in the tenant's chain. Role: tenantry_operator.
SELECT opened_grant, until
  FROM tenantry.open_break_glass(%(operator_id)s, %(tenant_id)s, %(reason)s, %(minutes)s,
                                 %(digest)s, %(request_id)s);

-- name: close_break_glass
-- Rows: whether the grant was open; none when there is none. Role: tenantry_operator.
SELECT tenantry.close_break_glass(%(operator_id)s, g.tenant_id, g.grant_id, %(request_id)s)
  FROM tenantry.break_glass_grants AS g WHERE g.grant_id = %(grant_id)s;

-- name: list_break_glass
-- Rows: grants that are open now, or all of them, newest first. Role: tenantry_operator.
SELECT tenant_id, grant_id, operator_id, reason, opened_at, expires_at, closed_at
  FROM tenantry.break_glass_grants
 WHERE %(all)s OR (closed_at IS NULL AND expires_at > clock_timestamp())
 ORDER BY opened_at DESC LIMIT %(limit)s;

-- name: enter_break_glass
-- Rows: id of the session, or NULL when refused; recorded either way. Role: tenantry_breakglass.
SELECT tenantry.enter_break_glass(%(digest)s, %(request_id)s) AS session;

-- name: set_break_glass
SELECT pg_catalog.set_config('tenantry.break_glass', %(session)s, true);

-- name: break_glass_tenant
-- Rows: the tenant this session may read; an error when it is over. Role: tenantry_breakglass.
SELECT tenantry.break_glass_tenant() AS tenant;

-- name: break_glass_rows
-- Rows: one JSON object each, of a table that the break-glass role may read.
SELECT break_glass_rows AS row FROM tenantry.break_glass_rows(%(of_table)s, %(most)s, %(skipped)s);

-- name: answer
-- Rows: one, if the server still answers on this connection.
SELECT 1 AS one;
