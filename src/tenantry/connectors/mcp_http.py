"""An MCP server over streamable HTTP: every request of the SDK leaves through the egress guard.

Threat: the SDK's own HTTP client would resolve, connect and redirect as it likes (CON-4).
Invariant: there is no other transport beneath the SDK than this one; host, port and origin are the
configuration's, addresses are checked as for every other source, and address and credential are
added last, where neither the SDK nor its log can see them.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from tenantry.connectors.answers import MOST_BYTES
from tenantry.connectors.http_credentials import Credentials
from tenantry.connectors.option_values import BaseUrl
from tenantry.core.clock import Clock
from tenantry.core.errors import QueryFailed, TenantryError
from tenantry.isolation.context import TenantContext
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.messages import Allowance, EgressRequest, EgressStream

_MOST_LINES = 4_000  # of a stream of events: each event takes the SDK half a millisecond
_SOMEWHERE = "https://mcp.invalid/"  # all that the SDK is told of where it speaks to
_GOODBYE_S = 2.0  # for telling the server that the session is over


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, and how it is reached.

    Attributes:
        base: its URL.
        credentials: how requests are signed.
        egress: the way out.
        clock: time.
    """

    base: BaseUrl
    credentials: Credentials
    egress: EgressGuard
    clock: Clock


class HttpWay:
    """A way over HTTP, for one session of one tenant."""

    def __init__(self, ctx: TenantContext, server: Server, timeout_s: float) -> None:
        """Opens nothing.

        Args:
            ctx: whose session it is.
            server: where it leads.
            timeout_s: for all of it.
        """
        self.failure: TenantryError | None = None
        self.status = 0
        self._ctx = ctx
        self._server = server
        self._deadline = server.clock.monotonic() + timeout_s

    def transport(self) -> AbstractAsyncContextManager[Any]:
        """The SDK's two streams."""
        return self._streams()

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[Any]:
        async with (
            httpx2.AsyncClient(transport=_Guarded(self), timeout=None, trust_env=False) as client,
            streamable_http_client(
                _SOMEWHERE, http_client=client, max_sse_event_size=MOST_BYTES
            ) as streams,
        ):
            yield streams

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        """What the server answers; a failure on the way is remembered, and a status to the SDK."""
        if request.method == "GET" or self.failure is not None:
            # Nobody waits for what a server says unasked. And what was refused once is not tried
            # again: each refusal is one event.
            return httpx2.Response(405)
        sent = EgressRequest(
            request.method, self._server.base.url, dict(request.headers), await request.aread()
        )
        stack = AsyncExitStack()
        try:
            stream = await stack.enter_async_context(
                self._server.egress.stream(
                    self._ctx,
                    "mcp",
                    self._server.credentials.signed(sent),
                    self._allowance(is_last=request.method == "DELETE"),
                )
            )
        except TenantryError as error:
            self.fail(error)
            return httpx2.Response(502)
        if request.method == "POST":
            self.status = stream.status
        body = _Body(self, stack, stream)
        return httpx2.Response(stream.status, headers=dict(stream.headers), stream=body)

    def fail(self, error: TenantryError) -> None:
        """Remember why nothing came; the first reason is the one."""
        self.failure = self.failure or error

    def _allowance(self, *, is_last: bool) -> Allowance:
        left = self._deadline - self._server.clock.monotonic()
        return Allowance(
            hosts=frozenset({self._server.base.host}),  # also after a redirect
            ports=frozenset({self._server.base.port}),
            max_bytes=MOST_BYTES,
            timeout_s=_GOODBYE_S if is_last else max(0.1, left),
        )


class _Guarded(httpx2.AsyncBaseTransport):
    """What the SDK's client sends with."""

    def __init__(self, way: HttpWay) -> None:
        self._way = way

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer to one request."""
        return await self._way.answer(request)


class _Body(httpx2.AsyncByteStream):
    """An answer's body, as far as it is let in."""

    def __init__(self, way: HttpWay, stack: AsyncExitStack, stream: EgressStream) -> None:
        self._way = way
        self._stack = stack
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        is_events = self._stream.headers.get("content-type", "").startswith("text/event-stream")
        lines = 0
        try:
            async for chunk in self._stream.chunks:
                lines += chunk.count(b"\n") + chunk.count(b"\r")
                if is_events and lines > _MOST_LINES:
                    raise QueryFailed("The server sent too many events before its answer.")
                yield chunk
        except TenantryError as error:
            self._way.fail(error)
            raise httpx2.StreamError("The answer was not read to its end.") from None

    async def aclose(self) -> None:
        await self._stack.aclose()
