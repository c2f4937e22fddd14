"""The knowledge room over a test's world, with the real embedder or a model's double."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tenantry.core.clock import SystemClock
from tenantry.core.errors import ProviderUnavailable
from tenantry.isolation.context import TenantContext
from tenantry.jobs.jobs import Jobs
from tenantry.knowledge.documents import Document, Documents
from tenantry.knowledge.ingest import Ingestor, Upload
from tenantry.knowledge.retrieve import Retriever
from tenantry.metering.ledger import Ledger
from tenantry.metering.prices import PriceBook
from tenantry.providers.base import Embedder
from tenantry.providers.embedded_e5 import EmbeddedE5
from tests.embedders import embedders
from tests.worlds import World

CONTENT_TABLES = ("documents", "chunks", "usage_events")


@dataclass
class Knowledge:
    """What the room offers."""

    world: World
    embedder: Embedder
    ingestor: Ingestor
    documents: Documents
    retriever: Retriever

    @classmethod
    def over(cls, world: World, embedder: Embedder) -> "Knowledge":
        """The room with this embedder."""
        ledger = Ledger(world.db, world.writer, PriceBook(), world.clock)
        jobs, all_of_them = Jobs(world.db, world.audit), embedders(world.db, embedder, world.clock)
        return cls(
            world,
            embedder,
            Ingestor(world.db, all_of_them, ledger, world.audit, jobs, max_bytes=1_000_000),
            Documents(world.db, world.audit, jobs),
            Retriever(world.db, all_of_them, ledger, world.clock),
        )

    async def add(
        self, ctx: TenantContext, title: str, content: bytes | str, media_type: str | None = None
    ) -> Document:
        """Ingest one file."""
        body = content.encode() if isinstance(content, str) else content
        return await self.ingestor.ingest(ctx, Upload(title, media_type, body))

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows read past row-level security."""
        with self.world.admin() as admin:
            return admin.execute(query.encode(), parameters).fetchall()

    def counts(self, ctx: TenantContext) -> tuple[int, ...]:
        """How many documents, chunks and usage events the tenant has."""
        return tuple(
            self.rows(f"SELECT count(*) FROM tenantry.{table} WHERE tenant_id = %s", ctx.tenant)[0][
                0
            ]
            for table in CONTENT_TABLES
        )


@dataclass
class WordEmbedder:
    """A model's double: a text is the sum of its words, so likeness is shared words.

    Attributes:
        name: as the protocol says.
        dimension: as the protocol says.
        fails_after: batches of passages after which the provider is away; None for never.
        gate: passages wait for it.
        waiting: set once passages wait.
        embedded: the passages asked for.
    """

    name: str = "double/words-1"
    dimension: int = 64
    fails_after: int | None = None
    gate: asyncio.Event | None = None
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    batches: int = 0
    embedded: list[str] = field(default_factory=list)

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        vector = np.zeros(self.dimension, dtype=np.float32)
        for word in text.lower().split():
            digest = hashlib.sha256(word.strip(".,?!#").encode()).digest()
            vector[int.from_bytes(digest[:4]) % self.dimension] += 1
        if not vector.any():
            vector[0] = 1
        unit: NDArray[np.float32] = vector / np.linalg.norm(vector)
        return unit

    async def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.fails_after is not None and self.batches >= self.fails_after:
            raise ProviderUnavailable
        self.batches += 1
        self.embedded += texts
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        return np.stack([await self.embed_query(text) for text in texts])

    def count_tokens(self, text: str) -> int:
        return len(text.split())


@pytest.fixture(scope="session")
def embedder() -> EmbeddedE5:
    """The real embedder, loaded once."""
    return EmbeddedE5(SystemClock())


@pytest.fixture
def knowledge(world: World, embedder: EmbeddedE5) -> Knowledge:
    """The room over this test's database, with the real embedder."""
    return Knowledge.over(world, embedder)


@pytest.fixture
def quick(world: World) -> Knowledge:
    """The room over this test's database, with the double."""
    return Knowledge.over(world, WordEmbedder())
