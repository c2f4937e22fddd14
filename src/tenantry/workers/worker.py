"""A worker: takes jobs of its pools, a few at a time, until it is told to stop.

Nothing here blocks the event loop, on which the heartbeats live: documents are parsed in processes
of their own (`knowledge.parser`), and the embedded model computes in one beside the worker
(`providers.engine_apart`).
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.core.executors import EntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job as Row

from tenantry.core.errors import StoreUnavailable, TenantryError
from tenantry.isolation.statements import RoleDatabase
from tenantry.jobs.attempt import Attempt, AttemptOver, Attempts, Postponed
from tenantry.jobs.job import Pool
from tenantry.platform import Platform
from tenantry.workers.kinds import HANDLERS
from tenantry.workers.queue import FairQueries, TwoConnections

_LOG = logging.getLogger("tenantry.workers")
_NOTE_EVERY_S = 1.0
_POLL_S = 1.0
"""How late a dead worker's job may be found beyond its heartbeat."""
_GRACE_S = 10.0
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works.

    Attributes:
        pools: whose jobs it takes.
        concurrency: jobs at a time.
        heartbeat_s: after how long without a sign of life a job is given to another worker.
        memory_bytes: what the process may use; what it starts has limits of its own.
    """

    pools: Sequence[Pool]
    concurrency: int = 4
    heartbeat_s: float = 30.0
    memory_bytes: int = 4 << 30


class Worker:
    """Runs jobs over one platform."""

    def __init__(self, platform: Platform, options: WorkerOptions) -> None:
        self._platform = platform
        self._options = options
        base = platform.upkeep.base
        self._queue = base.doors.queue
        self._door = RoleDatabase(base.doors.queue)
        self._attempts = Attempts(base.db, base.mint, base.signer, base.audit, base.clock)
        self._stopping = asyncio.Event()
        self._managers: list[QueueManager] = []

    def stop(self) -> None:
        """Take no more jobs; what is under way has ten seconds, and then goes back."""
        self._stopping.set()
        for manager in self._managers:
            manager.shutdown.set()

    async def run(self) -> None:
        """Work until `stop`; a database that is away is tried again and again."""
        while not self._stopping.is_set():
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001  # the library passes on what its driver met
                if self._stopping.is_set():
                    return
                _LOG.warning("worker_interrupted: %s", type(error).__name__)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _RETRY_S)

    async def _serve(self) -> None:
        queue = self._queue
        async with queue.connection() as speaking, queue.connection() as listening:
            # The library's cursors choose their own form of rows.
            driver = TwoConnections(
                PsycopgDriver(cast(Any, speaking)), PsycopgDriver(cast(Any, listening))
            )
            queries = FairQueries(driver, door=self._door, concurrency=self._options.concurrency)
            manager = QueueManager(queries, channel=queries.qbe.settings.channel)
            for name in self._options.pools:
                manager.register_executor(name, self._executor(queries))
            self._managers[:] = [manager]
            if self._stopping.is_set():
                return
            await manager.run(
                dequeue_timeout=timedelta(seconds=_POLL_S),
                batch_size=1,
                max_concurrent_tasks=max(2, self._options.concurrency),
                heartbeat_timeout=timedelta(seconds=self._options.heartbeat_s),
                log_aggregation_interval=timedelta(0),
                shutdown_on_listener_failure=True,
            )

    def _executor(self, queries: FairQueries) -> EntrypointExecutor:
        async def run(row: Row) -> None:
            await self._take(row, queries.keys.pop(row.id, None))

        # A row that is refused is held, as evidence; the library would delete it.
        return EntrypointExecutor(
            EntrypointExecutorParameters(concurrency_limit=0, func=run, on_failure="hold")
        )

    async def _take(self, row: Row, key: str | None) -> None:
        try:
            attempt = await self._attempts.begin(row.payload or b"", key)
            if attempt is not None:
                await self._carry_out(attempt)
        except AttemptOver:
            return
        except Postponed as pause:
            raise RetryRequested(pause.pause) from None
        except StoreUnavailable:
            raise RetryRequested(timedelta(seconds=_RETRY_S)) from None

    async def _carry_out(self, attempt: Attempt) -> None:
        work = asyncio.ensure_future(HANDLERS[attempt.job.kind](self._platform, attempt))
        try:
            await self._watch(attempt, work)
            await work
        except TenantryError as error:
            await attempt.failed_or_postponed(error)
        except (AttemptOver, Postponed):
            raise
        except Exception:  # noqa: BLE001  # a job that breaks its handler ends no worker
            _LOG.exception("job_failed", extra={"job": str(attempt.job.job_id)})
            await attempt.failed_or_postponed(TenantryError())
        finally:
            work.cancel()
            # Read also what it raised meanwhile: an attempt that is over says no more.
            await asyncio.gather(work, return_exceptions=True)

    async def _watch(self, attempt: Attempt, work: "asyncio.Future[None]") -> None:
        """Note the progress once a second until the work is done; also whether it is still ours."""
        left_s = _GRACE_S
        while not work.done():
            await asyncio.wait({work}, timeout=_NOTE_EVERY_S)
            if work.done():
                return
            with suppress(StoreUnavailable):
                await attempt.note()
            if self._stopping.is_set():
                left_s -= _NOTE_EVERY_S
                if left_s <= 0:
                    raise Postponed(timedelta(0))
