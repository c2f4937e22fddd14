"""A bounded number of things at once, and of those only some for one owner.

One tenant that asks for a hundred heavy queries takes its own share of the places, never all.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Slots:
    """Places to hold; those who wait are served as places become free."""

    def __init__(self, total: int, per_owner: int) -> None:
        self._total = total
        self._per_owner = per_owner
        self._held: Counter[Hashable] = Counter()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, owner: Hashable) -> AsyncIterator[None]:
        """Hold a place while the block runs; waits for one if need be."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_free_for(owner))
            self._held[owner] += 1
        try:
            yield
        finally:
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]
            # Without waiting: a cancelled holder must give its place back too.
            async with self._changed:
                self._changed.notify_all()

    def _is_free_for(self, owner: Hashable) -> bool:
        return self._held.total() < self._total and self._held[owner] < self._per_owner
