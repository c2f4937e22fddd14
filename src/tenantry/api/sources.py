"""Connectors of the caller's tenant, tables of their files, and verified queries over them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile

from tenantry.api.bodies import ConnectorBody, PatternBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.api.documents import upload_bytes
from tenantry.api.members import Limit, known_id
from tenantry.connectors.base import ConnectorConfig
from tenantry.connectors.data_tables import DataTable
from tenantry.connectors.file_store import TableUpload
from tenantry.isolation.context import TenantContext
from tenantry.memory.patterns import Pattern

router = APIRouter(prefix="/v1", tags=["data"])


def connector_json(config: ConnectorConfig) -> dict[str, Any]:
    """A connector as the API shows it."""
    shown = asdict(config)
    return {"id": shown.pop("connector"), **shown}


def table_json(found: DataTable) -> dict[str, Any]:
    """A table as the API shows it."""
    return {
        **asdict(found.table),
        "sha256": found.sha256.hex(),
        "size_bytes": found.size_bytes,
        "created_at": found.created_at,
    }


def pattern_json(found: Pattern) -> dict[str, Any]:
    """A verified query as the API shows it."""
    shown = asdict(found)
    del shown["owner"]
    return {"id": shown.pop("pattern_id"), **shown}


@router.get("/connectors")
async def list_connectors(
    request: Request,
    ctx: Annotated[TenantContext, tenant("data:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Connectors, oldest first."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "connectors", cursor)
    found = await platform.connectors.list_connectors(ctx, after, limit + 1)
    rows = [connector_json(config) for config in found]
    return platform.cursors.page(ctx.tenant, "connectors", rows, limit, lambda row: row["id"])


@router.post("/connectors", status_code=201)
async def create_connector(
    request: Request, body: ConnectorBody, ctx: Annotated[TenantContext, tenant("data:write")]
) -> dict[str, Any]:
    """Add a connector; of kind `files`, its tables are uploaded afterwards."""
    options: Mapping[str, Any] = body.options
    return connector_json(
        await platform_of(request).connectors.create(ctx, body.name, body.kind, options)
    )


@router.get("/connectors/{connector_id}")
async def get_connector(
    request: Request, connector_id: str, ctx: Annotated[TenantContext, tenant("data:read")]
) -> dict[str, Any]:
    """One connector."""
    return connector_json(await platform_of(request).connectors.get(ctx, known_id(connector_id)))


@router.delete("/connectors/{connector_id}", status_code=204)
async def delete_connector(
    request: Request, connector_id: str, ctx: Annotated[TenantContext, tenant("data:write")]
) -> None:
    """Remove a connector with its tables and the verified queries over it."""
    await platform_of(request).connectors.remove(ctx, known_id(connector_id))


@router.post("/connectors/{connector_id}/test")
async def test_connector(
    request: Request, connector_id: str, ctx: Annotated[TenantContext, tenant("data:read")]
) -> dict[str, Any]:
    """Open everything the connector leads to, once; a failure says what and why."""
    platform = platform_of(request)
    config = await platform.connectors.get(ctx, known_id(connector_id))
    await platform.connectors.source(ctx, config).test()
    return {"ok": True}


@router.get("/connectors/{connector_id}/tables")
async def list_tables(
    request: Request, connector_id: str, ctx: Annotated[TenantContext, tenant("data:read")]
) -> dict[str, Any]:
    """Tables of a connector of files, with their columns."""
    found = await platform_of(request).files.list_tables(ctx, known_id(connector_id))
    return {"data": [table_json(table) for table in found]}


@router.post("/connectors/{connector_id}/tables", status_code=201)
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


@router.delete("/connectors/{connector_id}/tables/{table}", status_code=204)
async def delete_table(
    request: Request,
    connector_id: str,
    table: str,
    ctx: Annotated[TenantContext, tenant("data:write")],
) -> None:
    """Remove a table with its file."""
    await platform_of(request).files.remove(ctx, known_id(connector_id), table)


@router.get("/patterns")
async def list_patterns(
    request: Request,
    ctx: Annotated[TenantContext, tenant("data:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Verified queries at their current versions, oldest first."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "patterns", cursor)
    found = await platform.patterns.list_patterns(ctx, after, limit + 1)
    rows = [pattern_json(pattern) for pattern in found]
    return platform.cursors.page(ctx.tenant, "patterns", rows, limit, lambda row: row["id"])


@router.post("/patterns", status_code=201)
async def add_pattern(
    request: Request, body: PatternBody, ctx: Annotated[TenantContext, tenant("data:write")]
) -> dict[str, Any]:
    """Teach a question and the SQL that answers it."""
    platform = platform_of(request)
    config = await platform.connectors.find(ctx, body.connector)
    return pattern_json(await platform.patterns.add(ctx, config.connector, body.question, body.sql))


@router.get("/patterns/{pattern_id}")
async def get_pattern(
    request: Request, pattern_id: str, ctx: Annotated[TenantContext, tenant("data:read")]
) -> dict[str, Any]:
    """One verified query."""
    return pattern_json(await platform_of(request).patterns.get(ctx, known_id(pattern_id)))


@router.delete("/patterns/{pattern_id}", status_code=204)
async def delete_pattern(
    request: Request, pattern_id: str, ctx: Annotated[TenantContext, tenant("data:write")]
) -> None:
    """Forget a verified query."""
    await platform_of(request).patterns.remove(ctx, known_id(pattern_id))
