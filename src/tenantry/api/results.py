"""Results that were too large for an answer, as files of the member who asked."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id
from tenantry.connectors.result_files import ResultFile
from tenantry.isolation.context import TenantContext

router = APIRouter(prefix="/v1/results", tags=["data"])


def result_json(found: ResultFile) -> dict[str, Any]:
    """A kept result as the API shows it."""
    shown = asdict(found)
    return {"id": shown.pop("result_id"), **shown}


@router.get("")
async def list_results(
    request: Request,
    ctx: Annotated[TenantContext, tenant("conversations:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """The caller's kept results, oldest first."""
    platform = platform_of(request)
    # Sealed to the member too: a colleague's cursor is as foreign as a neighbour's.
    collection = f"results:{ctx.member}"
    after = platform.cursors.read_id(ctx.tenant, collection, cursor)
    found = await platform.results.list_own(ctx, after, limit + 1)
    rows = [result_json(result) for result in found]
    return platform.cursors.page(ctx.tenant, collection, rows, limit, lambda row: row["id"])


@router.get("/{result_id}")
async def get_result(
    request: Request, result_id: str, ctx: Annotated[TenantContext, tenant("conversations:read")]
) -> dict[str, Any]:
    """One of the caller's kept results, without its rows."""
    return result_json(await platform_of(request).results.get(ctx, known_id(result_id)))


@router.get("/{result_id}/content.csv", response_class=Response)
async def get_result_content(
    request: Request, result_id: str, ctx: Annotated[TenantContext, tenant("conversations:read")]
) -> Response:
    """The rows of one of the caller's kept results, as CSV."""
    text = await platform_of(request).results.content(ctx, known_id(result_id))
    headers = {
        "content-disposition": f'attachment; filename="{known_id(result_id)}.csv"',
        "x-content-type-options": "nosniff",
    }
    return Response(text, media_type="text/csv", headers=headers)


@router.delete("/{result_id}", status_code=204)
async def delete_result(
    request: Request, result_id: str, ctx: Annotated[TenantContext, tenant("conversations:write")]
) -> None:
    """Remove one of the caller's kept results."""
    await platform_of(request).results.remove(ctx, known_id(result_id))
