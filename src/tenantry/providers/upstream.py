"""The one way out to a provider: bytes in, bytes out, over aiohttp.

Threat: a provider stalls, floods, redirects to somewhere else, or compresses a bomb.
Invariant: the account's key goes to the account's own base URL and nowhere else (no redirect is
followed, no proxy taken from the environment, no cookie kept); every wait and every body is
bounded; the key is in no repr and no error.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import aiohttp
from yarl import URL

from tenantry.core.errors import ProviderMalformed, ProviderTimeout, ProviderUnavailable

MOST_RESPONSE_BYTES = 256 << 20
Connecting = tuple[aiohttp.BaseConnector, list[aiohttp.TraceConfig]]
"""What makes connections, and what it must be told of each request."""


class Unreached(ProviderUnavailable):
    """No connection to the model provider could be made; the call was never sent."""


class Interrupted(ProviderUnavailable):
    """The connection to the model provider broke before it answered; it may have done the work."""


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


_PLAIN: Mapping[str, str] = MappingProxyType({"content-type": "application/json"})
_UNPACKED: Mapping[str, str] = MappingProxyType({"accept-encoding": "identity"})


class HttpUpstream:
    """`Upstream` over aiohttp: one instance an account, never shared between keys."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        most_response_bytes: int = MOST_RESPONSE_BYTES,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}
        self._patience = patience or Patience()
        self._most = most_response_bytes
        self._client: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}

    def __repr__(self) -> str:
        return f"HttpUpstream({self._base!r})"

    async def open(self, path: str, body: bytes, headers: Mapping[str, str]) -> UpstreamResponse:
        """POST `body` to `path` below the base URL; see `Upstream.open`."""
        url = self._urls.get(path)
        if url is None:
            # As many as the account has paths: none comes from a client.
            url = self._urls[path] = URL(self._base + path, encoded=True)
        return await self._exchange(url, body, headers)

    async def _exchange(
        self, url: URL, body: bytes, headers: Mapping[str, str], asker: object = None
    ) -> UpstreamResponse:
        """As `open`, to a whole URL; `asker` is for the connector: for whom it connects."""
        wait = self._patience
        try:
            async with asyncio.timeout(wait.connect_s + wait.first_s):
                response = await self._session().post(
                    url,
                    data=body,
                    headers=self._merged(headers),
                    allow_redirects=False,
                    trace_request_ctx=asker,
                )
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            raise Unreached from error
        except TimeoutError as error:
            raise ProviderTimeout from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise ProviderMalformed from error
        except (aiohttp.ClientError, OSError) as error:
            raise Interrupted from error
        return UpstreamResponse(
            response.status, response.headers, self._chunks(response), response.close
        )

    async def close(self) -> None:
        """Drop all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _session(self) -> aiohttp.ClientSession:
        # Made on first use, because aiohttp binds a session to the running loop.
        if self._client is None:
            connector, traces = self._connecting()
            self._client = aiohttp.ClientSession(
                connector=connector,
                trace_configs=traces,
                timeout=aiohttp.ClientTimeout(sock_connect=self._patience.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._client

    def _connecting(self) -> Connecting:
        return aiohttp.TCPConnector(limit=0, ttl_dns_cache=60), []

    def _merged(self, headers: Mapping[str, str]) -> dict[str, str]:
        asked = {name.lower(): value for name, value in headers.items()}
        return {**_PLAIN, **asked, **_UNPACKED, **self._headers}

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        wait, size = self._patience.first_s, 0
        try:
            while chunk := await _next_piece(response, wait):
                size += len(chunk)
                if size > self._most:
                    raise ProviderMalformed("The model provider sent an answer that is too large.")
                yield chunk
                wait = self._patience.idle_s
        finally:
            response.close()


async def _next_piece(response: aiohttp.ClientResponse, wait_s: float) -> bytes:
    try:
        async with asyncio.timeout(wait_s):
            return await response.content.readany()
    except TimeoutError as error:
        raise ProviderTimeout from error
    except (aiohttp.ClientError, OSError) as error:
        raise ProviderMalformed("The model provider broke off its answer.") from error
