"""What a vector store is: every call takes the tenant's context, and there is no call without one.

Vectors are of unit length; the distance is the cosine distance, 0 (same direction) to 2.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tenantry.isolation.context import TenantContext


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents a search looks at; what is None does not narrow.

    Attributes:
        document_ids: these only.
        media_types: of these only.
        added_from: added at this time or later.
        added_before: added before this time.
    """

    document_ids: tuple[UUID, ...] | None = None
    media_types: tuple[str, ...] | None = None
    added_from: datetime | None = None
    added_before: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """As the statements take it."""
        return {
            "only_documents": _listed(self.document_ids),
            "media_types": _listed(self.media_types),
            "added_from": self.added_from,
            "added_before": self.added_before,
        }


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for.

    Attributes:
        version: of the tenant's vectors, which are compared; no other exists for it.
        vector: shape (dimension,), float32, of unit length.
        most: how many passages are wanted; fewer come back only when there are fewer.
        where: which documents count.
    """

    version: int
    vector: NDArray[np.float32] = field(repr=False)
    most: int
    where: Filter = field(default_factory=Filter)


@dataclass(frozen=True, slots=True, order=True)
class Near:
    """A passage that one way of looking found; nearer sorts first.

    Attributes:
        distance: cosine distance to the question.
        document_id: whose passage it is.
        chunk_no: its number within the document.
        share: how much of the question it answers to, 0 to 1: all of it by its meaning, of its
            words and names those that it holds.
    """

    distance: float
    document_id: UUID
    chunk_no: int
    share: float = 1.0

    @property
    def place(self) -> tuple[UUID, int]:
        """Which passage it is."""
        return self.document_id, self.chunk_no


class VectorStore(Protocol):
    """Finds the nearest passages of one tenant."""

    async def nearest(self, ctx: TenantContext, question: Question) -> list[Near]:
        """The nearest passages of `ctx.tenant`, nearest first.

        Fewer than `question.most` only when the tenant has fewer that pass the filter.
        """
        ...


def vector_text(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(f"{value:.6g}" for value in vector) + "]"


def _listed(values: tuple[object, ...] | None) -> list[object] | None:
    return None if values is None else list(values)
