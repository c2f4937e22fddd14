"""Where names are looked up; nothing is remembered, so that no tenant meets another's answer.

Threat: a name whose DNS server never answers, asked for again and again, until every thread waits
for it and nobody else's name is looked up.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from tenantry.core.ids import TenantId

_THREADS = 64
_AT_ONCE = 4  # of one tenant: what fills the threads then takes sixteen tenants
_PATIENCE_S = 5.0  # a DNS server's own time limit in most stub resolvers


class Resolver(Protocol):
    """A source of addresses."""

    async def addresses(self, host: str) -> Sequence[str]:
        """Every address of a name, IPv4 and IPv6, as IP literals in order of preference.

        Raises:
            OSError: the name is unknown, or nobody answers.
        """
        ...


class SystemResolver:
    """The machine's own resolver: `/etc/hosts`, then its DNS servers."""

    def __init__(self) -> None:
        # Of its own: the loop's few threads also read files, and would wait for strangers' DNS.
        self._threads = ThreadPoolExecutor(_THREADS, "egress-dns")

    async def addresses(self, host: str) -> Sequence[str]:
        """Every address of a name; see `Resolver.addresses`."""
        # Without AI_ADDRCONFIG: an answer is judged whole, also the part not used just now.
        ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return list(dict.fromkeys(str(info[4][0]) for info in found))


class LookUps:
    """Look-ups in turns: a few at once for each tenant, each within its time."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._running: dict[TenantId, set[asyncio.Task[Sequence[str]]]] = {}

    async def addresses(self, tenant: TenantId, host: str) -> tuple[str, ...]:
        """Every address of a name that this tenant asks for.

        Raises:
            OSError: the name is unknown, nobody answers, or not in time.
        """
        async with asyncio.timeout(_PATIENCE_S):
            while len(running := self._running.get(tenant, set())) >= _AT_ONCE:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            # Shielded: whoever gives up does not end the thread, so its turn is not over either.
            return tuple(await asyncio.shield(self._begin(tenant, host)))

    def _begin(self, tenant: TenantId, host: str) -> "asyncio.Task[Sequence[str]]":
        task = asyncio.create_task(self._ask(host))
        self._running.setdefault(tenant, set()).add(task)
        task.add_done_callback(partial(self._end, tenant))
        return task

    async def _ask(self, host: str) -> Sequence[str]:
        return await self._resolver.addresses(host)

    def _end(self, tenant: TenantId, task: "asyncio.Task[Sequence[str]]") -> None:
        running = self._running[tenant]
        running.discard(task)
        if not running:
            del self._running[tenant]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any more
