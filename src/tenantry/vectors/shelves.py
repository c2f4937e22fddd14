"""Promotion and demotion: a tenant moves to an index of its own, and back, by its size (VEC-1).

Who changes how many passages a tenant has enqueues the job that moves it, in the same transaction;
a worker carries it out.

All of it happens in the tenant's own transactions, by functions that act on the tenant of the
signed context: no actor of ours may touch the index of a tenant it does not act for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.core.events import AuditSink
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.jobs.job import NewJob
from tenantry.jobs.jobs import Jobs
from tenantry.vectors.search import PROMOTE_AT

INDEX = "index"
"""The kind of job that brings a tenant's indexes to where its size belongs."""
_SQL = load("tenantry.vectors")
_MOST_DIMENSIONS = 4000  # of halfvec, in HNSW
_MOST_MEMORY = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a tenant moves. Between the two it stays as it is.

    Attributes:
        promote_at: passages from which a tenant gets an index of its own.
        demote_below: passages under which it loses it.
    """

    promote_at: int = PROMOTE_AT
    demote_below: int = PROMOTE_AT // 2


_USUAL = Thresholds()


async def enqueue_if_due(tx: Transaction, jobs: Jobs) -> None:
    """Have the tenant's indexes tended if they are other than what its size says by now.

    Among the last things to do in a transaction, see `Jobs.enqueue`.

    Args:
        tx: where passages were added or removed.
        jobs: the tenants' jobs.
    """
    sizes = {"promote_at": _USUAL.promote_at, "demote_below": _USUAL.demote_below}
    if await tx.value(_SQL["shelf_due"], most_dimensions=_MOST_DIMENSIONS, **sizes):
        await jobs.enqueue_again(tx, NewJob("maintenance", INDEX, INDEX))


class Shelves:
    """Tends the tenants' indexes.

    Attributes:
        thresholds: when a tenant moves.
    """

    def __init__(
        self, db: Database, audit: AuditSink, thresholds: Thresholds | None = None
    ) -> None:
        self._db = db
        self._audit = audit
        self.thresholds = thresholds or _USUAL

    async def tend(self, ctx: TenantContext, version: int, dimension: int) -> str | None:
        """Bring the tenant one step nearer to where its size belongs; its shelf's state after it.

        To be called again and again: a step never waits, and one that was interrupted is made anew.
        Searches and writers of the tenant, and everybody else, go on meanwhile.

        Args:
            ctx: the tenant, for background work.
            version: of the tenant's vectors, which are indexed.
            dimension: of these vectors; more than 4,000 are never indexed.
        """
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(_SQL["shelf_of"], version=version)
        found: Mapping[str, Any] = row or {"state": None, "passages": 0}
        state, passages = found["state"], found["passages"]
        if state is None:
            if passages < self.thresholds.promote_at or dimension > _MOST_DIMENSIONS:
                return None
            return await self._open(ctx, version, dimension)
        if state == "retired":
            return await self._free(ctx, version)
        if passages < self.thresholds.demote_below:
            return await self._retire(ctx, version, passages)
        if state != "ready":
            return await self._advance(ctx, version, dimension, passages)
        return "ready"

    async def settle(self, ctx: TenantContext, version: int, dimension: int) -> str | None:
        """`tend` as long as it gets on; the state that was reached."""
        before: str | None = None
        while (state := await self.tend(ctx, version, dimension)) not in {before, "ready", None}:
            before = state
        return state

    async def tend_others(self, ctx: TenantContext, kept: Collection[int]) -> None:
        """Give up the shelves of versions that the tenant no longer uses."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["shelves"])
        for row in rows:
            if row["version"] not in kept:
                if row["state"] == "retired":
                    await self._free(ctx, row["version"])
                else:
                    await self._retire(ctx, row["version"], 0)

    async def _open(self, ctx: TenantContext, version: int, dimension: int) -> str:
        async with self._db.tenant(ctx) as tx:
            await tx.value(_SQL["open_shelf"], version=version, dimension=dimension)
        return "opened"

    async def _advance(
        self, ctx: TenantContext, version: int, dimension: int, passages: int
    ) -> str | None:
        memory_kb = min(_graph_bytes(passages, dimension), _MOST_MEMORY) // 1024
        async with self._db.tenant(ctx) as tx:
            await tx.execute(_SQL["allow_building"], memory=f"{memory_kb}kB")
            state: str | None = await tx.value(_SQL["advance_shelf"], version=version)
            if state == "ready":
                await self._record(ctx, "vectors.promoted", version, passages)
        return state

    async def _retire(self, ctx: TenantContext, version: int, passages: int) -> str:
        async with self._db.tenant(ctx) as tx:
            if await tx.value(_SQL["retire_shelf"], version=version):
                await self._record(ctx, "vectors.demoted", version, passages)
        return "retired"

    async def _free(self, ctx: TenantContext, version: int) -> str | None:
        async with self._db.tenant(ctx) as tx:
            freed = await tx.value(_SQL["free_shelf"], version=version)
        return None if freed else "retired"

    async def _record(self, ctx: TenantContext, action: str, version: int, passages: int) -> None:
        await self._audit.record(
            ctx.event(action, "allowed", "vector", str(version), {"passages": int(passages)})
        )


def _graph_bytes(passages: int, dimension: int) -> int:
    """About what building an HNSW graph takes in memory: two bytes a component, and its links."""
    return int(passages) * (2 * dimension + 700) * 5 // 4 + 64 * 1024**2
