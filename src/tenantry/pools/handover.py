"""What happens when a connection changes hands: the three-way check, and its refusal (POOL-2)."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, NoReturn

from tenantry.core.errors import OwnershipViolated
from tenantry.core.events import AuditSink
from tenantry.isolation.context import TenantContext
from tenantry.pools.base import Dial, Identity
from tenantry.pools.closing import Background
from tenantry.pools.levels import borrower, idle_owner
from tenantry.pools.ownership import Mismatch, Owned, OwnershipMap

Moment = Literal["request", "hand_out", "return"]


class Handover:
    """Lets a connection pass from the pools to a tenant and back only if all three agree.

    Whatever does not is closed before it is recorded, so that a failing audit log opens no door.
    """

    def __init__(
        self, audit: AuditSink, background: Background, discard: Callable[[Owned], object]
    ) -> None:
        self._audit = audit
        self._background = background
        self._discard = discard
        self._map = OwnershipMap()

    @property
    def known(self) -> int:
        """Connections in the map."""
        return len(self._map)

    async def expect(self, ctx: TenantContext, dial: Dial[Any]) -> None:
        """Refuse a tenant that asks with another's key.

        Raises:
            OwnershipViolated: it does.
        """
        if dial.key.tenant != ctx.tenant:
            await self._record(ctx, dial, "request", "map")

    async def enter(
        self, ctx: TenantContext, dial: Dial[Any], owned: Owned, reported: Identity
    ) -> None:
        """Put a new connection into the map, if it reached what it was dialled for.

        Raises:
            OwnershipViolated: the server reports another user or database.
        """
        self._map.add(owned, reported)
        await self.confirm(ctx, dial, owned, reported)

    async def claim(self, ctx: TenantContext, dial: Dial[Any], owned: Owned) -> None:
        """Make an idle connection the tenant's, if map and tag allow that.

        Raises:
            OwnershipViolated: one of them names somebody else.
        """
        mismatch = self._map.compare(owned, idle_owner(dial))
        if mismatch is not None:
            await self._refuse(ctx, dial, owned, "hand_out", mismatch)
        self._map.transfer(owned, borrower(dial))

    async def confirm(
        self, ctx: TenantContext, dial: Dial[Any], owned: Owned, reported: Identity
    ) -> None:
        """Let the tenant have it, if the server's report fits.

        Raises:
            OwnershipViolated: it does not.
        """
        mismatch = self._map.compare_server(owned, dial.expected, reported)
        if mismatch is not None:
            await self._refuse(ctx, dial, owned, "hand_out", mismatch)

    async def take_back(self, ctx: TenantContext, dial: Dial[Any], owned: Owned) -> None:
        """Check map and tag of what a tenant gives back, before anything is done with it.

        Raises:
            OwnershipViolated: one of them names somebody else.
        """
        mismatch = self._map.compare(owned, borrower(dial))
        if mismatch is not None:
            await self._refuse(ctx, dial, owned, "return", mismatch)

    async def release(
        self, ctx: TenantContext, dial: Dial[Any], owned: Owned, reported: Identity
    ) -> None:
        """Make a connection that came back and was reset its idle owner's.

        Raises:
            OwnershipViolated: the server's report does not fit.
        """
        expected = dial.unassumed or dial.expected
        mismatch = self._map.compare_server(owned, expected, reported)
        if mismatch is not None:
            await self._refuse(ctx, dial, owned, "return", mismatch)
        self._map.transfer(owned, idle_owner(dial))

    def forget(self, owned: Owned) -> None:
        """Take a connection that is being closed out of the map."""
        self._map.remove(owned)

    async def _refuse(
        self, ctx: TenantContext, dial: Dial[Any], owned: Owned, moment: Moment, wrong: Mismatch
    ) -> NoReturn:
        self._discard(owned)
        await self._record(ctx, dial, moment, wrong)

    async def _record(
        self, ctx: TenantContext, dial: Dial[Any], moment: Moment, wrong: Mismatch
    ) -> NoReturn:
        event = ctx.event(
            "pool.ownership_violated",
            "refused",
            "pool",
            target=str(dial.key.connector),
            detail={"level": dial.level, "moment": moment, "mismatch": wrong},
        )
        # The evidence is written even if whoever asked is cancelled meanwhile.
        await asyncio.shield(self._background.start(self._audit.record(event)))
        raise OwnershipViolated
