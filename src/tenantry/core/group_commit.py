"""Natural group commit: what arrives while a commit is under way leaves together with the next.

The same idea as in the log managers of databases (Gray and Reuter, Transaction Processing, 9.4):
no timer holds a write back, so that a lone one costs one commit, and a thousand at once a few.

Threat: work goes on whose record was lost, or was never written; one tenant's item that cannot be
stored takes its neighbours' with it; one tenant's flood keeps its neighbours waiting.
Invariant: `submit` returns only once the item is durable, and raises otherwise; an item whose
submitter was cancelled is written all the same; a group that is refused is written item by item; a
group takes one item of each owner in turn, and an owner fills no more than its share of the queue.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenantry.core.errors import StoreBusy, StoreUnavailable, TenantryError

T = TypeVar("T")
R = TypeVar("R")
_MOST_AT_ONCE = 256
_MOST_WAITING = 10_000
_MOST_WAITING_EACH = 2_000


@dataclass(frozen=True, slots=True)
class _Item(Generic[T, R]):
    """What is to be written, and where its outcome is awaited."""

    value: T
    outcome: "asyncio.Future[R]"


class GroupCommit(Generic[T, R]):
    """Writes items in groups, one group after the other.

    `write` gets the items of each owner in the order of their submission and returns an outcome
    for each, or raises for all of them.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        most_at_once: int = _MOST_AT_ONCE,
        most_waiting: int = _MOST_WAITING,
        most_waiting_each: int = _MOST_WAITING_EACH,
    ) -> None:
        self._write = write
        self._most_at_once = most_at_once
        self._most_waiting = most_waiting
        self._most_waiting_each = most_waiting_each
        self._lanes: OrderedDict[Hashable, deque[_Item[T, R]]] = OrderedDict()
        self._waiting = 0
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, item: T, owner: Hashable) -> R:
        """The item's outcome, once it is durable.

        Args:
            item: what to write.
            owner: whose it is; owners take turns.

        Raises:
            StoreBusy: too many items wait already; this one was not taken.
            StoreUnavailable: the store is away.
            TenantryError: whatever `write` raised.
        """
        lane = self._lanes.get(owner, ())
        if self._waiting >= self._most_waiting or len(lane) >= self._most_waiting_each:
            raise StoreBusy
        outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(owner, deque()).append(_Item(item, outcome))
        self._waiting += 1
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="tenantry-group-commit")
        return await outcome

    async def close(self) -> None:
        """Return once everything submitted so far is written, or was refused."""
        while self._writer is not None:
            await asyncio.wait({self._writer})

    async def _write_all(self) -> None:
        try:
            while group := self._take(self._most_at_once):
                await self._write_group(group)
        finally:
            self._writer = None

    def _take(self, most: int) -> list[_Item[T, R]]:
        """Up to so many items, one of each owner in turn."""
        group: list[_Item[T, R]] = []
        while self._lanes and len(group) < most:
            owner, lane = self._lanes.popitem(last=False)
            group.append(lane.popleft())
            if lane:
                self._lanes[owner] = lane
        self._waiting -= len(group)
        return group

    async def _write_group(self, group: Sequence[_Item[T, R]]) -> None:
        try:
            outcomes = await self._write([item.value for item in group])
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
            _fail([*group, *self._take(self._waiting)], StoreUnavailable())
            raise
        for item, result in zip(group, outcomes, strict=True):
            if not item.outcome.done():
                item.outcome.set_result(result)


def _fail(group: Sequence[_Item[T, R]], error: TenantryError) -> None:
    for item in group:
        if not item.outcome.done():
            # An own instance each: several tasks raise them, and a traceback grows with each.
            item.outcome.set_exception(type(error)(str(error)))
