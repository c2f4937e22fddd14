"""A client's connection: one that sends a request's head too slowly is not kept.

uvicorn bounds neither the time that the head of a request takes to arrive, nor that in which a new
connection says nothing; a program that opens thousands of them and trickles would hold them all.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tenantry.api.problems import problem
from tenantry.core.errors import TooSlow
from tenantry.core.ids import new_id


class BoundedConnection(HttpToolsProtocol):
    """Closes a connection that waits for a request's head for longer than agreed.

    A head that comes in one piece, as nearly all do, costs two comparisons and no timer. Between
    two requests uvicorn's own bound of an idle connection holds.
    """

    header_timeout_s = 20.0
    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request's head."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request; wait for the rest of its head, if that is not there yet."""
        super().data_received(data)
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        if cycle is None or cycle.response_complete:
            if self._head_due is None:
                self._await_head()
        elif self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing comes any more."""
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _too_slow(self) -> None:
        self._head_due = None
        if self.transport.is_closing():
            return
        scope: Any = self.scope  # None before the first request
        if scope is not None and "method" not in scope:  # a head has begun
            self.transport.write(_refusal())
        self.transport.close()


def bounded(header_timeout_s: float) -> type[BoundedConnection]:
    """Connections on which a request's head has so many seconds to arrive."""
    attributes: dict[str, Any] = {"header_timeout_s": header_timeout_s}
    return type("BoundedConnection", (BoundedConnection,), attributes)


def _refusal() -> bytes:
    """The answer to half a head, as it goes on the wire."""
    answer = problem(TooSlow("The request's headers did not arrive in time."), new_id().hex)
    lines = [b"%b: %b\r\n" % header for header in answer.raw_headers]
    return b"".join((b"HTTP/1.1 408 Request Timeout\r\n", *lines, b"\r\n", bytes(answer.body)))
