"""Where credentials of tenants' own sources and models are kept, sealed (POOL-4).

Threat: a dump, a backup or an SQL injection that yields credentials; a sealed row moved to another
tenant, connector, field or version; a secret in a log, an error or a prompt.
Invariant: a secret is readable only with the tenant's data key, which is stored wrapped by a key
that the database does not hold; whatever is moved or changed fails to open and is recorded.
Tables: vault_keys, vault_secrets. Neighbours: connectors (their credentials), pools (a version of
them is part of a connection's key), `core.secret` (the type that never prints).
"""
