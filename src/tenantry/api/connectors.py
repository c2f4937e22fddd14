"""Connectors of the caller's tenant: added, tried out, described, queried, called."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import SecretStr

from tenantry.api.bodies import CallBody, ConnectorBody, ConnectorChangeBody, QueryBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id
from tenantry.api.results import result_json
from tenantry.api.streaming import result_while_connected
from tenantry.connectors.base import ConnectorConfig, QueryLimits, Source
from tenantry.connectors.catalog import Added, NewConnector
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.tools.direct import DirectResult

router = APIRouter(prefix="/v1/connectors", tags=["data"])


def connector_json(config: ConnectorConfig) -> dict[str, Any]:
    """A connector as the API shows it; its secrets are shown to nobody."""
    shown = asdict(config)
    return {"id": shown.pop("connector"), **shown}


def _added_json(added: Added) -> dict[str, Any]:
    return {**connector_json(added.config), "warnings": list(added.warnings)}


def _secrets(given: Mapping[str, SecretStr]) -> dict[str, Secret]:
    return {name: Secret(value.get_secret_value()) for name, value in given.items()}


def _result_json(found: DirectResult) -> dict[str, Any]:
    result = found.result
    return {
        "columns": list(result.columns),
        "types": list(result.types),
        # What is in the file is not sent twice.
        "rows": [] if found.file else [list(row) for row in result.rows],
        "row_count": len(result.rows),
        "truncated": result.truncated,
        "sql": result.sql,
        "duration_ms": result.duration_ms,
        "size_bytes": result.size_bytes,
        "file": result_json(found.file) if found.file else None,
    }


@router.get("")
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


@router.post("", status_code=201)
async def create_connector(
    request: Request, body: ConnectorBody, ctx: Annotated[TenantContext, tenant("data:write")]
) -> dict[str, Any]:
    """Add a connector; its source is reached once first, and its login checked.

    The tables of one of kind `files` are uploaded afterwards. `warnings` says what could be safer.
    """
    new = NewConnector(body.name, body.kind, body.options, _secrets(body.secrets))
    return _added_json(await platform_of(request).connectors.create(ctx, new))


@router.get("/{connector_id}")
async def get_connector(
    request: Request, connector_id: str, ctx: Annotated[TenantContext, tenant("data:read")]
) -> dict[str, Any]:
    """One connector, without its secrets."""
    return connector_json(await platform_of(request).connectors.get(ctx, known_id(connector_id)))


@router.patch("/{connector_id}")
async def change_connector(
    request: Request,
    connector_id: str,
    body: ConnectorChangeBody,
    ctx: Annotated[TenantContext, tenant("data:write")],
) -> dict[str, Any]:
    """Give a connector other options, other secrets (rotation), or both; what is left out stays.

    Queries under way end with the earlier secrets; every later one uses the new. Another
    destination needs the secrets again.
    """
    secrets = None if body.secrets is None else _secrets(body.secrets)
    return _added_json(
        await platform_of(request).connectors.change(
            ctx, known_id(connector_id), body.options, secrets
        )
    )


@router.delete("/{connector_id}", status_code=204)
async def delete_connector(
    request: Request, connector_id: str, ctx: Annotated[TenantContext, tenant("data:write")]
) -> None:
    """Remove a connector with its tables, its secrets and the verified queries over it."""
    await platform_of(request).connectors.remove(ctx, known_id(connector_id))


@router.post("/{connector_id}/test")
async def test_connector(
    request: Request, connector_id: str, ctx: Annotated[TenantContext, tenant("data:read")]
) -> dict[str, Any]:
    """Reach the source once; a failure says what and why."""
    await platform_of(request).connectors.test(ctx, known_id(connector_id))
    return {"ok": True}


@router.get("/{connector_id}/schema")
async def describe_connector(
    request: Request,
    connector_id: str,
    ctx: Annotated[TenantContext, tenant("data:read")],
    refresh: bool = False,
) -> dict[str, Any]:
    """What a connector leads to, within its access pattern: tables with columns, or operations."""
    platform = platform_of(request)
    config = await platform.connectors.get(ctx, known_id(connector_id))
    shown: dict[str, Any] = {"id": config.connector, "name": config.name, "kind": config.kind}
    source = platform.connectors.opened(ctx, config)
    if isinstance(source, Source):
        tables = await source.describe(refresh=refresh)
        return {**shown, "tables": [asdict(table) for table in tables], "operations": []}
    operations = await source.operations()
    return {**shown, "tables": [], "operations": [asdict(each) for each in operations]}


@router.post("/{connector_id}/query")
async def query_connector(
    request: Request,
    connector_id: str,
    body: QueryBody,
    ctx: Annotated[TenantContext, tenant("data:read")],
) -> dict[str, Any]:
    """Run one read-only SQL statement over a connector's tables; metered like a model's.

    With `to_file`, all rows (at most 100,000) are kept as a CSV file for a week. A client that
    leaves has the statement stopped at its database.
    """
    limits = QueryLimits(body.max_rows, 8_000_000, 20.0)
    if body.to_file:
        limits = QueryLimits(100_000, 20_000_000, 25.0)
    found = await result_while_connected(
        request.receive,
        platform_of(request).direct.query(
            ctx, known_id(connector_id), body.sql, limits, to_file=body.to_file
        ),
    )
    return {} if found is None else _result_json(found)


@router.post("/{connector_id}/call")
async def call_connector(
    request: Request,
    connector_id: str,
    body: CallBody,
    ctx: Annotated[TenantContext, tenant("data:write")],
) -> dict[str, Any]:
    """Make one call that a connector of an API or an MCP server offers; metered like a model's."""
    answer = await platform_of(request).direct.call(
        ctx, known_id(connector_id), body.operation, body.arguments, QueryLimits()
    )
    return {"answer": answer}
