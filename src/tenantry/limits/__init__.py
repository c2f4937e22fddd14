"""Rate limits and fair use (LIM-1, LIM-2): budgets that no number of replicas can overshoot.

Threat: concurrent calls, a killed or sleeping replica, or an absent database spend more than a
tenant may. Invariant: a call is made only under a live lease whose budgets all had room for the
most it can use, and the insert of its intent checks that lease once more, in the database.
Tables: budget_plans, budgets, budget_counters, budget_leases, budget_alerts, complexity_weights.
Neighbours: `admission` reserves before a call and settles after it; the ledger (`metering`) is
what a lost lease is reconciled with.
"""
