-- The vault: tenantry.vault_keys (data keys, wrapped) and tenantry.vault_secrets (sealed fields).

-- name: reserve_seals
-- Rows: the tenant's newest data key, with `amount` seals counted before they are made; none when
-- it is destroyed, as old as `oldest`, or at its limit: then a new one is due.
UPDATE tenantry.vault_keys AS k SET seals = k.seals + %(amount)s
 WHERE k.key_version = (SELECT max(n.key_version) FROM tenantry.vault_keys AS n)
   AND k.destroyed_at IS NULL AND k.created_at > %(oldest)s
   AND k.seals + %(amount)s <= %(most)s
RETURNING k.key_version, k.wrapped, k.wrapped_by

-- name: next_key_version
-- Rows: one number.
SELECT coalesce(max(key_version), 0) + 1 AS key_version FROM tenantry.vault_keys

-- name: add_key
-- Touches 0 rows when another process added this version first.
INSERT INTO tenantry.vault_keys (tenant_id, key_version, wrapped, wrapped_by, created_at)
VALUES (%(tenant)s, %(key_version)s, %(wrapped)s, %(wrapped_by)s, %(now)s)
ON CONFLICT DO NOTHING

-- name: last_version
-- Rows: one number, 0 when nothing is stored for this owner.
SELECT coalesce(max(version), 0) AS version FROM tenantry.vault_secrets
 WHERE owner_kind = %(kind)s AND owner_id = %(owner)s

-- name: add_secrets
-- Touches a row a field, or 0: its data key was destroyed, or its version is not the newest.
INSERT INTO tenantry.vault_secrets
       (tenant_id, owner_kind, owner_id, version, place, field, key_version, sealed)
SELECT %(tenant)s, %(kind)s, %(owner)s, %(version)s, f.place, f.field, k.key_version, f.sealed
  FROM tenantry.vault_keys AS k
 CROSS JOIN unnest(%(fields)s::text[], %(sealed)s::bytea[])
            WITH ORDINALITY AS f (field, sealed, place)
 WHERE k.key_version = %(key_version)s AND k.destroyed_at IS NULL
   AND NOT EXISTS (SELECT FROM tenantry.vault_secrets AS s
                    WHERE s.owner_kind = %(kind)s AND s.owner_id = %(owner)s
                      AND s.version >= %(version)s)

-- name: prune_versions
-- A request that read its configuration before this version may still need the one before.
DELETE FROM tenantry.vault_secrets
 WHERE owner_kind = %(kind)s AND owner_id = %(owner)s AND version < %(version)s - 1

-- name: forget_secrets
DELETE FROM tenantry.vault_secrets WHERE owner_kind = %(kind)s AND owner_id = %(owner)s

-- name: sealed_fields
-- Rows: the fields of one version with the data key each is under, read in one snapshot.
SELECT s.field, s.sealed, k.key_version, k.wrapped, k.wrapped_by
  FROM tenantry.vault_secrets AS s
  JOIN tenantry.vault_keys AS k ON k.tenant_id = s.tenant_id AND k.key_version = s.key_version
 WHERE s.owner_kind = %(kind)s AND s.owner_id = %(owner)s AND s.version = %(version)s
 ORDER BY s.place

-- name: keys_wrapped_otherwise
-- Rows: data keys that are not wrapped by `current`, oldest first.
SELECT key_version, wrapped, wrapped_by FROM tenantry.vault_keys
 WHERE destroyed_at IS NULL AND wrapped_by <> %(current)s AND key_version > %(after)s
 ORDER BY key_version LIMIT %(page)s

-- name: replace_wrapping
-- Touches 0 rows when the key was destroyed or re-wrapped meanwhile: a destroyed key stays so.
UPDATE tenantry.vault_keys SET wrapped = %(wrapped)s, wrapped_by = %(wrapped_by)s
 WHERE key_version = %(key_version)s AND wrapped = %(before)s

-- name: secrets_under_older_keys
-- Rows: sealed fields after the given one that are under a data key older than `newest`.
SELECT s.owner_kind, s.owner_id, s.version, s.place, s.field, s.sealed,
       k.key_version, k.wrapped, k.wrapped_by
  FROM tenantry.vault_secrets AS s
  JOIN tenantry.vault_keys AS k ON k.tenant_id = s.tenant_id AND k.key_version = s.key_version
 WHERE s.key_version < %(newest)s AND k.destroyed_at IS NULL
   AND (s.owner_kind, s.owner_id, s.version, s.place)
       > (%(kind)s::text, %(owner)s::uuid, %(version)s::integer, %(place)s::smallint)
 ORDER BY s.owner_kind, s.owner_id, s.version, s.place LIMIT %(page)s

-- name: replace_sealing
-- Touches 0 rows when the secret was forgotten or re-sealed meanwhile.
UPDATE tenantry.vault_secrets SET key_version = %(key_version)s, sealed = %(sealed)s
 WHERE owner_kind = %(kind)s AND owner_id = %(owner)s AND version = %(version)s
   AND place = %(place)s AND sealed = %(before)s

-- name: destroy_keys
-- Touches a row for each key that was not destroyed yet.
UPDATE tenantry.vault_keys SET wrapped = NULL, destroyed_at = %(now)s WHERE destroyed_at IS NULL

-- name: key_counts
-- Rows: data keys and the sealed fields under them, by the key that wraps them.
SELECT k.wrapped_by, count(*) AS data_keys, min(k.created_at) AS oldest,
       sum((SELECT count(*) FROM tenantry.vault_secrets AS s
             WHERE s.tenant_id = k.tenant_id AND s.key_version = k.key_version)) AS secrets
  FROM tenantry.vault_keys AS k
 WHERE k.destroyed_at IS NULL
 GROUP BY k.wrapped_by ORDER BY k.wrapped_by
