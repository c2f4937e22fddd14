"""A stream is passed on byte for byte, in whole events, its last one held back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import ProviderMalformed
from tenantry.gateway.frames import Frames, events_in
from tenantry.gateway.late_meter import LateMeter
from tenantry.providers.usage import StreamMeter

_USAGE = b'{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}'
EVENTS = st.lists(
    st.sampled_from(
        [
            b'data: {"choices":[{"delta":{"content":"ab"}}]}',
            b'data: {"choices":[{"delta":{"content":"\\"usage\\":{"}}]}',
            b'data: {"choices":[],"usage":' + _USAGE + b"}",
            b'data: {"choices":[{"delta":{"content":"x"}}],"usage": ' + _USAGE + b"}",
            b'data: {"choices":[{"delta":{"content":"y"}}],"usage":null}',
            b": keep-alive",
            b"event: ping\ndata: {}",
            b"data: [DONE]",
        ]
    ),
    max_size=12,
)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def _cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(stream[at : at + size])
        at += size
    return [piece for piece in [*pieces, stream[at:]] if piece]


def _stream(events: list[bytes], line_end: bytes) -> bytes:
    return b"".join(event.replace(b"\n", line_end) + line_end * 2 for event in events)


@given(EVENTS, LINE_ENDS, st.lists(st.integers(1, 40), max_size=60), st.binary(max_size=5))
def test_what_goes_out_is_what_came_in_and_never_ends_inside_an_event(
    events: list[bytes], line_end: bytes, sizes: list[int], tail: bytes
) -> None:
    frames, stream, sent = Frames(), _stream(events, line_end) + tail, b""
    for piece in _cut(stream, sizes):
        ready = frames.feed(piece)
        sent += ready
        if ready:
            assert re.search(rb"(\n\n|\r\n\r\n|\r\r)\Z", ready)
            assert len(sent) < len(stream)  # the last event is still here
    assert sent + frames.rest() == stream


def test_the_last_event_waits_however_the_stream_is_cut() -> None:
    stream = b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"
    for size in range(1, len(stream) + 1):
        frames, sent = Frames(), b""
        for at in range(0, len(stream), size):
            sent += frames.feed(stream[at : at + size])
        assert sent == b"data: 1\n\ndata: 2\n\n"
        assert frames.rest() == b"data: [DONE]\n\n"


def test_an_event_without_end_is_given_up() -> None:
    frames, megabyte = Frames(), b"x" * 1024 * 1024
    for _ in range(4):
        assert frames.feed(megabyte) == b""
    with pytest.raises(ProviderMalformed):
        frames.feed(megabyte)


@given(EVENTS, LINE_ENDS)
def test_events_come_apart_and_together_again(events: list[bytes], line_end: bytes) -> None:
    stream = _stream(events, line_end)
    assert b"".join(events_in(stream)) == stream


@pytest.mark.req("COST-1")
@given(EVENTS, LINE_ENDS, st.lists(st.integers(1, 90), max_size=40), st.sets(st.integers(0, 30)))
def test_reading_late_gives_the_figures_of_reading_along(
    events: list[bytes], line_end: bytes, sizes: list[int], looks: set[int]
) -> None:
    stream = _stream(events, line_end)
    along, late = StreamMeter(), LateMeter()
    for number, piece in enumerate(_cut(stream, sizes)):
        along.feed(piece)
        late.feed(piece)
        if number in looks:
            assert late.now().reported == along.reported
            assert late.now().deltas == along.deltas
    along.close()
    ended = late.end()
    assert ended.reported == along.reported
    assert (ended.finished, ended.malformed) == (along.finished, along.malformed)
    if along.reported is None:
        assert (ended.deltas, ended.output_bytes) == (along.deltas, along.output_bytes)
