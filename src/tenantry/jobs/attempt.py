"""One try of one job: it begins behind the signature, and ends behind the fence.

At-least-once is what every queue gives: a worker that was thought dead may wake up. So an attempt
has a number, only the newest may write, and what a job does commits in one transaction whose first
statement is that fence. Whatever happens, the effect is there once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import BoundaryCrossed, InvalidRequest, TenantryError
from tenantry.core.events import AuditEvent, AuditSink
from tenantry.core.ids import PLATFORM, TenantId
from tenantry.db.queries import load
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.transaction import Database, Transaction
from tenantry.jobs.job import Job
from tenantry.jobs.jobs import release
from tenantry.jobs.payload import Payload, believed, named_tenant

MOST_TRIES = 8
_LIFE_S = 3600.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_SQL = load("tenantry.jobs")


class AttemptOver(Exception):
    """The job was cancelled or paused, or a newer attempt has it: stop, and write nothing."""


class Postponed(Exception):
    """The job goes on after a pause."""

    def __init__(self, pause: timedelta) -> None:
        super().__init__(pause)
        self.pause = pause


class Attempt:
    """A job in a worker's hands; `ctx` acts for who enqueued it, with no scope."""

    def __init__(self, db: Database, ctx: TenantContext, job: Job) -> None:
        self._db = db
        self.ctx = ctx
        self.job = job
        self.steps = (0, 0)

    def progress(self, done: int, total: int) -> None:
        """Note how far it is; written down once a second."""
        self.steps = (done, total)

    async def content(self) -> bytes:
        """The bytes it works on.

        Raises:
            AttemptOver: they are gone, and the job with them.
        """
        async with self._db.tenant(self.ctx) as tx:
            found: bytes | None = await tx.value(_SQL["job_input"], job_id=self.job.job_id)
        if found is None:
            raise AttemptOver
        return found

    @asynccontextmanager
    async def effect(self) -> AsyncIterator[Transaction]:
        """The transaction in which the job has its effect, and with which it is done.

        Raises:
            AttemptOver: the fence is closed; nothing was written.
        """
        async with self._db.tenant(self.ctx) as tx:
            await self._pass(tx, "finish_job")
            yield tx
            await tx.execute(_SQL["remove_input"], job_id=self.job.job_id)
            await release(tx, self.job.pool)

    @asynccontextmanager
    async def part(self) -> AsyncIterator[Transaction]:
        """A transaction of a job that has its effect in parts; the job goes on after it.

        Raises:
            AttemptOver: the fence is closed; nothing was written.
        """
        done, total = self.steps
        async with self._db.tenant(self.ctx) as tx:
            await self._pass(tx, "note_progress", done=done, total=total)
            yield tx

    async def rest(self) -> None:
        """End this attempt, not the job: it takes its next turn among everybody's, and goes on.

        Raises:
            AttemptOver: this attempt is over.
        """
        done, total = self.steps
        async with self._db.tenant(self.ctx) as tx:
            await self._pass(tx, "rest_job", done=done, total=total)
            await release(tx, self.job.pool)

    async def done(self) -> None:
        """The job is done; what it did is idempotent and committed, part by part.

        Raises:
            AttemptOver: this attempt is over.
        """
        async with self.effect():
            pass

    async def note(self) -> None:
        """Write the progress down.

        Raises:
            AttemptOver: this attempt is over.
        """
        done, total = self.steps
        async with self._db.tenant(self.ctx) as tx:
            await self._pass(tx, "note_progress", done=done, total=total)

    async def failed(self, error: TenantryError) -> None:
        """End it as failed, with the reason; it can be retried by hand.

        Raises:
            AttemptOver: this attempt is over.
        """
        async with self._db.tenant(self.ctx) as tx:
            await self._pass(tx, "fail_job", code=error.code, message=error.message[:500])
            await release(tx, self.job.pool)

    async def failed_or_postponed(self, error: TenantryError) -> None:
        """Let the queue try again after a pause that doubles, unless it was tried often enough.

        Raises:
            AttemptOver: this attempt is over.
            Postponed: when to try again.
        """
        if isinstance(error, InvalidRequest) or self.job.tries >= MOST_TRIES:
            await self.failed(error)
            return
        async with self._db.tenant(self.ctx) as tx:
            await self._pass(tx, "postpone_job", code=error.code, message=error.message[:500])
        pause_s = min(_FIRST_PAUSE_S * 2 ** (self.job.tries - 1), _LONGEST_PAUSE_S)
        raise Postponed(timedelta(seconds=pause_s))

    async def _pass(self, tx: Transaction, statement: str, **values: object) -> None:
        job = self.job
        if not await tx.execute(_SQL[statement], job_id=job.job_id, attempt=job.attempt, **values):
            raise AttemptOver


class Attempts:
    """Begins attempts; the only maker of a worker's contexts, and by the signed payload only."""

    def __init__(
        self,
        db: Database,
        mint: ContextMint,
        signer: ContextSigner,
        audit: AuditSink,
        clock: Clock,
    ) -> None:
        self._db = db
        self._mint = mint
        self._signer = signer
        self._audit = audit
        self._clock = clock

    async def begin(self, payload: bytes, dedupe_key: str | None) -> Attempt | None:
        """The attempt that a row of the queue asks for; None when its job is over.

        Raises:
            BoundaryCrossed: the row is not what the database signed; recorded.
            Postponed: the tenant is suspended.
        """
        try:
            asked = believed(self._signer, payload, dedupe_key)
        except BoundaryCrossed:
            await self._record_refusal(payload)
            raise
        opening = self._context(asked.tenant, Actor("worker", asked.job_id, "worker"), asked.job_id)
        async with self._db.tenant(opening) as tx:
            job = await self._begin(tx, asked)
        if job is None:
            return None
        actor = Actor(job.actor_kind, job.actor_id, job.actor_role)
        attempt = Attempt(self._db, self._context(asked.tenant, actor, job.job_id), job)
        if job.tries > MOST_TRIES:
            await attempt.failed(TenantryError("The worker ended each time it tried this."))
            return None
        return attempt

    async def _begin(self, tx: Transaction, asked: Payload) -> Job | None:
        row = await tx.row(
            _SQL["begin_attempt"],
            job_id=asked.job_id,
            turn=asked.turn,
            pool=asked.pool,
            kind=asked.kind,
            subject=asked.subject,
        )
        if row is not None:
            return Job.of(row)
        if await tx.value(_SQL["is_suspended"], job_id=asked.job_id, turn=asked.turn):
            raise Postponed(timedelta(seconds=60))
        return None

    def _context(self, tenant: TenantId, actor: Actor, job_id: UUID) -> TenantContext:
        # A worker stores for whom it was told to, whatever the member's groups are by then.
        deadline = self._clock.monotonic() + _LIFE_S
        request = f"job-{job_id}"
        return self._mint.mint(tenant, actor, frozenset(), request, deadline, "everything")

    async def _record_refusal(self, payload: bytes) -> None:
        tenant = named_tenant(payload) or PLATFORM
        event = AuditEvent(tenant, "worker:queue", "job.payload", "refused", "queue", "pgqueuer")
        await self._audit.record(event)
