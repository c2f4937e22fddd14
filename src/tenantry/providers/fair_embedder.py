"""Embeds passages of many tenants in fair turns: processors, or an account, are a pool of slots.

Threat: one tenant's thousand documents keep another tenant's first one waiting for hours.
Invariant: passages are embedded a few at a time, each time when it is the tenant's turn. Questions
do not pass here: they take milliseconds, and the embedders let them by.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tenantry.fairness.accounts import Account, AccountTerms, Own
from tenantry.fairness.bulkheads import Lane
from tenantry.fairness.capacity import Capacity
from tenantry.fairness.concurrency import Bounds
from tenantry.fairness.pool import Wish
from tenantry.isolation.context import TenantContext
from tenantry.providers.base import Embedder

PROCESSORS = Own("(processors)")  # no account can have this name
"""What passages are embedded on, unless it is an account."""
_AT_ONCE = 16
_BYTES_A_TOKEN = 4
_LONGEST_WAIT_S = 600.0


def processors_terms() -> Mapping[str, AccountTerms]:
    """Half the processors embed passages; documents wait as long as it takes."""
    slots = max(1, (os.cpu_count() or 2) // 2)
    terms = AccountTerms(Bounds(slots, slots, slots), queue=10_000, wait_s=_LONGEST_WAIT_S)
    return {PROCESSORS.name: terms}


class FairEmbedder:
    """An embedder whose passages take turns."""

    def __init__(
        self, embedder: Embedder, capacity: Capacity, account: Account = PROCESSORS
    ) -> None:
        self._embedder = embedder
        self._capacity = capacity
        self._account = account

    is_metered = False
    """Whoever stores the vectors records what they took."""

    @property
    def name(self) -> str:
        """Identifies model and version, as the embedder's own does."""
        return self._embedder.name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._embedder.dimension

    async def embed_query(self, ctx: TenantContext, text: str) -> NDArray[np.float32]:  # noqa: ARG002
        """Vector of a question, shape (dimension,); it takes no turn.

        Raises:
            ProviderError: an embedder elsewhere failed.
        """
        return await self._embedder.embed_query(text)

    def count_tokens(self, text: str) -> int:
        """Tokens that embedding `text` takes."""
        return self._embedder.count_tokens(text)

    async def embed_passages(
        self, ctx: TenantContext, texts: Sequence[str], lane: Lane = "batch"
    ) -> NDArray[np.float32]:
        """Vectors of passages, shape (len(texts), dimension).

        Raises:
            QueueFull, FairTurnDeadline: too much of the tenant waits, or its turn did not come.
            ProviderError: an embedder elsewhere failed.
        """
        parts = [np.empty((0, self._embedder.dimension), dtype=np.float32)]
        for start in range(0, len(texts), _AT_ONCE):
            parts.append(await self._in_turn(ctx, texts[start : start + _AT_ONCE], lane))
        return np.concatenate(parts)

    async def _in_turn(
        self, ctx: TenantContext, texts: Sequence[str], lane: Lane
    ) -> NDArray[np.float32]:
        cost = max(1.0, sum(map(len, texts)) / _BYTES_A_TOKEN)
        weight = self._capacity.weight(ctx.tenant)
        pool = self._capacity.of(self._account)
        async with pool.slot(Wish(ctx.tenant, weight, cost, lane, ctx.deadline)):
            return await self._embedder.embed_passages(texts)
