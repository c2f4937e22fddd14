"""Changes some members of a JSON object in its bytes, and leaves every other byte as it came.

Re-encoding would lose what a parser does not keep: the order and the repetition of names, integers
beyond 64 bits, the form of a float, escapes. So the bytes are kept, and what must be changed is cut
out and put in. `orjson` has said before that they are JSON; the scanner here only finds where the
members of one object begin and end, and gives up on anything that it does not expect.

Threat: two readers of one body see two values, and what was reserved is not what is sent.
Invariant: a name that is read here stands in the object once, whatever its escapes and its case.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import orjson

from tenantry.core.errors import InvalidRequest

_MOST_BRACKETS = 100_000
"""Opening and closing ones of one member: scanned one by one, some 30 ms of the event loop."""
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = rb"[ \t\n\r]*+"
_OPENING = re.compile(_SPACE + rb"\{")
_NAME = re.compile(_SPACE + b"(" + _STRING + b")" + _SPACE + b":" + _SPACE, re.DOTALL)
_PLAIN = re.compile(_STRING + rb"|[^][{}\",: \t\n\r]++", re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+[]{}[]", re.DOTALL)
_AFTER = re.compile(_SPACE + rb"([,}])")
_CLOSING = re.compile(_SPACE + rb"\}")


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member of an object is: its name from `begin` on, its value from `value` to `end`."""

    name: str
    begin: int
    value: int
    end: int


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one object, in order, and where its closing brace is."""

    found: tuple[Member, ...]
    close: int

    @classmethod
    def of(cls, data: bytes, at: int = 0) -> "Members":
        """The members of the object that begins at `at`; `data` must be JSON.

        Raises:
            InvalidRequest: one of them has too many parts.
        """
        here = _end(_OPENING.match(data, at))
        found: list[Member] = []
        while (name := _NAME.match(data, here)) is not None:
            end = _value_end(data, name.end())
            found.append(Member(_text(name[1]), name.start(1), name.end(), end))
            after = _AFTER.match(data, end)
            here = _end(after)
            if data[here - 1] == ord("}"):
                return cls(tuple(found), here - 1)
        return cls(tuple(found), _end(_CLOSING.match(data, here)) - 1)

    def named(self, names: Iterable[str]) -> Mapping[str, Member]:
        """The members of these names, by name.

        Raises:
            InvalidRequest: one is there twice, or is spelt in a way that some readers take for it.
        """
        wanted = frozenset(names)
        by_name: dict[str, Member] = {}
        for member in self.found:
            name = member.name
            # Some readers ignore the case of a name: to them, `Model` is a second `model`.
            folded = name if name in wanted else name.casefold()
            if folded not in wanted:
                continue
            if folded in by_name or folded != name:
                raise InvalidRequest(f"{folded}: this field may be given once, spelt like this.")
            by_name[name] = member
        return by_name


class Splice:
    """Collects changes to some bytes, and makes them all at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._changes: list[tuple[int, int, bytes]] = []
        self._appended: set[int] = set()

    def replace(self, begin: int, end: int, by: bytes) -> None:
        """Put `by` in the place of what is there."""
        self._changes.append((begin, end, by))

    def value(self, member: Member, by: object) -> None:
        """Give a member another value."""
        self.replace(member.value, member.end, orjson.dumps(by))

    def member(self, member: Member, name: str, value: object) -> None:
        """Put another member in the place of one."""
        text = orjson.dumps(name) + b":" + orjson.dumps(value)
        self.replace(member.begin, member.end, text)

    def append(self, members: Members, name: str, value: object) -> None:
        """Add a member at the end of an object."""
        is_first = not members.found and members.close not in self._appended
        self._appended.add(members.close)
        text = orjson.dumps(name) + b":" + orjson.dumps(value)
        self.replace(members.close, members.close, text if is_first else b"," + text)

    def made(self) -> bytes:
        """The bytes with every change; changes at one place stand in the order they were made."""
        pieces, here = [], 0
        for begin, end, by in sorted(self._changes, key=itemgetter(0)):
            pieces += [self._data[here:begin], by]
            here = end
        return b"".join([*pieces, self._data[here:]])


def refuse_repeated(data: bytes, what: str) -> None:
    """Refuse JSON in which any object has a name twice, however deep.

    Raises:
        InvalidRequest: one has, or it is nested too deeply to tell.
    """

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({name.casefold() for name, _ in pairs}) < len(pairs):
            raise InvalidRequest(f"{what}: no name may stand in an object twice.")

    try:
        json.loads(data, object_pairs_hook=once)
    except RecursionError as error:
        raise InvalidRequest(f"{what}: this is nested too deeply.") from error


def _value_end(data: bytes, at: int) -> int:
    if data[at] not in b"{[":
        return _end(_PLAIN.match(data, at))
    depth, here = 0, at
    for _ in range(_MOST_BRACKETS):
        here = _end(_TO_BRACKET.match(data, here))
        depth += 1 if data[here - 1] in b"{[" else -1
        if depth == 0:
            return here
    raise InvalidRequest(f"A field has more than {_MOST_BRACKETS // 2} objects and lists in it.")


def _end(found: "re.Match[bytes] | None") -> int:
    if found is None:
        raise InvalidRequest("The body is not valid JSON.")
    return found.end()


def _text(name: bytes) -> str:
    return str(orjson.loads(name)) if b"\\" in name else name[1:-1].decode()
