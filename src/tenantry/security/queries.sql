-- name: append_audits
-- Appends a JSON list of events to the chains of their tenants. Role: tenantry_audit.
SELECT tenantry.append_audits(%(events)s::json);

-- name: anchor_audit
-- Rows: number of the newest anchor. Role: tenantry_audit.
SELECT tenantry.anchor_audit() AS anchor;

-- name: verify_audit
-- Rows: one per broken link; none when the log is whole. Role: tenantry_audit.
SELECT tenant_id, seq, problem FROM tenantry.verify_audit();

-- name: count_audit
-- Rows: events and chains. Role: tenantry_audit.
SELECT count(*) AS events, count(DISTINCT tenant_id) AS chains FROM tenantry.audit_events;

-- name: list_platform_audit
-- Rows: events of the platform's own chain, newest first. Role: tenantry_audit.
SELECT seq, at, actor, action, outcome, layer, target_digest, detail, request_id
  FROM tenantry.audit_events
 WHERE tenant_id = %(owner)s AND seq < %(before)s
 ORDER BY seq DESC LIMIT %(limit)s;

-- name: list_audit
-- Rows: the tenant's own events, newest first.
SELECT seq, at, actor, action, outcome, layer, target_digest, detail, request_id
  FROM tenantry.audit_events
 WHERE seq < %(before)s
   AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
 ORDER BY seq DESC LIMIT %(limit)s;

-- name: find_keys
-- Rows: keys with this public id (rarely more than one) with member, role and standing.
-- Role: tenantry_auth.
SELECT k.tenant_id, k.key_id, k.digest, k.scopes, k.expires_at, k.revoked_at, k.last_used_at,
       m.member_id, m.role, m.status AS member_status, t.status AS tenant_status
  FROM tenantry.api_keys AS k
  JOIN tenantry.members AS m ON m.tenant_id = k.tenant_id AND m.member_id = k.member_id
  JOIN tenantry.tenants AS t ON t.tenant_id = k.tenant_id
 WHERE k.public_id = %(public_id)s;

-- name: find_member
-- Rows: standing of a member. Role: tenantry_auth.
SELECT m.role, m.status AS member_status, t.status AS tenant_status
  FROM tenantry.members AS m JOIN tenantry.tenants AS t ON t.tenant_id = m.tenant_id
 WHERE m.tenant_id = %(tenant_id)s AND m.member_id = %(member_id)s;

-- name: touch_key
-- Role: tenantry_auth.
UPDATE tenantry.api_keys SET last_used_at = %(now)s
 WHERE tenant_id = %(tenant_id)s AND key_id = %(key_id)s;

-- name: find_operator_keys
-- Rows: operator keys with this public id. Role: tenantry_auth.
SELECT key_id, operator_id, digest, scopes, expires_at, revoked_at, last_used_at
  FROM tenantry.operator_keys WHERE public_id = %(public_id)s;

-- name: touch_operator_key
-- Role: tenantry_auth.
UPDATE tenantry.operator_keys SET last_used_at = %(now)s WHERE key_id = %(key_id)s;

-- name: create_operator
-- Role: tenantry_operator.
INSERT INTO tenantry.operators (operator_id, name) VALUES (%(operator_id)s, %(name)s);

-- name: create_operator_key
-- Role: tenantry_operator.
INSERT INTO tenantry.operator_keys (key_id, operator_id, public_id, digest, name, scopes, expires_at)
VALUES (%(key_id)s, %(operator_id)s, %(public_id)s, %(digest)s, %(name)s, %(scopes)s, %(expires_at)s);

-- name: list_operator_keys
-- Rows: every operator key, never its digest. Role: tenantry_operator.
SELECT k.key_id, k.operator_id, o.name AS operator, k.public_id, k.name, k.scopes, k.created_at,
       k.expires_at, k.revoked_at, k.last_used_at
  FROM tenantry.operator_keys AS k JOIN tenantry.operators AS o USING (operator_id)
 ORDER BY k.key_id;

-- name: revoke_operator_key
-- Role: tenantry_operator.
UPDATE tenantry.operator_keys SET revoked_at = %(now)s
 WHERE key_id = %(key_id)s AND revoked_at IS NULL;

-- name: create_member
INSERT INTO tenantry.members (tenant_id, member_id, external_id, display_name, role)
VALUES (%(tenant)s, %(member_id)s, %(external_id)s, %(display_name)s, %(role)s);

-- name: list_members
-- Rows: members after the cursor, oldest first.
SELECT member_id, external_id, display_name, role, status, created_at
  FROM tenantry.members WHERE member_id > %(after)s ORDER BY member_id LIMIT %(limit)s;

-- name: get_member
SELECT member_id, external_id, display_name, role, status, created_at
  FROM tenantry.members WHERE member_id = %(member_id)s;

-- name: get_member_by_external_id
SELECT member_id, external_id, display_name, role, status, created_at
  FROM tenantry.members WHERE external_id = %(external_id)s;

-- name: update_member
UPDATE tenantry.members
   SET role = coalesce(%(role)s, role), status = coalesce(%(status)s, status),
       display_name = coalesce(%(display_name)s, display_name)
 WHERE member_id = %(member_id)s
RETURNING member_id, external_id, display_name, role, status, created_at;

-- name: count_active_owners
SELECT count(*) FROM (
    SELECT member_id FROM tenantry.members WHERE role = 'owner' AND status = 'active' FOR UPDATE
) AS owners;

-- name: delete_member
DELETE FROM tenantry.members WHERE member_id = %(member_id)s;

-- name: create_key
INSERT INTO tenantry.api_keys
       (tenant_id, key_id, member_id, public_id, digest, name, scopes, expires_at)
VALUES (%(tenant)s, %(key_id)s, %(member_id)s, %(public_id)s, %(digest)s, %(name)s, %(scopes)s,
        %(expires_at)s);

-- name: list_keys
-- Rows: keys after the cursor, never their digest.
SELECT key_id, member_id, public_id, name, scopes, created_at, expires_at, revoked_at, last_used_at
  FROM tenantry.api_keys WHERE key_id > %(after)s ORDER BY key_id LIMIT %(limit)s;

-- name: get_key
SELECT key_id, member_id, public_id, name, scopes, created_at, expires_at, revoked_at, last_used_at
  FROM tenantry.api_keys WHERE key_id = %(key_id)s;

-- name: revoke_key
UPDATE tenantry.api_keys SET revoked_at = %(at)s
 WHERE key_id = %(key_id)s AND (revoked_at IS NULL OR revoked_at > %(at)s);

-- name: listen_standing
-- Hear, for as long as the session lives, of tenants whose credentials change. Role: tenantry_auth.
LISTEN tenantry_standing;

-- name: create_group
INSERT INTO tenantry.groups (tenant_id, group_id, name)
VALUES (%(tenant)s, %(group_id)s, %(name)s);

-- name: list_groups
-- Rows: groups after the cursor, oldest first.
SELECT g.group_id, g.name, g.created_at,
       (SELECT count(*) FROM tenantry.group_members AS m WHERE m.group_id = g.group_id) AS members
  FROM tenantry.groups AS g WHERE g.group_id > %(after)s ORDER BY g.group_id LIMIT %(limit)s;

-- name: get_group
SELECT g.group_id, g.name, g.created_at,
       (SELECT count(*) FROM tenantry.group_members AS m WHERE m.group_id = g.group_id) AS members
  FROM tenantry.groups AS g WHERE g.group_id = %(group_id)s;

-- name: find_groups
SELECT group_id, name FROM tenantry.groups WHERE name = ANY (%(names)s);

-- name: delete_group
DELETE FROM tenantry.groups WHERE group_id = %(group_id)s;

-- name: list_group_members
-- Rows: members of a group after the cursor, oldest first.
SELECT m.member_id, m.external_id, m.display_name, m.role, m.status, g.added_at
  FROM tenantry.group_members AS g JOIN tenantry.members AS m USING (tenant_id, member_id)
 WHERE g.group_id = %(group_id)s AND m.member_id > %(after)s
 ORDER BY m.member_id LIMIT %(limit)s;

-- name: add_to_group
INSERT INTO tenantry.group_members (tenant_id, group_id, member_id)
VALUES (%(tenant)s, %(group_id)s, %(member_id)s) ON CONFLICT DO NOTHING;

-- name: remove_from_group
DELETE FROM tenantry.group_members
 WHERE group_id = %(group_id)s AND member_id = %(member_id)s;

-- name: audience_of
-- Rows: the number that stands for exactly these groups; see db/migrations/0060_access_lists.sql.
SELECT tenantry.audience_of(%(groups)s::uuid[]) AS audience;

-- name: sweep_audiences
-- Rows: how many sets of groups with this one something is restricted to.
SELECT tenantry.sweep_audiences(%(group_id)s) AS in_use;
