"""Tool calls as they come out of a stream: piece by piece, bounded, and complete or not at all."""

import secrets
from dataclasses import dataclass, field
from typing import Any

import orjson

from tenantry.core.errors import ProviderMalformed
from tenantry.providers.base import ToolCall

MOST_TOOL_CALLS = 128
MOST_ARGUMENT_CHARS = 256 * 1024


@dataclass(slots=True)
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class PartialCalls:
    """Puts tool calls together."""

    def __init__(self) -> None:
        self._calls: dict[int, _PartialCall] = {}
        self._chars = 0

    def add(self, index: int, call_id: str = "", name: str = "", arguments: str = "") -> None:
        """Add to the call at `index`; of id and name, what comes first stands.

        Raises:
            ProviderMalformed: there are too many calls, or they are too large.
        """
        if not 0 <= index < MOST_TOOL_CALLS:
            raise ProviderMalformed("The model provider asked for too many tool calls.")
        call = self._calls.setdefault(index, _PartialCall())
        call.id, call.name = call.id or call_id, call.name or name
        self._chars += len(call_id) + len(name) + len(arguments)
        if self._chars > MOST_ARGUMENT_CHARS:
            raise ProviderMalformed("The model provider sent tool calls that are too large.")
        call.arguments.append(arguments)

    def __len__(self) -> int:
        return len(self._calls)

    def whole(self) -> tuple[ToolCall, ...]:
        """The calls in order; one without an id gets a fresh one."""
        return tuple(
            ToolCall(
                call.id or f"call_{secrets.token_hex(8)}",
                call.name,
                "".join(call.arguments) or "{}",
            )
            for _, call in sorted(self._calls.items())
        )


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """A call's arguments as an object; empty when the model had written something else."""
    try:
        value = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
