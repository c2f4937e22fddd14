"""The OpenAI-compatible model over real HTTP, against a provider that does everything wrong."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tenantry.core.errors import (
    ProviderError,
    ProviderMalformed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import ChatRequest, Chunk, Finished, Message, ToolCall, ToolSpec
from tenantry.providers.calls import Retry
from tenantry.providers.openai_compatible import OpenAICompatibleModel
from tenantry.providers.upstream import HttpUpstream, Patience, Unreached
from tests.providers.asking import ASK, answer_of, collect_into
from tests.providers.replies import CallOf, Reply, refusing
from tests.providers.scripted import ScriptedProvider

KEY = "sk-test-3a5f9c"
SHORT = Patience(connect_s=2.0, first_s=0.3, idle_s=0.3)
LONG = Patience(connect_s=10.0, first_s=20.0, idle_s=20.0)
QUICK = Retry(attempts=3, base_s=0.001, most_s=0.002)
TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
async def upstream(provider: ScriptedProvider) -> AsyncIterator[HttpUpstream]:
    upstream = HttpUpstream(provider.url + "/v1", {"authorization": f"Bearer {KEY}"}, LONG)
    yield upstream
    await upstream.close()


@pytest.fixture
def model(upstream: HttpUpstream) -> OpenAICompatibleModel:
    return OpenAICompatibleModel(upstream, patience=LONG, retry=QUICK)


@pytest.fixture
async def hasty(provider: ScriptedProvider) -> AsyncIterator[OpenAICompatibleModel]:
    upstream = HttpUpstream(provider.url + "/v1", patience=SHORT)
    yield OpenAICompatibleModel(upstream, patience=SHORT, retry=QUICK)
    await upstream.close()


@pytest.mark.req("COST-1")
async def test_text_and_exact_usage_arrive(
    model: OpenAICompatibleModel, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("The answer is forty two.", cached=1, reasoning=3))
    text, end = await answer_of(model)
    assert text == "The answer is forty two."
    assert end == Finished("stop", (), TokenUsage(4, 1, 8, 3))
    call = provider.calls[0]
    assert (call.outcome, call.streamed_tokens, call.prompt_tokens) == ("finished", 5, 4)


@pytest.mark.req("COST-1")
async def test_the_bound_and_the_wish_for_usage_are_always_sent(
    model: OpenAICompatibleModel, upstream: HttpUpstream, provider: ScriptedProvider
) -> None:
    await answer_of(model)
    old = OpenAICompatibleModel(upstream, "max_tokens", LONG, QUICK)
    await answer_of(old, ChatRequest("m", ASK.messages, (TOOL,), 7, 0.5))
    new_body, old_body = (call.body for call in provider.calls)
    assert new_body["max_completion_tokens"] == 100
    assert "max_tokens" not in new_body
    assert "temperature" not in new_body
    assert "tools" not in new_body
    assert (old_body["max_tokens"], old_body["temperature"]) == (7, 0.5)
    assert old_body["tools"][0]["function"]["name"] == "look"
    for body in (new_body, old_body):
        assert body["stream_options"] == {"include_usage": True}
    assert provider.calls[0].headers["authorization"] == f"Bearer {KEY}"
    assert "openai" not in provider.calls[0].headers["user-agent"].lower()


async def test_an_answer_cut_by_its_bound_says_so(
    model: OpenAICompatibleModel, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("one two three four"))
    text, end = await answer_of(model, ChatRequest("m", ASK.messages, (), 2))
    assert (text, end.reason) == ("one two ", "length")
    assert end.usage == TokenUsage(4, 0, 2, 0)


async def test_tool_calls_come_whole_and_in_order(
    model: OpenAICompatibleModel, provider: ScriptedProvider
) -> None:
    arguments = '{"text":"a \\"quoted\\" näme","n":[1,2,3]}'
    provider.queue(Reply("Let me see. ", calls=(CallOf("look", arguments, "c1"), CallOf("nap"))))
    text, end = await answer_of(model)
    assert text == "Let me see. "
    assert end.reason == "tool_calls"
    assert end.tool_calls[0] == ToolCall("c1", "look", arguments)
    assert end.tool_calls[1].name == "nap"
    assert end.tool_calls[1].arguments == "{}"


async def test_a_conversation_with_tools_is_told_in_the_providers_words(
    model: OpenAICompatibleModel, provider: ScriptedProvider
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


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("piece", [0, 1, 7])
async def test_any_cut_and_line_end_gives_the_same_answer(
    model: OpenAICompatibleModel, provider: ScriptedProvider, newline: str, piece: int
) -> None:
    provider.queue(Reply("naïve 東京 🙂 answer", newline=newline, piece=piece))
    text, end = await answer_of(model)
    assert text == "naïve 東京 🙂 answer"
    assert end.usage == TokenUsage(4, 0, 4, 0)


async def test_no_figures_are_no_usage_and_lies_are_marked(
    model: OpenAICompatibleModel, provider: ScriptedProvider
) -> None:
    lies: tuple[object, ...] = (
        {"prompt_tokens": -5, "completion_tokens": 10**12},
        {"prompt_tokens": "many"},
        [],
        7,
    )
    provider.queue(Reply("a", usage=None), *(Reply("a", usage=lie) for lie in lies))
    assert (await answer_of(model))[1].usage is None
    mended = (await answer_of(model))[1].usage
    assert mended == TokenUsage(0, 0, 10**9, 0, estimated=True)
    for _ in lies[1:]:
        assert (await answer_of(model))[1].usage is None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
async def test_a_provider_that_recovers_is_tried_again(
    model: OpenAICompatibleModel, provider: ScriptedProvider, status: int
) -> None:
    provider.queue(refusing(status), refusing(status), Reply("Here I am."))
    assert (await answer_of(model))[0] == "Here I am."
    assert [call.outcome for call in provider.calls] == ["refused", "refused", "finished"]
    assert len({str(call.body) for call in provider.calls}) == 1


@pytest.mark.parametrize("status", [429, 500, 529])
async def test_attempts_are_bounded(
    model: OpenAICompatibleModel, provider: ScriptedProvider, status: int
) -> None:
    provider.answer = refusing(status, **{"retry-after": "3600"})
    with pytest.raises(ProviderUnavailable, match=str(status)):
        await answer_of(model)
    assert len(provider.calls) == QUICK.attempts


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 413, 422])
async def test_a_refused_request_is_not_repeated_and_not_redirected(
    model: OpenAICompatibleModel, provider: ScriptedProvider, status: int
) -> None:
    provider.answer = refusing(status, location=provider.url + "/v1/chat/completions")
    with pytest.raises(ProviderRejected, match=str(status)):
        await answer_of(model)
    assert len(provider.calls) == 1


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_nothing_of_a_refusals_text_is_passed_on(
    model: OpenAICompatibleModel, provider: ScriptedProvider, status: int
) -> None:
    secret = f"Incorrect API key provided: {KEY}"
    error = {"error": {"message": secret, "code": KEY, "type": secret}}
    provider.answer = Reply(status=status, error=error)
    with pytest.raises(ProviderError) as raised:
        await answer_of(model)
    assert KEY not in raised.value.message
    assert "Incorrect" not in raised.value.message


async def test_a_known_code_helps_the_operator(
    model: OpenAICompatibleModel, provider: ScriptedProvider
) -> None:
    error = {"error": {"message": "x", "code": "context_length_exceeded"}}
    provider.answer = Reply(status=400, error=error)
    with pytest.raises(ProviderRejected, match=r"HTTP 400, context_length_exceeded"):
        await answer_of(model)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("cut", ProviderMalformed),
        ("no_end", ProviderMalformed),
        ("garbage", ProviderMalformed),
        ("wrong_shape", ProviderMalformed),
        ("huge_event", ProviderMalformed),
        ("error_event", ProviderUnavailable),
        ("html", ProviderMalformed),
        ("not_http", ProviderMalformed),
        ("hang_up", ProviderUnavailable),
    ],
)
@pytest.mark.parametrize("after", [0, 2])
async def test_a_broken_answer_is_an_error_and_not_repeated(
    model: OpenAICompatibleModel,
    provider: ScriptedProvider,
    fault: str,
    after: int,
    error: type[ProviderError],
) -> None:
    provider.answer = Reply("one two three", fault=fault, fault_after=after)  # type: ignore[arg-type]
    seen: list[Chunk] = []
    with pytest.raises(error) as raised:
        await collect_into(seen, model)
    assert not any(isinstance(chunk, Finished) for chunk in seen)
    assert len(provider.calls) == 1
    assert "sk-" not in raised.value.message


@pytest.mark.parametrize("fault", ["silent", "stall", "drip", "comments"])
async def test_a_provider_that_stalls_is_given_up_and_hung_up_on(
    hasty: OpenAICompatibleModel, provider: ScriptedProvider, fault: str
) -> None:
    provider.answer = Reply("one two three", fault=fault)  # type: ignore[arg-type]
    with pytest.raises(ProviderTimeout):
        await answer_of(hasty)
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")
    assert len(provider.calls) == 1


async def test_an_endless_answer_is_bounded(
    model: OpenAICompatibleModel, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantry.providers.calls.MOST_ANSWER_BYTES", 20_000)
    provider.answer = Reply("one two three", fault="endless")
    with pytest.raises(ProviderMalformed, match="too large"):
        await answer_of(model)
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")


@pytest.mark.parametrize("count", [129, 500])
async def test_too_many_tool_calls_are_refused(
    model: OpenAICompatibleModel, provider: ScriptedProvider, count: int
) -> None:
    provider.queue(Reply(calls=(CallOf("look"),) * count, obey_bound=False))
    with pytest.raises(ProviderMalformed, match="too many"):
        await answer_of(model)


async def test_tool_calls_that_are_too_large_are_refused(
    model: OpenAICompatibleModel, provider: ScriptedProvider
) -> None:
    bomb = '{"a":"' + "x" * 300_000 + '"}'
    provider.queue(Reply(calls=(CallOf("look", bomb),), obey_bound=False))
    with pytest.raises(ProviderMalformed, match="too large"):
        await answer_of(model)


async def test_closing_the_iterator_cancels_the_call(
    model: OpenAICompatibleModel, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("word " * 10_000, token_s=0.002, obey_bound=False)
    stream = model.stream(ASK)
    await anext(stream)
    await stream.aclose()
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")
    assert provider.calls[0].streamed_tokens < 10_000


async def test_cancelling_the_caller_cancels_the_call(
    model: OpenAICompatibleModel, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("word " * 10_000, token_s=0.002, obey_bound=False)
    caller = asyncio.create_task(answer_of(model))
    await provider.wait_for(lambda: bool(provider.calls) and provider.calls[0].streamed_tokens > 3)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")


async def test_nobody_listening_is_unreached() -> None:
    upstream = HttpUpstream("http://127.0.0.1:1/v1", {"authorization": f"Bearer {KEY}"}, SHORT)
    with pytest.raises(Unreached) as raised:
        await answer_of(OpenAICompatibleModel(upstream, patience=SHORT, retry=QUICK))
    assert KEY not in raised.value.message + repr(upstream)
    await upstream.close()


async def test_the_connection_is_kept_for_the_next_call(
    model: OpenAICompatibleModel, upstream: HttpUpstream
) -> None:
    for _ in range(3):
        await answer_of(model)
    connector = upstream._session().connector
    assert connector is not None
    assert sum(len(waiting) for waiting in connector._conns.values()) == 1
