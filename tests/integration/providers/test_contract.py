"""What every provider must do, over real HTTP, against one that does everything wrong."""

import asyncio
from contextlib import aclosing

import pytest

from tenantry.core.errors import (
    InvalidRequest,
    ProviderError,
    ProviderMalformed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from tenantry.metering.usage import TokenUsage
from tenantry.providers.anthropic import AnthropicModel
from tenantry.providers.base import ChatModel, ChatRequest, Chunk, Finished, Message, ToolSpec
from tests.integration.providers.conftest import KEY, QUICK
from tests.providers.asking import ASK, answer_of, collect_into
from tests.providers.replies import CallOf, Fault, ProviderCall, Reply, refusing
from tests.providers.scripted import ScriptedProvider

TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {"n": {"type": "integer"}}})


@pytest.mark.req("COST-1")
async def test_text_and_exact_usage_arrive(model: ChatModel, provider: ScriptedProvider) -> None:
    provider.queue(Reply("The answer is forty two.", cached=1, reasoning=3))
    text, end = await answer_of(model)
    hidden = 0 if isinstance(model, AnthropicModel) else 3  # Messages does not report it apart
    assert text == "The answer is forty two."
    assert end == Finished("stop", (), TokenUsage(4, 1, 8, hidden))
    call = provider.calls[0]
    assert (call.outcome, call.streamed_tokens, call.prompt_tokens) == ("finished", 5, 4)


@pytest.mark.req("COST-1")
async def test_the_bound_is_always_sent_and_a_cut_answer_says_so(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    provider.queue(Reply("one two three four"))
    text, end = await answer_of(model, ChatRequest("m", ASK.messages, (), 2))
    assert (text, end.reason, end.tool_calls) == ("one two ", "length", ())
    assert end.usage == TokenUsage(4, 0, 2, 0)


async def test_a_filtered_answer_says_so(
    model: ChatModel, provider: ScriptedProvider, kind: str
) -> None:
    reasons = {"anthropic": "refusal", "google": "SAFETY", "openai_compatible": "content_filter"}
    provider.queue(Reply("No.", calls=(CallOf("look"),), finish=reasons[kind]))
    _, end = await answer_of(model)
    assert (end.reason, end.tool_calls) == ("content_filter", ())


@pytest.mark.req("COST-1")
async def test_our_id_of_the_call_is_sent_along(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    await answer_of(model, ChatRequest("m", ASK.messages, call_id="0199-abc"))
    assert provider.calls[0].request_id == "0199-abc"


async def test_tool_calls_come_whole_and_in_order(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    arguments = '{"text": "a \\"quoted\\" näme", "n": [1, 2, 3]}'
    provider.queue(Reply("Let me see. ", calls=(CallOf("look", arguments), CallOf("nap"))))
    text, end = await answer_of(model, ChatRequest("m", ASK.messages, (TOOL,)))
    assert (text, end.reason) == ("Let me see. ", "tool_calls")
    assert [(call.name, call.arguments) for call in end.tool_calls] == [
        ("look", arguments),
        ("nap", "{}"),
    ]
    assert len({call.id for call in end.tool_calls}) == 2
    assert all(call.id for call in end.tool_calls)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("piece", [0, 1, 7])
async def test_any_cut_and_line_end_gives_the_same_answer(
    model: ChatModel, provider: ScriptedProvider, newline: str, piece: int
) -> None:
    provider.queue(Reply("naïve 東京 🙂 answer", newline=newline, piece=piece))
    text, end = await answer_of(model)
    assert text == "naïve 東京 🙂 answer"
    assert end.usage == TokenUsage(4, 0, 4, 0)


@pytest.mark.req("COST-1")
async def test_no_figures_are_no_usage(model: ChatModel, provider: ScriptedProvider) -> None:
    provider.queue(Reply("a", usage=None))
    assert (await answer_of(model))[1].usage is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
async def test_a_provider_that_recovers_is_tried_again(
    model: ChatModel, provider: ScriptedProvider, status: int
) -> None:
    provider.queue(refusing(status), refusing(status), Reply("Here I am."))
    assert (await answer_of(model))[0] == "Here I am."
    assert [call.outcome for call in provider.calls] == ["refused", "refused", "finished"]
    assert len({str(call.body) for call in provider.calls}) == 1


@pytest.mark.parametrize("status", [429, 500, 529])
async def test_attempts_are_bounded(
    model: ChatModel, provider: ScriptedProvider, status: int
) -> None:
    provider.answer = refusing(status)
    with pytest.raises(ProviderUnavailable, match=str(status)):
        await answer_of(model)
    assert len(provider.calls) == QUICK.attempts


@pytest.mark.parametrize("asked", ["3600", "Sat, 28 Nov 2026 13:00:00 GMT"])
async def test_a_provider_that_asks_for_a_long_rest_is_left_alone(
    model: ChatModel, provider: ScriptedProvider, asked: str
) -> None:
    now = {"date": "Sat, 28 Nov 2026 12:00:00 GMT"}
    provider.answer = refusing(429, **{"retry-after": asked, **now})
    with pytest.raises(ProviderUnavailable) as refused:
        await answer_of(model)
    assert refused.value.retry_after_s == 3600
    assert len(provider.calls) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 413, 422])
async def test_a_refused_request_is_not_repeated_and_not_redirected(
    model: ChatModel, provider: ScriptedProvider, status: int
) -> None:
    provider.answer = refusing(status, location=provider.url + "/v1/chat/completions")
    with pytest.raises(ProviderRejected, match=str(status)):
        await answer_of(model)
    assert len(provider.calls) == 1


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_nothing_of_a_refusals_text_is_passed_on(
    model: ChatModel, provider: ScriptedProvider, status: int
) -> None:
    secret = f"Incorrect API key provided: {KEY}"
    error = {"error": {"message": secret, "code": KEY, "type": secret, "status": KEY}}
    provider.answer = Reply(status=status, error=error)
    with pytest.raises(ProviderError) as raised:
        await answer_of(model)
    assert KEY not in raised.value.message
    assert "Incorrect" not in raised.value.message


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
    model: ChatModel, provider: ScriptedProvider, fault: Fault, after: int, error: type[Exception]
) -> None:
    provider.answer = Reply("one two three", fault=fault, fault_after=after)
    seen: list[Chunk] = []
    with pytest.raises(error) as raised:
        await collect_into(seen, model)
    assert not any(isinstance(chunk, Finished) for chunk in seen)
    assert len(provider.calls) == 1
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize("fault", ["silent", "stall", "drip", "comments"])
async def test_a_provider_that_stalls_is_given_up_and_hung_up_on(
    hasty: ChatModel, provider: ScriptedProvider, fault: Fault
) -> None:
    provider.answer = Reply("one two three", fault=fault)
    with pytest.raises(ProviderTimeout):
        await answer_of(hasty)
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")
    assert len(provider.calls) == 1


async def test_an_endless_answer_is_bounded(
    model: ChatModel, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantry.providers.calls.MOST_ANSWER_BYTES", 20_000)
    provider.answer = Reply("one two three", fault="endless")
    with pytest.raises(ProviderMalformed, match="too large"):
        await answer_of(model)
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("count", [129, 400])
async def test_too_many_tool_calls_are_refused(
    model: ChatModel, provider: ScriptedProvider, count: int
) -> None:
    provider.queue(Reply(calls=(CallOf("look"),) * count, obey_bound=False))
    with pytest.raises(ProviderMalformed, match="too many"):
        await answer_of(model)


@pytest.mark.req("SEC-3")
async def test_tool_calls_that_are_too_large_are_refused(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    bomb = '{"a":"' + "x" * 300_000 + '"}'
    provider.queue(Reply(calls=(CallOf("look", bomb),), obey_bound=False))
    with pytest.raises(ProviderMalformed, match="too large"):
        await answer_of(model)


async def test_closing_the_iterator_cancels_the_call(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("word " * 10_000, token_s=0.002, obey_bound=False)
    async with aclosing(model.stream(ASK)) as stream:  # type: ignore[type-var]
        await anext(stream)
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")
    assert provider.calls[0].streamed_tokens < 10_000


async def test_cancelling_the_caller_cancels_the_call(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    provider.answer = Reply("word " * 10_000, token_s=0.002, obey_bound=False)
    caller = asyncio.create_task(answer_of(model))
    await provider.wait_for(lambda: bool(provider.calls) and provider.calls[0].streamed_tokens > 3)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await provider.wait_for(lambda: provider.calls[0].outcome == "disconnected")


async def test_half_a_character_is_refused_before_it_is_sent(
    model: ChatModel, provider: ScriptedProvider
) -> None:
    with pytest.raises(InvalidRequest, match="Unicode"):
        await answer_of(model, ChatRequest("m", (Message("user", "half \ud800"),)))
    assert provider.calls == []


async def test_many_calls_at_once_do_not_mix(model: ChatModel, provider: ScriptedProvider) -> None:
    def echo(call: ProviderCall) -> Reply:
        return Reply(next(text for text in call.prompt if text.startswith("ask-")), token_s=0.001)

    provider.answer = echo
    prompts = [f"ask-{n} please" for n in range(40)]
    asked = (ChatRequest("m", (Message("user", each),)) for each in prompts)
    answers = await asyncio.gather(*(answer_of(model, each) for each in asked))
    assert [text for text, _ in answers] == prompts
