"""One HTTP exchange through the gate: redirects judged anew, waits and bodies bounded.

Errors carry nothing that was sent or answered, and no chain: a URL's query may hold a key.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urljoin

import aiohttp

from tenantry.core.errors import InvalidRequest, QueryFailed, QueryTimeout, SourceUnreachable
from tenantry.security.egress.connecting import GuardedConnector
from tenantry.security.egress.gate import Gate
from tenantry.security.egress.inflating import Inflater
from tenantry.security.egress.messages import (
    Allowance,
    EgressRequest,
    checked_headers,
    checked_method,
    for_strangers,
)
from tenantry.security.egress.spelling import Refusal, Target

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_HEADERS = 100
_MOST_HEADER_BYTES = 16_384  # one line or field
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_TIMEOUT_TEXT = "The source did not answer in time."


@dataclass(frozen=True, slots=True)
class _Hop:
    """One request of a chain."""

    target: Target
    method: str
    headers: dict[str, str]
    body: bytes | None


@asynccontextmanager
async def opened(
    gate: Gate, request: EgressRequest, allowance: Allowance
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The final response of a request, its body unread; closed with the block.

    Raises:
        EgressRefused: an address, redirect, host or port that may not be; recorded.
        InvalidRequest: the request cannot be sent like this.
        SourceUnreachable: no connection, or no trust in the certificate.
        QueryFailed: not HTTP.
    """
    hop = _Hop(
        await _target(gate, request.url, allowance),
        checked_method(request.method),
        checked_headers(request.headers),
        request.body,
    )
    tls = _tls(allowance.tls_ca)
    async with _session(gate) as session:
        for followed in range(allowance.max_redirects + 1):
            response = await _send(session, hop, tls)
            try:
                location = response.headers.get("location")
                if response.status not in _REDIRECTS or location is None:
                    yield response
                    return
            finally:
                response.close()
            if followed < allowance.max_redirects:
                hop = await _redirected(gate, hop, response.status, location, allowance)
        await gate.refuse("too many redirects", str(hop.target.url), hop.target.port)


async def pieces(
    response: aiohttp.ClientResponse, most: int, idle_s: float | None = None
) -> AsyncGenerator[bytes, None]:
    """The body of a response, decompressed as it comes.

    Args:
        response: with its body unread.
        most: bytes after decompression.
        idle_s: how long to wait for each piece; None leaves that to the caller's deadline.

    Raises:
        QueryFailed: too large, broken off, or wrongly compressed.
        QueryTimeout: a piece took too long.
    """
    inflater = Inflater(response.headers.get("content-encoding", ""), most)
    while raw := await _next(response, idle_s):
        for piece in inflater.feed(raw):
            if piece:
                yield piece
    if response.status not in {204, 304} and response.method != "HEAD":
        inflater.finish()


def plain_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The response's headers, names in lower case, without what is true of its raw body only."""
    gone = {"content-encoding", "content-length", "transfer-encoding"}
    named = {name.lower(): value for name, value in response.headers.items()}
    return {name: value for name, value in named.items() if name not in gone}


def timed_out() -> QueryTimeout:
    """What a missed deadline is called."""
    return QueryTimeout(_TIMEOUT_TEXT)


async def _target(gate: Gate, url: str, allowance: Allowance) -> Target:
    target = await gate.target(url)
    try:
        if allowance.hosts is not None and target.host not in allowance.hosts:
            raise Refusal("host not of this connector")
        if allowance.ports is not None and target.port not in allowance.ports:
            raise Refusal("port not of this connector")
    except Refusal as refusal:
        await gate.refuse(refusal.reason, url, 0)
    return target


async def _redirected(
    gate: Gate, hop: _Hop, status: int, location: str, allowance: Allowance
) -> _Hop:
    url = _joined(hop.target, location)
    target = await _target(gate, url, allowance)
    if hop.target.url.scheme == "https" and target.url.scheme != "https":
        await gate.refuse("redirect from https to http", url, target.port)
    get = status == 303 or (status in {301, 302} and hop.method == "POST")
    if get and hop.method != "HEAD":  # as browsers do (RFC 9110, 15.4)
        kept = {k: v for k, v in hop.headers.items() if not k.startswith("content-")}
        hop = replace(hop, method="GET", headers=kept, body=None)
    if target.origin != hop.target.origin:
        if hop.body is not None:  # it may hold what was meant for the first origin only
            await gate.refuse("redirect of a body to another origin", url, target.port)
        hop = replace(hop, headers=for_strangers(hop.headers))
    return replace(hop, target=target)


def _joined(base: Target, location: str) -> str:
    """The URL that a Location header means (RFC 3986, 4.2), not yet judged."""
    if _SCHEME.match(location) or not location.isprintable():
        return location
    if location.startswith(("//", "/\\", "\\")):  # a host: `urljoin` reads some as paths
        return f"{base.url.scheme}:{location}"
    return urljoin(str(base.url), location)


def _session(gate: Gate) -> aiohttp.ClientSession:
    # One a request: what a session or connector keeps could meet another tenant.
    return aiohttp.ClientSession(
        connector=GuardedConnector(gate),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        max_line_size=_MOST_HEADER_BYTES,
        max_field_size=_MOST_HEADER_BYTES,
        max_headers=_MOST_HEADERS,
    )


def _tls(authority: str) -> ssl.SSLContext | bool:
    if not authority:
        return True
    try:
        return ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError):
        raise InvalidRequest("The authority's certificate is not PEM text.") from None


async def _send(
    session: aiohttp.ClientSession, hop: _Hop, tls: ssl.SSLContext | bool
) -> aiohttp.ClientResponse:
    try:
        return await session.request(
            hop.method,
            hop.target.url,
            headers=hop.headers,
            data=hop.body,
            allow_redirects=False,
            ssl=tls,
            skip_auto_headers=("content-type", "accept"),
        )
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError):
        raise SourceUnreachable("The source's certificate is not trusted.") from None
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise SourceUnreachable("The source does not take connections.") from None
    except (aiohttp.ClientError, ValueError):
        raise QueryFailed("The source did not answer in HTTP.") from None
    except OSError:
        raise SourceUnreachable from None


async def _next(response: aiohttp.ClientResponse, idle_s: float | None) -> bytes:
    try:
        async with asyncio.timeout(idle_s) as limit:
            return await response.content.readany()
    except TimeoutError:
        if not limit.expired():
            raise
        raise timed_out() from None
    except (aiohttp.ClientError, OSError):
        raise QueryFailed("The source broke off its answer.") from None
