"""Natural group commit: what arrives while a commit is under way leaves together with the next.

The same idea as in the log managers of databases (Gray and Reuter, Transaction Processing, 9.4):
no timer holds a write back, so that a lone one costs one commit, and a thousand at once a few.

Threat: work goes on whose record was lost, or was never written; one tenant's item that cannot be
stored takes its neighbours' with it.
Invariant: `submit` returns only once the item is durable, and raises otherwise; an item whose
submitter was cancelled is written all the same; a group that is refused is written item by item.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from tenantry.core.errors import StoreUnavailable, TenantryError

T = TypeVar("T")
R = TypeVar("R")
_MOST_AT_ONCE = 256
_MOST_WAITING = 10_000


class GroupCommit(Generic[T, R]):
    """Writes items in groups, one group after the other.

    `write` gets items in the order of their submission and returns an outcome for each, or raises
    for all of them.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        most_at_once: int = _MOST_AT_ONCE,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        self._write = write
        self._most_at_once = most_at_once
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """The item's outcome, once it is durable.

        Raises:
            StoreUnavailable: too many items wait already, or the store is away.
            TenantryError: whatever `write` raised.
        """
        if len(self._waiting) >= self._most_waiting:
            raise StoreUnavailable("Too much is waiting to be written. Try again shortly.")
        outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="tenantry-group-commit")
        return await outcome

    async def close(self) -> None:
        """Return once everything submitted so far is written, or was refused."""
        while self._writer is not None:
            await asyncio.wait({self._writer})

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), self._most_at_once)
                await self._write_group([self._waiting.popleft() for _ in range(size)])
        finally:
            self._writer = None

    async def _write_group(self, group: Sequence[tuple[T, "asyncio.Future[R]"]]) -> None:
        try:
            outcomes = await self._write([item for item, _ in group])
        except StoreUnavailable as error:
            _fail(group, error)
            return
        except TenantryError as error:
            if len(group) == 1:
                _fail(group, error)
                return
            # One item is at fault, and items are of many tenants: each gets its own outcome.
            for item in group:
                await self._write_group([item])
            return
        except BaseException:
            _fail([*group, *self._waiting], StoreUnavailable())
            self._waiting.clear()
            raise
        for (_, outcome), result in zip(group, outcomes, strict=True):
            if not outcome.done():
                outcome.set_result(result)


def _fail(group: Sequence[tuple[T, "asyncio.Future[R]"]], error: TenantryError) -> None:
    for _, outcome in group:
        if not outcome.done():
            # An own instance each: several tasks raise them, and a traceback grows with each.
            outcome.set_exception(type(error)(str(error)))
