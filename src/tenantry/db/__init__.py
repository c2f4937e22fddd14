"""The platform's PostgreSQL: connections, the embedded server, migrations, named queries.

Threat: a room that opens a connection of its own escapes row-level security. So `db.pool` is
protected: only `isolation` and `platform` import it, and everyone else gets rows from
`isolation.transaction` alone.
"""
