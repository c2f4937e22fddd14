"""Connections to providers: kept only after a whole answer, whatever the bytes and their pieces."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest

from tenantry.core.errors import InvalidRequest, ProviderError, ProviderMalformed, ProviderTimeout
from tenantry.providers.connecting import Trust, Unreached
from tenantry.providers.upstream import HttpUpstream, Patience, UpstreamResponse
from tenantry.providers.wire import Interrupted
from tests.integration.providers.conftest import LONG, SHORT
from tests.sources.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
_Speak = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


class Peer:
    """A server that says what it is told to, request by request, and counts connections."""

    def __init__(self, speak: _Speak) -> None:
        self.connections = 0
        self.heads: list[bytes] = []
        self._speak = speak
        self._serving: list[asyncio.Task[None]] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def gone(self) -> None:
        """Return once everybody has hung up."""
        await asyncio.wait_for(asyncio.gather(*self._serving), 5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                self.heads.append(head)
                await self._speak(writer, len(self.heads))


@asynccontextmanager
async def peer(speak: _Speak, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Peer, str]]:
    """A peer, and its address."""
    made = Peer(speak)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield made, f"{'https' if tls else 'http'}://localhost:{port}"
    finally:
        server.close()
        await made.gone()


def saying(*pieces: bytes) -> _Speak:
    """Says the same each time, each piece in a packet of its own."""

    async def speak(writer: asyncio.StreamWriter, _number: int) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return speak


async def whole(response: UpstreamResponse) -> bytes:
    """The body."""
    return b"".join([piece async for piece in response.chunks])


@pytest.mark.parametrize("answer", [OK, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + OK])
async def test_an_answer_reads_the_same_in_whatever_pieces_it_comes(answer: bytes) -> None:
    for size in range(1, len(answer) + 1, 5):
        pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
        async with peer(saying(*pieces)) as (server, url):
            upstream = HttpUpstream(url, patience=LONG)
            for _ in range(2):
                response = await upstream.open("/", b"{}", {})
                assert (response.status, await whole(response)) == (200, b"ok")
            assert server.connections == 1
            await upstream.close()


@pytest.mark.req("SEC-6")
@pytest.mark.parametrize(
    "answer",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
        OK + b"trash",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_what_follows_an_answer_never_meets_the_next_caller(answer: bytes) -> None:
    async with peer(saying(answer)) as (server, url):
        upstream = HttpUpstream(url, patience=LONG)
        for _ in range(3):
            try:
                assert await whole(await upstream.open("/", b"{}", {})) == b"ok"
            except ProviderMalformed:
                continue  # the rest came in the same packet and was no HTTP
        assert server.connections == 3
        await upstream.close()


@pytest.mark.req("SEC-4", "SEC-6")
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfirst"])
async def test_an_answer_to_a_caller_that_left_never_meets_the_next_one(before: bytes) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def speak(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            writer.write(before)
            asked.set()
            await asyncio.wait_for(left.wait(), 5)
        writer.write(OK if number > 1 else b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        await writer.drain()

    async def ask() -> bytes:
        return await whole(await upstream.open("/", b"{}", {}))

    async with peer(speak) as (server, url):
        upstream = HttpUpstream(url, patience=LONG)
        leaving = asyncio.create_task(ask())
        await asyncio.wait_for(asked.wait(), 5)
        for _ in range(50):  # until what was sent has come
            await asyncio.sleep(0.001)
        leaving.cancel()
        await asyncio.wait({leaving})
        left.set()
        assert await ask() == b"ok"
        assert server.connections == 2
        await upstream.close()


@pytest.mark.req("SEC-6")
async def test_a_connection_on_which_something_came_unasked_is_not_used_again() -> None:
    said = asyncio.Event()

    async def speak(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(OK)
        await asyncio.wait_for(said.wait(), 5)
        said.clear()
        writer.write(OK)
        await writer.drain()

    async with peer(speak) as (server, url):
        upstream = HttpUpstream(url, patience=LONG)
        assert await whole(await upstream.open("/", b"{}", {})) == b"ok"
        (wire,) = upstream._idle
        said.set()
        for _ in range(1000):
            await asyncio.sleep(0.001)
            if not wire.is_open:
                break
        assert not wire.is_open
        assert await whole(await upstream.open("/", b"{}", {})) == b"ok"
        assert server.connections == 2
        said.set()
        await upstream.close()


async def test_an_answer_without_framing_ends_with_its_connection() -> None:
    async def speak(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await writer.drain()
        writer.close()

    async with peer(speak) as (_, url):
        upstream = HttpUpstream(url, patience=LONG)
        assert await whole(await upstream.open("/", b"{}", {})) == b"all of it"
        await upstream.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Interrupted),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2", Interrupted),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", ProviderError),
        (OK.replace(b": 2", b": 2\r\nContent-Length: 3"), ProviderMalformed),
        (OK.replace(b": 2", b": 2\r\nTransfer-Encoding: chunked"), ProviderMalformed),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 70_000, ProviderMalformed),
    ],
)
async def test_an_answer_that_is_none_is_an_error_of_its_kind(
    answer: bytes, error: type[ProviderError]
) -> None:
    async def speak(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with peer(speak) as (_, url):
        upstream = HttpUpstream(url, patience=LONG)
        with pytest.raises(error):
            await whole(await upstream.open("/", b"{}", {}))
        assert not upstream._idle
        assert not upstream._wires
        await upstream.close()


async def test_a_head_that_trickles_in_does_not_buy_more_time() -> None:
    async def speak(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X: 1\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with peer(speak) as (_, url):
        upstream = HttpUpstream(url, patience=SHORT)
        with pytest.raises(ProviderTimeout):
            await upstream.open("/", b"{}", {})
        await upstream.close()


async def test_a_slow_reader_holds_the_provider_back() -> None:
    sent = 0

    async def speak(writer: asyncio.StreamWriter, _number: int) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        for _ in range(64):
            writer.write(bytes(1 << 20))
            await writer.drain()
            sent += 1

    async with peer(speak) as (_, url):
        upstream = HttpUpstream(url, patience=LONG)
        response = await upstream.open("/", b"{}", {})
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert sent < 32
        assert len(await whole(response)) == 64 << 20
        await upstream.close()


@pytest.mark.req("SEC-6")
async def test_a_header_with_a_line_break_is_not_sent() -> None:
    async with peer(saying(OK)) as (server, url):
        upstream = HttpUpstream(url, patience=LONG)
        for value in ("a\r\nx-evil: 1", "a\nb", "a\0b"):
            with pytest.raises(InvalidRequest):
                await upstream.open("/", b"{}", {"x-client-request-id": value})
        await whole(await upstream.open("/", b"{}", {"Content-Length": "0", "Host": "evil"}))
        (head,) = server.heads
        assert head.lower().count(b"content-length:") == 1
        assert b"evil" not in head
        await upstream.close()


@pytest.mark.req("SEC-6")
async def test_tls_is_believed_for_the_name_that_was_asked_for_alone(tmp_path: Path) -> None:
    authority, files = Authority.create(), (tmp_path / "certificate", tmp_path / "key")
    authority.issue("localhost", *files)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    trusting = Trust()
    (await trusting.context()).load_verify_locations(cadata=authority.certificate)
    async with peer(saying(OK), context) as (server, url):
        upstream = HttpUpstream(url, patience=LONG, trust=trusting)
        for _ in range(2):
            assert await whole(await upstream.open("/", b"{}", {})) == b"ok"
        assert server.connections == 1
        by_address = HttpUpstream(url.replace("localhost", "127.0.0.1"), trust=trusting)
        distrusting = HttpUpstream(url, patience=Patience(5, 5, 5))
        for refused in (by_address, distrusting):
            with pytest.raises(Unreached):
                await refused.open("/", b"{}", {})
            await refused.close()
        await upstream.close()


async def test_calls_beyond_the_most_connections_wait_for_one() -> None:
    async with peer(saying(OK)) as (server, url):
        upstream = HttpUpstream(url, patience=LONG, most_connections=2)

        async def ask() -> bytes:
            return await whole(await upstream.open("/", b"{}", {}))

        assert await asyncio.gather(*(ask() for _ in range(8))) == [b"ok"] * 8
        assert server.connections == 2
        await upstream.close()
