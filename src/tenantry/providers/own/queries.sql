-- Tenants' own accounts at model providers: tenantry.provider_accounts.

-- name: listen_models
-- Hear, for as long as the session lives, of tenants whose models change. Role: tenantry_auth.
LISTEN tenantry_models;

-- name: clear_removed
-- What was removed makes way for a new account of its name.
DELETE FROM tenantry.provider_accounts WHERE name = %(name)s AND removed_at IS NOT NULL;

-- name: create_account
-- Rows: the account; none when the tenant has as many as it may have.
INSERT INTO tenantry.provider_accounts (
    tenant_id, account_id, name, kind, base_url, max_tokens_field, models, credential_version)
SELECT %(tenant)s, %(account_id)s, %(name)s, %(kind)s, %(base_url)s, %(max_tokens_field)s,
       %(models)s, %(credential_version)s
 WHERE (SELECT count(*) FROM tenantry.provider_accounts) < %(most)s
RETURNING account_id, name, kind, base_url, max_tokens_field, models, credential_version,
          created_at, removed_at;

-- name: change_account
-- Rows: the account as it is now; none when it was changed or removed since it was read.
UPDATE tenantry.provider_accounts
   SET base_url = %(base_url)s, max_tokens_field = %(max_tokens_field)s, models = %(models)s,
       credential_version = %(credential_version)s
 WHERE account_id = %(account_id)s AND credential_version = %(known_version)s
   AND removed_at IS NULL
RETURNING account_id, name, kind, base_url, max_tokens_field, models, credential_version,
          created_at, removed_at;

-- name: list_accounts
-- Rows: accounts with ids after the given one, oldest first; the removed whose names are held too.
SELECT account_id, name, kind, base_url, max_tokens_field, models, credential_version,
       created_at, removed_at
  FROM tenantry.provider_accounts
 WHERE account_id > %(after)s
 ORDER BY account_id LIMIT %(limit)s;

-- name: get_account
SELECT account_id, name, kind, base_url, max_tokens_field, models, credential_version,
       created_at, removed_at
  FROM tenantry.provider_accounts WHERE account_id = %(account_id)s;

-- name: remove_account
-- Touches 0 rows when there is none, or it was removed before.
UPDATE tenantry.provider_accounts SET removed_at = now()
 WHERE account_id = %(account_id)s AND removed_at IS NULL;

-- name: release_account
-- Touches 0 rows when there is none.
DELETE FROM tenantry.provider_accounts WHERE account_id = %(account_id)s;

-- name: get_policy
-- Rows: the tenant's policy; none when it never set one.
SELECT allowed, fallbacks, changed_at FROM tenantry.model_policies;

-- name: set_policy
INSERT INTO tenantry.model_policies (tenant_id, allowed, fallbacks)
VALUES (%(tenant)s, %(allowed)s, %(fallbacks)s)
ON CONFLICT (tenant_id) DO UPDATE
   SET allowed = excluded.allowed, fallbacks = excluded.fallbacks, changed_at = now();
