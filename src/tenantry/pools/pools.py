"""The pools: lend a tenant's connections, checked three ways whenever they change hands.

A lease's way: an idle connection of the same owner, or a place under the caps in which a new one is
dialled (`supply`); map, tag and the server's own report agree (`ownership`); the body runs; reset,
the three again; idle. Cancelled or failed anywhere on that way, the connection is closed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from tenantry.core.clock import Clock
from tenantry.core.errors import PoolExhausted, QueryFailed, QueryRefused, SourceUnreachable
from tenantry.core.events import AuditSink
from tenantry.core.ids import ConnectorId, TenantId
from tenantry.isolation.context import TenantContext
from tenantry.pools.base import (
    C,
    Dial,
    Identity,
    PhysicalConnection,
    PoolCaps,
    PoolKey,
    PoolsSnapshot,
)
from tenantry.pools.closing import Background, close
from tenantry.pools.figures import Figures, Reason
from tenantry.pools.handover import Handover
from tenantry.pools.levels import borrower, idle_owner
from tenantry.pools.ownership import Owned
from tenantry.pools.supply import Supply
from tenantry.pools.upkeep import Upkeep

CHECK_S = 2.0
"""An idle connection that does not answer for this long is taken for dead, and a new one dialled:
firewalls forget idle connections without a word."""
RETURN_S = 5.0
"""Longest time for a connection to be reset and checked; a slower one is closed."""
_NO_ANSWER = "The data source did not answer."


@dataclass(slots=True, eq=False)
class _DialUnderWay:
    """A connection about to be, which may be retired before it is there."""

    key: PoolKey
    is_retired: bool = False


class Pools:
    """All connections to tenants' databases; built once by the platform."""

    def __init__(self, caps: PoolCaps, audit: AuditSink, clock: Clock) -> None:
        self._caps = caps
        self._clock = clock
        self._figures = Figures()
        self._background = Background()
        self._handover = Handover(audit, self._background, partial(self._close, reason="violated"))
        self._dials: set[_DialUnderWay] = set()
        self._open: set[Owned] = set()
        self._leased: set[Owned] = set()
        self._oldest_kept: dict[tuple[TenantId, ConnectorId], int] = {}
        self._closing = 0
        self._supply = Supply(caps.total, caps.per_tenant, partial(self._close, reason="evicted"))
        self._upkeep = Upkeep(caps, clock, self._supply, self._close)

    @asynccontextmanager
    async def lease(self, ctx: TenantContext, dial: Dial[C]) -> AsyncIterator[C]:
        """A connection of the tenant's own, for the length of the block.

        `QueryFailed` and `QueryRefused` from the block leave it usable; after any other error, and
        after cancellation, it is closed.

        Raises:
            PoolExhausted: none became free in time.
            OwnershipViolated: it was not this tenant's own; nothing was read, or what was read
                must not be used.
            SourceUnreachable: the database did not answer in time.
            QueryFailed: or whatever else `dial.connect` raises.
        """
        await self._handover.expect(ctx, dial)
        owned = await self._acquire(ctx, dial)
        self._figures.count(dial.level, "acquired")
        try:
            yield cast("C", owned.connection)
        except BaseException as error:
            if _leaves_usable(error):
                await self._give_back(ctx, dial, owned)
            else:
                self._close(owned, "discarded")
            raise
        await self._give_back(ctx, dial, owned)

    async def retire(
        self, tenant: TenantId, connector: ConnectorId, older_than: int | None = None
    ) -> None:
        """Close a connector's connections: idle ones now, lent ones when they come back.

        Args:
            tenant: whose connector it is.
            connector: which.
            older_than: only those made with a credential version below this; None: all.
        """
        if older_than is None:
            self._oldest_kept.pop((tenant, connector), None)
        else:
            known = self._oldest_kept.get((tenant, connector), 0)
            self._oldest_kept[tenant, connector] = max(known, older_than)

        def is_meant(key: PoolKey) -> bool:
            is_of_it = (key.tenant, key.connector) == (tenant, connector)
            return is_of_it and (older_than is None or key.credential_version < older_than)

        for dial in self._dials:
            dial.is_retired |= is_meant(dial.key)
        for owned in self._open:
            owned.is_retired |= is_meant(owned.dialled_for)
        for owned in self._supply.idle.remove_where(lambda owned: owned.is_retired):
            self._close(owned, "retired")

    def snapshot(self) -> PoolsSnapshot:
        """Figures for metrics."""
        return PoolsSnapshot(
            open=self._supply.taken,
            closing=self._closing,
            waiting=self._supply.waiting,
            levels=self._figures.snapshot(self._supply.idle),
        )

    async def run(self) -> None:
        """Keep the pools healthy, until cancelled."""
        await self._upkeep.run()

    async def tend(self) -> None:
        """One round of that: close what is old or idle too long, check the health of the rest."""
        await self._upkeep.round()

    async def close(self) -> None:
        """Close all that is idle and refuse all who wait; lent connections close on return."""
        self._supply.close()
        await self._background.finish()

    async def _acquire(self, ctx: TenantContext, dial: Dial[Any]) -> Owned:
        """A connection that is the tenant's own for sure, marked as lent."""
        loop = asyncio.get_running_loop()
        left_s = min(self._caps.acquire_timeout_s, ctx.deadline - self._clock.monotonic())
        if left_s <= 0:
            raise PoolExhausted
        deadline = loop.time() + left_s
        is_retry = False
        while True:
            owned = await self._obtain(dial, deadline, is_first=is_retry)
            if owned is None:
                return await self._connect(ctx, dial, deadline)
            self._lend(owned)
            await self._handover.claim(ctx, dial, owned)
            reported = await self._hear(dial, owned, min(deadline, loop.time() + CHECK_S))
            if reported is not None:
                await self._handover.confirm(ctx, dial, owned, reported)
                self._figures.count(dial.level, "reused")
                return owned
            if loop.time() >= deadline:
                raise SourceUnreachable(_NO_ANSWER)
            is_retry = True

    async def _obtain(self, dial: Dial[Any], deadline: float, *, is_first: bool) -> Owned | None:
        """An idle connection that fits, or None with a place to dial in."""
        tenant, owner = dial.key.tenant, idle_owner(dial)
        is_there, owned = self._supply.take_now(tenant, owner)
        if is_there:
            return owned
        began = self._clock.monotonic()
        try:
            return await self._supply.wait(tenant, owner, deadline, is_first=is_first)
        except PoolExhausted:
            self._figures.count(dial.level, "exhausted")
            raise
        finally:
            self._figures.waited(dial.level, self._clock.monotonic() - began)

    async def _connect(self, ctx: TenantContext, dial: Dial[Any], deadline: float) -> Owned:
        """Dial in a place that is already taken; it is given up if that fails."""
        key, now = dial.key, self._clock.monotonic()
        attempt = _DialUnderWay(key)
        self._dials.add(attempt)
        self._figures.connecting(dial.level, 1)
        try:
            async with asyncio.timeout_at(deadline):
                connection: PhysicalConnection = await dial.connect()
        except BaseException as error:
            self._figures.count(dial.level, "failed")
            self._supply.free(key.tenant)
            if isinstance(error, TimeoutError):
                raise SourceUnreachable(_NO_ANSWER) from None
            raise
        finally:
            self._figures.connecting(dial.level, -1)
            self._dials.remove(attempt)
        owned = Owned(connection, borrower(dial), dial.level, key, now, key.tenant)
        owned.is_retired = attempt.is_retired
        self._open.add(owned)
        self._lend(owned)
        reported = await self._hear(dial, owned, deadline)
        if reported is None:
            raise SourceUnreachable(_NO_ANSWER)
        await self._handover.enter(ctx, dial, owned, reported)
        self._figures.count(dial.level, "connected")
        return owned

    async def _hear(self, dial: Dial[Any], owned: Owned, until: float) -> Identity | None:
        """Bind a connection to its tenant and let its server say who and where we are.

        None when it is dead: one round trip tells both. `assume`, where there is one, is another.
        """
        try:
            async with asyncio.timeout_at(until):
                if dial.assume is not None:
                    await dial.assume(owned.connection)
                return await owned.connection.identity()
        except (SourceUnreachable, OSError):  # no answer in time is a TimeoutError: an OSError
            self._close(owned, "lost")
            return None
        except BaseException:
            self._close(owned, "discarded")
            raise

    async def _give_back(self, ctx: TenantContext, dial: Dial[Any], owned: Owned) -> None:
        """Reset, check and keep a connection; close it if it cannot be kept, or if cancelled."""
        await self._handover.take_back(ctx, dial, owned)
        try:
            async with asyncio.timeout(RETURN_S):
                reported = await self._reset(owned)
        except (QueryFailed, OSError):
            self._close(owned, "lost")  # its tenant has what it asked for, and needs not know
            return
        except BaseException:
            self._close(owned, "discarded")
            raise
        await self._handover.release(ctx, dial, owned, reported)
        reason = self._reason_to_close(owned)
        if reason is not None:
            await asyncio.shield(self._close(owned, reason))
            return
        self._unlend(owned)
        owned.idle_since = owned.heard_at = self._clock.monotonic()
        self._supply.shelve(owned)

    async def _reset(self, owned: Owned) -> Identity:
        """What the server reports once the session has forgotten all."""
        reported = await owned.connection.reset() if owned.rules.is_kept else None
        return reported or await owned.connection.identity()

    def _reason_to_close(self, owned: Owned) -> Reason | None:
        """Why a connection that came back in order is not kept; None: it is."""
        key = owned.dialled_for
        oldest = self._oldest_kept.get((key.tenant, key.connector), key.credential_version)
        if not owned.rules.is_kept:
            return "used"
        if owned.is_retired or key.credential_version < oldest:
            return "retired"
        return "expired" if self._upkeep.is_too_old(owned) else None

    def _lend(self, owned: Owned) -> None:
        self._leased.add(owned)
        self._figures.leased(owned.level, 1)

    def _unlend(self, owned: Owned) -> None:
        if owned in self._leased:
            self._leased.remove(owned)
            self._figures.leased(owned.level, -1)

    def _close(self, owned: Owned, reason: Reason) -> "asyncio.Task[None]":
        """Start closing a connection; its place is free when that is done."""
        self._unlend(owned)
        self._open.remove(owned)
        self._handover.forget(owned)
        self._figures.closed(owned.level, reason)
        self._closing += 1
        return self._background.start(close(owned.connection, partial(self._closed, owned, reason)))

    def _closed(self, owned: Owned, reason: Reason) -> None:
        self._closing -= 1
        if reason == "evicted":
            self._supply.evicted(owned)
        else:
            self._supply.free(owned.tenant)


def _leaves_usable(error: BaseException) -> bool:
    """Whether a connection may be used again after this error in a lease's block."""
    is_of_the_query = isinstance(error, QueryFailed | QueryRefused)
    return is_of_the_query and not isinstance(error, SourceUnreachable)
