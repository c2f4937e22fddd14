"""Models and embedders of the outside world, behind two small protocols.

Threat: a provider lies, stalls, sends garbage, or is reached with the wrong tenant's key.
Invariant: what a provider says is data; every answer is validated, bounded and counted.
One file a provider. Neighbours: `agent.boundary` and `gateway` are the only callers of models.
"""
