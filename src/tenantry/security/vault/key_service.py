"""A key service over HTTP: JSON in, JSON out, to the one address that the operator configured.

Threat: a service that stalls, floods or redirects; a token that ends up in an error.
Invariant: no redirect is followed and no proxy taken from the environment, so that the credential
goes to that address only; every wait and body is bounded; errors carry nothing that was sent.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import aiohttp
from yarl import URL

from tenantry.core.errors import StartupRefused, VaultUnavailable

_TIMEOUT_S = 10.0
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said.

    Attributes:
        status: HTTP status.
        body: the JSON object, empty when there was none.
    """

    status: int
    body: Mapping[str, Any]


class KeyService:
    """Calls to one key service."""

    def __init__(self, base_url: str, ca_file: str = "", *, plain: bool = False) -> None:
        """Connects with the first call.

        Args:
            base_url: where paths start; https, or http on this machine.
            ca_file: PEM file of the authority that signed its certificate; empty is the system's.
            plain: allow http elsewhere too, for the metadata services that clouds offer so.

        Raises:
            StartupRefused: the address or the file cannot be used.
        """
        self._base = _checked(base_url, plain=plain)
        self._tls = _tls(ca_file) if ca_file else True
        self._client: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"KeyService({str(self._base)!r})"

    @property
    def base(self) -> URL:
        """Where paths start."""
        return self._base

    async def call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Its answer, whatever it is; repeated once when a kept connection had been closed.

        Raises:
            VaultUnavailable: no answer, none in time, or not JSON.
        """
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                try:
                    return await self._once(method, path, headers, body)
                except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                    # What is asked here may be asked twice: nothing changes by it.
                    return await self._once(method, path, headers, body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            raise VaultUnavailable from None

    async def close(self) -> None:
        """Drop the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _once(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        async with self._session().request(
            method,
            URL(str(self._base).rstrip("/") + path, encoded=True),
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=self._tls,
        ) as response:
            read = await response.content.read(_MOST_BYTES)
            while not response.content.at_eof() and len(read) < _MOST_BYTES:
                read += await response.content.read(_MOST_BYTES - len(read))
            if not response.content.at_eof():
                raise VaultUnavailable
            found = json.loads(read) if read else {}
            return Answer(response.status, found if isinstance(found, dict) else {})

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            )
        return self._client


def text_of(answer: Answer, *path: str) -> str:
    """The text at `path` in the answer's body.

    Raises:
        VaultUnavailable: there is none: this is not the service it should be.
    """
    found: Any = answer.body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, str) or not found:
        raise VaultUnavailable
    return found


def _checked(text: str, *, plain: bool) -> URL:
    try:
        url = URL(text)
        host = url.host or ""
    except ValueError:
        host = ""
    if not host or url.scheme not in {"http", "https"}:
        raise StartupRefused("A key service's address is an https URL.")
    if url.user or url.password or url.query_string or url.fragment:
        raise StartupRefused("A key service's address has no user, query or fragment.")
    if url.scheme == "http" and not plain and not _is_local(host):
        raise StartupRefused("A key service is reached by https, or by http on this machine.")
    return url


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise StartupRefused(f"The authority file {ca_file} cannot be read.") from error
