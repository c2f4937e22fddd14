"""Runs a blocking context manager off the event loop, and leaves none of its resources behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def off_loop(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave `manager` in a thread; entered it is left, also when cancelled meanwhile."""
    entering = asyncio.ensure_future(asyncio.to_thread(manager.__enter__))
    try:
        value = await asyncio.shield(entering)
    except asyncio.CancelledError:
        # The thread cannot be stopped: whatever it opens a moment later must still be closed.
        entering.add_done_callback(lambda done: _leave(manager, done))
        raise
    try:
        yield value
    finally:
        await asyncio.shield(asyncio.to_thread(manager.__exit__, None, None, None))


def _leave(manager: AbstractContextManager[T], entered: "asyncio.Future[T]") -> None:
    if not entered.cancelled() and entered.exception() is None:
        manager.__exit__(None, None, None)
