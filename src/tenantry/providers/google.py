"""Google's models over the Gemini API.

Source: Gemini API reference, "Generating content" (v1beta) and "Thought signatures".
"""

import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

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
from tenantry.providers.json_shape import object_in, objects_in, text_in
from tenantry.providers.sse import SseEvent
from tenantry.providers.tool_calls import PartialCalls, arguments_of
from tenantry.providers.upstream import Patience, Upstream

_NO_SIGNATURE = "skip_thought_signature_validator"
"""What the API takes for a function call whose own signature was not kept: we keep no state."""

_REASONS: Mapping[str, FinishReason] = {
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
}
_MALFORMED_REASONS = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"})


class GoogleModel:
    """`ChatModel` over `streamGenerateContent`; holds nothing of a call once it ends."""

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
        path = f"/v1beta/models/{quote(request.model, safe='')}:streamGenerateContent?alt=sse"
        body, ours = encoded(content_body(request)), call_headers(request)
        call = Call(path, body, self._retry, self._patience, ours)
        answer = _Answer()
        async with aclosing(stream_events(self._upstream, call, _is_last)) as events:
            async for event in events:
                if text := answer.take(json_object(event.data)):
                    yield TextDelta(text)
        yield answer.finished()


def key_headers(key: str) -> dict[str, str]:
    """The headers that every call carries."""
    return {"x-goog-api-key": key} if key else {}


def content_body(request: ChatRequest) -> dict[str, Any]:
    """The JSON body of a streamed generation."""
    system = [{"text": m.content} for m in request.messages if m.role == "system" and m.content]
    generation: dict[str, Any] = {"maxOutputTokens": request.max_output_tokens}
    if request.temperature is not None:
        generation["temperature"] = request.temperature
    body: dict[str, Any] = {
        "contents": _contents(m for m in request.messages if m.role != "system"),
        "generationConfig": generation,
    }
    if system:
        body["systemInstruction"] = {"parts": system}
    if request.tools:
        declared = [
            {
                "name": tool.name,
                "description": tool.description,
                "parametersJsonSchema": tool.parameters,
            }
            for tool in request.tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
    return body


def _contents(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Contents in which user and model alternate; a tool's answer names its function."""
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        role = "model" if message.role == "assistant" else "user"
        parts = _parts(message, names)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(message: Message, names: Mapping[str, str]) -> list[dict[str, Any]]:
    if message.role == "tool":
        name = names.get(message.tool_call_id, "unknown")
        return [{"functionResponse": {"name": name, "response": {"result": message.content}}}]
    parts: list[dict[str, Any]] = [{"text": message.content}] if message.content else []
    for call in message.tool_calls:
        function = {"name": call.name, "args": arguments_of(call)}
        parts.append({"functionCall": function, "thoughtSignature": _NO_SIGNATURE})
    return parts


class _Answer:
    """Puts an answer together from its chunks."""

    def __init__(self) -> None:
        self._calls = PartialCalls()
        self._reason = ""
        self._figures: dict[str, Any] = {}

    def take(self, chunk: Mapping[str, Any]) -> str:
        """The text that a chunk adds, often none."""
        if chunk.get("error"):
            raise broken_off(chunk["error"])
        self._figures |= object_in(chunk, "usageMetadata")
        if text_in(object_in(chunk, "promptFeedback"), "blockReason"):
            self._reason = "PROHIBITED_CONTENT"
        candidate = next(iter(objects_in(chunk, "candidates")), {})
        self._reason = text_in(candidate, "finishReason") or self._reason
        if self._reason in _MALFORMED_REASONS:
            raise ProviderMalformed("The model asked for a tool in a way that cannot be read.")
        parts = objects_in(object_in(candidate, "content"), "parts")
        return "".join([self._take_part(part) for part in parts])

    def finished(self) -> Finished:
        """The end of the answer.

        Raises:
            ProviderMalformed: the stream ended without saying why.
        """
        if not self._reason:
            raise ProviderMalformed("The model provider's answer ended early.")
        reason = _REASONS.get(self._reason, "stop")
        if reason in {"length", "content_filter"}:
            return Finished(reason, usage=self._usage())
        calls = self._calls.whole()
        return Finished("tool_calls" if calls else "stop", calls, self._usage())

    def _take_part(self, part: Mapping[str, Any]) -> str:
        if part.get("thought") is True:
            return ""
        if function := object_in(part, "functionCall"):
            arguments = json.dumps(object_in(function, "args"), ensure_ascii=False)
            name, call_id = text_in(function, "name"), text_in(function, "id")
            self._calls.add(len(self._calls), call_id, name, arguments)
        return text_in(part, "text")

    def _usage(self) -> TokenUsage | None:
        names = (
            "promptTokenCount",
            "toolUsePromptTokenCount",
            "cachedContentTokenCount",
            "candidatesTokenCount",
            "thoughtsTokenCount",
        )
        figures = [self._figures.get(name) or 0 for name in names]
        if not self._figures or not all(type(figure) is int for figure in figures):
            return None
        prompt, tools, cached, told, thought = figures
        return TokenUsage(prompt + tools, cached, told + thought, thought).plausible()


def _is_last(_event: SseEvent) -> bool:
    return False  # the end of the body is the end of the answer
