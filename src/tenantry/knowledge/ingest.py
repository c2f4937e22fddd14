"""Ingestion (VEC-3): parse, cut, embed, and store whole or not at all.

Idempotent by the SHA-256 of the bytes, also when the same file is uploaded twice at once.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tenantry.core.errors import DocumentUnreadable, InvalidRequest, TooLarge
from tenantry.core.events import AuditEvent, AuditSink
from tenantry.core.ids import DocumentId, new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.knowledge.chunk import Chunk, chunks_of
from tenantry.knowledge.documents import Document
from tenantry.knowledge.formats import MEDIA_TYPES, format_of
from tenantry.knowledge.parser import parse
from tenantry.metering.ledger import Ledger
from tenantry.providers.base import Embedder

_SQL = load("tenantry.knowledge")
_LONGEST_TITLE = 300
_MOST_CHUNKS = 50_000
_BATCH = 32
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came; `title` is its name, `media_type` what the client said it is."""

    title: str
    media_type: str | None
    content: bytes = field(repr=False)


class Ingestor:
    """Makes files searchable, within one tenant at a time."""

    def __init__(
        self, db: Database, embedder: Embedder, ledger: Ledger, audit: AuditSink, max_bytes: int
    ) -> None:
        self._db = db
        self._embedder = embedder
        self._ledger = ledger
        self._audit = audit
        self._max_bytes = max_bytes

    async def ingest(
        self, ctx: TenantContext, upload: Upload, progress: Progress | None = None
    ) -> Document:
        """The document, new or as it was ingested before.

        Args:
            ctx: the tenant.
            upload: the file.
            progress: called with (passages embedded, passages in all).

        Raises:
            InvalidRequest: it is empty, or its title is.
            TooLarge: it is larger than allowed, before or after unpacking.
            UnsupportedMedia: its format is not read.
            DocumentUnreadable: it is broken, encrypted, or holds no text.
        """
        title = _title(upload.title)
        if not upload.content:
            raise InvalidRequest("The file is empty.")
        if len(upload.content) > self._max_bytes:
            raise TooLarge(f"A file has at most {self._max_bytes} bytes.")
        digest = hashlib.sha256(upload.content).digest()
        known = await self._find(ctx, digest)
        if known is not None:
            return known
        name = format_of(title, upload.media_type, upload.content)
        parsed = await parse(name, upload.content)
        chunks = chunks_of(parsed)
        if not chunks:
            raise DocumentUnreadable("The document holds no text.")
        if len(chunks) > _MOST_CHUNKS:
            raise TooLarge("The document holds too much text; split it.")
        vectors = await self._embed(chunks, progress)
        document = {
            "document_id": DocumentId(new_id()),
            "title": title,
            "media_type": MEDIA_TYPES[name],
            "sha256": digest,
            "size_bytes": len(upload.content),
            "pages": parsed.pages,
            "chunk_count": len(chunks),
            "embedder": self._embedder.name,
            "created_by": ctx.actor.id,
        }
        async with self._db.tenant(ctx) as tx:
            if await tx.execute(_SQL["add_document"], **document):
                await self._store(tx, document["document_id"], chunks, vectors)
                await self._record(ctx, str(document["document_id"]), len(chunks))
            row = await tx.row(_SQL["find_document"], sha256=digest)
        if row is None:
            raise InvalidRequest("The document was removed while it was being added.")
        return Document.of(row)

    async def _find(self, ctx: TenantContext, digest: bytes) -> Document | None:
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(_SQL["find_document"], sha256=digest)
        return Document.of(row) if row else None

    async def _embed(
        self, chunks: Sequence[Chunk], progress: Progress | None
    ) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(chunks), _BATCH):
            batch = chunks[start : start + _BATCH]
            parts.append(await self._embedder.embed_passages([embedded_text(c) for c in batch]))
            if progress is not None:
                progress(start + len(batch), len(chunks))
        return np.concatenate(parts)

    async def _store(
        self,
        tx: Transaction,
        document_id: object,
        chunks: Sequence[Chunk],
        vectors: NDArray[np.float32],
    ) -> None:
        await tx.execute_many(
            _SQL["add_chunk"],
            [
                {
                    "document_id": document_id,
                    "chunk_no": chunk.number,
                    "content": chunk.text,
                    "heading": chunk.heading,
                    "page": chunk.page,
                    "start_offset": chunk.start,
                    "end_offset": chunk.end,
                    "embedding": vector_text(vector),
                }
                for chunk, vector in zip(chunks, vectors, strict=True)
            ],
        )
        tokens = sum(self._embedder.count_tokens(embedded_text(chunk)) for chunk in chunks)
        await self._ledger.record_embedding(tx, self._embedder.name, tokens)

    async def _record(self, ctx: TenantContext, document_id: str, chunks: int) -> None:
        # Inside the transaction: a document that cannot be recorded is not added.
        await self._audit.record(
            AuditEvent(
                ctx.tenant,
                str(ctx.actor),
                "document.ingested",
                "allowed",
                "api",
                document_id,
                {"chunks": chunks},
                ctx.request_id,
            )
        )


def embedded_text(chunk: Chunk) -> str:
    """What is embedded of a passage: its heading too, which often holds the word that is asked."""
    return f"{chunk.heading}\n{chunk.text}" if chunk.heading else chunk.text


def vector_text(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(f"{value:.6g}" for value in vector) + "]"


def _title(given: str) -> str:
    title = "".join(c for c in given.replace("\\", "/").rpartition("/")[2] if c.isprintable())
    title = title.strip()
    if not title:
        raise InvalidRequest("A document needs a title.")
    return title[:_LONGEST_TITLE]
