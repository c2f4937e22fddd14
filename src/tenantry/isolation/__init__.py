"""Row-level security with tenant context (DB-1 … DB-6): the room the product stands on.

Threat: any code path, or any SQL smuggled into one, reads rows of another tenant.
Invariant: rows of a tenant table are reachable only inside `Database.tenant(ctx)`, whose first
message sets a signed context that the database itself verifies; without it, statements fail.
`policies` and `roles` ask the database, before the server serves, whether that still holds.
Tables: tenants, signing keys, break-glass grants and sessions. Neighbours: `db` below;
`security.auth` makes contexts.
"""
