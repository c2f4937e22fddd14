"""Raw calls in OpenAI's form to models that do not speak it, over real HTTP behind."""

import asyncio
from typing import Any

import orjson
import pytest

from tenantry.core.errors import (
    ProviderMalformed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatModel
from tenantry.providers.bridge import BridgedUpstream
from tenantry.providers.sse import SseParser
from tenantry.providers.upstream import UpstreamResponse
from tenantry.providers.usage import StreamMeter, usage_in_body
from tests.providers.replies import CallOf, Fault, Reply, refusing
from tests.providers.scripted import ScriptedProvider

ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}]},
    ],
    "max_completion_tokens": 50,
}
PATH = "/chat/completions"


@pytest.fixture(params=["anthropic", "google"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bridge(model: ChatModel) -> BridgedUpstream:
    return BridgedUpstream(model)


async def opened(bridge: BridgedUpstream, **more: Any) -> UpstreamResponse:
    return await bridge.open(PATH, orjson.dumps(ASKED | more), {"x-client-request-id": "call-1"})


async def body_of(response: UpstreamResponse) -> bytes:
    body = b"".join([chunk async for chunk in response.chunks])
    response.close()
    return body


@pytest.mark.req("USE-1", "COST-1")
async def test_a_streamed_answer_comes_in_openais_form_with_its_usage(
    bridge: BridgedUpstream, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("It is a bird.", cached=1, calls=(CallOf("look", '{"n": 1}', "c1"),)))
    response = await opened(bridge, stream=True)
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    body = await body_of(response)
    parser, meter = SseParser(), StreamMeter()
    events = [orjson.loads(e.data) for e in parser.feed(body) if e.data != b"[DONE]"]
    meter.feed(body)
    deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "It is a bird."
    (calls,) = (delta["tool_calls"] for delta in deltas if "tool_calls" in delta)
    assert calls[0]["index"] == 0
    assert calls[0]["function"] == {"name": "look", "arguments": '{"n": 1}'}
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert meter.finished
    assert meter.reported is not None
    assert meter.reported == usage_in_body(orjson.dumps(events[-1]))
    assert meter.reported.cached_tokens == 1
    assert provider.calls[0].request_id == "call-1"


@pytest.mark.req("USE-1", "COST-1")
async def test_a_whole_answer_comes_in_openais_form_with_its_usage(
    bridge: BridgedUpstream, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("It is a bird."))
    response = await opened(bridge)
    assert response.headers["content-type"] == "application/json"
    answer = orjson.loads(body := await body_of(response))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "It is a bird."}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert usage_in_body(body) == TokenUsage(5, 0, 4, 0)


async def test_a_conversation_with_tools_reaches_the_model(
    bridge: BridgedUpstream, provider: ScriptedProvider
) -> None:
    function = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    called = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        *ASKED["messages"],
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "a bird"},
    ]
    tools = [{"type": "function", "function": function}]
    await body_of(await opened(bridge, messages=messages, tools=tools, temperature=0.2))
    prompt = provider.calls[0].prompt
    assert {"Be brief.", "What is it?", "look", "Looks.", "a bird"} <= set(prompt)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"response_format": {"type": "json_object"}}, "unsupported_parameter"),
        ({"stop": ["x"]}, "unsupported_parameter"),
        ({"n": 2}, "unsupported_parameter"),
        ({"tool_choice": "required"}, "unsupported_parameter"),
        ({"seed": 7}, "unsupported_parameter"),
        ({"messages": "hello"}, "invalid_request_error"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": 7}]}, "invalid_request_error"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "invalid_request_error",
        ),
        ({"max_completion_tokens": None}, "invalid_request_error"),
        ({"max_completion_tokens": "many"}, "invalid_request_error"),
        ({"tools": [{"type": "retrieval"}]}, "invalid_request_error"),
    ],
)
async def test_what_cannot_be_said_is_refused_by_name_and_not_sent(
    bridge: BridgedUpstream, provider: ScriptedProvider, more: dict[str, Any], code: str
) -> None:
    response = await opened(bridge, **more)
    assert response.status == 400
    assert orjson.loads(await body_of(response))["error"]["code"] == code
    assert provider.calls == []


async def test_defaults_that_are_spelt_out_are_no_wishes(
    bridge: BridgedUpstream, provider: ScriptedProvider
) -> None:
    spelt = {"n": 1, "top_p": 1, "tool_choice": "auto", "stop": None, "user": "u", "logprobs": None}
    assert (await opened(bridge, **spelt)).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", b"{}"])
async def test_a_body_that_is_no_request_is_refused(bridge: BridgedUpstream, body: bytes) -> None:
    assert (await bridge.open(PATH, body, {})).status == 400


async def test_other_paths_are_refused(bridge: BridgedUpstream) -> None:
    assert (await bridge.open("/embeddings", orjson.dumps(ASKED), {})).status == 400


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusing(500), ProviderUnavailable),
        (refusing(401), ProviderRejected),
        (Reply("x", fault="html"), ProviderMalformed),
    ],
)
async def test_a_failure_before_the_first_chunk_is_raised_at_once(
    bridge: BridgedUpstream, provider: ScriptedProvider, reply: Reply, error: type[Exception]
) -> None:
    provider.answer = reply
    with pytest.raises(error):
        await opened(bridge, stream=True)


@pytest.mark.parametrize(
    ("fault", "error"), [("cut", ProviderMalformed), ("error_event", ProviderUnavailable)]
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_inside_the_answer_is_raised_while_it_is_read(
    bridge: BridgedUpstream,
    provider: ScriptedProvider,
    fault: Fault,
    error: type[Exception],
    stream: bool,
) -> None:
    provider.answer = Reply("one two three four", fault=fault, fault_after=2)
    response = await opened(bridge, stream=stream)
    with pytest.raises(error):
        await body_of(response)


async def test_a_stall_inside_the_answer_times_out(
    hasty: ChatModel, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("one two three four", fault="stall")
    response = await opened(BridgedUpstream(hasty), stream=True)
    with pytest.raises(ProviderTimeout):
        await body_of(response)


async def test_closing_the_response_cancels_the_call(
    bridge: BridgedUpstream, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("word " * 10_000, token_s=0.002, obey_bound=False)
    response = await opened(bridge, stream=True)
    await anext(response.chunks)
    response.close()
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")


async def test_a_reader_who_falls_behind_holds_the_model_back_and_may_still_close(
    bridge: BridgedUpstream, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("word " * 300, obey_bound=False)
    response = await opened(bridge, stream=True)
    await asyncio.sleep(0.3)  # the queue between model and reader is full by now
    response.close()
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_while_the_model_thinks_cancels_the_call(
    bridge: BridgedUpstream, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("x", fault="silent")
    asking = asyncio.create_task(opened(bridge, stream=True))
    await provider.wait_for(lambda: bool(provider.calls))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")
