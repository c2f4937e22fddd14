"""Makes connections to providers: every address of a host in turn, TLS where the URL says so."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence

from yarl import URL

from tenantry.core.errors import ProviderUnavailable
from tenantry.providers.wire import Wire

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
"""Tells the addresses of a host and port that may be connected to, as IP literals."""


class Unreached(ProviderUnavailable):
    """No connection to the model provider could be made; the call was never sent."""


class Trust:
    """Which certificates are believed: those that the machine's own authorities vouch for.

    Read when it is first needed, and away from the event loop: that takes a tenth of a second.
    """

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """For connections that speak HTTP/1.1."""
        if self._context is None:
            context = await asyncio.to_thread(ssl.create_default_context)
            context.set_alpn_protocols(["http/1.1"])
            self._context = context
        return self._context


async def connect(url: URL, look_up: LookUp, trust: Trust, wait_s: float) -> Wire:
    """A connection to where a URL leads; each of its addresses gets its part of the time.

    Raises:
        Unreached: nobody answers there in time, or not with a certificate for that name.
    """
    host, port = url.raw_host or "", url.port or 0
    loop = asyncio.get_running_loop()
    context = await trust.context() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(wait_s):
            addresses = await look_up(host, port)
        failed: Exception = OSError("no address")
        for address in addresses:
            try:
                async with asyncio.timeout(wait_s / len(addresses)):
                    _, wire = await loop.create_connection(
                        lambda: Wire(loop),
                        address,
                        port,
                        ssl=context,
                        server_hostname=host if context is not None else None,
                    )
                    return wire
            except (OSError, TimeoutError) as error:
                failed = error
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Unreached from error
    raise Unreached from failed
