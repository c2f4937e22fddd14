"""The vector store: the passages nearest to a question, among one tenant's own (VEC-1, VEC-2).

Threat: a neighbour's passage is found, or its size slows a search down or makes it lose rows.
Invariant: no statement names a tenant to compare with; the database's policy leaves the tenant's
own rows, small tenants are compared exactly, large ones by an index that holds their rows alone,
and a search that an index could not fill is made again exactly.
Tables: `chunks`, `chunk_embeddings` (their vectors, by version), `vector_versions`, `chunk_vectors`
(shelves), `vector_shelves`, `vector_changes`.
Neighbours: `knowledge` writes passages and searches; `platform` has shelves tended.
"""
