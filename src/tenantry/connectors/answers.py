"""What a source answered, made small enough for a model, and without the credential (CON-4).

Threat: an answer that fills the prompt, or a source that sends the credential back.
"""

from collections.abc import Mapping, Sequence

import orjson

from tenantry.core.events import Json
from tenantry.core.storable import storable

MOST_BYTES = 2 * 1024 * 1024
"""Of a body that is read at all, decompressed."""
_MOST_DEPTH = 24
_SHORTEST_TRACE = 4  # hiding every "a" would hide the answer
_HIDDEN = "[removed]"
# Items of a list and characters of a text, ever fewer until the answer is small enough.
_DETAIL = (
    (100_000, 1_000_000), (1_000, 20_000), (200, 4_000), (50, 1_000), (20, 300), (5, 100), (2, 40)
)  # fmt: skip


def fitting(value: Json, traces: Sequence[str], most: int) -> tuple[Json, bool]:
    """The value in ever less detail until it fits, and whether something was left out.

    Args:
        value: as the source gave it.
        traces: forms of the secret, which are hidden wherever they stand.
        most: bytes as JSON.
    """
    hidden = [trace for trace in traces if len(trace) >= _SHORTEST_TRACE]
    for items, chars in _DETAIL:
        shown = _shown(value, hidden, (items, chars), _MOST_DEPTH)
        if len(orjson.dumps(shown)) <= most:
            return shown, shown != _shown(value, hidden, _DETAIL[0], 1_000)
    return "The answer is too large to show; ask for less of it.", True


def _shown(value: Json, hidden: Sequence[str], detail: tuple[int, int], depth: int) -> Json:
    items, chars = detail
    if isinstance(value, str):
        text = _without(value, hidden)
        return text if len(text) <= chars else f"{text[:chars]}…"
    if not isinstance(value, Mapping | list):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, list):
        return [_shown(each, hidden, detail, depth - 1) for each in value[:items]]
    return {
        _without(key, hidden)[:chars]: _shown(each, hidden, detail, depth - 1)
        for key, each in list(value.items())[:items]
    }


def _without(text: str, hidden: Sequence[str]) -> str:
    for trace in hidden:
        text = text.replace(trace, _HIDDEN)
    return storable(text)
