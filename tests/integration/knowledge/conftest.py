"""The knowledge room over a test's world, with the real embedder."""

from dataclasses import dataclass

import pytest

from tenantry.core.clock import SystemClock
from tenantry.isolation.context import TenantContext
from tenantry.knowledge.documents import Document, Documents
from tenantry.knowledge.ingest import Ingestor, Upload
from tenantry.knowledge.retrieve import Retriever
from tenantry.metering.ledger import Ledger
from tenantry.metering.prices import PriceBook
from tenantry.providers.embedded_e5 import EmbeddedE5
from tests.worlds import World


@dataclass
class Knowledge:
    """What the room offers."""

    world: World
    ingestor: Ingestor
    documents: Documents
    retriever: Retriever

    async def add(
        self, ctx: TenantContext, title: str, content: bytes | str, media_type: str | None = None
    ) -> Document:
        """Ingest one file."""
        body = content.encode() if isinstance(content, str) else content
        return await self.ingestor.ingest(ctx, Upload(title, media_type, body))


@pytest.fixture(scope="session")
def embedder() -> EmbeddedE5:
    """The real embedder, loaded once."""
    return EmbeddedE5(SystemClock())


@pytest.fixture
def knowledge(world: World, embedder: EmbeddedE5) -> Knowledge:
    """The room over this test's database."""
    ledger = Ledger(world.db, PriceBook(), world.clock)
    return Knowledge(
        world,
        Ingestor(world.db, embedder, ledger, world.audit, 1_000_000),
        Documents(world.db, world.audit),
        Retriever(world.db, embedder, ledger),
    )
