"""Whatever is added, removed, changed, given up, promoted: a search is by one version, and whole.

Beside the real rooms runs a model in NumPy: each tenant's texts, embedded by the model that its
active version names. Steps are drawn for both tenants; a step of work is one batch of one job.
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tenantry.core.errors import NotFound
from tenantry.isolation.context import TenantContext
from tenantry.knowledge.chunk import Chunk
from tenantry.knowledge.embedders import embed_chunks
from tenantry.knowledge.ingest import Prepared, Upload
from tenantry.knowledge.reembedding import Wish
from tenantry.vectors.base import Question
from tenantry.vectors.passages import NewPassage
from tenantry.vectors.search import TenantVectors
from tests.integration.knowledge.changing import OTHER, THIRD, Changing
from tests.worlds import World

Action = Literal["add", "remove", "change", "cancel", "work", "tend"]
ACTIONS: list[Action] = ["add", "add", "remove", "change", "cancel", "work", "work", "work", "tend"]
MODELS = ("double/words-1", OTHER, THIRD)
WORDS = ("refunds", "baggage", "loyalty", "support", "delivery", "returns", "claims", "fees")


@dataclass(frozen=True)
class Step:
    tenant: int
    action: Action
    size: int


STEP = st.builds(Step, st.integers(0, 1), st.sampled_from(ACTIONS), st.integers(1, 9))


class Library:
    """One tenant's texts, as they are stored, and the rooms they are in."""

    def __init__(self, changing: Changing, ctx: TenantContext) -> None:
        self.changing = changing
        self.ctx = ctx
        self.texts: dict[UUID, list[str]] = {}
        self.vectors = TenantVectors(changing.world.db, exact_below=0)
        self.count = 0

    async def add(self, size: int) -> None:
        """A document of so many passages, stored as the product does, without a file to parse."""
        self.count += 1
        texts = [f"{WORDS[n % 8]} {self.count} {n * size}" for n in range(size)]
        chunks = [Chunk(n, text, "", 1, n, n + 1) for n, text in enumerate(texts)]
        changing, document_id = self.changing, UUID(int=self.ctx.tenant.int ^ self.count)
        embedded = [
            await embed_chunks(self.ctx, by, chunks, {}, lambda _done, _of: None)
            for by in await changing.embedders.every(self.ctx)
        ]
        passages = [NewPassage(c.number, c.text, "", 1, c.start, c.end) for c in chunks]
        upload, digest = Upload(f"{self.count}.txt", None, b"x"), document_id.bytes * 2
        prepared = Prepared(upload, digest, 0, "text", 1, "english", passages, embedded)
        async with changing.world.db.tenant(self.ctx) as tx:
            await changing.ingestor.store(tx, prepared, document_id)
        self.texts[document_id] = texts

    async def check(self, most: int) -> None:
        """A search gives this tenant's nearest passages, all by its active version's model."""
        active = await self.changing.embedders.active(self.ctx)
        asked = await active.embedder.embed_query(self.ctx, "a claim of fees")
        found = await self.vectors.nearest(self.ctx, Question(active.number, asked, most))
        assert {near.document_id for near in found} <= set(self.texts)
        model = self.changing.models[active.choice.embedder]
        texts = [text for each in self.texts.values() for text in each]
        held = [await model.embed_query(text) for text in texts]
        expected = np.sort(1 - np.stack(held) @ asked)[:most] if held else np.empty(0)
        assert len(found) == len(expected)  # fewer than asked only when there are fewer
        assert np.allclose([near.distance for near in found], expected, atol=4e-3)


async def _take(changing: Changing, library: Library, step: Step) -> None:
    ctx = library.ctx
    if step.action == "add":
        await library.add(step.size)
    elif step.action == "remove" and library.texts:
        document_id = list(library.texts)[step.size % len(library.texts)]
        await changing.documents.delete(ctx, document_id)
        del library.texts[document_id]
    elif step.action == "change":
        await changing.reembedding.choose(ctx, Wish(MODELS[step.size % 3]))
    elif step.action == "cancel":
        try:
            await changing.reembedding.cancel(ctx)
        except NotFound:
            assert (await changing.reembedding.standing(ctx)).coming is None
    elif step.action == "work":
        await changing.slice()
    elif step.action == "tend":
        versions = await changing.embedders.versions(ctx)
        if versions.active is not None:
            active = versions.active
            await changing.shelves.tend(ctx, active.number, active.choice.dimension)


@pytest.mark.req("VEC-1", "VEC-2", "VEC-3")
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=10, max_size=30))
@example([Step(0, "add", 9), Step(0, "add", 9), Step(0, "change", 1), Step(0, "work", 1)])
async def test_a_search_is_by_one_version_and_whole_whatever_happened_before(
    world: World, steps: list[Step]
) -> None:
    changing = Changing.over(world, batch=5, slice_s=0)
    changing.promote_from(20)
    with world.admin() as admin:  # every example begins with two tenants that hold nothing
        admin.execute("DELETE FROM tenantry.documents")
        admin.execute("DELETE FROM tenantry.jobs")
        admin.execute("DELETE FROM tenantry_queue.pgqueuer")
    libraries = [Library(changing, ctx) for ctx in (world.acme, world.globex)]
    for library in libraries:
        await library.add(9)
    for step in steps:
        await _take(changing, libraries[step.tenant], step)
        for library in libraries:
            await library.check(step.size + 3)
    await changing.work()
    for library in libraries:
        await library.check(100)
        versions = await changing.embedders.versions(library.ctx)
        assert versions.preparing is None
        assert versions.active is not None
        held = sum(map(len, library.texts.values()))
        # Nothing is left of any other version.
        assert changing.vectors(library.ctx) in ({versions.active.number: held}, {})
