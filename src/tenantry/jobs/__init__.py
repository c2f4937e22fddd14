"""Durable work (FAIR-3): what a tenant has asked for and nobody waits for.

Threat: work is lost or done twice when a process dies; one tenant's backlog is everybody's wait; a
row of the queue is altered so that a worker acts for another tenant.
Invariant: a job is enqueued in the transaction that asks for it, its effect commits once, behind a
fence that only the newest attempt passes, and a worker believes only what the database signed.
Tables: jobs, job_inputs, job_shares. Neighbours: `knowledge` enqueues, `api` shows, `workers` run.
"""
