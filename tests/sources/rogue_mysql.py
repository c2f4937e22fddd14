"""A server that speaks MySQL's protocol on the wire and says whatever a test wants it to say."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SALT = b"ABCDEFGHIJKLMNOPQRST"
OK = b"\x00\x00\x00\x02\x00\x00\x00"
END = b"\xfe\x00\x00\x02\x00"
_PROTOCOL_41, _TLS, _SECURE, _PLUGINS = 0x200, 0x800, 0x8000, 0x80000
CAPABILITIES = _PROTOCOL_41 | _SECURE | _PLUGINS | 0x1
WITH_TLS = CAPABILITIES | _TLS


def packet(sequence: int, payload: bytes) -> bytes:
    """A packet with its header."""
    return len(payload).to_bytes(3, "little") + bytes([sequence % 256]) + payload


def packets(first: int, *payloads: bytes) -> bytes:
    """Packets numbered from `first`."""
    return b"".join(packet(first + at, payload) for at, payload in enumerate(payloads))


def text(content: bytes) -> bytes:
    """A length-encoded text of up to 250 bytes."""
    return bytes([len(content)]) + content


def definition(name: bytes, code: int = 253) -> bytes:
    """A column definition."""
    names = b"".join(map(text, (b"def", b"", b"", b"", name, b"")))
    return names + b"\x0c\x2d\x00" + bytes(4) + bytes([code]) + bytes(5)


def greeting(
    method: bytes = b"mysql_native_password",
    capabilities: int = CAPABILITIES,
    version: bytes = b"8.4.0",
) -> bytes:
    """The server's first packet."""
    return (
        b"\x0a" + version + b"\0" + (7).to_bytes(4, "little") + SALT[:8] + b"\0"
        + (capabilities & 0xFFFF).to_bytes(2, "little") + b"\x2d\x02\x00"
        + (capabilities >> 16).to_bytes(2, "little") + bytes([21]) + bytes(10)
        + SALT[8:] + b"\0" + method + b"\0"
    )  # fmt: skip


@dataclass
class Rogue:
    """What the server says, and what it has heard.

    Attributes:
        hello: sent when a client connects.
        login: payloads sent each time that something was heard before a login is done.
        answer: bytes sent after a command, which is given to it.
        heard: payloads received, in order.
        port: on 127.0.0.1.
    """

    hello: bytes = field(default_factory=lambda: packet(0, greeting()))
    login: Sequence[Sequence[bytes]] = ((OK,),)
    answer: Callable[[bytes], bytes] = lambda _command: packet(1, OK)
    heard: list[bytes] = field(default_factory=list)
    port: int = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(self.hello)
            for replies in self.login:
                writer.write(packets(await self._hear(reader) + 1, *replies))
            while True:
                await self._hear(reader)
                writer.write(self.answer(self.heard[-1]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left: the test looks at what was heard
        finally:
            writer.close()

    async def _hear(self, reader: asyncio.StreamReader) -> int:
        header = await reader.readexactly(4)
        self.heard.append(await reader.readexactly(int.from_bytes(header[:3], "little")))
        return header[3]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Rogue"]:
        """Listen until left."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()
