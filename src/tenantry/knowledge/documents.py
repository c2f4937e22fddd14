"""A tenant's documents: list, look at, say who may read them, remove.

Who keeps access lists sees that a restricted document is there, and for whom; its passages only as
a member of a group that may read them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tenantry.core.errors import NotFound
from tenantry.core.events import AuditSink, Json
from tenantry.core.ids import DocumentId
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.jobs.jobs import Jobs
from tenantry.security.groups import audience_of
from tenantry.vectors.shelves import enqueue_if_due

_SQL = load("tenantry.knowledge")


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was ingested; its passages can be searched.

    Attributes:
        source: where it comes from, if that is kept in step.
        is_restricted: whether it is for some groups only.
        groups: for which, as far as the one who asks may know them.
    """

    document_id: DocumentId
    title: str
    media_type: str
    size_bytes: int
    pages: int
    chunk_count: int
    created_by: UUID
    created_at: datetime
    source: str | None = None
    is_restricted: bool = False
    groups: Sequence[str] = ()

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Document":
        """The document of a row."""
        return cls(**row)


class Documents:
    """Reads and removes documents, within one tenant at a time."""

    def __init__(self, db: Database, audit: AuditSink, jobs: Jobs) -> None:
        self._db = db
        self._audit = audit
        self._jobs = jobs

    async def list_documents(self, ctx: TenantContext, after: UUID, limit: int) -> list[Document]:
        """Documents with ids after `after`, oldest first."""
        async with self._db.tenant(ctx, keeping=ctx.keeps_access) as tx:
            rows = await tx.rows(_SQL["list_documents"], after=after, limit=limit)
        return [Document.of(row) for row in rows]

    async def get(self, ctx: TenantContext, document_id: UUID) -> Document:
        """One document.

        Raises:
            NotFound: no such document in this tenant.
        """
        async with self._db.tenant(ctx, keeping=ctx.keeps_access) as tx:
            return await _document(tx, document_id)

    async def restrict(
        self, ctx: TenantContext, document_id: UUID, groups: Sequence[str]
    ) -> Document:
        """Let only members of these groups read a document, or everybody if there are none.

        It holds for whatever begins after it: searches, answers, and saved citations.

        Raises:
            NotFound: no such document in this tenant.
            InvalidRequest: no such group.
            Conflict: a job about it is under way, or its bytes or its source are there already for
                these readers.
            Forbidden: only an owner or admin keeps access lists.
        """
        async with self._db.tenant(ctx, keeping=True) as tx:
            audience = await audience_of(tx, groups)
            await self._jobs.forget_finished(tx, str(document_id))
            if not await tx.execute(
                _SQL["restrict_document"], document_id=document_id, audience=audience
            ):
                raise NotFound
            detail: dict[str, Json] = {"groups": sorted(set(groups))}
            await self._audit.record(
                ctx.event("document.restricted", "allowed", "api", str(document_id), detail)
            )
            return await _document(tx, document_id)

    async def delete(self, ctx: TenantContext, document_id: UUID) -> None:
        """Remove a document: passages, vectors, its jobs and the bytes they were given, at once.

        One that is still being added is removed too: its job is over, and cannot write any more.

        Raises:
            NotFound: no such document in this tenant.
        """
        async with self._db.tenant(ctx, keeping=ctx.keeps_access) as tx:
            jobs = await self._jobs.forget(tx, str(document_id))
            if not await tx.execute(_SQL["delete_document"], document_id=document_id) and not jobs:
                raise NotFound
            await enqueue_if_due(tx, self._jobs)
            await self._audit.record(
                ctx.event("document.deleted", "allowed", "api", str(document_id))
            )


async def _document(tx: Transaction, document_id: UUID) -> Document:
    row = await tx.row(_SQL["get_document"], document_id=document_id)
    if row is None:
        raise NotFound
    return Document.of(row)
