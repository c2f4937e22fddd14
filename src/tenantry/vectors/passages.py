"""Passages as they are stored: written with their vectors, found by words, read for an answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tenantry.db.queries import load
from tenantry.isolation.transaction import Transaction
from tenantry.vectors.base import Near, Question, vector_text

_SQL = load("tenantry.vectors")
_BATCH = 500  # rows of one statement: some megabytes


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage to be stored.

    Attributes:
        number: within its document.
        text: the passage.
        heading: nearest heading, or empty.
        page: page number from 1.
        start: offset in the document's text.
        end: offset after its last character.
        vector: shape (dimension,), float32, of unit length.
    """

    number: int
    text: str
    heading: str
    page: int
    start: int
    end: int
    vector: NDArray[np.float32] = field(repr=False)


async def add_passages(tx: Transaction, document_id: UUID, passages: Sequence[NewPassage]) -> None:
    """Store a document's passages; the document's row is there already."""
    for start in range(0, len(passages), _BATCH):
        batch = passages[start : start + _BATCH]
        await tx.execute(
            _SQL["add_chunks"],
            document_id=document_id,
            chunk_no=[p.number for p in batch],
            content=[p.text for p in batch],
            heading=[p.heading for p in batch],
            page=[p.page for p in batch],
            start_offset=[p.start for p in batch],
            end_offset=[p.end for p in batch],
            embedding=[vector_text(p.vector) for p in batch],
        )


async def worded(tx: Transaction, question: Question, words: str) -> list[Near]:
    """Passages that hold words of the question, best first; at most `question.most`."""
    rows = await tx.rows(
        _SQL["worded"],
        words=words,
        embedding=vector_text(question.vector),
        embedder=question.embedder,
        most=question.most,
        **question.where.parameters(),
    )
    return [Near(row["distance"], row["document_id"], row["chunk_no"]) for row in rows]


async def read_passages(
    tx: Transaction, question: Question, places: Iterable[tuple[UUID, int]]
) -> dict[tuple[UUID, int], dict[str, Any]]:
    """What stands at these places, by place; without those that are gone."""
    wanted = list(places)
    rows = await tx.rows(
        _SQL["passages"],
        document_ids=[document_id for document_id, _ in wanted],
        chunk_nos=[chunk_no for _, chunk_no in wanted],
        embedding=vector_text(question.vector),
    )
    return {(row["document_id"], row["chunk_no"]): row for row in rows}
