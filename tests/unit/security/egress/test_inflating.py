"""Decompression within a ceiling, however the pieces fall."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import QueryFailed
from tenantry.security.egress.inflating import Inflater


@given(st.binary(max_size=5_000), st.integers(1, 700), st.sampled_from(["gzip", "deflate", ""]))
def test_any_body_in_any_pieces_is_given_back(body: bytes, size: int, encoding: str) -> None:
    packed = {"gzip": gzip.compress(body, mtime=0), "deflate": zlib.compress(body), "": body}[
        encoding
    ]
    inflater = Inflater(encoding, 5_000)
    pieces = (packed[start : start + size] for start in range(0, len(packed), size))
    assert b"".join(out for piece in pieces for out in inflater.feed(piece)) == body
    inflater.finish()


def test_a_bomb_yields_no_more_than_its_ceiling_and_one_piece() -> None:
    pieces = Inflater("gzip", 1_000_000).feed(gzip.compress(bytes(20_000_000), mtime=0))
    given_out: list[bytes] = []
    with pytest.raises(QueryFailed):
        given_out.extend(pieces)
    assert sum(map(len, given_out)) <= 1_000_000
    assert max(map(len, given_out)) <= 1 << 16


def test_bombs_one_after_the_other_count_together() -> None:
    inflater = Inflater("gzip", 1_000)
    with pytest.raises(QueryFailed):
        list(inflater.feed(gzip.compress(bytes(600), mtime=0) * 2))


def test_a_stream_that_stops_in_the_middle_is_noticed() -> None:
    inflater = Inflater("gzip", 1_000)
    list(inflater.feed(gzip.compress(b"x" * 500, mtime=0)[:-4]))
    with pytest.raises(QueryFailed, match="broke off"):
        inflater.finish()
