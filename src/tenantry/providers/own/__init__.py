"""Tenants' own accounts at model providers (COST-4): added, rotated, called, let go of.

Threat: a tenant's key used for another tenant, shown, kept after it was rotated or removed, sent
to an address inside the operator's network, or silently replaced by the platform's.
Invariant: a key is sealed for its tenant and account alone; one client a (tenant, account, version
of the key), dropped at every change; every connection goes through the egress guard; a name that
is or was a tenant's own never leads to the platform's account.
Tables: provider_accounts. Neighbours: `security.vault` (keys), `security.egress` (the way out),
`providers.directory` (which asks what a tenant has).
"""
