"""Retrieval (VEC-2, VEC-3): by meaning and by words, fused, under row-level security.

Threat: a neighbour's passage is found, or what a neighbour stores changes what is found.
Invariant: the query has no tenant to forget; the database's policy leaves the tenant's own rows,
and both lists, and how rare a word is, are computed over exactly these.

The two lists are joined by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009) with
k = 60: ranks are fused, not scores, which do not compare between the lists.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import InvalidRequest
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.metering.ledger import Ledger
from tenantry.providers.base import Embedder
from tenantry.vectors.base import Filter, Near, Question, VectorStore
from tenantry.vectors.passages import read_passages, worded
from tenantry.vectors.search import TenantVectors

RRF_K = 60
MOST_PASSAGES = 10_000
_LEAST_DEPTH = 50
_LONGEST_QUESTION = 2000
_LONGEST_WORDING = 500
_EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that was found.

    Attributes:
        document_id: whose passage it is.
        title: the document's title.
        chunk_no: number within the document.
        text: the passage.
        heading: nearest heading, or empty.
        page: page number from 1.
        start: offset in the document's text.
        end: offset after its last character.
        score: cosine similarity of the passage to the query, -1 to 1.
    """

    document_id: UUID
    title: str
    chunk_no: int
    text: str
    heading: str
    page: int
    start: int
    end: int
    score: float


class Retriever:
    """Searches the passages of one tenant at a time."""

    def __init__(
        self,
        db: Database,
        embedder: Embedder,
        ledger: Ledger,
        clock: Clock,
        vectors: VectorStore | None = None,
    ) -> None:
        self._db = db
        self._embedder = embedder
        self._ledger = ledger
        self._clock = clock
        self._vectors = vectors or TenantVectors(db)

    async def search(
        self, ctx: TenantContext, query: str, limit: int, where: Filter = _EVERYTHING
    ) -> list[Passage]:
        """The best passages, best first; fewer than `limit` only when there are fewer.

        Args:
            ctx: the tenant.
            query: the question; what is past its first 2,000 characters is not looked at.
            limit: how many, 1 to 10,000.
            where: which documents count.

        Raises:
            InvalidRequest: the limit is out of range.
        """
        if not 1 <= limit <= MOST_PASSAGES:
            raise InvalidRequest(f"A search gives 1 to {MOST_PASSAGES} passages.")
        text = _storable(query[:_LONGEST_QUESTION])
        vector = await self._embedder.embed_query(text)
        tokens = await asyncio.to_thread(self._embedder.count_tokens, text)
        depth = max(limit, _LEAST_DEPTH)
        question = Question(self._embedder.name, vector, depth, where)
        began = self._clock.monotonic()
        near = await self._vectors.nearest(ctx, question)
        async with self._db.tenant(ctx) as tx:
            lists = near, await worded(tx, question, text[:_LONGEST_WORDING])
            best = _best(lists)
            found = await read_passages(tx, question, best[:limit])
            if len(found) < min(limit, len(best)):  # some were removed since they were found
                found |= await read_passages(tx, question, best[limit:])
            duration_ms = int((self._clock.monotonic() - began) * 1000)
            await self._ledger.record_search(
                tx, self._embedder.name, tokens, len(found), duration_ms
            )
        return [_passage(found[place]) for place in best if place in found][:limit]


def fused(*ranks: int | None) -> float:
    """The fused score of an item from its ranks (from 1) in several lists; None is absent."""
    return sum(1.0 / (RRF_K + rank) for rank in ranks if rank is not None)


def _best(lists: Sequence[Sequence[Near]]) -> list[tuple[UUID, int]]:
    """The places of several lists, best fused score first."""
    ranks = [{near.place: rank for rank, near in enumerate(one, 1)} for one in lists]
    every = {near.place: near for one in lists for near in one}

    def order(near: Near) -> tuple[float, Near]:
        # By distance, then by place, only so that equals keep one order.
        return -fused(*(rank.get(near.place) for rank in ranks)), near

    return [near.place for near in sorted(every.values(), key=order)]


def _storable(query: str) -> str:
    # PostgreSQL stores no NUL, UTF-8 no lone surrogate.
    return query.replace("\0", " ").encode("utf-8", "replace").decode()


def _passage(row: Mapping[str, Any]) -> Passage:
    return Passage(
        document_id=row["document_id"],
        title=row["title"],
        chunk_no=row["chunk_no"],
        text=row["content"],
        heading=row["heading"],
        page=row["page"],
        start=row["start_offset"],
        end=row["end_offset"],
        # Rounding may put identical directions a hair past 1.
        score=min(1.0, float(row["similarity"])),
    )
