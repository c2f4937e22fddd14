"""The proofs. `tests/isolation` is the signature room: what no tenant can do to another."""
