"""A worker beside the server, so that a small installation needs no second command.

It is a process all the same: what it reads can take neither the server's memory nor its turn on the
processor. It holds our standard input's other end, and stops when that closes, however we end.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from importlib.util import find_spec

_LOG = logging.getLogger("tenantry.workers")
_COMMAND = (sys.executable, "-m", "tenantry", "worker", "--with-parent")
_PAUSE_S = 1.0


@asynccontextmanager
async def working() -> AsyncIterator[None]:
    """Have a worker of all pools beside the block; it is started anew whenever it ends."""
    if find_spec("pgqueuer") is None:
        _LOG.warning("no_worker: jobs wait; pip install 'tenantry[workers]', or --no-worker")
        yield
        return
    stopping = asyncio.Event()
    keeper = asyncio.create_task(_keep(stopping))
    try:
        yield
    finally:
        stopping.set()
        await keeper


async def _keep(stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        child = await asyncio.create_subprocess_exec(
            *_COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await _first(child.wait(), stopping.wait())
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.terminate()
                await child.wait()
        if not stopping.is_set():
            _LOG.warning("worker_ended", extra={"status": child.returncode})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _PAUSE_S)


async def _first(*waits: Coroutine[object, object, object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
