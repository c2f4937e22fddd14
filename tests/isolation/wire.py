"""A proxy on a Unix socket that counts round trips: what the wire saw, not what the code says."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_SOCKET = ".s.PGSQL.5432"


@dataclass
class Wire:
    """Counters of one proxy; a flight is what the client sends before the server answers."""

    url: str
    flights: int = 0
    sent: bytes = b""
    _client_spoke: bool = False

    def reset(self) -> None:
        """Begin counting anew."""
        self.flights, self.sent, self._client_spoke = 0, b"", False

    def client_said(self, data: bytes) -> None:
        """Bytes on their way to the server."""
        if not self._client_spoke:
            self.flights += 1
        self._client_spoke = True
        self.sent += data

    def server_said(self) -> None:
        """Bytes on their way back."""
        self._client_spoke = False


@contextlib.asynccontextmanager
async def tapped(url: str) -> AsyncIterator[Wire]:
    """A wire to the database of `url`, counting."""
    with tempfile.TemporaryDirectory(prefix="wire-") as folder:
        target = Path(str(conninfo_to_dict(url)["host"])) / _SOCKET
        wire = Wire(make_conninfo(url, host=folder))

        open_lines: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            open_lines.add(_current_task())
            up_reader, up_writer = await asyncio.open_unix_connection(str(target))

            async def upwards() -> None:
                while data := await reader.read(65536):
                    wire.client_said(data)
                    up_writer.write(data)
                up_writer.close()

            async def downwards() -> None:
                while data := await up_reader.read(65536):
                    wire.server_said()
                    writer.write(data)
                writer.close()

            with contextlib.suppress(ConnectionError):
                await asyncio.gather(upwards(), downwards())
            for end in (writer, up_writer):
                with contextlib.suppress(ConnectionError):
                    end.close()
                    await end.wait_closed()

        server = await asyncio.start_unix_server(serve, str(Path(folder) / _SOCKET))
        async with server:
            yield wire
        await asyncio.gather(*open_lines)


def _current_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task
