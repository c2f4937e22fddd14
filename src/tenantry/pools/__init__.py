"""Connections to the tenants' own databases (POOL-1, POOL-2, POOL-3): thousands behind one cap.

Threat: a pool hands one tenant a connection to another's database; one tenant's dead or slow
database uses up what all others need.
Invariant: a connection is handed out, and taken back, only if the ownership map, the tag it
carries and the server's own report agree that it is this tenant's; else it is closed, recorded
and no row is read.
Neighbours: the kinds in `connectors` dial and lease; `platform` owns the one `Pools` and runs its
upkeep. `pools` is the facade, `supply` decides who gets what next, `ownership` checks.
"""
