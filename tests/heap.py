"""Looks through every object that Python still holds."""

import gc
from collections.abc import Iterable
from itertools import chain
from typing import Any

_PLAIN = {int, float, complex, bool, type(None)}


def holders_of(*parts: str) -> list[str]:
    """Descriptions of the objects that hold a text containing the parts joined together.

    The caller keeps the parts only: a caller that held the whole text would find itself. Objects
    that the collector does not track (texts, tuples and dicts of texts) are reached from those
    that it does.
    """
    needle = "".join(parts)
    gc.collect()
    holding = _containing(needle)
    return [f"{holder}: {each[:60]!r}" for each in holding for holder in _holders(each, holding)]


def _containing(needle: str) -> list[Any]:
    """Every text and every row of bytes that contains it, each once."""
    # Millions of references: a whole level is listed at once. Only types are asked for, because
    # some objects (a library's lazy stand-ins) would load it when asked for their class.
    encoded = needle.encode()
    holding: dict[int, Any] = {}
    untracked: dict[int, Any] = {}
    pending = gc.get_objects()
    while pending:
        found = gc.get_referents(*pending) + _keys(pending)
        kinds = set(map(type, found))
        texts = {kind for kind in kinds if issubclass(kind, str)}
        rows = {kind for kind in kinds if issubclass(kind, bytes | bytearray)}
        holding |= {id(each): each for each in found if type(each) in texts and needle in each}
        holding |= {id(each): each for each in found if type(each) in rows and encoded in each}
        known = texts | rows | _PLAIN
        unknown = [each for each in found if type(each) not in known and not gc.is_tracked(each)]
        new = {id(each): each for each in unknown if id(each) not in untracked}
        untracked |= new
        pending = list(new.values())
    return [each for each in holding.values() if each is not needle and each is not encoded]


def _keys(objects: Iterable[object]) -> list[Any]:
    """Keys of dicts: the collector does not name those that are texts."""
    dicts: Any = [each for each in objects if issubclass(type(each), dict)]
    return list(chain.from_iterable(map(dict.keys, dicts)))


def _holders(text: Any, ours: list[Any]) -> list[str]:
    holders = [type(each).__name__ for each in gc.get_referrers(text) if each is not ours]
    return holders or ["an object that is not tracked"]
