"""Finds what a call used in an answer of OpenAI's form, whole or streamed, without keeping it.

Threat: a provider under-reports, over-reports, or reports nonsense (meter-03).
Invariant: a report is whole numbers or no report; figures that cannot be true come out mended
and marked as estimated (`TokenUsage.plausible`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tenantry.core.errors import ProviderMalformed
from tenantry.metering.usage import TokenUsage
from tenantry.providers.sse import SseEvent, SseParser

_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


def usage_of(report: object) -> TokenUsage | None:
    """The figures of a `usage` object: chat completions, responses or embeddings.

    None when it is absent, or when a figure is anything but a whole number.
    """
    if not isinstance(report, dict) or not report:
        return None
    prompt_parts = _part(report, "prompt_tokens_details", "input_tokens_details")
    output_parts = _part(report, "completion_tokens_details", "output_tokens_details")
    figures = (
        _count(report, "prompt_tokens", "input_tokens"),
        _count(prompt_parts, "cached_tokens"),
        _count(report, "completion_tokens", "output_tokens"),
        _count(output_parts, "reasoning_tokens"),
        _count(report, "total_tokens"),
        _count(prompt_parts, "audio_tokens"),
        _count(prompt_parts, "image_tokens"),
        _count(output_parts, "audio_tokens"),
    )
    if any(figure is None for figure in figures):
        return None
    prompt, cached, output, reasoning, total, heard, seen, spoken = (f or 0 for f in figures)
    if reasoning > 0 and total == prompt + output + reasoning:
        output += reasoning  # some servers report reasoning beside the output, not inside it
    if not (heard or seen or spoken):
        return TokenUsage(prompt, cached, output, reasoning).plausible()
    # What came from the cache is told as well as what it was: it is counted as cached.
    heard = min(heard, max(0, prompt - cached))
    seen = min(seen, max(0, prompt - cached - heard))
    return TokenUsage(
        prompt,
        cached,
        output,
        reasoning,
        audio_input_tokens=heard,
        image_tokens=seen,
        audio_output_tokens=spoken,
    ).plausible()


def usage_in_body(body: bytes) -> TokenUsage | None:
    """The usage that a whole JSON answer reports; None when it reports none."""
    return usage_of(_object(body).get("usage"))


def usage_in_event(event: SseEvent) -> TokenUsage | None:
    """The usage that one event of a stream reports; None when it reports none."""
    return _usage_in(_object(event.data))


@dataclass(slots=True)
class StreamMeter:
    """Reads along with a stream that is passed on: what it reported, and how much it sent.

    Attributes:
        reported: the last usage the provider reported, or None so far.
        deltas: events that carried text or tool-call arguments; close to tokens, where a
            provider sends one a token, and the base of an estimate when nothing is reported.
        output_bytes: UTF-8 bytes of that text.
        finished: whether the stream said that it was complete (`[DONE]`, `response.completed`).
        malformed: whether something in it was not an event of this form.
        upstream_id: the provider's own id of the answer, or empty so far.
        prompt_tokens: those of the prompt, where a stream tells them first; 0 when it does not.
    """

    reported: TokenUsage | None = None
    deltas: int = 0
    output_bytes: int = 0
    finished: bool = False
    malformed: bool = False
    upstream_id: str = ""
    prompt_tokens: int = 0
    _parser: SseParser = field(default_factory=SseParser, repr=False)

    def feed(self, chunk: bytes) -> None:
        """Take note of the next piece of the stream."""
        if self.malformed:
            return  # an event too large to read was met; what follows cannot be told apart
        try:
            events = self._parser.feed(chunk)
        except ProviderMalformed:
            self.malformed = True
            return
        for event in events:
            self._take(event)

    def close(self) -> None:
        """Take note that the stream has ended."""
        for event in self._parser.close():
            self._take(event)

    def _take(self, event: SseEvent) -> None:
        if event.data == b"[DONE]" or event.name in _RESPONSE_ENDS:
            self.finished = True
        answer = _object(event.data)
        self.reported = _usage_in(answer) or self.reported
        self.upstream_id = self.upstream_id or id_of(answer)
        self._count(_texts(answer))

    def _count(self, texts: Iterable[str]) -> None:
        if sent := sum(len(text.encode("utf-8", "replace")) for text in texts):
            self.deltas += 1
            self.output_bytes += sent


def _usage_in(answer: Mapping[str, Any]) -> TokenUsage | None:
    whole = answer.get("response")  # the responses API reports inside its last event
    within = whole.get("usage") if isinstance(whole, dict) else None
    return usage_of(answer.get("usage")) or usage_of(within)


def id_of(answer: Mapping[str, Any]) -> str:
    """The provider's own id of an answer, whole or an event of it; empty when it tells none."""
    for holder in (answer, answer.get("response")):
        if isinstance(holder, dict) and isinstance(holder.get("id"), str):
            return str(holder["id"])
    return ""


def _texts(answer: Mapping[str, Any]) -> list[str]:
    """Everything in an event that the provider charges as output."""
    if isinstance(answer.get("delta"), str):
        return [answer["delta"]]
    found: list[object] = []
    for choice in _objects(answer.get("choices")):
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            continue
        found += [delta.get(name, "") for name in ("content", "reasoning_content", "refusal")]
        for call in _objects(delta.get("tool_calls")):
            function = call.get("function")
            if isinstance(function, dict):
                found += [function.get("name", ""), function.get("arguments", "")]
    return [text for text in found if isinstance(text, str)]


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _part(report: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        if isinstance(part := report.get(name), dict):
            return part
    return {}


def _count(report: Mapping[str, Any], *names: str) -> int | None:
    """The first figure of these names, 0 when there is none, None when it is no whole number."""
    for name in names:
        if (figure := report.get(name)) is not None:
            return figure if isinstance(figure, int) and not isinstance(figure, bool) else None
    return 0
