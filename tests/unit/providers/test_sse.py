"""Events come out the same however a stream is cut, and nothing makes the parser work or grow."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import ProviderMalformed
from tenantry.providers.sse import SseEvent, SseParser

LINES = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20)
EVENTS = st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=6)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def parsed(*pieces: bytes) -> list[SseEvent]:
    parser = SseParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.close()


def message(data: str) -> SseEvent:
    return SseEvent("message", data.encode())


@given(EVENTS, ENDS, st.data())
def test_any_cut_gives_the_same_events(
    events: list[list[str]], end: str, data: st.DataObject
) -> None:
    stream = "".join(
        "".join(f"data: {line}{end}" for line in lines) + end for lines in events
    ).encode()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    edges = sorted({0, len(stream), *cuts})
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert parsed(*pieces) == [message("\n".join(lines)) for lines in events]


@given(st.binary(max_size=300), st.integers(1, 7))
def test_nonsense_is_parsed_the_same_whole_and_in_pieces(stream: bytes, size: int) -> None:
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert parsed(stream) == parsed(*pieces)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [message("a"), message("b")]),
        (b"data:a\n\n", [message("a")]),
        (b"data:  a\n\n", [message(" a")]),
        (b"data: a\ndata: b\n\n", [message("a\nb")]),
        (b"data\n\n", [message("")]),
        (b"event: ping\ndata: {}\n\n", [SseEvent("ping", b"{}")]),
        (b"event: ping\n\ndata: x\n\n", [message("x")]),
        (b": comment\n\ndata: x\n\n", [message("x")]),
        (b":\n:\n:\n", []),
        (b"id: 1\nretry: 9\ndata: x\n\n", [message("x")]),
        (b"\xef\xbb\xbfdata: x\n\n", [message("x")]),
        (b"data: x", [message("x")]),
        (b"data: x\n", [message("x")]),
        (b"\n\n\n", []),
        (b"", []),
        (b"data: \xff\n\n", [SseEvent("message", b"\xff")]),
    ],
)
def test_streams_are_read_as_the_standard_says(stream: bytes, events: list[SseEvent]) -> None:
    assert parsed(stream) == events
    assert parsed(*(stream[n : n + 1] for n in range(len(stream)))) == events


def test_a_carriage_return_cut_from_its_line_feed_ends_one_line() -> None:
    assert parsed(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [message("a\nb")]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * 200],
        [b"x" * 60] * 3,
        [b"data: x\n"] * 80,
        [b": " + b"c" * 200],
    ],
)
def test_an_event_that_grows_too_large_is_malformed(pieces: list[bytes]) -> None:
    parser = SseParser(most_event_bytes=100)
    with pytest.raises(ProviderMalformed, match="too large"):
        _ = [parser.feed(piece) for piece in pieces]


def test_many_small_events_are_no_large_one() -> None:
    parser = SseParser(most_event_bytes=100)
    assert len(parser.feed(b"data: 0123456789\n\n" * 1000)) == 1000
