"""One step of a turn: what the model said in one call, made fit to be worked with."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import orjson

from tenantry.providers.base import Chunk, FinishReason, TextDelta, ToolCall
from tenantry.sessions.session import Session

_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)
_LONGEST_SHOWN = 20_000
_PARAGRAPH = "\n\n"


class Step:
    """What the model says in one call of a turn.

    Attributes:
        number: 1, 2, …
        calls: the tool calls it asks for.
        reason: why it stopped.
    """

    def __init__(self, number: int, session: Session) -> None:
        self.number = number
        self.calls: tuple[ToolCall, ...] = ()
        self.reason: FinishReason = "stop"
        self._session = session
        self._text: list[str] = []

    @property
    def text(self) -> str:
        """The text of this step."""
        return "".join(self._text)

    def take(self, chunk: Chunk) -> TextDelta | None:
        """Take note of a chunk; what to send of it."""
        if isinstance(chunk, TextDelta):
            return self.write(chunk.text) if chunk.text else None
        self.calls = tuple(own_ids(self.number, chunk.tool_calls))
        self.reason = "stop" if chunk.reason == "tool_calls" else chunk.reason
        return None

    def write(self, text: str) -> TextDelta:
        """Add to the answer; a step that follows another begins a paragraph."""
        begins = not self._text and self._session.text
        self._text.append(text)
        delta = TextDelta(_PARAGRAPH + text if begins else text)
        self._session.write(delta.text)
        return delta


def own_ids(step: int, calls: Sequence[ToolCall]) -> Iterator[ToolCall]:
    """The calls with ids that are short and unique: a model's may be empty, odd or repeated."""
    given, seen = {call.id for call in calls}, set[str]()
    for number, call in enumerate(calls, 1):
        usable = _CALL_ID.fullmatch(call.id) and call.id not in seen
        seen.add(call.id)
        own = f"call_{step}_{number}"
        while own in given:
            own += "_"
        yield call if usable else replace(call, id=own)


def as_shown(call: ToolCall) -> ToolCall:
    """A call as the model is reminded of it: one that is not valid would fail the next request."""
    name = _NOT_IN_A_NAME.sub("_", call.name)[:64] or "_"
    try:
        arguments = call.arguments if len(call.arguments) <= _LONGEST_SHOWN else ""
        valid = isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        valid = False
    return ToolCall(call.id, name, arguments if valid else "{}")
