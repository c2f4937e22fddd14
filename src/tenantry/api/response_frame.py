"""An assistant's answer in the form of OpenAI's Responses API, whole and as events."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tenantry.agent.events import Answer
from tenantry.api.turns import facts
from tenantry.metering.usage import TokenUsage

_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseFrame:
    """What everything that is said of one answer shares; numbers its events."""

    def __init__(self, request_id: str, created: int, model: str) -> None:
        self.request_id = request_id
        self._created = created
        self._model = model
        self._message_id = f"msg_{request_id}"
        self._number = -1

    def begun(self) -> bytes:
        """The events before the first text."""
        started = self._response("in_progress", [])
        item = self._message("in_progress", [])
        return b"".join(
            [
                self._event("response.created", response=started),
                self._event("response.in_progress", response=started),
                self._event("response.output_item.added", output_index=0, item=item),
                self._event("response.content_part.added", **self._place(), part=_part("")),
            ]
        )

    def delta(self, text: str) -> bytes:
        """A piece of text."""
        return self._event("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def ended(self, answer: Answer) -> bytes:
        """The events after the last text."""
        part = _part(answer.text)
        whole = self.whole(answer)
        return b"".join(
            [
                self._event(
                    "response.output_text.done", **self._place(), text=answer.text, logprobs=[]
                ),
                self._event("response.content_part.done", **self._place(), part=part),
                self._event("response.output_item.done", output_index=0, item=whole["output"][0]),
                self._event(f"response.{whole['status']}", response=whole),
            ]
        )

    def failed(self, problem: Mapping[str, Any]) -> bytes:
        """An error once the answer has begun."""
        told = {"code": problem["code"], "message": problem["detail"], "param": None}
        return self._event("error", **told, error=problem["error"])

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer as one document."""
        cut = _CUT.get(answer.finish_reason)
        status = "incomplete" if cut else "completed"
        message = self._message(status, [_part(answer.text)])
        return {
            **self._response(status, [message]),
            "incomplete_details": {"reason": cut} if cut else None,
            "usage": _usage(answer.usage),
            "conversation": {"id": str(answer.conversation_id)},
            "tenantry": facts(answer),
        }

    def _response(self, status: str, output: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"resp_{self.request_id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": self._model,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": None,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": None,
        }

    def _message(self, status: str, content: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._message_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._message_id, "output_index": 0, "content_index": 0}

    def _event(self, name: str, **fields: Any) -> bytes:
        self._number += 1
        data = {"type": name, "sequence_number": self._number, **fields}
        return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
