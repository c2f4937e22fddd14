"""Unmodified SDKs of OpenAI and Anthropic, blocking and not, on every API that passes calls on."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel

from tests.api.wired import CLAUDE, OPENAI, Wired, wired_platform
from tests.providers.replies import CallOf, Reply, refusing
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
ASK: list[Any] = [{"role": "user", "content": "Hello there"}]
PICTURE = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
).decode()
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
LOOK = CallOf("weather", '{"city": "Oslo"}', "call_1")


class City(BaseModel):
    name: str
    people: int


OSLO = '{"name": "Oslo", "people": 700000}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Wired]:
    async with wired_platform(cluster, tmp_path_factory.mktemp("sdks")) as wired:
        yield wired


@pytest.fixture
def wired(served: Wired) -> Wired:
    served.forget()
    return served


def _openai(wired: Wired) -> dict[str, Any]:
    service = wired.service
    return {
        "base_url": f"{service.base_url}/v1",
        "api_key": service.acme.credential,
        "max_retries": 0,
    }


def _anthropic(wired: Wired) -> dict[str, Any]:
    service = wired.service
    return {"base_url": service.base_url, "api_key": service.acme.credential, "max_retries": 0}


async def _blocking(work: Callable[[], Any]) -> Any:
    """Run a blocking client beside the server's loop."""
    return await asyncio.to_thread(work)


@pytest.mark.req("USE-1")
async def test_openais_blocking_client_chats_streams_and_responds(wired: Wired) -> None:
    def work() -> tuple[str, str, str]:
        with openai.OpenAI(**_openai(wired)) as client:
            whole = client.chat.completions.create(model=OPENAI, messages=ASK)
            stream = client.chat.completions.create(model=OPENAI, messages=ASK, stream=True)
            said = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
            response = client.responses.create(model=OPENAI, input="Hello")
            return whole.choices[0].message.content or "", said, response.output_text

    assert await _blocking(work) == ("The answer is 42.",) * 3


@pytest.mark.req("USE-1")
async def test_openais_client_calls_tools_and_shows_pictures(wired: Wired) -> None:
    wired.provider.answer = Reply("Let me look.", calls=(LOOK,))
    tool: Any = {"type": "function", "function": WEATHER}
    shown: Any = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    ]
    async with openai.AsyncOpenAI(**_openai(wired)) as client:
        answer = await client.chat.completions.create(
            model=OPENAI,
            messages=[{"role": "user", "content": shown}],
            tools=[tool],
        )
        (call,) = list(answer.choices[0].message.tool_calls or [])
        assert call.type == "function"
        assert (call.function.name, call.function.arguments) == ("weather", LOOK.arguments)
        async with client.chat.completions.stream(
            model=OPENAI,
            messages=ASK,
            tools=[tool],
        ) as stream:
            streamed = await stream.get_final_completion()
        (called,) = list(streamed.choices[0].message.tool_calls or [])
        assert called.type == "function"
        assert called.function.arguments == LOOK.arguments
    assert wired.provider.calls[0].body["messages"][0]["content"] == shown


@pytest.mark.req("USE-1")
async def test_openais_client_parses_structured_output(wired: Wired) -> None:
    wired.provider.answer = Reply(OSLO)
    async with openai.AsyncOpenAI(**_openai(wired)) as client:
        parsed = await client.chat.completions.parse(
            model=OPENAI, messages=ASK, response_format=City
        )
        assert parsed.choices[0].message.parsed == City(name="Oslo", people=700_000)
        response = await client.responses.parse(model=OPENAI, input="Hello", text_format=City)
        assert response.output_parsed == City(name="Oslo", people=700_000)


@pytest.mark.req("USE-1")
async def test_openais_responses_stream_with_tools(wired: Wired) -> None:
    wired.provider.answer = Reply("Let me look.", calls=(LOOK,))
    tool: Any = {"type": "function", "strict": False, **WEATHER}
    async with openai.AsyncOpenAI(**_openai(wired)) as client:
        stream = await client.responses.create(
            model=OPENAI, input="Hello", tools=[tool], stream=True
        )
        events = [event async for event in stream]
    said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert said == "Let me look."
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output[-1].type == "function_call"
    assert last.response.usage is not None
    (entry,) = wired.closed()
    assert entry["output_tokens"] == last.response.usage.output_tokens


@pytest.mark.req("USE-1")
async def test_an_assistant_answers_the_responses_api(wired: Wired) -> None:
    body = {"name": "scribe", "instructions": "Be brief.", "model": OPENAI}
    assert (await wired.service.acme.post("/v1/assistants", body)).status == 201
    wired.provider.answer = Reply("Noted, thank you.")
    async with openai.AsyncOpenAI(**_openai(wired)) as client:
        first = await client.responses.create(
            model="scribe", instructions="In English.", input="Remember the number 7741."
        )
        assert first.output_text == "Noted, thank you."
        assert first.status == "completed"
        assert first.usage is not None
        assert first.usage.output_tokens > 0
        assert first.conversation is not None
        stream = await client.responses.create(
            model="scribe",
            input=[{"role": "user", "content": [{"type": "input_text", "text": "Which?"}]}],
            conversation=first.conversation.id,
            stream=True,
        )
        events = [event async for event in stream]
        assert [e.sequence_number for e in events] == list(range(len(events)))
        said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert said == "Noted, thank you."
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == said
        assert any("7741" in text for text in wired.provider.calls[-1].prompt)
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="nobody", input="Hello")
        wired.provider.answer = Reply("one two three", fault="garbage", fault_after=2)
        with pytest.raises(openai.APIError, match="not a valid answer"):
            async for _ in await client.responses.create(model="scribe", input="x", stream=True):
                pass


@pytest.mark.req("USE-1")
async def test_anthropics_clients_chat_and_stream(wired: Wired) -> None:
    def work() -> list[str]:
        with anthropic.Anthropic(**_anthropic(wired)) as client:
            message = client.messages.create(model=CLAUDE, max_tokens=50, messages=ASK)
            with client.messages.stream(model=CLAUDE, max_tokens=50, messages=ASK) as stream:
                said = "".join(stream.text_stream)
            return [block.text for block in message.content if block.type == "text"] + [said]

    assert await _blocking(work) == ["The answer is 42."] * 2
    bearer = _anthropic(wired) | {"api_key": None, "auth_token": wired.service.acme.credential}
    async with anthropic.AsyncAnthropic(**bearer) as client:
        message = await client.messages.create(model=CLAUDE, max_tokens=50, messages=ASK)
    assert message.usage.output_tokens == 4
    assert [entry["output_tokens"] for entry in wired.closed()] == [4, 4, 4]


@pytest.mark.req("USE-1")
async def test_anthropics_client_calls_tools_and_shows_pictures(wired: Wired) -> None:
    wired.provider.answer = Reply("Let me look.", calls=(LOOK,))
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    shown: Any = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    tool: Any = {"name": "weather", "input_schema": WEATHER["parameters"]}
    async with anthropic.AsyncAnthropic(**_anthropic(wired)) as client:
        async with client.messages.stream(
            model=CLAUDE,
            max_tokens=50,
            messages=[{"role": "user", "content": shown}],
            tools=[tool],
            extra_headers={"anthropic-beta": "some-2026-01-01"},
        ) as stream:
            message = await stream.get_final_message()
        assert message.content[-1].type == "tool_use"
        assert message.content[-1].input == {"city": "Oslo"}
        assert message.stop_reason == "tool_use"
    (call,) = wired.provider.calls
    assert call.body["messages"][0]["content"] == shown
    assert call.headers["anthropic-beta"] == "some-2026-01-01"


@pytest.mark.req("USE-1")
async def test_anthropics_client_parses_structured_output(wired: Wired) -> None:
    wired.provider.answer = Reply(OSLO)
    async with anthropic.AsyncAnthropic(**_anthropic(wired)) as client:
        message = await client.messages.parse(
            model=CLAUDE, max_tokens=50, messages=ASK, output_format=City
        )
    assert message.parsed_output == City(name="Oslo", people=700_000)


@pytest.mark.req("USE-1")
async def test_errors_are_raised_as_anthropics_own(wired: Wired) -> None:
    nobody = _anthropic(wired) | {"api_key": "tnt_live_nothing"}
    async with anthropic.AsyncAnthropic(**nobody) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model=CLAUDE, max_tokens=5, messages=ASK)
    async with anthropic.AsyncAnthropic(**_anthropic(wired)) as client:
        with pytest.raises(anthropic.NotFoundError) as missing:
            await client.messages.create(model="claude/none", max_tokens=5, messages=ASK)
        assert "no such model" in missing.value.message
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(model=CLAUDE, max_tokens=5, messages=[])
        wired.provider.answer = refusing(529, **{"retry-after": "60"})
        with pytest.raises(anthropic.InternalServerError):
            await client.messages.create(model=CLAUDE, max_tokens=5, messages=ASK)


@pytest.mark.req("USE-1", "COST-3")
async def test_a_client_that_retries_by_itself_is_billed_once(wired: Wired) -> None:
    wired.provider.queue(*[refusing(503)] * 3, Reply("Good day."))
    async with openai.AsyncOpenAI(**_openai(wired) | {"max_retries": 2}) as client:
        answer = await client.chat.completions.create(
            model=OPENAI, messages=ASK, extra_headers={"Idempotency-Key": "retry-1"}
        )
    assert answer.choices[0].message.content == "Good day."
    refused, answered = wired.closed()
    assert (refused["input_tokens"], refused["output_tokens"]) == (0, 0)
    assert answered["output_tokens"] == 2
