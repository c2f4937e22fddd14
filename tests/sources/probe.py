"""A listener that counts who connects, on every address of this machine at one port."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Respond = Callable[[str, bytes], bytes]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


@dataclass
class Probe:
    """Counts TCP connections, and answers each with what `respond` makes of its request.

    Attributes:
        respond: from the local address connected to and the request's bytes.
        port: where it listens.
        connects: local address of each connection, IPv4 in dotted form.
        requests: what arrived, as bytes.
    """

    respond: Respond = lambda _address, _request: OK
    port: int = 0
    connects: list[str] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        address = str(writer.get_extra_info("sockname")[0]).removeprefix("::ffff:")
        self.connects.append(address)
        with suppress(OSError, asyncio.IncompleteReadError):
            request = await _request(reader)
            self.requests.append(request)
            writer.write(self.respond(address, request))
            await writer.drain()
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Probe"]:
        """Listen on IPv4 and IPv6 for as long as the block runs."""
        sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port = sock.getsockname()[1]
        server = await asyncio.start_server(self.serve, sock=sock)
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head
