"""Passages as they are stored: written with their vectors, found by words, read for an answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray

from tenantry.core.errors import Conflict
from tenantry.db.queries import load
from tenantry.isolation.transaction import Transaction
from tenantry.vectors.base import Near, Question, vector_text
from tenantry.vectors.names import asked_names, names_of

_SQL = load("tenantry.vectors")
_BATCH = 500  # rows of one statement: some megabytes
_LEAST_LIKENESS = 0.4  # of 1: two slips in eight letters


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
    """

    number: int
    text: str
    heading: str
    page: int
    start: int
    end: int


async def add_passages(
    tx: Transaction, document_id: UUID, passages: Sequence[NewPassage], language: str = "english"
) -> None:
    """Store a document's passages; the document's row is there already.

    Args:
        tx: where the document's row was written.
        document_id: whose passages they are.
        passages: all of them.
        language: by which their words are stemmed, see `vectors.language`.

    Raises:
        Conflict: there is no such document for this transaction.
    """
    for start in range(0, len(passages), _BATCH):
        batch = passages[start : start + _BATCH]
        stored = await tx.execute(
            _SQL["add_chunks"],
            document_id=document_id,
            chunk_no=[p.number for p in batch],
            content=[p.text for p in batch],
            heading=[p.heading for p in batch],
            page=[p.page for p in batch],
            start_offset=[p.start for p in batch],
            end_offset=[p.end for p in batch],
            names=[names_of(f"{p.heading}. {p.text}") for p in batch],
            language=language,
        )
        _all_stored(stored, len(batch))


async def add_vectors(
    tx: Transaction,
    document_id: UUID,
    version: int,
    vectors: Sequence[tuple[int, NDArray[np.float32]]],
) -> None:
    """Store vectors of one version for passages of a document that was just stored.

    Args:
        tx: where the passages were written.
        document_id: whose passages they are.
        version: which of the tenant's versions they are of.
        vectors: a passage's number, and its vector of unit length.

    Raises:
        Conflict: there is no such document for this transaction.
    """
    for start in range(0, len(vectors), _BATCH):
        batch = vectors[start : start + _BATCH]
        stored = await tx.execute(
            _SQL["add_embeddings"],
            document_id=document_id,
            version=version,
            chunk_no=[number for number, _ in batch],
            embedding=[vector_text(vector) for _, vector in batch],
        )
        _all_stored(stored, len(batch))


async def vectors_of(
    tx: Transaction, document_id: UUID, version: int
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """The vectors of a document's passages, by heading and text; as precise as they are stored."""
    rows = await tx.rows(_SQL["document_vectors"], document_id=document_id, version=version)
    return {
        (row["heading"], row["content"]): np.array(orjson.loads(row["embedding"]), np.float32)
        for row in rows
    }


async def worded(tx: Transaction, question: Question, words: str) -> list[Near]:
    """Passages that hold words of the question, best first; at most `question.most`."""
    rows = await tx.rows(
        _SQL["worded"],
        words=words,
        embedding=vector_text(question.vector),
        version=question.version,
        most=question.most,
        **question.where.parameters(),
    )
    return [_near(row) for row in rows]


async def named(tx: Transaction, question: Question, words: str) -> list[Near]:
    """Passages with a code or a name like one of the question's, likest first.

    A slip in it does no harm: what is compared are groups of three letters.
    """
    names = asked_names(words)
    if not names:
        return []
    rows = await tx.rows(
        _SQL["named"],
        names=names,
        likeness=_LEAST_LIKENESS,
        embedding=vector_text(question.vector),
        version=question.version,
        most=question.most,
        **question.where.parameters(),
    )
    return [_near(row) for row in rows]


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
        version=question.version,
    )
    return {(row["document_id"], row["chunk_no"]): row for row in rows}


def _near(row: Mapping[str, Any]) -> Near:
    # A passage without a vector yet is as far as one that has nothing to do with the question.
    distance = 1.0 if row["distance"] is None else row["distance"]
    return Near(distance, row["document_id"], row["chunk_no"], row["share"])


def _all_stored(stored: int, given: int) -> None:
    if stored != given:
        raise Conflict("The document is not there any more.")
