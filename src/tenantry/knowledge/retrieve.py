"""Retrieval (VEC-2, VEC-3): by meaning and by words, fused, under row-level security.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009) with k = 60: ranks are fused, not
scores, which do not compare between the two lists.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.knowledge.ingest import vector_text
from tenantry.metering.ledger import Ledger
from tenantry.providers.base import Embedder

_SQL = load("tenantry.knowledge")
RRF_K = 60
_LEAST_DEPTH = 20
_LONGEST_QUERY = 4000


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
        score: cosine similarity of the passage to the query.
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
        """The best passages, best first; fewer than `limit` only when there are fewer."""
        asked = query.replace("\0", " ")[:_LONGEST_QUERY]
        vector = await self._embedder.embed_query(asked)
        tokens = self._embedder.count_tokens(asked)
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(
                _SQL["search_chunks"],
                embedding=vector_text(vector),
                embedder=self._embedder.name,
                words=any_word(asked),
                depth=max(limit, _LEAST_DEPTH),
            )
            await self._ledger.record_embedding(tx, self._embedder.name, tokens, "vector_search")
        rows.sort(key=lambda row: (-fused(row["vector_rank"], row["lexical_rank"]), _key(row)))
        return [_passage(row) for row in rows[:limit]]


def fused(*ranks: int | None) -> float:
    """The fused score of an item from its ranks (from 1) in several lists; None is absent."""
    return sum(1.0 / (RRF_K + rank) for rank in ranks if rank is not None)


def any_word(query: str) -> str:
    """The query as `websearch_to_tsquery` reads it, any of its words sufficing."""
    words = "".join(c if c.isalnum() else " " for c in query).split()
    return " or ".join(word for word in words if word.lower() not in {"or", "and", "not"})


def _key(row: dict[str, Any]) -> tuple[str, int]:
    return str(row["document_id"]), row["chunk_no"]


def _passage(row: dict[str, Any]) -> Passage:
    return Passage(
        document_id=row["document_id"],
        title=row["title"],
        chunk_no=row["chunk_no"],
        text=row["content"],
        heading=row["heading"],
        page=row["page"],
        start=row["start_offset"],
        end=row["end_offset"],
        score=float(row["similarity"]),
    )
