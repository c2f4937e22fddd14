"""The one way out to addresses that a tenant names (CON-4).

Threat: a tenant's host name, URL, redirect or DNS answer that leads into the operator's network, to
a cloud's metadata service or to the platform itself (server-side request forgery), and a credential
that follows a redirect to a stranger.
Invariant: no connection is made to an address that is not public or expressly allowed; it is judged
twice, as a whole DNS answer and as the one address really used; every refusal is one audit event.
Tables: none. Neighbours: connectors (databases resolve here, HTTP and MCP fetch here), sign-in and
provider accounts; `security.audit` (where refusals go).
"""
