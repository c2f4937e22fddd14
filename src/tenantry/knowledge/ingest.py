"""Ingestion (VEC-3): parse, cut, embed, and store whole or not at all.

Idempotent by the SHA-256 of the bytes, also when the same file is uploaded twice at once. While the
tenant's vectors change to another embedder, a new document gets those of both.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from uuid import UUID
from weakref import WeakValueDictionary

from tenantry.core.errors import Conflict, DocumentUnreadable, InvalidRequest, TooLarge
from tenantry.core.events import AuditSink
from tenantry.core.ids import TenantId, new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.jobs.attempt import Attempt
from tenantry.jobs.job import Job, NewJob
from tenantry.jobs.jobs import Jobs
from tenantry.knowledge.chunk import Chunk, chunks_of
from tenantry.knowledge.documents import Document
from tenantry.knowledge.embedders import Chosen, Embedded, Embedders, Vectors, embed_chunks, later
from tenantry.knowledge.formats import MEDIA_TYPES, Format, format_of
from tenantry.knowledge.parse.parsed import ParsedDocument
from tenantry.knowledge.parser import DocumentParser
from tenantry.metering.ledger import Ledger
from tenantry.security.groups import EVERYBODY, audience_of
from tenantry.vectors.language import language_of
from tenantry.vectors.passages import NewPassage, add_passages, add_vectors, vectors_of
from tenantry.vectors.shelves import enqueue_if_due
from tenantry.vectors.versions import Versions, hold_versions, note_behind

_SQL = load("tenantry.knowledge")
_LONGEST_TITLE = 300
_MOST_CHUNKS = 10_000
_MOST_SWITCHES = 5
_BYTES_A_SECOND = 100_000
"""What a worker reads and embeds of a document in about a second."""
INGEST = "ingest"
Progress = Callable[[int, int], None]
_SWITCHED = "The embedder was changed while the document was being added."


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came.

    Attributes:
        title: its name.
        media_type: what the client said it is.
        content: its bytes.
        source: where it comes from, if that is kept in step: a new version there takes the place
            of the one before, under the same id, and only what changed is embedded anew.
        groups: for members of which groups it is, by name; of none, for everybody. None leaves it
            as it is there already: under this source, or with these bytes.
    """

    title: str
    media_type: str | None
    content: bytes = field(repr=False)
    source: str | None = None
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document ready to be stored: everything that takes time is done."""

    upload: Upload
    digest: bytes
    audience: int
    format: Format
    pages: int
    language: str
    passages: Sequence[NewPassage]
    embedded: Sequence[Embedded]


class _Switched(Exception):
    """What was prepared has no vectors of the version that is active by now."""


class Ingestor:
    """Makes files searchable, within one tenant at a time."""

    def __init__(
        self,
        db: Database,
        embedders: Embedders,
        ledger: Ledger,
        audit: AuditSink,
        jobs: Jobs,
        *,
        max_bytes: int,
    ) -> None:
        self._db = db
        self._embedders = embedders
        self._ledger = ledger
        self._audit = audit
        self._jobs = jobs
        self._max_bytes = max_bytes
        self._parser = DocumentParser()
        self._under_way: WeakValueDictionary[tuple[TenantId, bytes], asyncio.Lock] = (
            WeakValueDictionary()
        )

    async def ingest(
        self, ctx: TenantContext, upload: Upload, progress: Progress | None = None
    ) -> Document:
        """The document, new or as it was ingested before.

        Args:
            ctx: the tenant.
            upload: the file.
            progress: called with (passages embedded, passages in all).

        Raises:
            InvalidRequest: it or its title is empty, or it is for a group that is not the caller's.
            TooLarge: it is larger than allowed, before or after unpacking.
            UnsupportedMedia: its format is not read.
            DocumentUnreadable: it is broken, encrypted, or holds no text.
            Conflict: it was removed while it was being added.
        """
        upload, digest = await self._checked(upload)
        # A client that repeats an upload waits for the first: embedding twice would cost twice.
        # Between processes the database decides, and the work that was in vain is still metered.
        lock = self._under_way.setdefault((ctx.tenant, digest), asyncio.Lock())
        async with lock:
            for _ in range(_MOST_SWITCHES):
                audience = await self._audience(ctx, upload, digest)
                known = await self._find(ctx, digest, audience)
                if known is not None:
                    return known
                prepared = await self._prepare(ctx, upload, digest, audience, progress)
                document_id = await self._place(ctx, upload, audience)
                with suppress(_Switched):
                    async with self._rows(ctx) as tx:
                        return await self.store(tx, prepared, document_id)
        raise Conflict(_SWITCHED)

    async def accept(self, ctx: TenantContext, upload: Upload) -> Document | Job:
        """The document if it is there already, else the job that makes it; nothing is read yet.

        The same bytes give the same job; one that failed, or whose document is gone, starts anew.

        Raises:
            InvalidRequest: it or its title is empty, or it is for a group that is not the caller's.
            TooLarge: it is larger than allowed.
            UnsupportedMedia: its format is not read.
        """
        upload, digest = await self._checked(upload)
        format_of(upload.title, upload.media_type, upload.content)
        audience = await self._audience(ctx, upload, digest)
        known = await self._find(ctx, digest, audience)
        if known is not None:
            return known
        new = NewJob(
            pool="ingest",
            kind=INGEST,
            key=f"{digest.hex()}:{audience}",
            subject=str(await self._place(ctx, upload, audience)),
            audience=audience,
            arguments={
                "title": upload.title,
                "media_type": upload.media_type,
                "source": upload.source,
            },
            content=upload.content,
            cost=1 + len(upload.content) // _BYTES_A_SECOND,
        )
        async with self._rows(ctx) as tx:
            return await self._jobs.enqueue_again(tx, new)

    async def carry_out(self, attempt: Attempt) -> None:
        """Do what `accept` promised: the document, whole, in the transaction that ends the job.

        Raises:
            TenantryError: as `ingest`.
            AttemptOver: the job was cancelled or paused, or somebody else has it.
        """
        job, ctx = attempt.job, attempt.ctx
        given = Upload(content=await attempt.content(), **job.arguments)
        upload, digest = await self._checked(given)
        for _ in range(_MOST_SWITCHES):
            prepared = None
            if await self._find(ctx, digest, job.audience) is None:
                prepared = await self._prepare(ctx, upload, digest, job.audience, attempt.progress)
            with suppress(_Switched):
                async with attempt.effect() as tx:
                    if prepared is not None:
                        await self.store(tx, prepared, UUID(job.subject))
                return
        raise Conflict(_SWITCHED)

    async def _checked(self, upload: Upload) -> tuple[Upload, bytes]:
        upload = replace(upload, title=_title(upload.title))
        if not upload.content:
            raise InvalidRequest("The file is empty.")
        if len(upload.content) > self._max_bytes:
            raise TooLarge(f"A file has at most {self._max_bytes} bytes.")
        digest = await asyncio.to_thread(lambda: hashlib.sha256(upload.content).digest())
        return upload, digest

    def _rows(self, ctx: TenantContext) -> AbstractAsyncContextManager[Transaction]:
        """Rows that may be found and replaced: for a keeper of access lists, all of them."""
        return self._db.tenant(ctx, keeping=ctx.keeps_access)

    async def _audience(self, ctx: TenantContext, upload: Upload, digest: bytes) -> int:
        """Who may read it: as it says, or as it is; a copy of what is restricted is restricted."""
        async with self._rows(ctx) as tx:
            if upload.groups is not None:
                return await audience_of(tx, upload.groups)
            found = await tx.value(_SQL["find_readers"], sha256=digest, source=upload.source)
        return EVERYBODY if found is None else int(found)

    async def _find(self, ctx: TenantContext, digest: bytes, audience: int) -> Document | None:
        async with self._rows(ctx) as tx:
            row = await tx.row(_SQL["find_document"], sha256=digest, audience=audience)
        return Document.of(row) if row else None

    async def _place(self, ctx: TenantContext, upload: Upload, audience: int) -> UUID:
        """The id that a new document takes over from the version before, or a new one."""
        if upload.source is not None:
            async with self._rows(ctx) as tx:
                row = await tx.row(_SQL["find_source"], source=upload.source, audience=audience)
            if row is not None:
                before: UUID = row["document_id"]
                return before
        return new_id()

    async def _before(
        self, ctx: TenantContext, source: str | None, audience: int, by: Chosen
    ) -> Vectors:
        """The vectors of the document's version before, by heading and text."""
        if source is None:
            return {}
        async with self._rows(ctx) as tx:
            row = await tx.row(_SQL["find_source"], source=source, audience=audience)
            return await vectors_of(tx, row["document_id"], by.number) if row else {}

    async def _prepare(
        self,
        ctx: TenantContext,
        upload: Upload,
        digest: bytes,
        audience: int,
        progress: Progress | None,
    ) -> Prepared:
        name = format_of(upload.title, upload.media_type, upload.content)
        parsed = await self._parser.parse(ctx, name, upload.content)
        chunks = await asyncio.to_thread(_chunks, parsed)
        active, *others = await self._embedders.every(ctx)
        before = await self._before(ctx, upload.source, audience, active)
        embedded = [await embed_chunks(ctx, active, chunks, before, progress or _unseen)]
        for other in others:
            with later():
                before = await self._before(ctx, upload.source, audience, other)
                embedded.append(await embed_chunks(ctx, other, chunks, before, _unseen))
        passages = [NewPassage(c.number, c.text, c.heading, c.page, c.start, c.end) for c in chunks]
        language = await asyncio.to_thread(language_of, parsed.text)
        return Prepared(upload, digest, audience, name, parsed.pages, language, passages, embedded)

    async def store(self, tx: Transaction, new: Prepared, document_id: UUID) -> Document:
        """Store a prepared document in the caller's transaction, metered with it.

        Raises:
            Conflict: it was removed while it was being added.
        """
        held = await hold_versions(tx, self._embedders.default_choice)
        if held.active is None or not any(one.by.makes(held.active) for one in new.embedded):
            raise _Switched
        for one in new.embedded:
            if one.tokens:
                await self._ledger.record_embedding(tx, one.by.choice.embedder, one.tokens)
        these = {"sha256": new.digest, "audience": new.audience}
        if new.upload.source is not None:
            replaced = {"source": new.upload.source, "document_id": document_id}
            await tx.execute(_SQL["remove_replaced"], **these, **replaced)
        added = await tx.execute(
            _SQL["add_document"],
            document_id=document_id,
            title=new.upload.title[:_LONGEST_TITLE],
            media_type=MEDIA_TYPES[new.format],
            **these,
            size_bytes=len(new.upload.content),
            pages=new.pages,
            chunk_count=len(new.passages),
            created_by=tx.ctx.actor.id,
            language=new.language,
            source=new.upload.source,
        )
        if added:
            await add_passages(tx, document_id, new.passages, new.language)
            await _add_vectors(tx, document_id, new, held)
            await self._record(tx.ctx, document_id, len(new.passages))
            await enqueue_if_due(tx, self._jobs)
        row = await tx.row(_SQL["find_document"], **these)
        if row is None:
            raise Conflict("The document was removed while it was being added.")
        return Document.of(row)

    async def _record(self, ctx: TenantContext, document_id: UUID, chunks: int) -> None:
        # Inside the transaction: a document that cannot be recorded is not added.
        await self._audit.record(
            ctx.event("document.ingested", "allowed", "api", str(document_id), {"chunks": chunks})
        )


async def _add_vectors(tx: Transaction, document_id: UUID, new: Prepared, held: Versions) -> None:
    """Store what was embedded for the versions that are searched, or will be."""
    for version in (held.active, held.preparing):
        if version is None:
            continue
        made = next((one for one in new.embedded if one.by.makes(version)), None)
        if made is None:
            await note_behind(tx, version.number)
            continue
        vectors = [(p.number, made.vectors[p.heading, p.text]) for p in new.passages]
        await add_vectors(tx, document_id, version.number, vectors)


def _unseen(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def _chunks(parsed: ParsedDocument) -> list[Chunk]:
    chunks = chunks_of(parsed)
    if not chunks:
        raise DocumentUnreadable("The document holds no text.")
    if len(chunks) > _MOST_CHUNKS:
        raise TooLarge("The document holds too much text; split it, or add it as a data file.")
    return chunks


def _title(given: str) -> str:
    title = "".join(c for c in given.replace("\\", "/").rpartition("/")[2] if c.isprintable())
    title = title.strip()
    if not title:
        raise InvalidRequest("A document needs a title.")
    return title
