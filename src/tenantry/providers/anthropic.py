"""Anthropic's models over the Messages API.

Source: Anthropic's API reference, "Messages" and "Streaming messages", version 2023-06-01.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

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
from tenantry.providers.json_shape import number_in, object_in, text_in
from tenantry.providers.message_usage import usage_of_message
from tenantry.providers.sse import SseEvent
from tenantry.providers.tool_calls import PartialCalls, arguments_of
from tenantry.providers.upstream import Patience, Upstream

MESSAGES_PATH = "/v1/messages"
API_VERSION = "2023-06-01"
_REASONS: Mapping[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}


class AnthropicModel:
    """`ChatModel` over the Messages API; holds nothing of a call once it ends."""

    def __init__(
        self,
        upstream: Upstream,
        patience: Patience | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._upstream = upstream
        self._patience = patience or Patience()
        self._retry = retry or Retry()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Text deltas in order, then exactly one `Finished`; see `ChatModel.stream`."""
        body = encoded(messages_body(request))
        ours = {"anthropic-version": API_VERSION, **call_headers(request)}
        call = Call(MESSAGES_PATH, body, self._retry, self._patience, ours)
        answer = _Answer()
        async with aclosing(stream_events(self._upstream, call, _is_last)) as events:
            async for event in events:
                if text := answer.take(json_object(event.data)):
                    yield TextDelta(text)
        yield answer.finished()


def key_headers(key: str) -> dict[str, str]:
    """The headers that every call of an account carries."""
    return {"x-api-key": key} if key else {}


def messages_body(request: ChatRequest) -> dict[str, Any]:
    """The JSON body of a streamed message."""
    system = [m.content for m in request.messages if m.role == "system" and m.content]
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_output_tokens,
        "messages": _turns(m for m in request.messages if m.role != "system"),
        "stream": True,
    }
    if system:
        body["system"] = "\n\n".join(system)
    if request.temperature is not None:
        body["temperature"] = min(request.temperature, 1.0)  # this API's scale ends at 1
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
    return body


def _turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages in which user and assistant alternate, as this API wants them."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id}
        return [result | {"content": message.content}]
    blocks: list[dict[str, Any]] = []
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    for call in message.tool_calls:
        named = {"type": "tool_use", "id": call.id, "name": call.name}
        blocks.append(named | {"input": arguments_of(call)})
    return blocks


class _Answer:
    """Puts an answer together from its events."""

    def __init__(self) -> None:
        self._calls = PartialCalls()
        self._reason = ""
        self._ended = False
        self._figures: dict[str, Any] = {}

    def take(self, event: Mapping[str, Any]) -> str:
        """The text that an event adds, often none."""
        match text_in(event, "type"):
            case "message_start":
                self._take_usage(object_in(event, "message"))
            case "content_block_start":
                return self._begin_block(event)
            case "content_block_delta":
                return self._take_delta(event)
            case "message_delta":
                self._reason = text_in(object_in(event, "delta"), "stop_reason") or self._reason
                self._take_usage(event)
            case "message_stop":
                self._ended = True
            case "error":
                raise broken_off(event.get("error"))
        return ""  # pings, thinking, and events that are yet to be invented

    def finished(self) -> Finished:
        """The end of the answer.

        Raises:
            ProviderMalformed: the stream ended without saying why.
        """
        if not self._ended or not self._reason:
            raise ProviderMalformed("The model provider's answer ended early.")
        reason = _REASONS.get(self._reason, "stop")
        if reason in {"length", "content_filter"}:
            return Finished(reason, usage=self._usage())  # a call that was cut short is no call
        calls = self._calls.whole()
        return Finished("tool_calls" if calls else "stop", calls, self._usage())

    def _begin_block(self, event: Mapping[str, Any]) -> str:
        block = object_in(event, "content_block")
        kind = text_in(block, "type")
        if kind == "tool_use":
            index = number_in(event, "index")
            self._calls.add(index, text_in(block, "id"), text_in(block, "name"))
        return text_in(block, "text") if kind == "text" else ""

    def _take_delta(self, event: Mapping[str, Any]) -> str:
        delta, index = object_in(event, "delta"), number_in(event, "index")
        kind = text_in(delta, "type")
        if kind == "input_json_delta":
            self._calls.add(index, arguments=text_in(delta, "partial_json"))
        return text_in(delta, "text") if kind == "text_delta" else ""

    def _take_usage(self, holder: Mapping[str, Any]) -> None:
        # Figures are cumulative, and those that a later event leaves out stay as they were.
        self._figures |= object_in(holder, "usage")

    def _usage(self) -> TokenUsage | None:
        return usage_of_message(self._figures)


def _is_last(event: SseEvent) -> bool:
    return event.name == "message_stop"
