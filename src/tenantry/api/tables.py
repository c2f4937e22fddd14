"""Tables of a connector of files: uploaded, listed, removed."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile

from tenantry.api.credentials import platform_of, tenant
from tenantry.api.documents import upload_bytes
from tenantry.api.members import known_id
from tenantry.connectors.data_tables import DataTable
from tenantry.connectors.file_store import TableUpload
from tenantry.isolation.context import TenantContext

router = APIRouter(prefix="/v1/connectors/{connector_id}/tables", tags=["data"])


def table_json(found: DataTable) -> dict[str, Any]:
    """A table as the API shows it."""
    return {
        **asdict(found.table),
        "sha256": found.sha256.hex(),
        "size_bytes": found.size_bytes,
        "created_at": found.created_at,
    }


@router.get("")
async def list_tables(
    request: Request, connector_id: str, ctx: Annotated[TenantContext, tenant("data:read")]
) -> dict[str, Any]:
    """Tables of a connector of files, with their columns."""
    found = await platform_of(request).files.list_tables(ctx, known_id(connector_id))
    return {"data": [table_json(table) for table in found]}


@router.post("", status_code=201)
async def add_table(
    request: Request,
    connector_id: str,
    ctx: Annotated[TenantContext, tenant("data:write")],
    file: Annotated[UploadFile, File(description="CSV or TSV with column names, or Parquet")],
    table: Annotated[str, Form(max_length=63)],
    description: Annotated[str, Form(max_length=2000)] = "",
) -> dict[str, Any]:
    """Add a file as a table; the same bytes under the same name give the same table."""
    platform = platform_of(request)
    content = await upload_bytes(file, platform.settings.max_upload_bytes)
    upload = TableUpload(table, content, description)
    return table_json(await platform.files.add(ctx, known_id(connector_id), upload))


@router.delete("/{table}", status_code=204)
async def delete_table(
    request: Request,
    connector_id: str,
    table: str,
    ctx: Annotated[TenantContext, tenant("data:write")],
) -> None:
    """Remove a table with its file."""
    await platform_of(request).files.remove(ctx, known_id(connector_id), table)
