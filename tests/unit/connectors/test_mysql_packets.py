"""Packets of a MySQL server are read to their end and not a byte further (CON-2)."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.connectors.mysql_packets import (
    LARGEST_PACKET,
    Fields,
    Malformed,
    TooWide,
    Wire,
    refusal,
)
from tenantry.core.errors import SourceUnreachable


def _wire(received: bytes, *, ended: bool = True) -> Wire:
    reader = asyncio.StreamReader()
    reader.feed_data(received)
    if ended:
        reader.feed_eof()
    return Wire(reader, None)  # type: ignore[arg-type]  # nothing is written here


def _packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


@pytest.mark.parametrize(
    ("encoded", "length"),
    [
        (b"\x00", 0),
        (b"\xfa", 250),
        (b"\xfb", None),
        (b"\xfc\x01\x02", 0x0201),
        (b"\xfd\x01\x02\x03", 0x030201),
        (b"\xfe" + bytes(7) + b"\x80", 1 << 63),
    ],
)
def test_a_length_has_one_to_nine_bytes(encoded: bytes, length: int | None) -> None:
    fields = Fields(encoded)
    assert fields.length() == length
    assert fields.is_done


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xff",  # no length begins like this
        b"\xfc\x01",
        b"\xfd\x01\x02",
        b"\xfe\x01\x02\x03\x04\x05\x06\x07",
        b"\x05abcd",
        b"\xfc\xff\xffa",
        b"\xfe" + b"\xff" * 8 + b"a",
    ],
)
@pytest.mark.req("POOL-2")
def test_a_length_that_lies_reads_nothing_beyond_the_packet(encoded: bytes) -> None:
    with pytest.raises(Malformed):
        Fields(encoded).text()


@given(st.binary(max_size=40))
def test_whatever_a_packet_holds_only_its_own_bytes_come_out(payload: bytes) -> None:
    fields = Fields(payload)
    try:
        found = fields.text()
    except Malformed:
        return
    assert found is None or found in payload


def test_a_text_ends_at_its_zero_byte_or_with_the_packet() -> None:
    fields = Fields(b"one\0two")
    assert fields.until_nul() == b"one"
    assert fields.until_nul() == b"two"
    assert fields.is_done


async def test_packets_follow_one_another() -> None:
    wire = _wire(_packet(0, b"a") + _packet(1, b"") + _packet(2, b"c"))
    assert [await wire.read() for _ in range(3)] == [b"a", b"", b"c"]


async def test_the_number_of_a_packet_starts_again_after_255() -> None:
    wire = _wire(_packet(255, b"a") + _packet(0, b"b"))
    wire.sequence = 255
    assert [await wire.read(), await wire.read()] == [b"a", b"b"]


async def test_a_packet_out_of_order_is_no_answer() -> None:
    with pytest.raises(Malformed):
        await _wire(_packet(1, b"a")).read()


@pytest.mark.parametrize("size", [LARGEST_PACKET + 1, 0xFFFFFF])
async def test_a_packet_beyond_the_cap_is_refused_before_it_is_received(size: int) -> None:
    wire = _wire(size.to_bytes(3, "little") + b"\0", ended=False)
    with pytest.raises(TooWide, match="8 MB"):
        await wire.read()


@pytest.mark.parametrize("received", [b"", b"\x05\0", b"\x05\0\0\0ab"])
async def test_a_connection_that_ends_within_a_packet_is_lost(received: bytes) -> None:
    with pytest.raises(SourceUnreachable, match="closed the connection"):
        await _wire(received).read()


def test_an_error_packet_tells_number_state_and_text() -> None:
    error = refusal(b"\xff\x15\x04#28000Access denied")
    assert (error.code, error.state, error.text) == (1045, "28000", "Access denied")


def test_an_error_before_the_handshake_has_no_state() -> None:
    error = refusal(b"\xff\x10\x04Too many \xff connections")
    assert (error.code, error.state) == (1040, "")
    assert error.text == "Too many � connections"
