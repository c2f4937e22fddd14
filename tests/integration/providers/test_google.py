"""What is special about Google's form."""

from collections.abc import Mapping

import pytest

from tenantry.core.errors import ProviderMalformed
from tenantry.core.events import Json
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatModel, ChatRequest, Message, ToolCall, ToolSpec
from tests.integration.providers.conftest import KEY
from tests.providers.asking import ASK, answer_of
from tests.providers.replies import Reply
from tests.providers.scripted import ScriptedProvider

SCHEMA: Mapping[str, Json] = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.fixture
def kind() -> str:
    return "google"


async def test_a_conversation_with_tools_alternates_and_names_its_functions(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    messages = (
        Message("system", "Be brief."),
        Message("user", "Look."),
        Message("assistant", "", (ToolCall("c1", "look", '{"n": 1}'),)),
        Message("tool", "seen", tool_call_id="c1"),
        Message("user", "And?"),
    )
    tools = (ToolSpec("look", "Looks.", SCHEMA),)
    await answer_of(model, ChatRequest("gemini-x", messages, tools, 50, 1.5))
    body = provider.calls[0].body
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["generationConfig"] == {"maxOutputTokens": 50, "temperature": 1.5}
    declared = {"name": "look", "description": "Looks.", "parametersJsonSchema": SCHEMA}
    assert body["tools"] == [{"functionDeclarations": [declared]}]
    response = {"name": "look", "response": {"result": "seen"}}
    called = {"functionCall": {"name": "look", "args": {"n": 1}}}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "Look."}]},
        {
            "role": "model",
            "parts": [called | {"thoughtSignature": "skip_thought_signature_validator"}],
        },
        {"role": "user", "parts": [{"functionResponse": response}, {"text": "And?"}]},
    ]


async def test_the_model_is_named_in_the_path_and_cannot_leave_it(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    await answer_of(model)
    await answer_of(model, ChatRequest("../../x?y=#", ASK.messages))
    assert [call.path for call in provider.calls] == [
        "/v1beta/models/gpt-x:streamGenerateContent?alt=sse",
        "/v1beta/models/..%2F..%2Fx%3Fy%3D%23:streamGenerateContent?alt=sse",
    ]


async def test_the_key_is_sent_as_a_header_and_never_in_the_address(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    await answer_of(model)
    assert provider.calls[0].headers["x-goog-api-key"] == KEY
    assert KEY not in provider.calls[0].path


@pytest.mark.req("COST-1")
async def test_thoughts_and_tool_prompts_count(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    usage = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 5,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
    }
    provider.queue(Reply("a", usage=usage))
    assert (await answer_of(model))[1].usage == TokenUsage(15, 4, 50, 30)


@pytest.mark.req("COST-1")
async def test_lies_about_usage_are_mended_and_marked_or_no_usage(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("a", usage={"promptTokenCount": -5, "candidatesTokenCount": 10**12}))
    assert (await answer_of(model))[1].usage == TokenUsage(0, 0, 10**9, 0, estimated=True)
    provider.queue(Reply("a", usage={"promptTokenCount": 1.5}))
    assert (await answer_of(model))[1].usage is None


@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
async def test_a_tool_call_that_cannot_be_read_is_malformed(
    model: ChatModel, provider: ScriptedProvider, finish: str
) -> None:
    provider.queue(Reply("a", finish=finish))
    with pytest.raises(ProviderMalformed):
        await answer_of(model)
