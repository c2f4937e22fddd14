"""What is special about OpenAI's form."""

import pytest

from tenantry.core.errors import ProviderRejected
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatModel, ChatRequest, Message, ToolCall, ToolSpec
from tenantry.providers.connecting import Unreached
from tenantry.providers.openai_compatible import OpenAICompatibleModel
from tenantry.providers.upstream import HttpUpstream
from tests.integration.providers.conftest import KEY, LONG, QUICK, SHORT, ModelMaker
from tests.providers.asking import ASK, answer_of
from tests.providers.replies import Reply
from tests.providers.scripted import ScriptedProvider

TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})


@pytest.fixture
def kind() -> str:
    return "openai_compatible"


@pytest.mark.req("COST-1")
async def test_the_bound_and_the_wish_for_usage_are_always_sent(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    await answer_of(model)
    body = provider.calls[0].body
    assert body["max_completion_tokens"] == 100
    assert body["stream_options"] == {"include_usage": True}
    assert not {"max_tokens", "temperature", "tools"} & set(body)
    assert provider.calls[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.req("COST-1")
async def test_an_older_server_gets_the_bound_under_the_older_name(
    provider: ScriptedProvider,
) -> None:
    upstream = HttpUpstream(provider.url + "/v1", patience=LONG)
    old = OpenAICompatibleModel(upstream, "max_tokens", LONG, QUICK)
    await answer_of(old, ChatRequest("m", ASK.messages, (TOOL,), 7, 0.5))
    await upstream.close()
    body = provider.calls[0].body
    assert (body["max_tokens"], body["temperature"]) == (7, 0.5)
    assert "max_completion_tokens" not in body
    assert body["tools"][0]["function"]["name"] == "look"
    assert "authorization" not in provider.calls[0].headers


async def test_a_conversation_with_tools_is_told_in_the_providers_words(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    messages = (
        Message("system", "Be brief."),
        Message("user", "Look."),
        Message("assistant", "", (ToolCall("c1", "look", "{}"),)),
        Message("tool", "seen", tool_call_id="c1"),
    )
    await answer_of(model, ChatRequest("m", messages))
    function = {"name": "look", "arguments": "{}"}
    calls = [{"id": "c1", "type": "function", "function": function}]
    assert provider.calls[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "seen", "tool_call_id": "c1"},
    ]


@pytest.mark.req("COST-1")
async def test_lies_about_usage_are_mended_and_marked_or_no_usage(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    nonsense: tuple[object, ...] = ({"prompt_tokens": "many"}, {"prompt_tokens": 1.5}, [], 7)
    spoofed = {"prompt_tokens": -5, "completion_tokens": 10**12}
    provider.queue(*(Reply("a", usage=lie) for lie in (spoofed, *nonsense)))
    mended = (await answer_of(model))[1].usage
    assert mended == TokenUsage(0, 0, 10**9, 0, estimated=True)
    for _ in nonsense:
        assert (await answer_of(model))[1].usage is None


async def test_a_known_code_helps_the_operator(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    error = {"error": {"message": "x", "code": "context_length_exceeded"}}
    provider.answer = Reply(status=400, error=error)
    with pytest.raises(ProviderRejected, match=r"HTTP 400, context_length_exceeded"):
        await answer_of(model)


async def test_nobody_listening_is_unreached() -> None:
    upstream = HttpUpstream("http://127.0.0.1:1/v1", {"authorization": f"Bearer {KEY}"}, SHORT)
    with pytest.raises(Unreached) as raised:
        await answer_of(OpenAICompatibleModel(upstream, patience=SHORT, retry=QUICK))
    assert KEY not in raised.value.message + repr(upstream)
    await upstream.close()


async def test_the_connection_is_kept_for_the_next_call(
    make: ModelMaker, provider: ScriptedProvider
) -> None:
    model = make("openai_compatible", LONG)
    assert isinstance(model, OpenAICompatibleModel)
    for _ in range(3):
        await answer_of(model)
    assert len({call.port for call in provider.calls}) == 1
