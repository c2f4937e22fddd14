"""aiohttp's connector with both checks: the whole DNS answer, and the address really used.

Either alone has a hole. A resolver is not asked about IP literals. A socket factory is not asked
about the rest of a mixed answer, and aiohttp swallows its refusal when another address answers.
See docs/adr/0013-egress-checked-twice.md.
"""

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tenantry.security.egress.gate import Gate

if TYPE_CHECKING:
    from aiohttp.tracing import Trace

_MOST_CONNECTIONS = 20


class GuardedConnector(aiohttp.TCPConnector):
    """Connects to nothing that its gate does not let through; keeps no connection for later."""

    def __init__(self, gate: Gate) -> None:
        """Judged by `gate`, for one tenant and entry point; needs a running event loop."""
        self._gate = gate
        # One attempt at a time: the socket factory sees neither the request it works for nor may
        # it wait for the audit log, so its reasons are left here for the attempt that runs.
        self._attempt = asyncio.Lock()
        self._refused: list[str] = []
        super().__init__(
            resolver=_CheckedResolver(gate),
            use_dns_cache=False,
            socket_factory=self._checked_socket,
            force_close=True,
            limit=_MOST_CONNECTIONS,
        )

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list["Trace"],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.connector.Connection:
        """A connection for the request.

        Raises:
            EgressRefused: it may not be reached; recorded.
            SourceUnreachable: its name is unknown.
        """
        host, port = req.url.raw_host or "", req.url.port or 0
        await self._gate.spelled(host, port)
        connection = None
        async with self._attempt:
            refused: list[str] = []
            self._refused = refused
            try:
                connection = await super().connect(req, traces, timeout)
            except aiohttp.ClientError:
                if not refused:
                    raise
        if refused:
            if connection is not None:  # aiohttp went on to another address of the same answer
                connection.close()
            await self._gate.refuse(refused[0], host, port)
        assert connection is not None  # noqa: S101 - or an error was raised above
        return connection

    def _checked_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        # Both kinds of addresses begin with host and port; a zone (the fourth) is never taken.
        zone = address[3] if len(address) == 4 else 0
        reason = self._gate.judged([str(address[0])], int(address[1]))
        if zone:
            reason = "spelling of an address"
        if reason is not None:
            self._refused.append(reason)
            raise PermissionError(errno.EACCES, "refused by the egress guard")
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """Gives aiohttp an answer only if every address in it may be reached."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The whole answer, whichever family is asked for: aiohttp drops what it cannot use."""
        del family
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._gate.addresses(host, port)
        ]

    async def close(self) -> None:
        """Holds nothing."""
