"""Clients that send slowly on purpose, over a bare socket: nothing of ours waits for them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.wired import Wired, wired_platform
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
LATE_S = 0.5
"""What this server gives a request's headers."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wired(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wired]:
    """One server for the module, which gives headers and bodies half a second."""
    async with wired_platform(cluster, tmp_path_factory.mktemp("slow")) as wired:
        yield wired


async def _connected(wired: Wired) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(wired.service.base_url.rsplit(":", 1)[1])
    return await asyncio.open_connection("127.0.0.1", port)


async def _trickle(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while not writer.is_closing():
        writer.write(piece)
        await asyncio.sleep(LATE_S / 10)


async def _answered(reader: asyncio.StreamReader) -> bytes:
    """One whole answer to HEALTH."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(li for li in head.split(b"\r\n") if li.lower().startswith(b"content-length"))
    return head + await reader.readexactly(int(length.split(b":")[1]))


@pytest.mark.req("USE-1", "SCALE-2")
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"GET /heal", b""),
        (HEALTH, b"x-more: 1\r\n"),  # always a little more, never the end
        (HEALTH + b"x-more: ", b"a"),
    ],
    ids=["stops", "trickles-lines", "trickles-bytes"],
)
async def test_headers_that_never_end_are_answered_in_time(
    wired: Wired, first: bytes, then: bytes
) -> None:
    reader, writer = await _connected(wired)
    writer.write(first)
    trickling = asyncio.create_task(_trickle(writer, then))
    answer = await asyncio.wait_for(reader.read(), 10 * LATE_S)
    trickling.cancel()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), answer
    assert b'"code":"too_slow"' in answer
    assert b"connection: close" in answer


@pytest.mark.req("SCALE-2")
@pytest.mark.parametrize("piece", [b"", b"\r\n"], ids=["silent", "empty-lines"])
async def test_a_connection_that_asks_nothing_is_closed_without_a_word(
    wired: Wired, piece: bytes
) -> None:
    reader, writer = await _connected(wired)
    trickling = asyncio.create_task(_trickle(writer, piece))
    assert await asyncio.wait_for(reader.read(), 10 * LATE_S) == b""
    trickling.cancel()
    writer.close()


@pytest.mark.req("SCALE-2")
async def test_a_second_request_has_its_own_time_and_empty_lines_buy_no_more(wired: Wired) -> None:
    reader, writer = await _connected(wired)
    for _ in range(3):
        writer.write(HEALTH)
        await asyncio.sleep(LATE_S / 5)  # in two pieces, and in time
        writer.write(b"\r\n")
        assert (await _answered(reader)).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(LATE_S / 2)  # between requests nobody is in a hurry
    trickling = asyncio.create_task(_trickle(writer, b"\r\n"))
    assert await asyncio.wait_for(reader.read(), 10 * LATE_S) == b""
    trickling.cancel()
    writer.close()


@pytest.mark.req("SCALE-2")
async def test_others_are_answered_while_a_hundred_connections_trickle(wired: Wired) -> None:
    slow = [await _connected(wired) for _ in range(100)]
    for _, writer in slow:
        writer.write(b"GET /healthz HT")
    reader, writer = await _connected(wired)
    writer.write(HEALTH + b"\r\n")
    assert (await _answered(reader)).startswith(b"HTTP/1.1 200")
    writer.close()
    ended = await asyncio.gather(*(asyncio.wait_for(each.read(), 10) for each, _ in slow))
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in ended)
    for _, each in slow:
        each.close()
