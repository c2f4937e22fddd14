"""Cost attribution (COST-1, COST-2, COST-3): what was used, by whom, at which price.

Threat: one tenant's use is charged to another, or a crash makes use vanish or count twice.
Invariant: the ledger is append-only and unique per (call, kind); totals are sums of its rows.
Tables: usage_events, prices. Neighbours: `agent`, `gateway`, `tools`, `knowledge` report here.
"""
