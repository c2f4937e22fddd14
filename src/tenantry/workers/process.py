"""A worker as a process: its limits, its signals, and the schedule of what nobody asks for."""

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from tenantry.core.errors import StoreUnavailable
from tenantry.core.sandbox import lower_limits
from tenantry.core.settings import Settings
from tenantry.platform import Platform, open_platform
from tenantry.providers.embedded_e5 import EmbeddedE5
from tenantry.workers.schedule import Schedule
from tenantry.workers.worker import Worker, WorkerOptions

_LOG = logging.getLogger("tenantry.workers")
_NICER = 10
"""Below the server, where both run on one machine: a question never waits for a document."""
_ROUND_S = 60.0


async def work(settings: Settings, options: WorkerOptions, *, with_parent: bool = False) -> None:
    """Work until a signal, or the end of the parent that holds our standard input.

    Raises:
        StartupRefused: the database, its roles or its policies are not as they must be.
        StoreUnavailable: the database cannot be reached.
    """
    confine(options.memory_bytes)
    async with open_platform(settings, upkeep=False) as platform:
        embedded = platform.providers.platform.embedded
        if isinstance(embedded, EmbeddedE5):
            embedded.move_out()  # computing never holds up the heartbeats
        worker = Worker(platform, options)
        _on_signals(worker.stop)
        schedule = Schedule(platform) if "maintenance" in options.pools else None
        tasks = [asyncio.create_task(_keep(platform, schedule))]
        if with_parent:
            tasks.append(asyncio.create_task(_end_with_parent(worker.stop)))
        sys.stdout.write(f"Tenantry works on {', '.join(options.pools)}\n")
        sys.stdout.flush()
        try:
            await worker.run()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def confine(memory_bytes: int) -> None:
    """Bound what this process may use, from now on: memory, and its place behind the others.

    What it starts inherits the place: it reads and embeds when nobody answers a question.
    """
    lower_limits({resource.RLIMIT_CORE: 0, resource.RLIMIT_DATA: memory_bytes})
    os.nice(_NICER)
    with suppress(OSError):  # a container may forbid it; the nice value is enough then
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


async def _end_with_parent(stop: Callable[[], None]) -> None:
    """Stop when standard input ends: whoever started us is gone, however it went."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
    stop()


async def _keep(platform: Platform, schedule: Schedule | None) -> None:
    """Work by today's prices, hold no model that nobody needs, and enqueue what is due."""
    while True:
        try:
            await platform.upkeep.refresh()
            if schedule is not None:
                await schedule.keep()
        except StoreUnavailable:
            _LOG.warning("schedule_postponed")
        await asyncio.sleep(_ROUND_S)
