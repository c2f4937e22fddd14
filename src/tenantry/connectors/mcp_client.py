"""One session with an MCP server, spoken by the official SDK over a way of ours (CON-1, CON-4).

Threat: a server that hangs, floods, breaks off, or says what is no MCP; one whose schemas hold
regular expressions that never end; texts of its own in our log.
Invariant: a session ends in its time whatever the server does, with an error that says what was
wrong; nothing of the server's is executed, logged, or believed. Of the SDK the protocol alone is
used: it would check results against the server's own schemas, and so run its expressions.

The SDK takes a second to load, so that this module is imported when it is first needed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import anyio
from mcp import types
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ValidationError

from tenantry.connectors.openapi_schema import clean
from tenantry.core.errors import QueryFailed, QueryTimeout, TenantryError
from tenantry.core.events import Json

_MOST_TOOLS = 2_000
_MOST_PAGES = 40
_EXCERPT = 400
_FIRST_WITHOUT_HANDSHAKE = "2026-07-28"  # versions are dates; "auto" costs older ones a request
_US = types.Implementation(name="tenantry", version="1")
_NO_MCP = "The server's answer does not fit the Model Context Protocol."
_ENDED = "The server ended the session before it had answered."
T = TypeVar("T")

# It logs what servers say, with tracebacks that quote it: a tenant's data in the operator's log.
for _name in ("mcp", "httpx2"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class Way(Protocol):
    """How a server is reached for one session.

    Attributes:
        failure: what went wrong on the way, if anything did: the reason of all that follows.
        status: of the last answer, when it is HTTP; 0 otherwise.
    """

    failure: TenantryError | None
    status: int

    def transport(self) -> AbstractAsyncContextManager[Any]:
        """The SDK's two streams, for as long as the block runs."""
        ...


class McpSession:
    """An open session."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def protocol(self) -> str:
        """The version that both speak."""
        return self._client.protocol_version

    async def tools(self) -> dict[str, Mapping[str, Json]]:
        """Definitions of all tools, by name, as the server gave them; the first of equal names.

        Raises:
            QueryFailed: it lists more than anybody could want, or without an end.
        """
        found: dict[str, Mapping[str, Json]] = {}
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
            page = await self._client.session.list_tools(params=params)
            for tool in page.tools:
                found.setdefault(tool.name, _raw(tool))
            if len(found) > _MOST_TOOLS:
                break
            cursor = page.next_cursor
            if not cursor:
                return found
        raise QueryFailed(f"The server lists more than {_MOST_TOOLS} tools, or without an end.")

    async def call(self, tool: str, arguments: Mapping[str, Json]) -> dict[str, Json]:
        """What a tool answered: `content`, `structuredContent` and `isError`, as they came."""
        params = types.CallToolRequestParams(name=tool, arguments=dict(arguments))
        request = types.CallToolRequest(params=params)
        return _raw(await self._client.session.send_request(request, types.CallToolResult))


async def in_session(
    way: Way, protocol: str, timeout_s: float, work: Callable[[McpSession], Awaitable[T]]
) -> T:
    """Do something in a session, which is over afterwards.

    Args:
        way: to the server; used once.
        protocol: version that the server spoke last; empty if that is not known.
        timeout_s: for all of it.
        work: what is to be done.

    Raises:
        EgressRefused: it may not be reached; recorded.
        QueryFailed: it cannot be reached, speaks no MCP, or says that it went wrong.
        QueryTimeout: it took too long.
        TenantryError: whatever `work` raises.
    """
    mode = "legacy" if protocol and protocol < _FIRST_WITHOUT_HANDSHAKE else "auto"
    client = Client(way.transport(), mode=mode, cache=None, client_info=_US)
    try:
        async with asyncio.timeout(timeout_s), client:
            return await work(McpSession(client))
    except TimeoutError:
        raise way.failure or QueryTimeout("The MCP server did not answer in time.") from None
    except (TenantryError, MCPError, ValidationError, RuntimeError, ExceptionGroup) as error:
        meant = _meant(error, way)
        if meant is None:
            raise
        raise meant from None
    except (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError):
        raise way.failure or QueryFailed(_ENDED) from None


def _raw(model: BaseModel) -> dict[str, Json]:
    dumped: dict[str, Json] = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return dumped


def _meant(error: BaseException, way: Way) -> TenantryError | None:
    """What a failed session is called: the way's reason first, then the first that says one."""
    said = list(_leaves(error))
    if way.failure is not None:
        return way.failure
    for each in said:
        if isinstance(each, TenantryError):
            return each
    for each in said:
        if isinstance(each, MCPError):
            return _refusal(each, way.status)
        if isinstance(each, ValidationError):
            return QueryFailed(_NO_MCP)
    closed = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)
    if any(isinstance(each, closed) for each in said):
        return QueryFailed(_ENDED)
    return QueryFailed(_NO_MCP) if any(isinstance(e, RuntimeError) for e in said) else None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _refusal(error: MCPError, status: int) -> TenantryError:
    if error.code == types.REQUEST_TIMEOUT:
        return QueryTimeout("The MCP server did not answer in time.")
    if error.code == types.PARSE_ERROR:
        return QueryFailed(_NO_MCP)  # the SDK's own words quote what was sent
    if error.code == types.CONNECTION_CLOSED:
        return QueryFailed(_ENDED)
    if status >= 400:
        return QueryFailed(f"The MCP server answered {status}{_phrase(status)}.")
    return QueryFailed(f"The MCP server refused: {clean(error.error.message, _EXCERPT)}")


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
