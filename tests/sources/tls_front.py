"""TLS before a PostgreSQL server whose build has none: answers SSLRequest, then passes bytes on."""

import asyncio
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_LOST = (OSError, asyncio.IncompleteReadError, ssl.SSLError)


class _Front:
    def __init__(self, inner: str, port: int, context: ssl.SSLContext) -> None:
        self._inner = inner
        self._port = port
        self._context = context

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        with suppress(*_LOST):
            first = await reader.readexactly(8)
            if first == _SSL_REQUEST:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._context)
                first = b""
            there_reader, there = await asyncio.open_connection(self._inner, self._port)
            there.write(first)
            await asyncio.gather(_pass(reader, there), _pass(there_reader, writer))
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(*_LOST):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def tls_front(address: str, inner: str, port: int, certificate: Path, key: Path) -> Iterator[None]:
    """Listen at `address` for `inner`, both at `port`, while the block runs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    front = _Front(inner, port, context)
    opening = asyncio.start_server(front.serve, address, port)
    server = asyncio.run_coroutine_threadsafe(opening, loop).result(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
