"""`describe_api`, `call_api`: operations of the tenant's own APIs and tools (CON-1, SEC-3)."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import orjson
from pydantic import Field

from tenantry.connectors.approvals import Asked
from tenantry.connectors.base import ConnectorConfig, Operation, QueryLimits
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.core.errors import InvalidRequest, NotFound, QueryRefused
from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext
from tenantry.tools.base import Attachment, Citation, ToolResult, at
from tenantry.tools.data import ConnectorName
from tenantry.tools.references import References

_LIMITS = QueryLimits(max_bytes=40_000, timeout_s=25.0)
_MOST_DEPTH = 16
_NAMES_SHOWN = 50
_ARGUMENTS = "What describe_api asks for, as one JSON object in text"
_QUOTE_CHARS = 300
_NOT_YET = (
    "Nothing was done. The call waits for the member, who sees it beside your answer and has five "
    "minutes. You cannot approve it; do not say that it was done."
)
OperationName = Annotated[str, Field(max_length=200, description="An operation that it lists")]


class DescribeApi:
    """Describes one operation; the tenant is inside."""

    name = "describe_api"

    def __init__(self, ctx: TenantContext, catalog: ConnectorCatalog) -> None:
        self._ctx = ctx
        self._catalog = catalog

    async def run(self, connector: ConnectorName, operation: OperationName) -> ToolResult:
        """Describe one operation of a connector: what it does and which arguments it takes."""
        config = await self._catalog.find(self._ctx, connector)
        with at(config.connector):
            source = self._catalog.operation_source(self._ctx, config)
            found = _named(await source.operations(), operation)
        content: Json = {
            "connector": connector,
            "operation": found.name,
            "description": found.description,
            "effect": "suspended" if found.suspended else found.effect,
            "arguments": found.parameters,
        }
        return ToolResult(content, f"connector:{connector}", connector=config.connector)


class CallApi:
    """Makes one call; the tenant is inside."""

    name = "call_api"

    def __init__(
        self, ctx: TenantContext, catalog: ConnectorCatalog, references: References
    ) -> None:
        self._ctx = ctx
        self._catalog = catalog
        self._references = references

    async def run(
        self,
        connector: ConnectorName,
        operation: OperationName,
        arguments: Annotated[str, Field(max_length=20_000, description=_ARGUMENTS)] = "{}",
    ) -> ToolResult:
        """Call one operation of a connector; describe_api says which arguments it takes."""
        config = await self._catalog.find(self._ctx, connector)
        read = _read(arguments)
        with at(config.connector):
            source = self._catalog.operation_source(self._ctx, config)
            digest = await source.to_approve(operation, read)
            if digest is not None:
                return await self._asked(config, Asked(config.connector, operation, read, digest))
            answer = await source.call(operation, read, _LIMITS)
        said = orjson.dumps(read, option=orjson.OPT_SORT_KEYS).decode()
        ref = self._references.of("call", (connector, operation, said))
        content: Json = {"ref": ref, "operation": operation, "answer": answer}
        locator = f"{operation} {said}"[:_QUOTE_CHARS]
        citation = Citation(ref, "call", connector, locator, 0, 1)
        return ToolResult(
            content, f"connector:{connector}", (citation,), 1, connector=config.connector
        )

    async def _asked(self, config: ConnectorConfig, asked: Asked) -> ToolResult:
        """Let the call wait for the member, and say so."""
        if self._references.conversation is None:
            raise QueryRefused("Nobody can approve this call here.")
        approval = await self._catalog.approvals.ask(
            self._ctx, self._references.conversation, asked
        )
        ref = self._references.of("approval", approval.approval_id)
        waiting = Attachment(
            ref,
            "approval",
            f"{asked.operation} {orjson.dumps(asked.arguments).decode()}"[:_QUOTE_CHARS],
            config.name,
            "",
            0,
            approval_id=str(approval.approval_id),
        )
        content: Json = {"approval": ref, "operation": asked.operation, "note": _NOT_YET}
        return ToolResult(
            content,
            f"connector:{config.name}",
            connector=config.connector,
            attachments=(waiting,),
        )


def _read(arguments: str) -> Mapping[str, Json]:
    try:
        read: Json = orjson.loads(arguments or "{}")
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise InvalidRequest("arguments is not valid JSON.") from None
    if not isinstance(read, dict):
        raise InvalidRequest("arguments is not a JSON object.")
    if _is_deep(read):
        raise InvalidRequest("arguments is nested too deeply.")
    return read


def _is_deep(value: Json) -> bool:
    level: list[Json] = [value]
    for _ in range(_MOST_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(level)


def _named(operations: Sequence[Operation], name: str) -> Operation:
    for operation in operations:
        if operation.name == name:
            return operation
    known = ", ".join(operation.name for operation in operations[:_NAMES_SHOWN])
    raise NotFound(f"There is no operation of this name. Known: {known or 'none'}.")
