"""Versions of a tenant's vectors: which embedder made them, and which of them searches compare.

A tenant has one active version. Another may be prepared beside it; the switch is one transaction,
and nobody is half-way through storing a document then (`0050_vectors_by_version.sql`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tenantry.core.errors import Conflict
from tenantry.db.queries import load
from tenantry.isolation.transaction import Transaction
from tenantry.vectors.base import vector_text

State = Literal["preparing", "active", "leaving"]
_SQL = load("tenantry.vectors")
_DOCUMENTS = 100  # of one statement that removes vectors


@dataclass(frozen=True, slots=True)
class Choice:
    """What makes vectors.

    Attributes:
        embedder: identifies model and version, see `providers.base.Embedder.name`.
        dimension: length of its vectors.
        is_default: whether it is the deployment's, and follows it when that changes.
        is_shortened: whether the model is asked for vectors of this dimension.
        query_prefix: put before a question, for models that were trained so.
        passage_prefix: put before a passage.
    """

    embedder: str
    dimension: int
    is_default: bool = False
    is_shortened: bool = False
    query_prefix: str = ""
    passage_prefix: str = ""

    def parameters(self) -> dict[str, object]:
        """As the statements take it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Version:
    """A version of one tenant's vectors.

    Attributes:
        number: never used again for another.
        choice: what makes them.
        is_behind: whether a document was stored without them, since that was last looked at.
        job_id: what prepares it.
    """

    number: int
    choice: Choice
    state: State
    is_behind: bool
    job_id: UUID | None
    changed_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Version":
        """The version of a row."""
        choice = Choice(**{each.name: row[each.name] for each in fields(Choice)})
        return cls(
            row["version"], choice, row["state"], row["is_behind"], row["job_id"], row["changed_at"]
        )


@dataclass(frozen=True, slots=True)
class Versions:
    """What a tenant has. No active one: it has never stored a document, nor chosen an embedder."""

    active: Version | None
    preparing: Version | None
    leaving: Sequence[Version] = ()

    @property
    def kept(self) -> Sequence[int]:
        """Numbers of those that are searched, or will be."""
        return [one.number for one in (self.active, self.preparing) if one is not None]

    def find(self, number: int) -> Version | None:
        """The version of this number, unless it is gone."""
        every = (self.active, self.preparing, *self.leaving)
        return next((one for one in every if one is not None and one.number == number), None)


@dataclass(frozen=True, slots=True)
class Lacking:
    """A passage that has no vector of a version yet."""

    document_id: UUID
    sha256: bytes
    chunk_no: int
    heading: str
    content: str


async def versions_of(tx: Transaction) -> Versions:
    """What the tenant has now."""
    found = [Version.of(row) for row in await tx.rows(_SQL["versions"])]
    by_state = {one.state: one for one in found}
    leaving = tuple(one for one in found if one.state == "leaving")
    return Versions(by_state.get("active"), by_state.get("preparing"), leaving)


async def hold_versions(tx: Transaction, first: Choice) -> Versions:
    """What the tenant has; its active version stays active until the transaction ends.

    Args:
        tx: where a document is about to be stored.
        first: becomes the active version of a tenant that has none.
    """
    if not await tx.rows(_SQL["hold_active"]):
        await tx.execute(_SQL["first_version"], **first.parameters())
        await tx.rows(_SQL["hold_active"])
    return await versions_of(tx)


async def lock_versions(tx: Transaction) -> Versions:
    """What the tenant has; no document of it is stored until the transaction ends."""
    await tx.rows(_SQL["lock_active"])
    return await versions_of(tx)


async def start_with(tx: Transaction, choice: Choice) -> bool:
    """Make it the first version of a tenant that has none; whether it did."""
    return bool(await tx.execute(_SQL["first_version"], **choice.parameters()))


async def prepare(tx: Transaction, choice: Choice) -> int:
    """Begin a version beside the active one, which the transaction has locked; its number."""
    number: int = await tx.value(_SQL["add_version"], **choice.parameters())
    return number


async def prepared_by(tx: Transaction, version: int, job_id: UUID) -> None:
    """Note which job prepares a version."""
    await tx.execute(_SQL["prepared_by"], version=version, job_id=job_id)


async def note_behind(tx: Transaction, version: int, *, behind: bool = True) -> None:
    """Note that a document is stored without vectors of a version, or that it is looked for."""
    await tx.execute(_SQL["is_behind"], version=version, behind=behind)


async def keep_default(tx: Transaction, version: int, *, is_default: bool) -> None:
    """Let a version follow the deployment's embedder from now on, or not."""
    await tx.execute(_SQL["keep_default"], version=version, is_default=is_default)


async def is_active(tx: Transaction, version: int) -> bool:
    """Whether a version is the active one; if so, its vectors were all there until now."""
    return bool(await tx.value(_SQL["is_active"], version=version))


async def switch(tx: Transaction, to: int) -> bool:
    """Make a prepared version the active one; False when it is behind, and must be looked at.

    Raises:
        Conflict: the version is not being prepared any more.
    """
    held = await lock_versions(tx)
    if held.preparing is None or held.preparing.number != to:
        raise Conflict("This version is not being prepared any more.")
    if held.preparing.is_behind:
        return False
    if held.active is not None:
        await tx.execute(_SQL["leave_version"], version=held.active.number, state="active")
    if not await tx.execute(_SQL["enter_version"], version=to):
        raise Conflict("This version is not being prepared any more.")
    return True


async def give_up(tx: Transaction, version: int) -> bool:
    """Give up a version that is being prepared; whether it was."""
    return bool(await tx.execute(_SQL["leave_version"], version=version, state="preparing"))


async def lacking(tx: Transaction, version: int, since: UUID, limit: int) -> list[Lacking]:
    """Passages without vectors of a version, from a document on, in order of documents."""
    rows = await tx.rows(_SQL["lacking"], version=version, since=since, limit=limit)
    return [Lacking(**row) for row in rows]


async def add_lacking(
    tx: Transaction, version: int, found: Sequence[Lacking], vectors: NDArray[np.float32]
) -> None:
    """Store vectors for passages that lacked them, if their documents are as they were read."""
    await tx.rows(_SQL["lock_active"])
    await tx.execute(
        _SQL["add_lacking"],
        version=version,
        document_id=[one.document_id for one in found],
        sha256=[one.sha256 for one in found],
        chunk_no=[one.chunk_no for one in found],
        embedding=[vector_text(vector) for vector in vectors],
    )


async def how_far(tx: Transaction, version: int) -> tuple[int, int]:
    """How many passages have vectors of a version, and how many there are."""
    row = await tx.row(_SQL["how_far"], version=version)
    return (0, 0) if row is None else (int(row["done"]), int(row["passages"]))


async def remove_vectors(tx: Transaction, version: int, after: UUID) -> UUID | None:
    """Remove a version's vectors of the next documents; the last of these, None at the end."""
    last: UUID | None = await tx.value(
        _SQL["remove_embeddings"], version=version, after=after, limit=_DOCUMENTS
    )
    return last


async def end(tx: Transaction, version: int) -> None:
    """A version that was left has no vectors any more."""
    await tx.execute(_SQL["version_gone"], version=version)
