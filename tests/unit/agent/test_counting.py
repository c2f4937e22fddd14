"""Counting tokens: bounds that hold, and estimates that stay inside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.agent.counting import OutputCount, likely_prompt_tokens, most_tokens
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatRequest, Message, ToolCall, ToolSpec

TEXT = st.text(max_size=60)
MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        TEXT,
        st.lists(st.builds(ToolCall, TEXT, TEXT, TEXT), max_size=2).map(tuple),
        TEXT,
    ),
    max_size=6,
)


@pytest.mark.req("COST-1", "LIM-1")
@given(MESSAGES, st.lists(st.builds(ToolSpec, TEXT, TEXT, st.just({"type": "object"})), max_size=3))
def test_the_bound_of_a_prompt_is_above_all_its_bytes_and_above_the_estimate(
    messages: list[Message], tools: list[ToolSpec]
) -> None:
    request = ChatRequest("m", messages, tools, max_output_tokens=77)
    bound = most_tokens(request)
    written = sum(
        len((m.content + "".join(c.name + c.arguments for c in m.tool_calls)).encode())
        for m in messages
    ) + sum(len((t.name + t.description).encode()) for t in tools)
    assert bound.input_tokens >= written + 16 * len(messages)
    assert bound.output_tokens == 77
    assert 0 <= likely_prompt_tokens(request) <= bound.input_tokens


@pytest.mark.req("COST-3")
@given(st.lists(TEXT))
def test_what_is_surely_used_is_never_above_what_streamed(deltas: list[str]) -> None:
    count = OutputCount()
    for delta in deltas:
        before = count.surely
        count.add(delta)
        assert count.surely >= before
    assert count.surely <= len([d for d in deltas if d])
    assert count.surely <= count.size_bytes
    assert (count.surely == 0) == (not "".join(deltas))
    assert count.surely <= count.likely()


def test_a_delta_without_text_is_no_token() -> None:
    count = OutputCount()
    count.add("")
    assert (count.deltas, count.surely, count.likely()) == (0, 0, 0)


def test_an_estimate_of_a_whole_answer_counts_its_tool_calls() -> None:
    count = OutputCount()
    count.add("12345678")
    assert count.likely() == 2
    assert count.likely([ToolCall("id", "tool", '{"a": 1}')]) == 5


@pytest.mark.req("COST-1")
@pytest.mark.parametrize(
    ("reported", "is_wrong"),
    [
        (TokenUsage(input_tokens=9, output_tokens=100), False),
        (TokenUsage(input_tokens=9, output_tokens=8), False),
        (TokenUsage(input_tokens=9, output_tokens=7), True),
        (TokenUsage(input_tokens=9, output_tokens=0), True),
        (TokenUsage(input_tokens=0, output_tokens=100), True),
    ],
)
def test_a_report_far_below_what_was_received_is_not_believed(
    reported: TokenUsage, is_wrong: bool
) -> None:
    count = OutputCount()
    count.add("x" * 1000)
    assert count.contradicts(reported) is is_wrong
