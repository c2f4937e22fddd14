"""Leases whose holder is gone: what they hold counts as spent until the ledger says otherwise.

A lease that is long over, and whose calls have all ended, is settled by what the ledger holds of
its calls: settled ones at their figures, swept ones at the most they could use, since nobody knows
what they did. Then the rest of it is given back. A holder that wakes up finds its lease gone, and
an intent under it is refused by the database.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from tenantry.core.errors import TenantryError
from tenantry.core.ids import TenantId
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.statements import RoleDatabase
from tenantry.isolation.transaction import Database, Transaction
from tenantry.limits.authority import Changes, read_state, write_state
from tenantry.limits.complexity import Use, WeightBook
from tenantry.limits.granting import State, Told, settle
from tenantry.limits.rules import Ask, CounterKey

_SQL = load("tenantry.limits")
_LOG = logging.getLogger(__name__)
_OVERDUE_S = 10.0
"""A living holder tells of its lease long before that."""
_MOST_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Charged:
    """What the ledger holds of some calls of a lease, all by the same asker to the same model."""

    ask: Ask
    used: Use


ChargedCalls = Callable[[Transaction, UUID], Awaitable[Sequence[Charged] | None]]
"""The calls of a lease; None while some of them have not ended."""

WorkerContexts = Callable[[TenantId, str], TenantContext]
"""A context in which background work acts for a tenant."""


class LeaseReaper:
    """Settles the leases of replicas that were killed, of every tenant."""

    def __init__(
        self,
        db: Database,
        operator: RoleDatabase,
        signer: ContextSigner,
        calls: ChargedCalls,
        weights: WeightBook,
        worker: WorkerContexts,
    ) -> None:
        """With what reads the ledger, and what gives a context for work in a tenant."""
        self._db = db
        self._operator = operator
        self._signer = signer
        self._calls = calls
        self._weights = weights
        self._worker = worker

    async def reap(self, overdue_s: float = _OVERDUE_S) -> int:
        """Settle leases that ended at least so long ago; how many.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with self._operator.autocommit() as statements:
            rows = await statements.rows(
                _SQL["overdue_leases"], overdue_s=overdue_s, most=_MOST_AT_ONCE
            )
        settled = 0
        for row in rows:
            ctx = self._worker(TenantId(row["tenant_id"]), "budgets")
            settled += await self._settle(ctx, row["lease_id"], overdue_s)
        return settled

    async def run(self, interval_s: float = 10.0) -> None:
        """Reap every `interval_s` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                settled = await self.reap()
            except TenantryError as error:
                _LOG.warning("reaping_postponed", extra={"code": error.code})
            else:
                if settled:
                    _LOG.warning("leases_reaped", extra={"count": settled})

    async def _settle(self, ctx: TenantContext, lease_id: UUID, overdue_s: float) -> bool:
        async with self._db.tenant(ctx) as tx:
            await tx.row(_SQL["lock_plan"])
            held = await tx.row(_SQL["hold_lease"], lease_id=lease_id, overdue_s=overdue_s)
            if held is None:
                return False  # its holder, or another reaper, was quicker
            calls = await self._calls(tx, lease_id)
            if calls is None:
                return False
            state = await read_state(tx, await _subjects(tx, lease_id))
            if state is None or lease_id not in state.leases:
                return False
            settle(state, Told(lease_id, self._spent(state, lease_id, calls), {}, ends=True))
            await write_state(tx, self._signer, state, Changes(tidies=True))
        return True

    def _spent(
        self, state: State, lease_id: UUID, calls: Sequence[Charged]
    ) -> dict[CounterKey, int]:
        spent = {}
        for key in state.leases[lease_id].parts:
            budget = state.budget(key)
            if budget is not None:
                spent[key] = sum(
                    self._weights.of(call.ask.provider, call.ask.model).amount(
                        budget.unit, call.used
                    )
                    for call in calls
                    if budget.counts(call.ask) == key.subject
                )
        return spent


async def _subjects(tx: Transaction, lease_id: UUID) -> list[str]:
    parts = await tx.value(_SQL["parts_of"], lease_id=lease_id)
    return [subject for _, subject, *_ in parts or ()]
