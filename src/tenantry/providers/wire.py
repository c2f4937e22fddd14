"""One connection to a provider, HTTP/1.1: one exchange after the other, taken apart by httptools.

Threat: what a provider sends after one answer is taken for the beginning of the next one, which is
another tenant's; a head or a body that never ends fills the memory; a connection is lost unseen.
Invariant: a connection is used again only if its answer ended by its own framing, nothing followed
it, and neither side wants to close; no more of a body is read than is asked for.
"""

import asyncio
from enum import IntEnum
from typing import cast

import httptools

from tenantry.core.errors import (
    ProviderError,
    ProviderMalformed,
    ProviderTimeout,
    ProviderUnavailable,
)

_MOST_HEAD_BYTES = 16 * 1024
_FINAL = 200
"""Statuses below are interim (RFC 9110, 15.2): the answer is still to come."""
_MOST_UNREAD_BYTES = 256 * 1024


class Interrupted(ProviderUnavailable):
    """The connection to the model provider broke before it answered; it may have done the work."""


class _State(IntEnum):
    IDLE = 0
    ASKED = 1
    BODY = 2
    ENDED = 3
    CLOSED = 4


class Wire(asyncio.Protocol):
    """See the module.

    Attributes:
        status: of the answer under way.
        headers: of that answer, by name in lower case.
        idle_since: when its last exchange ended, by the loop's clock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.idle_since = 0.0
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._state = _State.IDLE
        self._head_bytes = 0
        self._pieces: list[bytes] = []
        self._unread = 0
        self._is_paused = False
        self._is_framed = self._may_stay = False
        self._error: ProviderError | None = None
        self._news: asyncio.Future[None] | None = None

    # What the caller does.

    async def ask(self, request: bytes, wait_s: float) -> None:
        """Send a request; the answer's head is there on return.

        Raises:
            Interrupted: the connection broke before.
            ProviderTimeout: it did not come in time.
            ProviderMalformed: it is no HTTP.
        """
        self._state, self._head_bytes, self.status = _State.ASKED, 0, 0
        self._is_framed = self._may_stay = False
        self.headers = {}
        if self._transport is None or self._transport.is_closing():
            raise Interrupted
        self._transport.write(request)
        while self._state is _State.ASKED:
            await self._wait(wait_s)
        if self.status == 0 and self._error is not None:
            raise self._error

    async def piece(self, wait_s: float) -> bytes:
        """What has come of the body since; empty at its end.

        Raises:
            ProviderTimeout: nothing came in time.
            ProviderMalformed: it was cut short.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._state >= _State.ENDED:
                return b""
            await self._wait(wait_s)
        pieces, self._pieces, self._unread = self._pieces, [], 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self) -> bool:
        """The answer was read to its end: whether another exchange may follow."""
        if self._state is not _State.ENDED or not self._may_stay or not self.is_open:
            self.close()
            return False
        self._state, self.idle_since = _State.IDLE, self._loop.time()
        return True

    def close(self) -> None:
        """Hang up; safe to repeat."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether neither side has hung up."""
        return self._transport is not None and not self._transport.is_closing()

    async def _wait(self, wait_s: float) -> None:
        self._news = self._loop.create_future()
        timer = self._loop.call_later(wait_s, self._late)
        try:
            await self._news
        finally:
            timer.cancel()
            self._news = None

    # What the event loop does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what the provider sent."""
        if self._state is not _State.ASKED and self._state is not _State.BODY:
            self._may_stay = False
            self.close()  # nobody asked
            return
        is_head = self._state is _State.ASKED
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ProviderMalformed())
            return
        if is_head and self._state is _State.ASKED:
            self._grow(len(data))
        if self._unread > _MOST_UNREAD_BYTES and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that it is over, in the middle of something or not."""
        if self._state is _State.ASKED:
            self._error = self._error or Interrupted()
        elif self._state is _State.BODY and (self._is_framed or exc is not None):
            self._error = self._error or _broken_off()
        self._state, self._may_stay, self._transport = _State.CLOSED, False, None
        self._wake()

    # What the parser does.

    def on_message_begin(self) -> None:
        """Take note of an answer that nobody asked for."""
        if self._state is not _State.ASKED:
            self._may_stay = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what trails a body is dropped."""
        if self._state is not _State.ASKED:
            return
        self._grow(len(name) + len(value))
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self.headers.get(key)
        self.headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        """The answer has begun, unless this was only word that it will."""
        status = self._parser.get_status_code()
        if self._state is not _State.ASKED:
            return
        if status < _FINAL:
            self.headers = {}
            return
        self.status, self._state = status, _State.BODY
        self._is_framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        self._may_stay = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        if self._state is _State.BODY:
            self._pieces.append(body)
            self._unread += len(body)
            self._wake()

    def on_message_complete(self) -> None:
        """The answer has ended."""
        if self._state is _State.BODY:
            self._state = _State.ENDED
            self._wake()

    def _grow(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MOST_HEAD_BYTES:
            self._fail(ProviderMalformed("The model provider sent headers that are too large."))

    def _late(self) -> None:
        self._fail(ProviderTimeout())

    def _fail(self, error: ProviderError) -> None:
        self._error = self._error or error
        self._may_stay = False
        self.close()
        self._state = _State.CLOSED
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _broken_off() -> ProviderMalformed:
    return ProviderMalformed("The model provider broke off its answer.")
