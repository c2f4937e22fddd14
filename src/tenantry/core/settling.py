"""Work that must come to its end once begun, also when whoever asked for it is gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end and give its result, however often the caller is cancelled meanwhile.

    A cancelled caller is told so afterwards: by then `work` has ended, and an error of its own is
    the cause of the `CancelledError`.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue  # the first one is raised below; more of them change nothing
        if task.cancelled():
            raise
        raise cancelled from task.exception()
