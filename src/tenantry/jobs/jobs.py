"""A tenant's jobs: enqueue, look at, cancel, pause, go on, retry, discard."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from tenantry.core.errors import Conflict, NotFound, TenantryError
from tenantry.core.events import AuditSink
from tenantry.core.ids import new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.jobs.job import Job, NewJob, Pool, State

Wanted = Literal["cancelled", "paused", "waiting"]
KEPT_DAYS = 7
"""How long a finished job is kept, and what a failed one worked on."""

_SQL = load("tenantry.jobs")


_LEAVING: Mapping[Wanted, Sequence[State]] = MappingProxyType(
    {
        "cancelled": ("waiting", "queued", "running", "paused"),
        "paused": ("waiting", "queued", "running"),
        "waiting": ("paused", "failed", "cancelled"),
    }
)
"""From which states a job can be brought into each."""
_ACTIONS: Mapping[Wanted, str] = MappingProxyType(
    {"cancelled": "job.cancelled", "paused": "job.paused", "waiting": "job.resumed"}
)


class Jobs:
    """Keeps jobs, within one tenant at a time."""

    def __init__(self, db: Database, audit: AuditSink) -> None:
        self._db = db
        self._audit = audit

    async def enqueue(self, tx: Transaction, new: NewJob) -> Job:
        """Enqueue work in the caller's own transaction: if that is rolled back, there is no job.

        The last thing to do in a transaction: it takes the tenant's turn in the pool, for which
        the tenant's other jobs wait until the transaction ends.
        """
        job_id = await tx.value(
            _SQL["add_job"],
            job_id=new_id(),
            pool=new.pool,
            kind=new.kind,
            key=new.key,
            subject=new.subject,
            arguments=Jsonb(dict(new.arguments)),
            cost=new.cost,
            actor_kind=tx.ctx.actor.kind,
            actor_id=tx.ctx.actor.id,
            actor_role=tx.ctx.actor.role,
            audience=new.audience,
        )
        if job_id is not None:
            if new.content is not None:
                await _add_input(tx, job_id, new)
            await release(tx, new.pool)
        row = await tx.row(_SQL["find_by_key"], kind=new.kind, key=new.key)
        if row is None:
            raise TenantryError
        return Job.of(row)

    async def enqueue_again(self, tx: Transaction, new: NewJob) -> Job:
        """As `enqueue`, for work that is due again: a job that is over starts anew, as `new`."""
        job = await self.enqueue(tx, new)
        if not job.is_finished:
            return job
        if new.content is not None:
            await tx.execute(_SQL["remove_input"], job_id=job.job_id)
            await _add_input(tx, job.job_id, new)
        await tx.execute(
            _SQL["renew_job"],
            job_id=job.job_id,
            subject=new.subject,
            arguments=Jsonb(dict(new.arguments)),
        )
        await release(tx, job.pool)
        return await self._again(tx, job.job_id)

    async def find_in(self, tx: Transaction, job_id: UUID) -> Job | None:
        """One job, in the caller's own transaction; None if there is none."""
        row = await tx.row(_SQL["get_job"], job_id=job_id)
        return None if row is None else Job.of(row)

    async def cancel_in(self, tx: Transaction, job_id: UUID) -> bool:
        """Cancel a job in the caller's own transaction; whether it was not over."""
        return await _move(tx, job_id, "cancelled")

    async def forget(self, tx: Transaction, subject: str) -> int:
        """Remove every job about `subject`, with what it works on; how many there were."""
        return await tx.execute(_SQL["forget_subject"], subject=subject)

    async def forget_finished(self, tx: Transaction, subject: str) -> None:
        """Remove the jobs about `subject` that are over.

        Raises:
            Conflict: another is under way.
        """
        await tx.execute(_SQL["forget_finished"], subject=subject)
        if await tx.value(_SQL["is_under_way"], subject=subject):
            raise Conflict("A job about this is under way; wait for it, or cancel it.")

    async def get(self, ctx: TenantContext, job_id: UUID) -> Job:
        """One job.

        Raises:
            NotFound: no such job in this tenant.
        """
        async with self._db.tenant(ctx, keeping=ctx.keeps_access) as tx:
            return await self._again(tx, job_id)

    async def list_jobs(
        self, ctx: TenantContext, after: UUID, limit: int, state: State | None = None
    ) -> list[Job]:
        """Jobs with ids after `after`, oldest first; `failed` ones are the dead letters."""
        async with self._db.tenant(ctx, keeping=ctx.keeps_access) as tx:
            rows = await tx.rows(_SQL["list_jobs"], after=after, limit=limit, state=state or "")
        return [Job.of(row) for row in rows]

    async def bring(self, ctx: TenantContext, job_id: UUID, wanted: Wanted) -> Job:
        """Cancel a job, pause it, or let it wait for its turn again; it may be so already.

        An attempt that is under way learns of it within a second, and cannot write any more.

        Raises:
            NotFound: no such job in this tenant.
            Conflict: it is over, or done.
        """
        async with self._db.tenant(ctx, keeping=ctx.keeps_access) as tx:
            job = await self._again(tx, job_id)
            is_so = job.state == wanted or (
                wanted == "waiting" and job.state in {"queued", "running"}
            )
            if is_so:
                return job
            if not await _move(tx, job_id, wanted):
                raise Conflict(f"A job that is {job.state} cannot become {wanted}.")
            await self._audit.record(ctx.event(_ACTIONS[wanted], "allowed", "api", str(job_id)))
            return await self._again(tx, job_id)

    async def discard(self, ctx: TenantContext, job_id: UUID) -> None:
        """Remove a job, and what it works on; one that is under way is over by that.

        Raises:
            NotFound: no such job in this tenant.
        """
        async with self._db.tenant(ctx, keeping=ctx.keeps_access) as tx:
            pool: Pool | None = await tx.value(_SQL["discard_job"], job_id=job_id)
            if pool is None:
                raise NotFound
            await release(tx, pool)
            await self._audit.record(ctx.event("job.discarded", "allowed", "api", str(job_id)))

    async def tidy(self, ctx: TenantContext) -> int:
        """Find jobs that the queue lost, remove those that ended long ago; how many were lost."""
        async with self._db.tenant(ctx) as tx:
            await tx.execute(_SQL["remove_finished"], older_than=timedelta(days=KEPT_DAYS))
            recovered: int = await tx.value(_SQL["recover_jobs"])
            for row in await tx.rows(_SQL["waiting_pools"]):
                await release(tx, row["pool"])
        return recovered

    async def _again(self, tx: Transaction, job_id: UUID) -> Job:
        row = await tx.row(_SQL["get_job"], job_id=job_id)
        if row is None:
            raise NotFound
        return Job.of(row)


async def release(tx: Transaction, pool: Pool) -> None:
    """Put the tenant's next jobs of a pool into the queue, as many as its share allows."""
    await tx.value(_SQL["release_jobs"], pool=pool)


async def _add_input(tx: Transaction, job_id: UUID, new: NewJob) -> None:
    await tx.execute(_SQL["add_input"], job_id=job_id, content=new.content, audience=new.audience)


async def _move(tx: Transaction, job_id: UUID, to: Wanted) -> bool:
    leaving = list(_LEAVING[to])
    pool: Pool | None = await tx.value(_SQL["change_state"], job_id=job_id, to=to, leaving=leaving)
    if pool is None:
        return False
    await release(tx, pool)
    return True
