"""What tenants weigh where turns are taken (FAIR-1); every process hears of a change."""

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from uuid import UUID

from tenantry.core.errors import InvalidRequest, StoreUnavailable
from tenantry.core.ids import TenantId
from tenantry.db.queries import load
from tenantry.isolation.notices import Listener
from tenantry.isolation.statements import RoleDatabase
from tenantry.isolation.tenants import Tenant, as_tenant

LEAST, MOST = 0.01, 100.0
_SQL = load("tenantry.isolation")
_AGAIN_S = 60.0
_RETRY_S = 1.0


class Weights:
    """Sets weights, and keeps whoever needs them up to date; as the operator role."""

    def __init__(self, door: RoleDatabase) -> None:
        self._door = door
        self._changed = asyncio.Event()

    async def set(self, tenant_id: UUID, weight: float) -> Tenant:
        """Twice the weight, twice the share.

        Raises:
            NotFound: there is no such tenant.
            InvalidRequest: the weight is not from 0.01 to 100.
        """
        if not math.isfinite(weight) or not LEAST <= weight <= MOST:
            raise InvalidRequest(f"A tenant weighs from {LEAST} to {MOST:g}.")
        async with self._door.autocommit() as statements:
            row = await statements.row(
                _SQL["set_tenant_weight"], tenant_id=tenant_id, weight=weight
            )
        self._changed.set()
        return as_tenant(row)

    async def read(self) -> Mapping[TenantId, float]:
        """The weights of all tenants that do not weigh 1."""
        async with self._door.autocommit() as statements:
            rows = await statements.rows(_SQL["list_tenant_weights"])
        return {TenantId(row["tenant_id"]): row["weight"] for row in rows}

    def listener(self) -> Listener:
        """Who hears of changed weights."""
        listen = _SQL["listen_weights"]
        return Listener(
            "tenantry_weights", listen, lambda _: self._changed.set(), self._changed.set
        )

    async def run(self, take_up: Callable[[Mapping[TenantId, float]], None]) -> None:
        """Hand the weights over now and whenever they change, until cancelled."""
        while True:
            wait_s = _AGAIN_S
            self._changed.clear()
            try:
                take_up(await self.read())
            except StoreUnavailable:
                wait_s = _RETRY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
