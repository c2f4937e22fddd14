"""Documents of the caller's tenant: what its assistants know."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from pydantic import StringConstraints

from tenantry.api.bodies import NAME_PATTERN, AccessBody, SearchBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.api.jobs import job_json
from tenantry.api.members import Limit, known_id
from tenantry.core.errors import InvalidRequest, TooLarge
from tenantry.isolation.context import TenantContext
from tenantry.knowledge.documents import Document
from tenantry.knowledge.ingest import Upload

_KINDS = "Markdown, text, HTML, PDF, DOCX, PPTX, XLSX, CSV, EML or a ZIP of these"

router = APIRouter(prefix="/v1/documents", tags=["documents"])
_AT_ONCE_BYTES = 1024 * 1024
_Group = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


@dataclass(frozen=True, slots=True)
class _Named:
    """What a client calls a document, where it comes from, and for whom it is."""

    title: str | None
    source: str | None
    groups: tuple[str, ...] | None


def _named(
    title: Annotated[str | None, Form(max_length=300)] = None,
    source: Annotated[str | None, Form(min_length=1, max_length=300)] = None,
    groups: Annotated[list[_Group] | None, Form(max_length=100)] = None,
) -> _Named:
    return _Named(title, source, None if groups is None else tuple(groups))


def document_json(found: Document) -> dict[str, Any]:
    """A document as the API shows it."""
    shown = asdict(found)
    return {"id": shown.pop("document_id"), **shown}


async def upload_bytes(file: UploadFile, most_bytes: int) -> bytes:
    """The content of an uploaded file.

    Raises:
        TooLarge: it has more than `most_bytes`.
    """
    content = await file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise TooLarge(f"A file has at most {most_bytes} bytes.")
    return content


@router.get("")
async def list_documents(
    request: Request,
    ctx: Annotated[TenantContext, tenant("documents:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Documents, oldest first."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "documents", cursor)
    found = await platform.documents.list_documents(ctx, after, limit + 1)
    rows = [document_json(document) for document in found]
    return platform.cursors.page(ctx.tenant, "documents", rows, limit, lambda row: row["id"])


@router.post("", status_code=201, responses={202: {"description": "A job; see /v1/jobs/{id}."}})
async def add_document(
    request: Request,
    response: Response,
    ctx: Annotated[TenantContext, tenant("documents:write")],
    file: Annotated[UploadFile, File(description=_KINDS)],
    named: Annotated[_Named, Depends(_named)],
    wait: bool | None = None,
) -> dict[str, Any]:
    """Add a document; the same bytes give the same document back.

    With a `source`, such as a path, it takes the place of the version before under that source.
    With `groups`, only their members may read it: for groups of one's own, or for any by an admin.
    Without, it is for everybody, or for whom the version before is.
    Up to 1 MiB it is there when the answer comes. A larger one, or with `wait=false`, is left to
    the workers: the answer is 202 with a job, in whose `document_id` it will be.
    """
    platform = platform_of(request)
    name = named.title or file.filename
    if not name:
        raise InvalidRequest("A document needs a title or a file name.")
    content = await upload_bytes(file, platform.settings.max_upload_bytes)
    upload = Upload(name, file.content_type, content, named.source, named.groups)
    if wait if wait is not None else len(content) <= _AT_ONCE_BYTES:
        return document_json(await platform.ingestor.ingest(ctx, upload))
    accepted = await platform.ingestor.accept(ctx, upload)
    if isinstance(accepted, Document):
        return document_json(accepted)
    response.status_code = 202
    response.headers["location"] = f"/v1/jobs/{accepted.job_id}"
    return job_json(accepted)


@router.post("/search")
async def search_documents(
    request: Request, body: SearchBody, ctx: Annotated[TenantContext, tenant("documents:read")]
) -> dict[str, Any]:
    """The passages that answer a query best, each with where it stands; metered as a search."""
    found = await platform_of(request).retriever.search(ctx, body.query, body.limit, body.filter())
    return {"data": [asdict(passage) for passage in found]}


@router.get("/{document_id}")
async def get_document(
    request: Request, document_id: str, ctx: Annotated[TenantContext, tenant("documents:read")]
) -> dict[str, Any]:
    """One document, without its text."""
    return document_json(await platform_of(request).documents.get(ctx, known_id(document_id)))


@router.put("/{document_id}/access")
async def restrict_document(
    request: Request,
    document_id: str,
    body: AccessBody,
    ctx: Annotated[TenantContext, tenant("members:write")],
) -> dict[str, Any]:
    """Say who may read a document: the members of some groups, or, of none, everybody; at once."""
    document = known_id(document_id)
    return document_json(await platform_of(request).documents.restrict(ctx, document, body.groups))


@router.delete("/{document_id}", status_code=204)
async def delete_document(
    request: Request, document_id: str, ctx: Annotated[TenantContext, tenant("documents:write")]
) -> None:
    """Remove a document: passages, vectors, and the job that is adding it, at once."""
    await platform_of(request).documents.delete(ctx, known_id(document_id))
