"""Closing connections without anybody waiting for it: each in a task that the pools keep."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tenantry.pools.base import PhysicalConnection

_T = TypeVar("_T")
CLOSE_S = 5.0
"""A driver that takes longer to close a connection is no longer waited for."""


class Background:
    """Tasks that must end whatever becomes of whoever started them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        """Run `work` to its end; wait for it under `asyncio.shield`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self) -> None:
        """Wait until all have ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)


async def close(connection: PhysicalConnection, then: Callable[[], None]) -> None:
    """Close a connection, for at most `CLOSE_S`, and then say so, whatever happened."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await connection.close()
    except TimeoutError:
        # It was told to let go and does not: its place must not stay taken for that.
        return
    finally:
        then()
