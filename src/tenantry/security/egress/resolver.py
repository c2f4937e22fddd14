"""Where names are looked up; nothing is remembered, so that no tenant meets another's answer."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Protocol


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

    async def addresses(self, host: str) -> Sequence[str]:
        """Every address of a name; see `Resolver.addresses`."""
        loop = asyncio.get_running_loop()
        # Without AI_ADDRCONFIG: an answer is judged whole, also the part not used just now.
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(info[4][0]) for info in found))
