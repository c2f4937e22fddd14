"""Fair turns before what is scarce: calls to one provider account, embedding on our own processors.

Threat: one tenant's flood, long calls or broken account delays or fails another tenant's calls.
Invariant: no tenant is let in while it is ahead of one that waits in the same lane; slots stay idle
only up to the headroom, and only while everyone who waits has its share; a breaker belongs to one
tenant and one account, and nothing that another tenant meets ever opens it. Nothing is ordered by
what a request contains.
Tables: none, no database. Neighbours: `tenantry.admission` is the gate that puts these together.

Source: Sheng et al., Fairness in Serving Large Language Models (OSDI 2024), for the counter;
docs/adr/0015 for the headroom.
"""
