"""What an agent may do (SEC-3): capabilities bound to one session.

Threat: the model obeys an attacker and names another tenant, a raw id, or a tool it was not given.
Invariant: no tool takes a tenant, role, credential or raw id; an argument outside the schema is
refused and audited, and the model sees per-session references instead of ids.
Tables: none; `sessions` records tool calls. Neighbours: `connectors`, `knowledge`, `memory`.
"""
