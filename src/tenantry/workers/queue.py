"""PgQueuer over our role, with what it leaves to its users: fairness, ownership, one connection.

The library's own statements take jobs, keep their heartbeats and give a dead worker's jobs out
again. Three things are added here. Picking moves the pool's virtual time on, by which
`tenantry.release_jobs()` gives tenants their turns. What a worker reports of a row counts only
while the row is its own: one that was stopped past its heartbeat and wakes up would otherwise
delete the row that another works on by now. And listening has a connection of its own, because
psycopg lets nobody else use one that waits for notices.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.tm import TaskManager
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import JOB_STATUS, JobId, QueueEntrypoint, QueueManagerId
from pgqueuer.ports.driver import Driver, NotifyCallback
from pgqueuer.ports.repository import EntrypointExecutionParameter

from tenantry.db.queries import load
from tenantry.isolation.statements import RoleDatabase

SCHEMA = "tenantry_queue"
_SQL = load("tenantry.workers")


class TwoConnections(Driver):
    """A driver that speaks on one connection and listens on another."""

    def __init__(self, speaking: PsycopgDriver, listening: PsycopgDriver) -> None:
        self._speaking = speaking
        self._listening = listening

    @property
    def shutdown(self) -> Any:
        """Set when the driver is left."""
        return self._speaking.shutdown

    @property
    def tm(self) -> TaskManager:
        """Tasks that end with the driver."""
        return self._speaking.tm

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """All rows of a statement of the library's."""
        return await self._speaking.fetch(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement of the library's; its tag."""
        return await self._speaking.execute(query, *args)

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notice."""
        await self._speaking.notify(channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Hear a channel."""
        await self._listening.add_listener(channel, callback)

    async def __aenter__(self) -> "TwoConnections":
        await self._speaking.__aenter__()
        await self._listening.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._listening.__aexit__(*error)
        await self._speaking.__aexit__(*error)


def _environment() -> QueryBuilderEnvironment:
    return QueryBuilderEnvironment(DBSettings(db_schema=SCHEMA))


def _builder() -> QueryQueueBuilder:
    return QueryQueueBuilder(DBSettings(db_schema=SCHEMA))


@dataclass
class FairQueries(Queries):
    """The library's statements, for one worker that runs at most `concurrency` jobs.

    Attributes:
        door: the queue's role, for our own statements.
        worker: the worker's id, by which it owns rows.
        concurrency: jobs at a time.
        keys: `dedupe_key` of each row picked, which the library's own model of a job leaves out.
    """

    qbe: QueryBuilderEnvironment = field(default_factory=_environment)
    qbq: QueryQueueBuilder = field(default_factory=_builder)
    door: RoleDatabase = field(kw_only=True)
    concurrency: int = field(kw_only=True)
    worker: QueueManagerId | None = None
    keys: dict[JobId, str | None] = field(default_factory=dict)

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,  # noqa: ARG002  # the library wants at least two
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Take jobs whose turn it is, and those of workers that are gone."""
        self.worker = queue_manager_id
        jobs = await super().dequeue(
            batch_size, entrypoints, queue_manager_id, self.concurrency, heartbeat_timeout
        )
        if not jobs:
            return jobs
        ids = [job.id for job in jobs]
        async with self.door.autocommit() as statements:
            rows = await statements.rows(_SQL["note_picked"], ids=ids, worker=queue_manager_id)
        self.keys.update({row["id"]: row["dedupe_key"] for row in rows})
        ours = {row["id"] for row in rows}
        return [job for job in jobs if job.id in ours]

    async def log_jobs(
        self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]
    ) -> None:
        """Report how jobs ended, of those that are still this worker's."""
        await self._tell(
            "report",
            ids=[job.id for job, _, _ in job_status],
            statuses=[status for _, status, _ in job_status],
            tracebacks=[trace.model_dump_json() if trace else None for _, _, trace in job_status],
        )

    async def retry_job(
        self,
        job: Job,
        delay: timedelta,
        traceback_record: TracebackRecord | None,  # noqa: ARG002  # the job says why, to its tenant
    ) -> None:
        """Put a job back for later, if it is still this worker's."""
        await self._tell("put_back", id=job.id, pause=delay)

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Keep jobs, of those that are still this worker's."""
        await self._tell("keep_alive", ids=sorted(set(job_ids)))

    async def _tell(self, statement: str, **values: object) -> None:
        # Whose a row is, is asked in the statement that changes it: between two, it may change.
        async with self.door.autocommit() as statements:
            await statements.execute(_SQL[statement], worker=self.worker, **values)
