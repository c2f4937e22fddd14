"""Retrieval (VEC-2, VEC-3): by meaning and by words, fused, under row-level security.

Threat: a neighbour's passage is found, or what a neighbour stores changes what is found.
Invariant: the query has no tenant to forget; the database's policy leaves the tenant's own rows,
and both lists, and how rare a word is, are computed over exactly these.

The two lists are joined by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009) with
k = 60: ranks are fused, not scores, which do not compare between the lists.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenantry.core.errors import InvalidRequest
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.knowledge.ingest import vector_text
from tenantry.metering.ledger import Ledger
from tenantry.providers.base import Embedder

_SQL = load("tenantry.knowledge")
RRF_K = 60
MOST_PASSAGES = 10_000
_LEAST_DEPTH = 50
_LONGEST_QUESTION = 2000
_LONGEST_WORDING = 500


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

    def __init__(self, db: Database, embedder: Embedder, ledger: Ledger) -> None:
        self._db = db
        self._embedder = embedder
        self._ledger = ledger

    async def search(self, ctx: TenantContext, query: str, limit: int) -> list[Passage]:
        """The best passages, best first; fewer than `limit` only when there are fewer.

        Args:
            ctx: the tenant.
            query: the question; what is past its first 2,000 characters is not looked at.
            limit: how many, 1 to 10,000.

        Raises:
            InvalidRequest: the limit is out of range.
        """
        if not 1 <= limit <= MOST_PASSAGES:
            raise InvalidRequest(f"A search gives 1 to {MOST_PASSAGES} passages.")
        question = _storable(query[:_LONGEST_QUESTION])
        vector = await self._embedder.embed_query(question)
        tokens = await asyncio.to_thread(self._embedder.count_tokens, question)
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(
                _SQL["search_chunks"],
                embedding=vector_text(vector),
                embedder=self._embedder.name,
                words=question[:_LONGEST_WORDING],
                depth=max(limit, _LEAST_DEPTH),
            )
            await self._ledger.record_embedding(tx, self._embedder.name, tokens, "vector_search")
        return [_passage(row) for row in sorted(rows, key=_place)[:limit]]


def fused(*ranks: int | None) -> float:
    """The fused score of an item from its ranks (from 1) in several lists; None is absent."""
    return sum(1.0 / (RRF_K + rank) for rank in ranks if rank is not None)


def _place(row: Mapping[str, Any]) -> tuple[float, float, str, int]:
    """What rows are sorted by; the last two only so that equals keep one order."""
    score = fused(row["vector_rank"], row["lexical_rank"])
    return -score, -row["similarity"], str(row["document_id"]), row["chunk_no"]


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
