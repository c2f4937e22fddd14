"""The one way out to a provider: bytes in, bytes out.

Threat: a provider stalls, floods, redirects to somewhere else, or compresses a bomb.
Invariant: the account's key goes to the account's own base URL and nowhere else (no redirect is
followed, no proxy taken from the environment, no cookie kept); every wait and every body is
bounded; the key is in no repr and no error.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from yarl import URL

from tenantry.core.errors import InvalidRequest, ProviderMalformed
from tenantry.providers.connecting import LookUp, Trust, connect
from tenantry.providers.wire import Wire

MOST_RESPONSE_BYTES = 256 << 20
_MOST_CONNECTIONS = 10_000
"""No limit but against running away: turns are the limit (`fairness`)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a provider, in seconds.

    Attributes:
        connect_s: for the connection.
        first_s: for the response's headers, and then again for the first piece of its body.
        idle_s: for each further piece.
    """

    connect_s: float = 5.0
    first_s: float = 60.0
    idle_s: float = 60.0


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """An answer whose body has not been read yet.

    Attributes:
        status: the HTTP status, whatever it is.
        headers: the response's headers; names in lower case find them.
        chunks: the body, piece by piece as it arrives.
        close: drops the connection unless the body was read to its end; safe to repeat. Closing
            `chunks` does the same, but only once its iteration has begun.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    close: Callable[[], None] = field(repr=False)


class Upstream(Protocol):
    """A provider's door for raw calls."""

    async def open(self, path: str, body: bytes, headers: Mapping[str, str]) -> UpstreamResponse:
        """POST `body` to `path` below the base URL; the answer, whatever its status.

        The account's own headers, such as its key, replace those of the same name.

        Raises:
            Unreached: there was no connection; nothing was sent.
            Interrupted: the connection broke before an answer came.
            ProviderTimeout: no answer in time. Reading `chunks` raises it as well.
            ProviderMalformed: not HTTP. Reading `chunks` raises it when the body is cut short.
        """
        ...

    async def close(self) -> None:
        """Drop all connections."""
        ...


_PLAIN = ("content-type", "application/json")
_ALWAYS: Mapping[str, str] = MappingProxyType(
    {"accept": "*/*", "accept-encoding": "identity", "user-agent": "tenantry"}
)
_KEPT_S = 15.0
"""How long a connection that nobody uses is kept: providers drop theirs after about a minute."""
_OURS = frozenset({"connection", "content-length", "host", "transfer-encoding"})
"""Headers that frame a request: nobody else's to say."""


class HttpUpstream:
    """`Upstream` over connections of our own: one instance an account, never shared between keys.

    aiohttp's costs more than twice as much a call (docs/adr/0040-own-upstream-client.md).
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        most_response_bytes: int = MOST_RESPONSE_BYTES,
        trust: Trust | None = None,
        most_connections: int = _MOST_CONNECTIONS,
    ) -> None:
        self._base = base_url.rstrip("/")
        own = {name.lower(): value for name, value in (headers or {}).items()}
        self._fixed = {**_ALWAYS, **own}
        self._patience = patience or Patience()
        self._trust = trust or Trust()
        self._most = most_response_bytes
        self._urls: dict[str, URL] = {}
        self._heads: dict[str, str] = {}
        self._idle: list[Wire] = []
        self._wires: set[Wire] = set()
        self._turns = asyncio.Semaphore(most_connections)
        self._tidying: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"HttpUpstream({self._base!r})"

    async def open(self, path: str, body: bytes, headers: Mapping[str, str]) -> UpstreamResponse:
        """POST `body` to `path` below the base URL; see `Upstream.open`."""
        url = self._urls.get(path)
        if url is None:
            # As many as the account has paths: none comes from a client.
            url = self._urls[path] = URL(self._base + path, encoded=True)
        return await self._exchange(url, body, headers, _addresses)

    async def _exchange(
        self, url: URL, body: bytes, headers: Mapping[str, str], look_up: LookUp
    ) -> UpstreamResponse:
        """As `open`, to a whole URL; `look_up` says where a new connection may go."""
        request = self._request(url, body, headers)
        await self._turns.acquire()
        wire: Wire | None = None
        try:
            wire = self._kept() or await self._connected(url, look_up)
            await wire.ask(request, self._patience.first_s)
        except BaseException:
            self._drop(wire)
            raise
        answer = _Body(wire, self._patience, self._most, self._ended)
        return UpstreamResponse(wire.status, wire.headers, answer, answer.close)

    async def close(self) -> None:
        """Drop all connections."""
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        self._idle.clear()
        for wire in list(self._wires):
            wire.close()
        self._wires.clear()

    def _request(self, url: URL, body: bytes, headers: Mapping[str, str]) -> bytes:
        begins = self._heads.get(url.raw_path_qs)
        if begins is None:
            lines = _lines({"host": url.host_port_subcomponent or "", **self._fixed})
            begins = f"POST {url.raw_path_qs} HTTP/1.1\r\n{lines}"
            self._heads[url.raw_path_qs] = begins
        asked = dict([_PLAIN])
        for name, value in headers.items():
            if (lower := name.lower()) not in self._fixed and lower not in _OURS:
                asked[lower] = value
        return f"{begins}{_lines(asked)}content-length: {len(body)}\r\n\r\n".encode() + body

    def _kept(self) -> Wire | None:
        """A connection that is not used just now: the one used last, if it is still good."""
        oldest = asyncio.get_running_loop().time() - _KEPT_S
        while self._idle:
            wire = self._idle.pop()
            if wire.is_open and wire.idle_since > oldest:
                return wire
            wire.close()
            self._wires.discard(wire)
        return None

    async def _connected(self, url: URL, look_up: LookUp) -> Wire:
        wire = await connect(url, look_up, self._trust, self._patience.connect_s)
        self._wires.add(wire)
        return wire

    def _ended(self, wire: Wire) -> None:
        """An answer is over, read to its end or not."""
        if wire not in self._wires or not wire.release():
            self._drop(wire)
            return
        self._turns.release()
        self._idle.append(wire)
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(_KEPT_S, self._tidy)

    def _drop(self, wire: Wire | None) -> None:
        self._turns.release()
        if wire is not None:
            self._wires.discard(wire)
            wire.close()

    def _tidy(self) -> None:
        """Hang up where nobody has asked anything for long."""
        loop, self._tidying = asyncio.get_running_loop(), None
        oldest = loop.time() - _KEPT_S
        for wire in [each for each in self._idle if each.idle_since <= oldest or not each.is_open]:
            self._idle.remove(wire)
            self._wires.discard(wire)
            wire.close()
        if self._idle:
            self._tidying = loop.call_later(_KEPT_S, self._tidy)


class _Body:
    """The body of one answer, piece by piece; gives its connection back at the end."""

    def __init__(
        self, wire: Wire, patience: Patience, most: int, over: Callable[[Wire], None]
    ) -> None:
        self._wire = wire
        self._wait_s, self._idle_s = patience.first_s, patience.idle_s
        self._left = most
        self._over = over
        self._is_over = False

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        try:
            piece = await self._wire.piece(self._wait_s)
        except BaseException:
            self.close()
            raise
        self._wait_s = self._idle_s
        self._left -= len(piece)
        if self._left < 0:
            self.close()
            raise ProviderMalformed("The model provider sent an answer that is too large.")
        if not piece:
            self.close()
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """Give the connection back, or drop it if there was more to read; safe to repeat."""
        if not self._is_over:
            self._is_over = True
            self._over(self._wire)


def _lines(headers: Mapping[str, str]) -> str:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise InvalidRequest("A header holds a line break.")
    return lines


async def _addresses(host: str, port: int) -> Sequence[str]:
    """Every address of a host, as the machine's own resolver says."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))
