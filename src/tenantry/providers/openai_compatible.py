"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp and more.

Source: OpenAI's API reference, "Chat completions". Servers differ in small
things, and what is harmless is tolerated: a tool call without an index, `stop` as the reason
of an answer that calls tools, no `[DONE]` at the end.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Literal

from tenantry.core.errors import ProviderMalformed
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import (
    ChatRequest,
    Chunk,
    Finished,
    FinishReason,
    Message,
    TextDelta,
)
from tenantry.providers.calls import (
    Call,
    Retry,
    broken_off,
    call_headers,
    encoded,
    json_object,
    stream_events,
)
from tenantry.providers.json_shape import number_in, object_in, objects_in, text_in
from tenantry.providers.sse import SseEvent
from tenantry.providers.tool_calls import PartialCalls
from tenantry.providers.upstream import Patience, Upstream
from tenantry.providers.usage import usage_of

CHAT_PATH = "/chat/completions"
MaxTokensField = Literal["max_completion_tokens", "max_tokens"]

_REASONS: Mapping[str, FinishReason] = {
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class OpenAICompatibleModel:
    """`ChatModel` over chat completions; holds nothing of a call once it ends."""

    def __init__(
        self,
        upstream: Upstream,
        max_tokens_field: MaxTokensField = "max_completion_tokens",
        patience: Patience | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._upstream = upstream
        self._max_tokens_field = max_tokens_field
        self._patience = patience or Patience()
        self._retry = retry or Retry()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Text deltas in order, then exactly one `Finished`; see `ChatModel.stream`."""
        body = encoded(chat_body(request, self._max_tokens_field))
        ours = call_headers(request)
        call = Call(CHAT_PATH, body, self._retry, self._patience, ours)
        answer = PartialAnswer()
        async with aclosing(stream_events(self._upstream, call, _is_done)) as events:
            async for event in events:
                if not _is_done(event) and (text := answer.take(json_object(event.data))):
                    yield TextDelta(text)
        yield answer.finished()


def chat_body(request: ChatRequest, max_tokens_field: MaxTokensField) -> dict[str, Any]:
    """The JSON body of a streamed chat completion."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        max_tokens_field: request.max_output_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in request.tools
        ]
    return body


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        answered = {"tool_call_id": message.tool_call_id}
        return {"role": "tool", "content": message.content, **answered}
    if not message.tool_calls:
        return {"role": message.role, "content": message.content}
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in message.tool_calls
    ]
    return {"role": message.role, "content": message.content or None, "tool_calls": calls}


class PartialAnswer:
    """Puts an answer together from its chunks."""

    def __init__(self) -> None:
        self._calls = PartialCalls()
        self._reason = ""
        self._usage: TokenUsage | None = None

    def take(self, chunk: Mapping[str, Any]) -> str:
        """The text that a chunk adds, often none.

        Raises:
            ProviderUnavailable: the chunk reports a failure.
            ProviderMalformed: it is not of the form, or the answer grows too large.
        """
        if chunk.get("error"):
            raise broken_off(chunk["error"])
        self._usage = usage_of(chunk.get("usage")) or self._usage
        choice = _first_choice(chunk)
        self._reason = text_in(choice, "finish_reason") or self._reason
        delta = object_in(choice, "delta")
        for position, part in enumerate(objects_in(delta, "tool_calls")):
            self._take_call(position, part)
        return text_in(delta, "content") + text_in(delta, "refusal")

    def finished(self) -> Finished:
        """The end of the answer.

        Raises:
            ProviderMalformed: the stream ended without saying why.
        """
        if not self._reason:
            raise ProviderMalformed("The model provider's answer ended early.")
        reason = _REASONS.get(self._reason, "stop")
        if reason in {"length", "content_filter"}:
            return Finished(reason, usage=self._usage)  # a call that was cut short is no call
        calls = self._calls.whole()
        return Finished("tool_calls" if calls else "stop", calls, self._usage)

    def _take_call(self, position: int, part: Mapping[str, Any]) -> None:
        index = number_in(part, "index") if "index" in part else position
        function = object_in(part, "function")
        name, arguments = text_in(function, "name"), text_in(function, "arguments")
        self._calls.add(index, text_in(part, "id"), name, arguments)


def _is_done(event: SseEvent) -> bool:
    return event.data.strip() == b"[DONE]"


def _first_choice(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    first = (each for each in objects_in(chunk, "choices") if each.get("index", 0) == 0)
    return next(first, {})
