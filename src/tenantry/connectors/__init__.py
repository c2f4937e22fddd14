"""Data sources of a tenant (CON-1, CON-2, CON-3): one file a kind, found by entry point.

Threat: SQL or a request written by a model reaches data outside the tenant's own source.
Invariant: a connector is bound to one tenant context and one configuration before anything else
can be done with it; model-written SQL runs only after `sql_guard` regenerated it.
Tables: connectors, suspended_operations, approvals, data_files, result_files.
Neighbours: `tools` calls connectors, nothing else does.
"""
