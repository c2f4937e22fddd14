"""Usage is found where a provider puts it, and only whole numbers that can be true are believed."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.metering.usage import MOST_TOKENS, TokenUsage
from tenantry.providers.sse import SseEvent
from tenantry.providers.usage import StreamMeter, usage_in_body, usage_in_event, usage_of
from tests.providers.forms import OpenAIForm, Turn
from tests.providers.replies import CallOf, tokens_of

CHAT = {
    "prompt_tokens": 10,
    "completion_tokens": 7,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
NAMES = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens")


@pytest.mark.req("COST-1")
@pytest.mark.parametrize(
    ("report", "usage"),
    [
        (CHAT, TokenUsage(10, 4, 7, 2)),
        ({"prompt_tokens": 10, "total_tokens": 10}, TokenUsage(10, 0, 0, 0)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 8,
                "input_tokens_details": {"cached_tokens": 1},
                "output_tokens_details": {"reasoning_tokens": 3},
            },
            TokenUsage(9, 1, 8, 3),
        ),
        # Reasoning beside the output: the total says so.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 7,
                "total_tokens": 22,
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            TokenUsage(10, 0, 12, 5),
        ),
        ({"prompt_tokens": 0, "completion_tokens": 0}, TokenUsage(0, 0, 0, 0)),
        (CHAT | {"prompt_tokens_details": None}, TokenUsage(10, 0, 7, 2)),
        (CHAT | {"prompt_tokens_details": "none"}, TokenUsage(10, 0, 7, 2)),
    ],
)
def test_reports_are_read(report: dict[str, Any], usage: TokenUsage) -> None:
    assert usage_of(report) == usage
    assert usage_in_body(orjson.dumps({"usage": report})) == usage


@pytest.mark.req("COST-1")
@pytest.mark.parametrize(
    "report", [None, {}, [], 7, "x", True, {"prompt_tokens": "9"}, {"prompt_tokens": 1.0},
               {"completion_tokens": True}, {"prompt_tokens_details": {"cached_tokens": "x"}}]
)  # fmt: skip
def test_what_is_no_report_is_none(report: Any) -> None:
    assert usage_of(report) is None


@pytest.mark.req("COST-1")
def test_lies_are_mended_and_marked() -> None:
    spoofed = {"prompt_tokens": -1, "completion_tokens": 10**15}
    assert usage_of(spoofed) == TokenUsage(0, 0, MOST_TOKENS, 0, estimated=True)
    report = CHAT | {"prompt_tokens_details": {"cached_tokens": 999}}
    assert usage_of(report) == TokenUsage(10, 10, 7, 2, estimated=True)


@given(st.dictionaries(st.sampled_from(NAMES), JSON) | JSON)
def test_no_report_breaks_anything_or_gives_an_impossible_figure(report: Any) -> None:
    usage = usage_of(report)
    assert usage is None or usage == usage.plausible()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"usage": null}'])
def test_a_body_without_usage_has_none(body: bytes) -> None:
    assert usage_in_body(body) is None


def test_usage_in_an_event_of_either_api() -> None:
    chunk = orjson.dumps({"choices": [], "usage": CHAT})
    assert usage_in_event(SseEvent("message", chunk)) == TokenUsage(10, 4, 7, 2)
    inner = {"input_tokens": 1, "output_tokens": 2}
    completed = orjson.dumps({"type": "response.completed", "response": {"usage": inner}})
    assert usage_in_event(SseEvent("response.completed", completed)) == TokenUsage(1, 0, 2, 0)
    assert usage_in_event(SseEvent("message", b"[DONE]")) is None


def stream_of(text: str, usage: Any = CHAT, calls: tuple[CallOf, ...] = ()) -> bytes:
    turn = Turn(1, "m", tuple(tokens_of(text)), calls, "stop", usage)
    return b"".join(b"data: " + event.data + b"\n\n" for event in OpenAIForm().events(turn))


@pytest.mark.req("COST-1")
@given(st.integers(1, 60))
def test_a_meter_reads_along_however_the_stream_is_cut(size: int) -> None:
    stream, meter = stream_of("one two three vier"), StreamMeter()
    for start in range(0, len(stream), size):
        meter.feed(stream[start : start + size])
    meter.close()
    assert meter.reported == TokenUsage(10, 4, 7, 2)
    assert (meter.deltas, meter.output_bytes, meter.finished) == (4, 18, True)
    assert not meter.malformed


@pytest.mark.req("COST-1")
def test_a_meter_counts_what_was_sent_when_nothing_is_reported() -> None:
    meter = StreamMeter()
    meter.feed(stream_of("ein zwei", None, (CallOf("look", '{"n": 1}', "c"),)))
    assert meter.reported is None
    assert meter.deltas == 5  # two words, the name, the arguments in two pieces
    assert meter.output_bytes == len("ein zwei") + len("look") + len('{"n": 1}')


def test_a_meter_knows_that_a_cut_stream_did_not_finish() -> None:
    meter = StreamMeter()
    meter.feed(stream_of("ein zwei")[:300])
    meter.close()
    assert not meter.finished
    assert meter.reported is None


def test_a_meter_survives_nonsense_and_an_event_without_end() -> None:
    meter = StreamMeter()
    meter.feed(b'data: {"choices": [7, {"delta": 7}, {"delta": {"content": 7}}]}\n\n')
    meter.feed(b'data: {"choices": {"delta": {}}}\n\ndata: [1]\n\ndata: not json\n\n')
    assert (meter.deltas, meter.malformed) == (0, False)
    meter.feed(b"data: " + b"x" * (2 << 20))
    assert meter.malformed
    meter.feed(b"\n\ndata: [DONE]\n\n")
    assert not meter.finished


@given(st.binary(max_size=200))
def test_no_bytes_break_a_meter(stream: bytes) -> None:
    meter = StreamMeter()
    meter.feed(stream)
    meter.close()
    assert meter.deltas <= len(stream)


def test_text_of_the_responses_api_counts() -> None:
    meter = StreamMeter()
    meter.feed(b'event: response.output_text.delta\ndata: {"delta": "abc"}\n\n')
    meter.feed(b'event: response.completed\ndata: {"response": {}}\n\n')
    assert (meter.deltas, meter.output_bytes, meter.finished) == (1, 3, True)
