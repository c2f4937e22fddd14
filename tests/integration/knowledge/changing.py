"""A tenant that changes its embedder: the room, models' doubles, and jobs that run when told to."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenantry.core.errors import InvalidRequest, NotFound, TenantryError
from tenantry.isolation.context import TenantContext
from tenantry.jobs.attempt import Attempt, Attempts, Postponed
from tenantry.jobs.jobs import Jobs
from tenantry.knowledge.documents import Documents
from tenantry.knowledge.embedders import Embedders
from tenantry.knowledge.ingest import Ingestor, Upload
from tenantry.knowledge.reembedding import REEMBED, Reembedding, Services
from tenantry.knowledge.retrieve import Passage, Retriever
from tenantry.metering.ledger import Ledger
from tenantry.metering.prices import PriceBook
from tenantry.providers.base import TenantEmbedder
from tenantry.vectors.shelves import Shelves, Thresholds
from tenantry.vectors.versions import Choice
from tests.embedders import embedders, in_turns
from tests.integration.knowledge.conftest import WordEmbedder
from tests.worlds import World

OTHER, THIRD = "double/words-2", "double/words-3"
_QUEUED = (
    "SELECT id, payload, dedupe_key FROM tenantry_queue.pgqueuer WHERE status = 'queued'"
    " ORDER BY id LIMIT 1"
)


@dataclass
class Changing:
    """The rooms, and what they were made of."""

    world: World
    models: dict[str, WordEmbedder]
    embedders: Embedders
    shelves: Shelves
    jobs: Jobs
    ingestor: Ingestor
    documents: Documents
    retriever: Retriever
    reembedding: Reembedding
    attempts: Attempts
    row: tuple[bytes, str] = (b"", "")

    @classmethod
    def over(cls, world: World, batch: int = 4, slice_s: float = 30.0) -> "Changing":
        """Three models, of 64, 16 and 24 components; the first is the deployment's."""
        models = {
            "double/words-1": WordEmbedder(),
            OTHER: WordEmbedder(OTHER, 16),
            THIRD: WordEmbedder(THIRD, 24),
        }

        async def route(ctx: TenantContext, choice: Choice) -> TenantEmbedder:
            return in_turns(models[choice.embedder], world.clock)

        async def trial(ctx: TenantContext, model: str, dimension: int | None) -> Choice:
            if model not in models:
                raise NotFound
            if dimension not in {None, models[model].dimension}:
                raise InvalidRequest("dimension")
            return Choice(model, models[model].dimension)

        every = embedders(world.db, models["double/words-1"], world.clock, route)
        ledger = Ledger(world.db, world.writer, PriceBook(), world.clock)
        jobs, shelves = Jobs(world.db, world.audit), Shelves(world.db, world.audit)
        services = Services(
            world.db, jobs, shelves, ledger, world.audit, world.clock, batch, slice_s
        )
        return cls(
            world,
            models,
            every,
            shelves,
            jobs,
            Ingestor(world.db, every, ledger, world.audit, jobs, max_bytes=1_000_000),
            Documents(world.db, world.audit, jobs),
            Retriever(world.db, every, ledger, world.clock),
            Reembedding(services, every, trial),
            Attempts(world.db, world.mint, world.cluster.signer, world.audit, world.clock),
        )

    def promote_from(self, passages: int) -> None:
        """Give tenants of so many passages an index of their own."""
        self.shelves.thresholds = Thresholds(passages, passages // 2)

    async def add(self, ctx: TenantContext, name: str, topics: Sequence[str]) -> None:
        """A document of a passage a topic."""
        text = "".join(f"# {topic}\n\nOur {topic} rule says {name}.\n\n" for topic in topics)
        await self.ingestor.ingest(ctx, Upload(f"{name}.md", "text/markdown", text.encode()))

    async def begin(self) -> Attempt | None:
        """The next change of anybody's that is not over, in a worker's hands.

        What moves an index, which a growing tenant enqueues, is left to `shelves`.
        """
        while True:
            with self.world.admin() as admin:
                row = admin.execute(_QUEUED).fetchone()
                if row is None:
                    return None
                admin.execute("DELETE FROM tenantry_queue.pgqueuer WHERE id = %s", [row[0]])
            self.row = bytes(row[1]), row[2]
            attempt = await self.again()
            if attempt is not None and attempt.job.kind == REEMBED:
                return attempt

    async def again(self) -> Attempt | None:
        """Another attempt at the same job, as the queue gives it out after a pause or a death."""
        return await self.attempts.begin(*self.row)

    async def slice(self) -> bool:
        """One attempt at the next job; whether there was one."""
        attempt = await self.begin()
        if attempt is None:
            return False
        await self.reembedding.carry_out(attempt)
        return True

    async def work(self) -> None:
        """Every job, to its end; other tests' transactions end within moments."""
        for _ in range(2000):
            if not await self.slice():
                return
        raise AssertionError("the jobs never ended")

    async def fail(self, attempt: Attempt, error: TenantryError) -> None:
        """What a worker does with an error: the job is tried again, or has failed."""
        with suppress(Postponed):
            await attempt.failed_or_postponed(error)

    async def found(self, ctx: TenantContext, question: str, limit: int = 100) -> list[Passage]:
        """What a search gives."""
        return await self.retriever.search(ctx, question, limit)

    async def expected(self, ctx: TenantContext, model: str, question: str) -> list[float]:
        """The similarities of all of the tenant's passages under a model, best first."""
        texts = [
            f"{heading}\n{content}"
            for heading, content in self.rows(
                "SELECT heading, content FROM tenantry.chunks WHERE tenant_id = %s", ctx.tenant
            )
        ]
        asked = await self.models[model].embed_query(question)
        vectors = [await self.models[model].embed_query(text) for text in texts]
        found: NDArray[np.float32] = np.stack(vectors) @ asked
        return [float(score) for score in np.sort(found)[::-1]]

    async def searched_by(self, ctx: TenantContext, question: str = "the refunds rule") -> str:
        """Which model's vectors a search compares: every passage comes, scored by that one."""
        scores = sorted(
            (passage.score for passage in await self.found(ctx, question)), reverse=True
        )
        for name in self.models:
            expected = await self.expected(ctx, name, question)
            if len(expected) == len(scores) and np.allclose(scores, expected, atol=4e-3):
                return name
        raise AssertionError(f"no model gives {scores}")

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows read past row-level security."""
        with self.world.admin() as admin:
            return admin.execute(query.encode(), parameters).fetchall()

    def vectors(self, ctx: TenantContext) -> dict[int, Any]:
        """How many vectors of each version the tenant has."""
        return dict(
            self.rows(
                "SELECT version, count(*) FROM tenantry.chunk_embeddings WHERE tenant_id = %s"
                " GROUP BY 1 ORDER BY 1",
                ctx.tenant,
            )
        )

    def states(self, ctx: TenantContext) -> dict[int, Any]:
        """The state of each version."""
        return dict(
            self.rows(
                "SELECT version, state FROM tenantry.vector_versions WHERE tenant_id = %s"
                " ORDER BY 1",
                ctx.tenant,
            )
        )
