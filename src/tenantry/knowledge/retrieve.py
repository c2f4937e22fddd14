"""Retrieval (VEC-2, VEC-3): by meaning and by words, fused, under row-level security.

Threat: a neighbour's passage is found, or what a neighbour stores changes what is found.
Invariant: the query has no tenant to forget; the database's policy leaves the tenant's own rows,
and every list, and how rare a word is, are computed over exactly these.

What is looked for: the nearest by meaning, the words in their own language, and codes and names
with a slip in them; fused by rank (`knowledge.fusion`), read again by a reranker if there is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import Conflict, InvalidRequest
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.knowledge.embedders import Embedders, tokens_of
from tenantry.knowledge.fusion import best_places
from tenantry.knowledge.rerank import reordered
from tenantry.metering.ledger import Ledger
from tenantry.providers.rerank import Reranker
from tenantry.vectors.base import Filter, Near, Question, VectorStore
from tenantry.vectors.passages import named, read_passages, worded
from tenantry.vectors.search import TenantVectors
from tenantry.vectors.versions import is_active

MOST_PASSAGES = 10_000
_LEAST_DEPTH = 50
_MOST_SWITCHES = 5
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
        before: the passage before it in the same section, or empty.
        after: the passage after it in the same section, or empty.
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
    before: str = ""
    after: str = ""


class Retriever:
    """Searches the passages of one tenant at a time."""

    def __init__(
        self,
        db: Database,
        embedders: Embedders,
        ledger: Ledger,
        clock: Clock,
        vectors: VectorStore | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._db = db
        self._embedders = embedders
        self._ledger = ledger
        self._clock = clock
        self._vectors = vectors or TenantVectors(db)
        self._reranker = reranker

    async def search(
        self, ctx: TenantContext, query: str, limit: int, where: Filter = _EVERYTHING
    ) -> list[Passage]:
        """The best passages, best first; fewer than `limit` only when there are fewer.

        Passages that say the same word for word are given once.

        Args:
            ctx: the tenant.
            query: the question; what is past its first 2,000 characters is not looked at.
            limit: how many, 1 to 10,000.
            where: which documents count.

        Raises:
            InvalidRequest: the limit is out of range.
        """
        ranked = await self._ranked(ctx, query, limit, where)
        found = _once(
            [
                ranked.passages[place]
                for place in best_places(ranked.lists.values())
                if place in ranked.passages
            ]
        )
        if self._reranker is not None:
            found = await reordered(self._reranker, ranked.text, found)
        return found[:limit]

    async def by_arm(
        self, ctx: TenantContext, query: str, limit: int, where: Filter = _EVERYTHING
    ) -> dict[str, list[Passage]]:
        """What each way of looking finds by itself, and `hybrid`: to see what each contributes.

        Raises:
            InvalidRequest: the limit is out of range.
        """
        ranked = await self._ranked(ctx, query, limit, where)
        orders = {arm: [near.place for near in found] for arm, found in ranked.lists.items()}
        orders["hybrid"] = best_places(ranked.lists.values())
        return {
            arm: _once([ranked.passages[p] for p in places if p in ranked.passages])[:limit]
            for arm, places in orders.items()
        }

    async def _ranked(self, ctx: TenantContext, query: str, limit: int, where: Filter) -> "_Ranked":
        if not 1 <= limit <= MOST_PASSAGES:
            raise InvalidRequest(f"A search gives 1 to {MOST_PASSAGES} passages.")
        text = _storable(query[:_LONGEST_QUESTION])
        for _ in range(_MOST_SWITCHES):
            ranked = await self._once_ranked(ctx, text, limit, where)
            if ranked is not None:
                return ranked
        raise Conflict("The embedder was changed again and again; ask anew.")

    async def _once_ranked(
        self, ctx: TenantContext, text: str, limit: int, where: Filter
    ) -> "_Ranked | None":
        """What was found; None if the tenant's vectors were switched meanwhile.

        Every list was made over one version, whole: it was active at the end, and vectors of a
        version begin to be removed only when it is not.
        """
        chosen = await self._embedders.active(ctx)
        vector = await chosen.embedder.embed_query(ctx, text)
        tokens = await tokens_of(chosen.embedder, [text])
        question = Question(chosen.number, vector, max(limit, _LEAST_DEPTH), where)
        words, began = text[:_LONGEST_WORDING], self._clock.monotonic()
        lists = {"meaning": await self._vectors.nearest(ctx, question)}
        async with self._db.tenant(ctx) as tx:
            lists["words"] = await worded(tx, question, words)
            lists["names"] = await named(tx, question, words)
            rows = await read_passages(tx, question, best_places(lists.values()))
            if not await is_active(tx, chosen.number):
                return None
            duration_ms = int((self._clock.monotonic() - began) * 1000)
            await self._ledger.record_search(
                tx, chosen.embedder.name, tokens, min(limit, len(rows)), duration_ms
            )
        return _Ranked(text, lists, {place: _passage(row) for place, row in rows.items()})


@dataclass(frozen=True, slots=True)
class _Ranked:
    """What each way of looking found, and the passages themselves."""

    text: str
    lists: Mapping[str, Sequence[Near]]
    passages: Mapping[tuple[UUID, int], Passage]


def _once(passages: Sequence[Passage]) -> list[Passage]:
    """Without those that say what a better one says, word for word."""
    return list({passage.text: passage for passage in reversed(passages)}.values())[::-1]


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
        # Rounding may put identical directions past 1; what has no vector yet has no likeness.
        score=min(1.0, float(row["similarity"] or 0.0)),
        before=row["before"],
        after=row["after"],
    )
