"""Tenantry: isolated AI analysts for every tenant of a SaaS product, from shared infrastructure.

Start reading at `tenantry.isolation` (the tenant context and the one door to rows), then
`tenantry.platform` (how the rooms are put together). ARCHITECTURE.md is the map.
"""

__version__ = "0.1.0"
