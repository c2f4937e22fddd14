"""A listener that counts who connects, on every address of this machine at one port."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Respond = Callable[[str, bytes], bytes]
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
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
        request = await _request(reader)
        self.requests.append(request)
        reply = self.respond(address, request)
        headless = request.startswith(b"HEAD ")
        writer.write(reply.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if headless else reply)
        await writer.drain()

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Probe"]:
        """Listen on IPv4 and IPv6 for as long as the block runs, with TLS if a context is given."""
        sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        async with serving(self.serve, sock, tls) as self.port:
            yield self


@asynccontextmanager
async def serving(
    handle: Handle, sock: socket.socket | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve connections by `handle`, on 127.0.0.1 unless a socket is given; gives the port."""
    running: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    listener = sock or socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(serve, sock=listener, ssl=tls)
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        tasks = [task for task in running if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head
