"""Lets a model that speaks no OpenAI take raw calls in OpenAI's form.

The gateway passes bytes; for Anthropic, Google and local files this stands between, as an
`Upstream` that answers out of a `ChatModel`. What the common form cannot say (pictures, several
choices, forced output formats) is refused by name, never dropped silently.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from tenantry.core.errors import TenantryError
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import (
    ChatModel,
    ChatRequest,
    Chunk,
    Message,
    MessageRole,
    TextDelta,
    ToolCall,
    ToolSpec,
)
from tenantry.providers.openai_compatible import CHAT_PATH
from tenantry.providers.upstream import UpstreamResponse

_ROLES: Mapping[str, MessageRole] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_UNDERSTOOD = frozenset(
    {
        "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens",
        "temperature", "tools", "user", "metadata", "store",
    }
)  # fmt: skip
_MOST_WAITING = 64
_AS_IF_ABSENT: Mapping[str, object] = {
    "n": 1,
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "top_p": 1,
}


class BridgedUpstream:
    """`Upstream` over a `ChatModel`: OpenAI's form outside, the model's own inside."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def open(self, path: str, body: bytes, headers: Mapping[str, str]) -> UpstreamResponse:
        """Answer a chat completion; status 400 for what the common form cannot say.

        Raises:
            ProviderError: the model failed before its first chunk.
        """
        asked = _asked(path, body)
        if isinstance(asked, str):
            return _refused(asked)
        request, streamed = asked
        ours = headers.get("x-client-request-id", "")
        pump = _Pump(self._model.stream(replace(request, call_id=ours)))
        try:
            first = await pump.take()  # a failure before the first chunk comes before the status
        except BaseException:
            pump.close()
            raise
        frame = _Frame(request.model)
        if streamed:
            media_type, sent = "text/event-stream", frame.events(first, pump)
        else:
            media_type, sent = "application/json", frame.whole(first, pump)
        return UpstreamResponse(200, {"content-type": media_type}, sent, pump.close)

    async def close(self) -> None:
        """Nothing is held here."""


class _Pump:
    """Runs a model's stream as a task, so that one call that awaits nothing can end it."""

    def __init__(self, chunks: AsyncIterator[Chunk]) -> None:
        self._taken: asyncio.Queue[Chunk | TenantryError | None] = asyncio.Queue(_MOST_WAITING)
        self._task = asyncio.create_task(self._run(chunks))

    async def take(self) -> Chunk | None:
        """The next chunk; None at the end."""
        chunk = await self._taken.get()
        if isinstance(chunk, TenantryError):
            raise chunk
        return chunk

    def close(self) -> None:
        """Cancel the call, unless it has ended."""
        self._task.cancel()

    async def _run(self, chunks: AsyncIterator[Chunk]) -> None:
        last: TenantryError | None = None
        try:
            async for chunk in chunks:
                await self._taken.put(chunk)
        except TenantryError as error:  # the way out may refuse as well (EgressRefused)
            last = error
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        await self._taken.put(last)


class _Frame:
    """Puts chunks into OpenAI's form."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": 0, "model": model}

    async def events(self, first: Chunk | None, pump: _Pump) -> AsyncGenerator[bytes, None]:
        """The streamed answer; the usage is always reported."""
        yield self._event({"role": "assistant", "content": ""})
        async for chunk in _all(first, pump):
            if isinstance(chunk, TextDelta):
                yield self._event({"content": chunk.text})
                continue
            if chunk.tool_calls:
                calls = [{"index": n} | c for n, c in enumerate(_calls(chunk.tool_calls))]
                yield self._event({"tool_calls": calls})
            yield self._event({}, chunk.reason)
            if chunk.usage is not None:
                yield _sse(self._chunk([]) | {"usage": _usage(chunk.usage)})
            yield b"data: [DONE]\n\n"

    async def whole(self, first: Chunk | None, pump: _Pump) -> AsyncGenerator[bytes, None]:
        """The answer in one piece."""
        texts: list[str] = []
        answer: dict[str, Any] = self._head | {"object": "chat.completion"}
        async for chunk in _all(first, pump):
            if isinstance(chunk, TextDelta):
                texts.append(chunk.text)
                continue
            message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
            if chunk.tool_calls:
                message["tool_calls"] = _calls(chunk.tool_calls)
            choice = {"index": 0, "message": message, "finish_reason": chunk.reason}
            answer["choices"] = [choice]
            if chunk.usage is not None:
                answer["usage"] = _usage(chunk.usage)
        yield orjson.dumps(answer)

    def _event(self, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        return _sse(self._chunk([{"index": 0, "delta": delta, "finish_reason": reason}]))

    def _chunk(self, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}


async def _all(first: Chunk | None, pump: _Pump) -> AsyncIterator[Chunk]:
    chunk = first
    while chunk is not None:
        yield chunk
        chunk = await pump.take()


def _asked(path: str, body: bytes) -> tuple[ChatRequest, bool] | str:
    """The request in the common form and whether to stream; or the code of why not."""
    if path != CHAT_PATH:
        return "model_not_found"
    try:
        asked = orjson.loads(body)
        for name, value in asked.items():
            if name not in _UNDERSTOOD and value is not None and value != _AS_IF_ABSENT.get(name):
                return "unsupported_parameter"
        return _request(asked), bool(asked.get("stream"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return "invalid_request_error"  # whatever it was, it is not a chat completion


def _request(asked: Mapping[str, Any]) -> ChatRequest:
    temperature = asked.get("temperature")
    return ChatRequest(
        str(asked["model"]),
        tuple(_message(message) for message in asked["messages"]),
        tuple(_tool(tool["function"]) for tool in asked.get("tools") or ()),
        int(asked.get("max_completion_tokens") or asked["max_tokens"]),
        None if temperature is None else float(temperature),
    )


def _message(message: Mapping[str, Any]) -> Message:
    calls = tuple(
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    )
    told = _text(message.get("content"))
    return Message(_ROLES[message["role"]], told, calls, str(message.get("tool_call_id") or ""))


def _text(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or any(part["type"] != "text" for part in content):
        raise ValueError("only text")
    return "\n".join(str(part["text"]) for part in content)


def _tool(function: Mapping[str, Any]) -> ToolSpec:
    described = str(function.get("description") or "")
    return ToolSpec(function["name"], described, function.get("parameters") or {})


def _calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _sse(value: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def _body(code: str) -> AsyncGenerator[bytes, None]:
    yield orjson.dumps({"error": {"type": "invalid_request_error", "code": code}})


def _refused(code: str) -> UpstreamResponse:
    return UpstreamResponse(400, {"content-type": "application/json"}, _body(code), lambda: None)
