"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp and more.

Source: OpenAI's API reference, "Chat completions". Servers differ in small
things, and what is harmless is tolerated: a tool call without an index, `stop` as the reason
of an answer that calls tools, no `[DONE]` at the end.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
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
    ToolCall,
)
from tenantry.providers.calls import Call, Retry, broken_off, encoded, json_object, stream_events
from tenantry.providers.sse import SseEvent
from tenantry.providers.upstream import Patience, Upstream
from tenantry.providers.usage import usage_of

CHAT_PATH = "/chat/completions"
MOST_TOOL_CALLS = 128
MOST_ARGUMENT_CHARS = 256 * 1024
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
        ours = {"x-client-request-id": request.call_id} if request.call_id else {}
        call = Call(CHAT_PATH, body, self._retry, self._patience, ours)
        answer = _Answer()
        async with aclosing(stream_events(self._upstream, call, _is_done)) as events:
            async for event in events:
                if text := answer.take(event):
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


@dataclass(slots=True)
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class _Answer:
    """Puts an answer together from its events."""

    def __init__(self) -> None:
        self._calls: dict[int, _PartialCall] = {}
        self._argument_chars = 0
        self._reason = ""
        self._usage: TokenUsage | None = None

    def take(self, event: SseEvent) -> str:
        """The text that an event adds, often none."""
        if _is_done(event):
            return ""
        chunk = json_object(event.data)
        if chunk.get("error"):
            raise broken_off(chunk["error"])
        self._usage = usage_of(chunk.get("usage")) or self._usage
        choice = _first_choice(chunk)
        self._reason = _text(choice, "finish_reason") or self._reason
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise ProviderMalformed
        for position, part in enumerate(_list(delta, "tool_calls")):
            self._take_call(position, part)
        return _text(delta, "content") + _text(delta, "refusal")

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
        calls = tuple(
            ToolCall(call.id or f"call_{index}", call.name, "".join(call.arguments) or "{}")
            for index, call in sorted(self._calls.items())
        )
        return Finished("tool_calls" if calls else "stop", calls, self._usage)

    def _take_call(self, position: int, part: object) -> None:
        if not isinstance(part, dict):
            raise ProviderMalformed
        index = part.get("index", position)
        if not isinstance(index, int) or not 0 <= index < MOST_TOOL_CALLS:
            raise ProviderMalformed("The model provider asked for too many tool calls.")
        function = part.get("function") or {}
        if not isinstance(function, dict):
            raise ProviderMalformed
        call = self._calls.setdefault(index, _PartialCall())
        call.id = call.id or _text(part, "id")
        call.name = call.name or _text(function, "name")
        piece = _text(function, "arguments")
        self._argument_chars += len(piece)
        if self._argument_chars > MOST_ARGUMENT_CHARS:
            raise ProviderMalformed("The model provider sent tool calls that are too large.")
        call.arguments.append(piece)


def _is_done(event: SseEvent) -> bool:
    return event.data.strip() == b"[DONE]"


def _first_choice(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    for choice in _list(chunk, "choices"):
        if not isinstance(choice, dict):
            raise ProviderMalformed
        if choice.get("index", 0) == 0:
            return choice
    return {}


def _list(value: Mapping[str, Any], name: str) -> Sequence[object]:
    found = value.get(name) or ()
    if not isinstance(found, list | tuple):
        raise ProviderMalformed
    return found


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name) or ""
    if not isinstance(found, str):
        raise ProviderMalformed
    return found
