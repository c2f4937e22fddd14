"""Finds what a call used in an answer of Anthropic's form, whole or streamed.

Source: Anthropic's API reference, "Messages" and "Streaming messages": the figures of a stream are
cumulative, and those that a later event leaves out stay as they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tenantry.metering.usage import TokenUsage
from tenantry.providers.sse import SseEvent
from tenantry.providers.usage import StreamMeter

_FIGURES = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)


def usage_of_message(report: object) -> TokenUsage | None:
    """The figures of a message's `usage` object.

    None when it is absent, or when a figure is anything but a whole number.
    """
    if not isinstance(report, dict) or not report:
        return None
    figures = [report.get(name) or 0 for name in _FIGURES]
    if not all(type(figure) is int for figure in figures):
        return None
    fresh, read, written, told = figures
    kept = report.get("cache_creation")
    hour = kept.get("ephemeral_1h_input_tokens") if isinstance(kept, dict) else 0
    # Here `input_tokens` leaves out what was read from or written to the cache.
    return TokenUsage(
        fresh + read + written,
        read,
        told,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour if type(hour) is int else 0,
    ).plausible()


@dataclass(slots=True)
class MessageMeter(StreamMeter):
    """Reads along with a stream of messages' events."""

    _figures: dict[str, Any] = field(default_factory=dict, repr=False)
    _is_closed: bool = False

    def _take(self, event: SseEvent) -> None:
        try:
            answer = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            return
        if not isinstance(answer, dict):
            return
        kind = answer.get("type")
        if kind == "message_stop":
            self.finished = True
        message = answer.get("message")
        if isinstance(message, dict):
            self.upstream_id = str(message.get("id") or "")
        for holder in (message, answer):
            if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
                self._figures |= holder["usage"]
                # What the first event reports is the prompt: the answer is still to come.
                self._is_closed = kind == "message_delta"
        so_far = usage_of_message(self._figures)
        if self._is_closed:
            self.reported = so_far
        self.prompt_tokens = so_far.input_tokens if so_far else 0
        self._count(_texts(answer))


def _texts(answer: Mapping[str, Any]) -> list[str]:
    """Everything in an event that is charged as output."""
    block = answer.get("content_block")
    found = [block.get("name")] if isinstance(block, dict) else []
    delta = answer.get("delta")
    if isinstance(delta, dict):
        found += [delta.get(name) for name in ("text", "thinking", "partial_json")]
    return [text for text in found if isinstance(text, str)]
