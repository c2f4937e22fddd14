"""What a model says, made fit to be worked with."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.agent.step import as_shown, own_ids
from tenantry.providers.base import ToolCall

IDS = st.text(max_size=8) | st.sampled_from(["call_3_1", "call_3_2", "call_3_2_", "call_3_3"])
CALLS = st.lists(st.builds(ToolCall, IDS, st.text(max_size=8), st.just("{}")))


@given(CALLS)
def test_ids_are_short_plain_and_unique_and_the_rest_is_untouched(calls: list[ToolCall]) -> None:
    given_ids = list(own_ids(3, calls))
    ids = [call.id for call in given_ids]
    assert len(set(ids)) == len(ids)
    assert all(i.isascii() and 1 <= len(i) <= 64 for i in ids)
    assert [(c.name, c.arguments) for c in given_ids] == [(c.name, c.arguments) for c in calls]


def test_a_usable_id_is_kept_and_a_repeated_one_is_replaced() -> None:
    calls = [ToolCall("a1", "t", ""), ToolCall("a1", "t", ""), ToolCall("", "t", "")]
    assert [call.id for call in own_ids(2, calls)] == ["a1", "call_2_2", "call_2_3"]


@given(st.text(max_size=90), st.text(max_size=40) | st.just("{}"))
def test_a_call_shown_again_is_always_a_valid_one(name: str, arguments: str) -> None:
    shown = as_shown(ToolCall("i", name, arguments))
    assert 1 <= len(shown.name) <= 64
    assert shown.name.replace("_", "").replace("-", "").isalnum() or not shown.name.strip("_-")
    assert shown.name.isascii()
    assert isinstance(json.loads(shown.arguments), dict)


@pytest.mark.parametrize(
    "arguments",
    ["", "null", "[1]", '{"a":', "[" * 100_000, '{"a":' * 5000, "x" * 30_000, '{"a":NaN}'],
)
def test_arguments_that_are_no_object_are_shown_as_an_empty_one(arguments: str) -> None:
    assert as_shown(ToolCall("i", "t", arguments)).arguments == "{}"


def test_valid_arguments_are_shown_as_the_model_wrote_them() -> None:
    written = orjson.dumps({"sql": "SELECT 1", "n": [1, 2]}).decode() + " "
    assert as_shown(ToolCall("i", "query_data", written)) == ToolCall("i", "query_data", written)
