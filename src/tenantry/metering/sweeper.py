"""The sweeper: closes calls that nobody will settle (COST-3).

An actor of its own: it works across tenants, as the role tenantry_operator, and can do nothing
but call `tenantry.sweep_usage` (`db/migrations/0004_metering.sql`), which picks the calls and
copies the figures itself. A swept entry is unconfirmed: output as the last progress shows, the
prompt as counted there or else as bounded by the intent. It is settled by the provider's figures
when they come, by a late `Ledger.settle` or by `reconcile`.
"""

import asyncio
import logging
from dataclasses import dataclass

from tenantry.core.errors import TenantryError
from tenantry.core.ids import CallId, TenantId
from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase

_SQL = load("tenantry.metering")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweptCall:
    """A call that was closed for a process that could not."""

    tenant: TenantId
    call_id: CallId
    request_id: str


class Sweeper:
    """Closes abandoned calls of every tenant."""

    def __init__(self, operator: RoleDatabase, batch: int = 500) -> None:
        self._operator = operator
        self._batch = batch

    async def sweep(self) -> list[SweptCall]:
        """Close every call whose process is gone or whose lifetime is over; what was closed.

        Safe to run in several processes at once: they take turns, and each call is closed once.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        swept: list[SweptCall] = []
        while True:
            async with self._operator.transaction() as statements:
                rows = await statements.rows(_SQL["sweep_usage"], most=self._batch)
            swept += [
                SweptCall(
                    TenantId(row["swept_tenant"]), CallId(row["swept_call"]), row["swept_request"]
                )
                for row in rows
            ]
            if not rows:
                return swept

    async def run(self, interval_s: float = 15.0) -> None:
        """Sweep now and every `interval_s` seconds, until cancelled."""
        while True:
            try:
                swept = await self.sweep()
            except TenantryError as error:
                # PostgreSQL is away, or a lock was held too long: the calls are still there.
                _LOG.warning("sweep_postponed", extra={"code": error.code})
            else:
                if swept:
                    _LOG.warning("calls_swept", extra={"count": len(swept)})
            await asyncio.sleep(interval_s)
