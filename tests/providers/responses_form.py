"""How OpenAI's Responses API puts an answer on the wire."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.forms import Turn, WireEvent, packed, pieces
from tests.providers.replies import CallOf, tokens_of


class ResponsesForm:
    """Responses."""

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        asked = body.get("input", "")
        items = [{"content": asked}] if isinstance(asked, str) else asked
        told = [_texts(item.get("content", item.get("output", ""))) for item in items]
        return [str(body.get("instructions") or ""), *(text for part in told for text in part)]

    def bound(self, body: Mapping[str, Any]) -> int | None:
        bound: int | None = body.get("max_output_tokens")
        return bound

    def usage(self, prompt: int, output: int, cached: int, reasoning: int) -> dict[str, Any]:
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": prompt + output,
        }

    def events(self, turn: Turn) -> Iterator[WireEvent]:
        number = 0

        def event(kind: str, fields: dict[str, Any], tokens: int = 0) -> WireEvent:
            nonlocal number
            data = packed({"type": kind, "sequence_number": number, **fields})
            number += 1
            return WireEvent(data, kind, tokens, "usage" in fields.get("response", {}))

        yield event("response.created", {"response": self._response(turn, "in_progress", [])})
        first = {"output_index": 0, "item": _message(turn, "") | {"content": []}}
        yield event("response.output_item.added", first)
        place = {"item_id": f"msg_{turn.number}", "output_index": 0, "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": []}
        yield event("response.content_part.added", {**place, "part": part})
        for token in turn.tokens:
            delta = {**place, "delta": token, "logprobs": []}
            yield event("response.output_text.delta", delta, 1)
        text = "".join(turn.tokens)
        yield event("response.output_text.done", {**place, "text": text, "logprobs": []})
        last = {"output_index": 0, "item": _message(turn, text)}
        yield event("response.output_item.done", last)
        for index, call in enumerate(turn.calls, 1):
            count = len(tokens_of(call.name)) + len(tokens_of(call.arguments))
            begun = {"output_index": index, "item": _call(call) | {"arguments": ""}}
            yield event("response.output_item.added", begun, count)
            of = {"item_id": call.id, "output_index": index}
            for piece in pieces(call.arguments):
                yield event("response.function_call_arguments.delta", {**of, "delta": piece})
            whole = {**of, "arguments": call.arguments, "name": call.name}
            yield event("response.function_call_arguments.done", whole)
            ended = {"output_index": index, "item": _call(call)}
            yield event("response.output_item.done", ended)
        answer = self.whole(turn)
        yield event(f"response.{answer['status']}", {"response": answer})

    def whole(self, turn: Turn) -> dict[str, Any]:
        output = [_message(turn, "".join(turn.tokens)), *map(_call, turn.calls)]
        status = "incomplete" if turn.finish == "length" else "completed"
        return self._response(turn, status, output) | {"usage": turn.usage}

    def wrong(self) -> dict[str, Any]:
        return {"type": "response.output_text.delta", "delta": {"not": "text"}}

    def failure(self) -> WireEvent:
        error = {"code": "server_error", "message": "sk-secret"}
        return WireEvent(packed({"type": "error", **error}), "error")

    def _response(self, turn: Turn, status: str, output: list[Any]) -> dict[str, Any]:
        return {
            "id": f"resp_{turn.number}",
            "object": "response",
            "created_at": 1_750_000_000,
            "status": status,
            "model": turn.model,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }


def _message(turn: Turn, text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_{turn.number}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def _call(call: CallOf) -> dict[str, Any]:
    return {
        "id": call.id,
        "call_id": call.id,
        "type": "function_call",
        "status": "completed",
        "name": call.name,
        "arguments": call.arguments,
    }


def _texts(content: Any) -> list[str]:
    parts = [{"text": content}] if isinstance(content, str) else content
    return [str(part.get("text", "")) for part in parts]
