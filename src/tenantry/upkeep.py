"""What a running process does beside its requests: sweep, anchor, refresh.

What tenants are due, each in turn, is work of the workers (`workers.kinds`); its parts are here.
Every task outlives a database that is away: what it could not do now is done in a later round.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from tenantry.assembly import Content, Models, People, Sources
from tenantry.core.errors import (
    Conflict,
    SecretUnreadable,
    StoreUnavailable,
    VaultUnavailable,
)
from tenantry.core.ids import TenantId
from tenantry.foundation import Foundation, charged_calls
from tenantry.isolation.context import Actor, TenantContext
from tenantry.limits.reaper import LeaseReaper
from tenantry.metering.storage import StorageMeter
from tenantry.metering.sweeper import Sweeper
from tenantry.providers.embedded_e5 import EmbeddedE5
from tenantry.security.cursors import START
from tenantry.vectors.shelves import enqueue_if_due

_LOG = logging.getLogger("tenantry.upkeep")
_ANCHOR_EVERY_S = 60.0
_REFRESH_EVERY_S = 300.0
_LONGEST_TASK_S = 600.0


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Background work of the platform's own, and the contexts it acts in."""

    base: Foundation
    people: People
    sources: Sources
    models: Models
    content: Content
    storage: StorageMeter

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run every task beside the block, and end them with it."""
        tasks = [asyncio.create_task(work) for work in self._works()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def refresh_prices(self) -> None:
        """Take up versions of the price book that were published since, and models' weights."""
        async with self.base.doors.operator.autocommit() as statements:
            await self.base.prices.refresh(statements)
        self.base.budgets.weights.replace(await self.base.plans.weights())

    async def refresh(self) -> None:
        """Work by today's prices, and hold nothing in memory that nobody needs any more.

        Raises:
            StoreUnavailable: the prices cannot be read; what was held is let go all the same.
        """
        self.models.admission.breakers.tidy(self.base.clock.monotonic())
        embedded = self.models.providers.platform.embedded
        if isinstance(embedded, EmbeddedE5):
            embedded.release_if_idle()
        await self.refresh_prices()

    async def each_tenant(self, task: str) -> AsyncIterator[TenantContext]:
        """A context in each tenant, one after the other, for background work called `task`."""
        after = START
        while page := await self.people.tenants.list_tenants(after, 200):
            for tenant in page:
                yield self.context(tenant.id, task)
            after = page[-1].id

    async def tidy_tenant(self, ctx: TenantContext) -> None:
        """What one tenant is due once an hour: jobs, results, keys, its embedder; by a worker."""
        await self.content.jobs.tidy(ctx)
        await self.sources.results.remove_expired(ctx)
        with suppress(SecretUnreadable, VaultUnavailable):  # recorded; the next round tries on
            await self.sources.rotation.rewrap(ctx)
            await self.sources.rotation.renew(ctx)
        await self.content.reembedding.follow(ctx)
        async with self.base.db.tenant(ctx) as tx:
            await enqueue_if_due(tx, self.content.jobs)

    async def tend_index(self, ctx: TenantContext) -> None:
        """Bring a tenant's indexes to where its size belongs; by a worker.

        Raises:
            Conflict: transactions that began before are to end first; call again.
            TenantryError: it cannot be built, such as one too large for the server's memory.
        """
        versions, shelves = await self.content.embedders.versions(ctx), self.content.shelves
        state = None
        if versions.active is not None:
            active = versions.active
            state = await shelves.settle(ctx, active.number, active.choice.dimension)
        await shelves.tend_others(ctx, versions.kept)
        if state not in {"ready", None}:
            raise Conflict("Transactions that began before are to end first.")

    def context(self, tenant: TenantId, task: str) -> TenantContext:
        """A context in which background work of the platform's own acts for one tenant."""
        actor = Actor("worker", uuid5(NAMESPACE_OID, f"tenantry:{task}"), "worker")
        deadline = self.base.clock.monotonic() + _LONGEST_TASK_S
        request = f"worker-{task}"
        return self.base.mint.mint(tenant, actor, frozenset(), request, deadline, "everything")

    def reaper(self) -> LeaseReaper:
        """Settles the leases of replicas that were killed."""
        base = self.base
        return LeaseReaper(
            base.db,
            base.doors.operator,
            base.signer,
            charged_calls,
            base.budgets.weights,
            self.context,
        )

    def _works(self) -> list[Coroutine[Any, Any, None]]:
        return [
            Sweeper(self.base.doors.operator).run(),
            self.base.budgets.run(),
            self.reaper().run(),
            self.base.notices.run(),
            self.sources.pools.run(),
            self.base.weights.run(self.models.admission.capacity.reweigh),
            self.base.refused.run(),
            self._anchor(),
            self._refresh(),
        ]

    async def _anchor(self) -> None:
        while True:
            await asyncio.sleep(_ANCHOR_EVERY_S)
            try:
                await self.base.audit.anchor()
            except StoreUnavailable:
                _LOG.warning("anchor_postponed")

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_EVERY_S)
            with suppress(StoreUnavailable):
                await self.refresh()
