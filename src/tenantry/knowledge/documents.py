"""A tenant's documents: list, look at, remove."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tenantry.core.errors import NotFound
from tenantry.core.events import AuditSink
from tenantry.core.ids import DocumentId
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.jobs.jobs import Jobs
from tenantry.vectors.shelves import enqueue_if_due

_SQL = load("tenantry.knowledge")


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was ingested; its passages can be searched."""

    document_id: DocumentId
    title: str
    media_type: str
    size_bytes: int
    pages: int
    chunk_count: int
    created_by: UUID
    created_at: datetime
    source: str | None = None

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
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["list_documents"], after=after, limit=limit)
        return [Document.of(row) for row in rows]

    async def get(self, ctx: TenantContext, document_id: UUID) -> Document:
        """One document.

        Raises:
            NotFound: no such document in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(_SQL["get_document"], document_id=document_id)
        if row is None:
            raise NotFound
        return Document.of(row)

    async def delete(self, ctx: TenantContext, document_id: UUID) -> None:
        """Remove a document: passages, vectors, its jobs and the bytes they were given, at once.

        One that is still being added is removed too: its job is over, and cannot write any more.

        Raises:
            NotFound: no such document in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            jobs = await self._jobs.forget(tx, str(document_id))
            if not await tx.execute(_SQL["delete_document"], document_id=document_id) and not jobs:
                raise NotFound
            await enqueue_if_due(tx, self._jobs)
            await self._audit.record(
                ctx.event("document.deleted", "allowed", "api", str(document_id))
            )
