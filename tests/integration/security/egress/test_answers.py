"""What a hostile or broken source may answer: each is bounded, and nothing of it is repeated."""

import asyncio
import gzip
import zlib
from contextlib import suppress

import pytest

from tenantry.core.errors import (
    InvalidRequest,
    QueryFailed,
    QueryTimeout,
    SourceUnreachable,
    StoreUnavailable,
    TenantryError,
)
from tenantry.core.events import AuditEvent
from tenantry.security.egress.guard import EgressGuard
from tenantry.security.egress.messages import Allowance, EgressRequest
from tenantry.security.egress.policy import EgressPolicy
from tests.integration.security.egress.conftest import Street
from tests.integration.security.egress.forms import PUBLIC
from tests.sources.dns import UdpResolver
from tests.sources.probe import serving

pytestmark = pytest.mark.req("CON-4")


def answer(body: bytes, *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = ("HTTP/1.1 200 OK", f"content-length: {size}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _error(street: Street, allowance: Allowance | None = None) -> TenantryError:
    with pytest.raises(TenantryError) as caught:
        await street.fetch(street.url("public.test", "/?key=hunter2"), allowance=allowance)
    error: BaseException | None = caught.value
    while error is not None:  # what a log would print
        assert "hunter2" not in str(error)
        assert "SECRET-ANSWER" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert "public.test" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("gzip", gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0)),
        ("x-gzip", gzip.compress(b"hello", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("identity", b"hello"),
    ],
)
async def test_a_compressed_answer_is_read(street: Street, encoding: str, packed: bytes) -> None:
    street.probe.respond = lambda _, __: answer(packed, f"content-encoding: {encoding}")
    response = await street.fetch(street.url("public.test"))
    assert response.body == b"hello"
    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_stopped_at_the_ceiling(street: Street, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    bomb = pack(bytes(50_000_000))
    assert len(bomb) < 100_000
    street.probe.respond = lambda _, __: answer(bomb, f"content-encoding: {encoding}")
    error = await _error(street, Allowance(max_bytes=100_000))
    assert isinstance(error, QueryFailed)
    assert "larger" in str(error)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x" * 50])
async def test_a_compression_that_was_not_asked_for_is_not_read(
    street: Street, encoding: str
) -> None:
    street.probe.respond = lambda _, __: answer(b"x", f"content-encoding: {encoding}")
    assert "compressed" in str(await _error(street))


@pytest.mark.parametrize(
    "body", [b"SECRET-ANSWER", gzip.compress(b"SECRET-ANSWER", mtime=0)[:-9], b"\x1f\x8b\xff"]
)
async def test_a_wrongly_compressed_answer_is_an_error(street: Street, body: bytes) -> None:
    street.probe.respond = lambda _, __: answer(body, "content-encoding: gzip")
    assert isinstance(await _error(street), QueryFailed)


async def test_an_answer_is_cut_where_it_may_not_be_larger(street: Street) -> None:
    allowance = Allowance(max_bytes=1000)
    street.probe.respond = lambda _, __: answer(b"x" * 1000)
    assert len((await street.fetch(street.url("public.test"), None, allowance)).body) == 1000
    street.probe.respond = lambda _, __: answer(b"x" * 1001)
    assert isinstance(await _error(street, allowance), QueryFailed)


async def test_an_endless_answer_is_stopped(street: Street) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    street.probe.respond = lambda _, __: head + chunk * 64
    assert "larger" in str(await _error(street, Allowance(max_bytes=100_000)))


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-SECRET-ANSWER\r\n",
        b"HTTP/1.1 abc SECRET-ANSWER\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        answer(b"cut", length=100),
    ],
    ids=["ssh", "status", "nothing", "long field", "many fields", "smuggled", "negative", "cut"],
)
async def test_what_is_not_an_answer_is_an_error(street: Street, reply: bytes) -> None:
    street.probe.respond = lambda _, __: reply
    assert isinstance(await _error(street), QueryFailed)


async def test_a_source_that_dribbles_runs_out_of_time(street: Street) -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(dribble) as port:
        url = f"http://public.test:{port}/"
        with pytest.raises(QueryTimeout):
            await street.fetch(url, allowance=Allowance(timeout_s=0.3))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"])
async def test_a_source_that_says_nothing_runs_out_of_time(street: Street, head: bytes) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await asyncio.Event().wait()

    async with serving(silent) as port:
        request = EgressRequest("GET", f"http://public.test:{port}/")
        short = Allowance(timeout_s=0.2)
        with pytest.raises(QueryTimeout):
            await street.fetch(request.url, request, short)
        with pytest.raises(QueryTimeout):
            async with street.guard.stream(street.ctx, "mcp", request, short) as stream:
                await anext(stream.chunks)


async def test_a_closed_port_and_an_unknown_name_are_unreachable_and_no_refusal(
    street: Street, unused_tcp_port: int
) -> None:
    for host in ("public.test", "nowhere.test"):
        with pytest.raises(SourceUnreachable):
            await street.fetch(f"http://{host}:{unused_tcp_port}/")
    assert street.audit.events == []


async def test_a_stream_gives_pieces_as_they_come(street: Street) -> None:
    more = asyncio.Event()

    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(head + b"data: 1\n\n")
        await more.wait()
        writer.write(b"data: 2\n\n")

    async with serving(events) as port:
        request = EgressRequest("GET", f"http://public.test:{port}/")
        async with street.guard.stream(street.ctx, "mcp", request, Allowance()) as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            assert await anext(stream.chunks) == b"data: 1\n\n"
            more.set()
            assert [chunk async for chunk in stream.chunks] == [b"data: 2\n\n"]


async def test_the_connection_ends_with_the_stream(street: Street) -> None:
    gone = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\nx")
        await reader.read()  # until its end
        gone.set()

    async with serving(endless) as port:
        request = EgressRequest("GET", f"http://public.test:{port}/")
        with suppress(LookupError):
            async with street.guard.stream(street.ctx, "mcp", request, Allowance()) as stream:
                await anext(stream.chunks)
                raise LookupError
        await asyncio.wait_for(gone.wait(), 5)


async def test_nothing_of_the_environment_or_of_an_earlier_answer_is_used(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.2:{street.probe.port}")
    street.probe.respond = lambda _, __: answer(b"ok", "set-cookie: sid=1; path=/")
    await street.fetch(street.url("public.test"))
    await street.fetch(street.url("public.test"))
    assert street.probe.connects == [PUBLIC, PUBLIC]  # the second is no kept connection
    assert b"ookie" not in street.probe.requests[1]
    assert street.probe.requests[1].startswith(b"GET / HTTP/1.1")


async def test_headers_of_the_connection_are_ours(street: Street) -> None:
    url = street.url("public.test")
    theirs = {
        "Host": "inner", "Connection": "upgrade", "Transfer-Encoding": "chunked", "Expect": "x",
        "Content-Length": "99", "Proxy-Authorization": "hunter2", "Accept-Encoding": "br",
    }  # fmt: skip
    await street.fetch(url, EgressRequest("POST", url, theirs, b"{}"))
    sent = street.probe.requests[0].lower()
    assert f"host: public.test:{street.probe.port}".encode() in sent
    assert b"accept-encoding: gzip\r\n" in sent
    assert b"content-length: 2\r\n" in sent
    for text in (b"inner", b"upgrade", b"chunked", b"expect", b"hunter2"):
        assert text not in sent


@pytest.mark.parametrize(
    ("name", "value"),
    [("x", "a\r\nhost: b"), ("x", "a\nb"), ("x", "a\x00"), ("x\r\ny", "a"), ("", "a"), ("a b", "")],
)
async def test_a_header_that_would_end_early_is_refused(
    street: Street, name: str, value: str
) -> None:
    url = street.url("public.test")
    with pytest.raises(InvalidRequest):
        await street.fetch(url, EgressRequest("GET", url, {name: value}))
    assert street.probe.connects == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\nx:", ""])
async def test_a_method_that_no_request_is_made_with_is_refused(
    street: Street, method: str
) -> None:
    url = street.url("public.test")
    with pytest.raises(InvalidRequest):
        await street.fetch(url, EgressRequest(method, url))
    assert street.probe.connects == []


async def test_without_a_record_there_is_no_refusal_and_no_connection_either(
    street: Street,
) -> None:
    class Broken:
        async def record(self, _event: AuditEvent) -> None:
            raise StoreUnavailable

    guard = EgressGuard(Broken(), EgressPolicy(), UdpResolver(street.dns.port))
    for host in (PUBLIC, "inner.test", "0x7f.1"):
        with pytest.raises(StoreUnavailable):
            await guard.fetch(
                street.ctx, "webhook", EgressRequest("GET", street.url(host)), Allowance()
            )
    assert street.probe.connects == []
