"""A tenant changes its embedder: a job makes the vectors of the new one, and one switch enters it.

Searches go on by the version before until the switch, and by the new one from then on. Whatever
fails before leaves the version before in force (`db/migrations/0050_vectors_by_version.sql`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from tenantry.core.clock import Clock
from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.events import AuditSink
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.jobs.attempt import Attempt
from tenantry.jobs.job import Job, NewJob
from tenantry.jobs.jobs import Jobs
from tenantry.knowledge.embedders import BATCH, Embedders, embedded_text, tokens_of
from tenantry.metering.ledger import Ledger
from tenantry.security.cursors import START
from tenantry.vectors import versions as store
from tenantry.vectors.shelves import Shelves
from tenantry.vectors.versions import Choice, Version, Versions

REEMBED = "reembed"
_CLEANING = "0"  # subject of a job that only removes what was left
_PAUSE_S = 0.2
_PASSAGES_A_SECOND = 50
_MOST_COST = 100_000

Trial = Callable[[TenantContext, str, int | None], Awaitable[Choice]]
"""What finds out what vectors a model makes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a tenant wants to be embedded with.

    Attributes:
        model: `default` for the deployment's embedder, `embedded` for the one that comes with the
            package, or `account/model`.
        dimension: of its vectors; as the model makes them unless given.
        query_prefix: put before a question, for models that were trained so.
        passage_prefix: put before a passage.
    """

    model: str
    dimension: int | None = None
    query_prefix: str = ""
    passage_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a tenant is embedded with, and what it is changing to.

    Attributes:
        choice: in force.
        version: its number; 0 while there is no document.
        coming: what is being prepared.
        job: what prepares it; None when it is gone.
    """

    choice: Choice
    version: int
    coming: Version | None
    job: Job | None


@dataclass(frozen=True, slots=True)
class Services:
    """What a change is made with.

    Attributes:
        batch: passages that are embedded, and stored, at a time.
        slice_s: after how long a job lets others have their turn.
    """

    db: Database
    jobs: Jobs
    shelves: Shelves
    ledger: Ledger
    audit: AuditSink
    clock: Clock
    batch: int = BATCH
    slice_s: float = 30.0


class Reembedding:
    """Changes embedders, for one tenant at a time."""

    def __init__(self, services: Services, embedders: Embedders, trial: Trial) -> None:
        self._with = services
        self._db = services.db
        self._embedders = embedders
        self._trial = trial

    async def standing(self, ctx: TenantContext) -> Standing:
        """What the tenant is embedded with, and what it is changing to."""
        versions = await self._embedders.versions(ctx)
        coming, job = versions.preparing, None
        if coming is not None and coming.job_id is not None:
            with suppress(NotFound):
                job = await self._with.jobs.get(ctx, coming.job_id)
        if versions.active is None:
            return Standing(self._embedders.default_choice, 0, None, None)
        return Standing(versions.active.choice, versions.active.number, coming, job)

    async def choose(self, ctx: TenantContext, wish: Wish) -> Standing:
        """Have the tenant embedded by something else; the model is called once, to try it.

        What there is stays in force until all passages have vectors of the new one. The same wish
        again begins anew what failed; what is in force already ends a change that is under way.

        Raises:
            InvalidRequest: the model makes no vectors of this dimension.
            NotFound, ModelNotAllowed, AccountRemoved: it cannot be called by this tenant.
            BudgetExhausted, ProviderError: it could not be tried out.
            Conflict: somebody else changed it at the same moment.
        """
        choice = await self._choice(ctx, wish)
        async with self._db.tenant(ctx) as tx:
            versions = await store.lock_versions(tx)
            if versions.active is None:
                if not await store.start_with(tx, choice):
                    raise Conflict("The embedder was changed by somebody else meanwhile.")
            elif replace(versions.active.choice, is_default=choice.is_default) == choice:
                await store.keep_default(tx, versions.active.number, is_default=choice.is_default)
                await self._give_up(tx, versions)
            else:
                await self._prepare(tx, versions, choice)
            await self._record(tx.ctx, "embedder.chosen", choice)
        return await self.standing(ctx)

    async def cancel(self, ctx: TenantContext) -> None:
        """Give up the change that is under way; what is in force stays.

        Raises:
            NotFound: nothing is changing.
        """
        async with self._db.tenant(ctx) as tx:
            versions = await store.lock_versions(tx)
            if versions.preparing is None:
                raise NotFound("The embedder is not being changed.")
            await self._give_up(tx, versions)
            await self._record(tx.ctx, "embedder.change_cancelled", versions.preparing.choice)

    async def follow(self, ctx: TenantContext) -> None:
        """Begin what is due by itself: after the deployment's embedder, or a job, went away."""
        default = self._embedders.default_choice
        async with self._db.tenant(ctx) as tx:
            versions = await store.lock_versions(tx)
            active, coming = versions.active, versions.preparing
            if active is None:
                return
            if coming is not None and await self._is_abandoned(tx, coming):
                await self._give_up(tx, versions)
            elif coming is None and active.choice.is_default and active.choice != default:
                await self._prepare(tx, versions, default)
            elif active.is_behind:
                await self._with.jobs.enqueue_again(tx, _job(active.number, 0))
            elif versions.leaving:
                await self._with.jobs.enqueue_again(tx, _job(int(_CLEANING), 0))

    async def carry_out(self, attempt: Attempt) -> None:
        """Make the vectors of a version, enter it, and remove what was left; some way on.

        Raises:
            AttemptOver: the job was cancelled or paused, or somebody else has it.
            TenantryError: the embedder failed; what was made stays.
        """
        number, until = int(attempt.job.subject), self._with.clock.monotonic() + self._with.slice_s
        version = (await self._embedders.versions(attempt.ctx)).find(number)
        if version is not None and version.state != "leaving":
            is_done = await self._fill(attempt, version, until)
            if is_done and version.state == "preparing":
                is_done = await self._enter(attempt, version)
            if not is_done:
                await attempt.rest()
                return
        await self._clean(attempt)
        await attempt.done()

    async def _choice(self, ctx: TenantContext, wish: Wish) -> Choice:
        default = self._embedders.default_choice
        if wish.model == "default":
            choice = default
        elif wish.model == "embedded":
            choice = self._embedders.embedded_choice
        else:
            choice = await self._trial(ctx, wish.model, wish.dimension)
            return replace(
                choice, query_prefix=wish.query_prefix, passage_prefix=wish.passage_prefix
            )
        if wish.dimension not in {None, choice.dimension}:
            raise InvalidRequest(
                f"dimension: this embedder makes vectors of {choice.dimension} components."
            )
        if wish.query_prefix or wish.passage_prefix:
            raise InvalidRequest("query_prefix, passage_prefix: this embedder has its own.")
        return choice

    async def _prepare(self, tx: Transaction, versions: Versions, choice: Choice) -> None:
        coming = versions.preparing
        if coming is not None and coming.choice == choice:
            number = coming.number
        else:
            await self._give_up(tx, versions)
            number = await store.prepare(tx, choice)
        _, passages = await store.how_far(tx, number)
        job = await self._with.jobs.enqueue_again(tx, _job(number, passages))
        await store.prepared_by(tx, number, job.job_id)

    async def _give_up(self, tx: Transaction, versions: Versions) -> None:
        coming = versions.preparing
        if coming is not None and await store.give_up(tx, coming.number):
            if coming.job_id is not None:
                await self._with.jobs.cancel_in(tx, coming.job_id)
            await self._with.jobs.enqueue_again(tx, _job(int(_CLEANING), 0))

    async def _is_abandoned(self, tx: Transaction, coming: Version) -> bool:
        if coming.job_id is None:
            return True
        job = await self._with.jobs.find_in(tx, coming.job_id)
        return job is None or job.state == "cancelled"

    async def _fill(self, attempt: Attempt, version: Version, until: float) -> bool:
        """Make vectors for passages that lack them; whether none is left."""
        ctx, number = attempt.ctx, version.number
        async with self._db.tenant(ctx) as tx:
            done, total = await store.how_far(tx, number)
        attempt.progress(done, total)
        async with attempt.part() as tx:
            if version.is_behind:  # from here on it tells of later documents
                await store.note_behind(tx, number, behind=False)
        embedder, since = await self._embedders.of(ctx, version.choice), START
        while True:
            async with self._db.tenant(ctx) as tx:
                found = await store.lacking(tx, number, since, self._with.batch)
            if not found:
                return True
            texts = [embedded_text(one.heading, one.content) for one in found]
            vectors = await embedder.embed_passages(ctx, texts)
            tokens = await tokens_of(embedder, texts)
            attempt.progress(min(done + len(found), total), total)
            with suppress(Conflict):  # a document was removed meanwhile; the rest is found again
                async with attempt.part() as tx:
                    await store.add_lacking(tx, number, found, vectors)
                    if tokens:
                        await self._with.ledger.record_embedding(tx, embedder.name, tokens)
                since, done = found[-1].document_id, done + len(found)
            if self._with.clock.monotonic() >= until:
                return False

    async def _enter(self, attempt: Attempt, version: Version) -> bool:
        """Switch to a version that has all vectors; whether that is done."""
        ctx, dimension = attempt.ctx, version.choice.dimension
        shelf = await self._with.shelves.settle(ctx, version.number, dimension)
        if shelf not in {"ready", None}:
            await asyncio.sleep(_PAUSE_S)  # for transactions that began before it
            return False
        async with attempt.part() as tx:
            is_in = await store.switch(tx, version.number)
            if is_in:
                await self._record(tx.ctx, "embedder.switched", version.choice)
        return is_in

    async def _clean(self, attempt: Attempt) -> None:
        """Remove the vectors of versions that were left."""
        versions = await self._embedders.versions(attempt.ctx)
        await self._with.shelves.tend_others(attempt.ctx, versions.kept)
        for left in versions.leaving:
            after = START
            while True:
                async with attempt.part() as tx:
                    last = await store.remove_vectors(tx, left.number, after)
                    if last is None:
                        await store.end(tx, left.number)
                        break
                after = last

    async def _record(self, ctx: TenantContext, action: str, choice: Choice) -> None:
        # Inside the transaction: a change that cannot be recorded does not happen.
        detail = {"dimension": choice.dimension}
        await self._with.audit.record(
            ctx.event(action, "allowed", "embedder", choice.embedder, detail)
        )


def _job(number: int, passages: int) -> NewJob:
    cost = min(1 + passages // _PASSAGES_A_SECOND, _MOST_COST)
    return NewJob("ingest", REEMBED, f"vectors {number}", subject=str(number), cost=cost)
