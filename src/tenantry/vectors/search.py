"""Which way a search goes: exact, or by the tenant's own index (VEC-1, VEC-2)."""

from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.vectors.base import Near, Question
from tenantry.vectors.dedicated import nearest_on_shelf, ready_shelf
from tenantry.vectors.namespaced import nearest_exact

PROMOTE_AT = 10_000
"""Passages from which an index pays: chosen by the crossover that `bench/vectors.py` prints."""


class TenantVectors:
    """Searches in PostgreSQL, under row-level security; the way is chosen for each question.

    A filter that leaves few passages makes even a large tenant's search a small one: these are
    compared exactly. What an index gives is taken only if it is as much as was asked.
    """

    def __init__(self, db: Database, *, exact_below: int = PROMOTE_AT) -> None:
        self._db = db
        self._exact_below = exact_below

    async def nearest(self, ctx: TenantContext, question: Question) -> list[Near]:
        """The nearest passages of the tenant, nearest first.

        Fewer than `question.most` only when the tenant has fewer that pass the filter.
        """
        async with self._db.tenant(ctx) as tx:
            return await self.nearest_in(tx, question)

    async def nearest_in(self, tx: Transaction, question: Question) -> list[Near]:
        """`nearest`, in a transaction that goes on."""
        shelf = await ready_shelf(tx, question)
        if shelf is not None and shelf.passing >= self._exact_below:
            found = await nearest_on_shelf(tx, shelf, question)
            if len(found) == question.most:
                return found
        return await nearest_exact(tx, question)
