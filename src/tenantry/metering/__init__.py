"""Cost attribution (COST-1, COST-2, COST-3, COST-5): what was used, by whom, at which price.

Threat: one tenant's use is charged to another, or a crash makes use vanish or count twice.
Invariant: the ledger is append-only, each call is closed exactly once, totals are sums of its rows.
Tables: usage_events, price_versions, prices. Actors: the tenant's role reads and adds its own
rows; the operator's role reads all, publishes prices, and may call the sweeper, which alone
crosses tenants. Neighbours: `agent`, `gateway`, `tools`, `knowledge` report here.
"""
