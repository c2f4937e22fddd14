"""Processes that do durable work (FAIR-3): they take jobs from the queue, and carry them out.

Threat: a worker dies, or is thought dead and wakes up; a long file starves the rest; a row of the
queue is altered to make a worker act for another tenant.
Invariant: PgQueuer decides who runs a job (`queue`), and is never believed about what the job is:
that is signed by the database (`jobs.payload`). A worker holds no tenant's context but the one of
the attempt at hand, and an effect commits behind the fence of `jobs.attempt`.
Tables: PgQueuer's own in schema tenantry_queue. Neighbours: `cli` starts workers, `platform` is
what they work with.
"""
