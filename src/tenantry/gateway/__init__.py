"""The raw provider path: a tenant's call to a model by its own name, bytes in, bytes out.

Threat: a call that is not paid for, is paid by another, or costs more than was reserved.
Invariant: the intent is durable before the call leaves, the output bound is always sent upstream,
and the last event reaches the client only after the settlement is durable.
Tables: none; `metering` keeps the ledger. Neighbours: `providers.upstream` below, `api` above.
"""
