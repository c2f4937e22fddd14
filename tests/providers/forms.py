"""How OpenAI, Anthropic and Google put the same answer on the wire."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tests.providers.replies import CallOf, tokens_of

_ANTHROPIC_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_GOOGLE_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
GARBAGE = b'{"choices": [{"delta": {"content'


@dataclass(frozen=True)
class Turn:
    """An answer ready to be put on the wire.

    Attributes:
        number: of the call.
        model: that answers.
        tokens: of its text.
        calls: tools it calls, each with an id.
        finish: `stop`, `length` or `tool_calls`, or another reason to report.
        usage: the usage object to send, or None.
    """

    number: int
    model: str
    tokens: tuple[str, ...]
    calls: tuple[CallOf, ...]
    finish: str
    usage: Any


@dataclass(frozen=True)
class WireEvent:
    """One server-sent event, the tokens it carries, and whether it carries the usage."""

    data: bytes
    name: str = ""
    tokens: int = 0
    has_usage: bool = False


class Form(Protocol):
    """A provider's way of saying things."""

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """The texts of a prompt that count as its tokens."""
        ...

    def bound(self, body: Mapping[str, Any]) -> int | None:
        """The most tokens the answer may have."""
        ...

    def usage(self, prompt: int, output: int, cached: int, reasoning: int) -> dict[str, Any]:
        """A usage report of these figures; `output` includes the reasoning."""
        ...

    def events(self, turn: Turn) -> Iterator[WireEvent]:
        """The streamed answer."""
        ...

    def whole(self, turn: Turn) -> dict[str, Any]:
        """The answer in one piece."""
        ...

    def wrong(self) -> dict[str, Any]:
        """An event that is valid JSON and nonsense."""
        ...

    def failure(self) -> WireEvent:
        """A failure reported inside a stream."""
        ...


def packed(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def pieces(text: str) -> list[str]:
    """A tool call's arguments in pieces, split where it hurts: inside words and escapes."""
    return [text[start : start + 7] for start in range(0, len(text), 7)]


def _object_of(call: CallOf) -> Any:
    """The arguments as these forms must have them: an object, whatever was scripted."""
    try:
        value = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return {"not_json": call.arguments[:1000]}
    return value if isinstance(value, dict) else {"no_object": value}


def _content_texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [str(part.get("text", part.get("content", ""))) for part in parts]


class OpenAIForm:
    """Chat completions."""

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        return [t for m in body.get("messages", ()) for t in _content_texts(m.get("content"))]

    def bound(self, body: Mapping[str, Any]) -> int | None:
        bound: int | None = body.get("max_completion_tokens", body.get("max_tokens"))
        return bound

    def usage(self, prompt: int, output: int, cached: int, reasoning: int) -> dict[str, Any]:
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }

    def events(self, turn: Turn) -> Iterator[WireEvent]:
        yield self._chunk(turn, {"role": "assistant", "content": ""})
        for token in turn.tokens:
            yield self._chunk(turn, {"content": token}, tokens=1)
        for index, call in enumerate(turn.calls):
            function = {"name": call.name, "arguments": ""}
            head = {"index": index, "id": call.id, "type": "function", "function": function}
            yield self._chunk(turn, {"tool_calls": [head]}, tokens=len(tokens_of(call.name)))
            count = len(tokens_of(call.arguments))
            for position, piece in enumerate(pieces(call.arguments)):
                part = {"index": index, "function": {"arguments": piece}}
                tokens = count if position == 0 else 0
                yield self._chunk(turn, {"tool_calls": [part]}, tokens=tokens)
        yield self._chunk(turn, {}, finish=turn.finish)
        if turn.usage is not None:
            last = self._base(turn) | {"choices": [], "usage": turn.usage}
            yield WireEvent(packed(last), has_usage=True)
        yield WireEvent(b"[DONE]")

    def whole(self, turn: Turn) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(turn.tokens)}
        if turn.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in turn.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": turn.finish}
        whole = self._base(turn) | {"object": "chat.completion", "choices": [choice]}
        return whole if turn.usage is None else whole | {"usage": turn.usage}

    def wrong(self) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": {"content": {"not": "text"}}}]}

    def failure(self) -> WireEvent:
        return WireEvent(packed({"error": {"message": "sk-secret", "type": "server_error"}}))

    def _base(self, turn: Turn) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{turn.number}",
            "object": "chat.completion.chunk",
            "created": 1_750_000_000,
            "model": turn.model,
        }

    def _chunk(
        self, turn: Turn, delta: dict[str, Any], tokens: int = 0, finish: str | None = None
    ) -> WireEvent:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return WireEvent(packed(self._base(turn) | {"choices": [choice]}), tokens=tokens)


class AnthropicForm:
    """Messages."""

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        told = [t for m in body.get("messages", ()) for t in _content_texts(m.get("content"))]
        return [*_content_texts(body.get("system", "")), *told]

    def bound(self, body: Mapping[str, Any]) -> int | None:
        bound: int | None = body.get("max_tokens")
        return bound

    def usage(self, prompt: int, output: int, cached: int, reasoning: int) -> dict[str, Any]:
        return {
            "input_tokens": prompt - cached,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": output,
            "x_thinking_tokens": reasoning,
        }

    def events(self, turn: Turn) -> Iterator[WireEvent]:
        begun = dict(turn.usage, output_tokens=1) if isinstance(turn.usage, dict) else turn.usage
        message = self._message(turn, []) | {"stop_reason": None}
        if turn.usage is not None:
            message["usage"] = begun
        yield self._event("message_start", message=message)
        yield self._event("ping")
        index = 0
        if turn.tokens:
            yield self._start(0, {"type": "text", "text": ""})
            for token in turn.tokens:
                yield self._delta(0, {"type": "text_delta", "text": token}, 1)
            yield self._event("content_block_stop", index=0)
            index = 1
        for call in turn.calls:
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            yield self._start(index, block, len(tokens_of(call.name)))
            count = len(tokens_of(call.arguments))
            for position, piece in enumerate(pieces(call.arguments)):
                delta = {"type": "input_json_delta", "partial_json": piece}
                yield self._delta(index, delta, count if position == 0 else 0)
            yield self._event("content_block_stop", index=index)
            index += 1
        end: dict[str, Any] = {"delta": {"stop_reason": self._reason(turn), "stop_sequence": None}}
        if isinstance(turn.usage, dict):
            end["usage"] = {"output_tokens": turn.usage.get("output_tokens")}
        yield self._event("message_delta", has_usage=turn.usage is not None, **end)
        yield self._event("message_stop")

    def whole(self, turn: Turn) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": "".join(turn.tokens)}]
        content += [
            {"type": "tool_use", "id": c.id, "name": c.name, "input": _object_of(c)}
            for c in turn.calls
        ]
        return self._message(turn, content) | {"usage": turn.usage}

    def wrong(self) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": "zero", "delta": {"text": 7}}

    def failure(self) -> WireEvent:
        error = {"type": "overloaded_error", "message": "sk-secret"}
        return self._event("error", error=error)

    def _reason(self, turn: Turn) -> str:
        return _ANTHROPIC_REASONS.get(turn.finish, turn.finish)

    def _message(self, turn: Turn, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"msg_{turn.number}",
            "type": "message",
            "role": "assistant",
            "model": turn.model,
            "content": content,
            "stop_reason": self._reason(turn),
        }

    def _start(self, index: int, block: dict[str, Any], tokens: int = 0) -> WireEvent:
        return self._event("content_block_start", tokens, index=index, content_block=block)

    def _delta(self, index: int, delta: dict[str, Any], tokens: int) -> WireEvent:
        return self._event("content_block_delta", tokens, index=index, delta=delta)

    def _event(
        self, name: str, tokens: int = 0, has_usage: bool = False, **fields: Any
    ) -> WireEvent:
        return WireEvent(packed({"type": name, **fields}), name, tokens, has_usage)


class GoogleForm:
    """generateContent; a stream of whole responses."""

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        contents = [body.get("systemInstruction", {}), *body.get("contents", ())]
        return [str(p.get("text", "")) for c in contents for p in c.get("parts", ())]

    def bound(self, body: Mapping[str, Any]) -> int | None:
        bound: int | None = body.get("generationConfig", {}).get("maxOutputTokens")
        return bound

    def usage(self, prompt: int, output: int, cached: int, reasoning: int) -> dict[str, Any]:
        return {
            "promptTokenCount": prompt,
            "cachedContentTokenCount": cached,
            "candidatesTokenCount": output - reasoning,
            "thoughtsTokenCount": reasoning,
            "totalTokenCount": prompt + output,
        }

    def events(self, turn: Turn) -> Iterator[WireEvent]:
        for token in turn.tokens:
            yield WireEvent(packed(self._chunk(turn, [{"text": token}])), tokens=1)
        for call in turn.calls:
            tokens = len(tokens_of(call.name)) + len(tokens_of(call.arguments))
            yield WireEvent(packed(self._chunk(turn, [self._call(call)])), tokens=tokens)
        yield WireEvent(packed(self.whole(turn, last=True)), has_usage=turn.usage is not None)

    def whole(self, turn: Turn, last: bool = False) -> dict[str, Any]:
        parts = [] if last else [{"text": "".join(turn.tokens)}, *map(self._call, turn.calls)]
        whole = self._chunk(turn, parts)
        whole["candidates"][0]["finishReason"] = _GOOGLE_REASONS.get(turn.finish, turn.finish)
        return whole if turn.usage is None else whole | {"usageMetadata": turn.usage}

    def wrong(self) -> dict[str, Any]:
        return {"candidates": [{"content": {"parts": "no list"}}]}

    def failure(self) -> WireEvent:
        return WireEvent(packed({"error": {"code": 503, "status": "UNAVAILABLE"}}))

    def _call(self, call: CallOf) -> dict[str, Any]:
        return {"functionCall": {"name": call.name, "args": _object_of(call)}}

    def _chunk(self, turn: Turn, parts: list[dict[str, Any]]) -> dict[str, Any]:
        content = {"role": "model", "parts": parts}
        return {"candidates": [{"index": 0, "content": content}], "modelVersion": turn.model}


def vector_of(text: str, dimension: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A vector that depends on nothing but the text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return vector / np.linalg.norm(vector)


def embeddings(body: Mapping[str, Any], dimension: int, usage: Any) -> dict[str, Any]:
    """The answer of `/v1/embeddings`: lists of numbers, or base64 where that is asked for."""
    asked = body.get("input", [])
    data = []
    for index, text in enumerate([asked] if isinstance(asked, str) else asked):
        vector = vector_of(text, dimension)
        as_text = base64.b64encode(vector.tobytes()).decode()
        shown = as_text if body.get("encoding_format") == "base64" else vector.tolist()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    answer = {"object": "list", "model": body.get("model"), "data": data}
    return answer if usage is None else answer | {"usage": usage}
