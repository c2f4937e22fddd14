"""What a tenant's assistants know (VEC-1, VEC-2, VEC-3): documents, passages, retrieval.

Threat: a hostile file takes the server down; a search returns a neighbour's passage.
Invariant: files are parsed in a process of their own, that can only die; retrieval has no filter
to forget: the database's policy leaves the tenant's own rows, and the scan over them is exact, so
that fewer passages than asked for means that the tenant has fewer.
Tables: documents, chunks. Neighbours: `providers` embeds, `tools` and `api` call.
"""
