"""What is special about Anthropic's form."""

from collections.abc import Mapping

import pytest

from tenantry.core.errors import ProviderMalformed
from tenantry.core.events import Json
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatModel, ChatRequest, Message, ToolCall, ToolSpec
from tests.integration.providers.conftest import KEY
from tests.providers.asking import ASK, answer_of
from tests.providers.replies import CallOf, Reply
from tests.providers.scripted import ScriptedProvider

SCHEMA: Mapping[str, Json] = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.fixture
def kind() -> str:
    return "anthropic"


async def test_a_conversation_with_tools_alternates(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    calls = (ToolCall("c1", "look", '{"n": 1}'), ToolCall("c2", "nap", "not json"))
    messages = (
        Message("system", "Be brief."),
        Message("system", "Be kind."),
        Message("user", "Look."),
        Message("user", "Twice."),
        Message("assistant", "Looking.", calls),
        Message("tool", "seen", tool_call_id="c1"),
        Message("tool", "slept", tool_call_id="c2"),
        Message("assistant", ""),
    )
    tools = (ToolSpec("look", "Looks.", SCHEMA),)
    await answer_of(model, ChatRequest("claude", messages, tools, 50, 1.5))
    body = provider.calls[0].body
    assert body["system"] == "Be brief.\n\nBe kind."
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (50, 1.0, True)
    assert body["tools"] == [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {"n": 1}},
        {"type": "tool_use", "id": "c2", "name": "nap", "input": {}},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "seen"},
        {"type": "tool_result", "tool_use_id": "c2", "content": "slept"},
    ]


async def test_the_key_and_the_version_are_sent(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    await answer_of(model)
    headers = provider.calls[0].headers
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in headers


@pytest.mark.req("COST-1")
async def test_what_was_read_from_and_written_to_the_cache_is_part_of_the_prompt(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 200,
        "cache_creation_input_tokens": 3000,
        "output_tokens": 7,
    }
    provider.queue(Reply("a", usage=usage))
    assert (await answer_of(model))[1].usage == TokenUsage(3210, 200, 7, 0, cache_write_tokens=3000)


@pytest.mark.req("COST-1")
async def test_lies_about_usage_are_mended_and_marked(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("a", usage={"input_tokens": -5, "output_tokens": 10**12}))
    assert (await answer_of(model))[1].usage == TokenUsage(0, 0, 10**9, 0, estimated=True)
    provider.queue(Reply("a", usage={"input_tokens": "many", "output_tokens": 1.5}))
    assert (await answer_of(model))[1].usage is None


async def test_an_answer_without_a_message_stop_is_broken(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("one two three", fault="no_end", fault_after=3))
    with pytest.raises(ProviderMalformed, match="ended early"):
        await answer_of(model)


async def test_tools_keep_the_ids_the_provider_gave(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    provider.queue(Reply(calls=(CallOf("look", "{}", "toolu_1"), CallOf("nap", "{}", "toolu_2"))))
    _, end = await answer_of(model, ASK)
    assert [call.id for call in end.tool_calls] == ["toolu_1", "toolu_2"]
