"""Documents made of vectors alone, and what a search over them must give, worked out in NumPy."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tenantry.core.ids import new_id
from tenantry.db.queries import load
from tenantry.isolation.context import Actor, TenantContext
from tenantry.vectors.base import Filter, Near, Question
from tenantry.vectors.passages import NewPassage, add_passages, add_vectors
from tenantry.vectors.search import TenantVectors
from tenantry.vectors.shelves import Shelves, Thresholds
from tenantry.vectors.versions import Choice, hold_versions
from tests.worlds import World

VERSION = 1
DIMENSION = 16
CHOICE = Choice("double/stock", DIMENSION)
ADD_DOCUMENT = load("tenantry.knowledge")["add_document"]
DELETE_DOCUMENT = load("tenantry.knowledge")["delete_document"]
SMALL = Thresholds(promote_at=60, demote_below=30)


@dataclass
class Held:
    """What one tenant holds: the vectors of each document, and its media type."""

    ctx: TenantContext
    vectors: dict[UUID, NDArray[np.float32]] = field(default_factory=dict)
    media_types: dict[UUID, str] = field(default_factory=dict)


class Stock:
    """Both tenants' vectors, in the database and here."""

    def __init__(self, world: World, seed: int = 7, dimension: int = DIMENSION) -> None:
        self.world = world
        self.rng = np.random.default_rng(seed)
        self.dimension = dimension
        self.vectors = TenantVectors(world.db, exact_below=0)
        self.shelves = Shelves(world.db, world.audit, SMALL)
        self.acme, self.globex = Held(world.acme), Held(world.globex)
        self.worker = world.mint.mint(
            world.acme.tenant, Actor("worker", new_id(), "worker"), frozenset(), "upkeep",
            world.acme.deadline, "everything",
        )  # fmt: skip

    def unit(self, count: int) -> NDArray[np.float32]:
        """Vectors of unit length, as halfvec keeps them."""
        raw = self.rng.normal(size=(count, self.dimension))
        raw /= np.linalg.norm(raw, axis=1, keepdims=True)
        return raw.astype(np.float16).astype(np.float32)

    async def add(
        self, held: Held, chunks: int, media_type: str = "text/plain", audience: int = 0
    ) -> UUID:
        """A document of so many passages, for an audience."""
        document_id, vectors = new_id(), self.unit(chunks)
        passages = [NewPassage(n, f"passage {n}", "", 1, 0, 1) for n in range(chunks)]
        async with self.world.db.tenant(held.ctx, keeping=audience != 0) as tx:
            await hold_versions(tx, CHOICE)
            await tx.execute(
                ADD_DOCUMENT,
                document_id=document_id,
                title="t",
                media_type=media_type,
                sha256=document_id.bytes * 2,
                size_bytes=1,
                pages=1,
                chunk_count=chunks,
                created_by=held.ctx.actor.id,
                language="english",
                source=None,
                audience=audience,
            )
            await add_passages(tx, document_id, passages)
            await add_vectors(tx, document_id, VERSION, list(enumerate(vectors)))
        held.vectors[document_id], held.media_types[document_id] = vectors, media_type
        return document_id

    async def remove(self, held: Held, document_id: UUID) -> None:
        """Delete a document, as the product does."""
        async with self.world.db.tenant(held.ctx) as tx:
            await tx.execute(DELETE_DOCUMENT, document_id=document_id)
        del held.vectors[document_id]

    async def tend(self, held: Held) -> str | None:
        """One step of the tenant's index."""
        return await self.shelves.tend(held.ctx, VERSION, self.dimension)

    async def promote(self, held: Held) -> None:
        """Steps until the tenant's index is ready; other tests' writers end within moments."""
        for _ in range(2000):
            if await self.tend(held) == "ready":
                return
        raise AssertionError("the index never became ready")

    async def search(
        self, held: Held, most: int, asked: NDArray[np.float32], where: Filter | None = None
    ) -> list[Near]:
        """What the store finds."""
        question = Question(VERSION, asked, most, where or Filter())
        return await self.vectors.nearest(held.ctx, question)

    def expected(
        self, held: Held, most: int, asked: NDArray[np.float32], where: Filter | None = None
    ) -> list[float]:
        """The distances it must find."""
        where = where or Filter()
        kept = [
            vectors
            for document_id, vectors in held.vectors.items()
            if (where.document_ids is None or document_id in where.document_ids)
            and (where.media_types is None or held.media_types[document_id] in where.media_types)
        ]
        if not kept:
            return []
        found = 1 - np.concatenate(kept) @ asked / np.linalg.norm(np.concatenate(kept), axis=1)
        return [float(distance) for distance in np.sort(found)[:most]]

    def shelf_rows(self) -> list[tuple[Any, ...]]:
        """Tenant and number of rows of each shelf, read past row-level security."""
        with self.world.admin() as admin:
            return admin.execute(
                "SELECT tenant_id, count(*) FROM tenantry.chunk_vectors GROUP BY 1 ORDER BY 1"
            ).fetchall()
