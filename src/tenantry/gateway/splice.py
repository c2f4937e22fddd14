"""Changes some members of a JSON object in its text, and leaves every other byte as it came.

Re-encoding would lose what a parser does not keep: the order and the repetition of names, integers
beyond 64 bits, the form of a float, escapes. So the text is kept, and what must be changed is cut
out and put in. `orjson` has said before that the bytes are JSON and UTF-8, so that text and bytes
are the same; Python's own scanner, in C, here only tells where each member begins and ends.

Threat: two readers of one body see two values, and what was reserved is not what is sent.
Invariant: a name that is read here stands in the object once, whatever its escapes and its case.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from tenantry.core.errors import InvalidRequest

_MOST_BRACKETS = 400_000
_SPACE = r"[ \t\n\r]*"
_OPENING = re.compile(_SPACE + r"\{" + _SPACE)
_NAMED = re.compile(r'"([A-Za-z0-9_.-]*)"' + _SPACE + ":" + _SPACE)
"""A name without escapes, as nearly all are."""
_COLON = re.compile(_SPACE + ":" + _SPACE)
_COMMA = re.compile(_SPACE + "," + _SPACE)
_CLOSING = re.compile(_SPACE + r"\}")
# Numbers are not read: an integer may have any length.
_VALUE = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode


class Member(NamedTuple):
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
    def of(cls, text: str, at: int = 0) -> "Members":
        """The members of the object that begins at `at`; `text` must be JSON.

        Raises:
            InvalidRequest: it has too many parts, or is nested too deeply.
        """
        try:
            return cls._scanned(text, _end(_OPENING, text, at))
        except RecursionError as error:
            raise InvalidRequest("The body is nested too deeply.") from error
        except (ValueError, IndexError) as error:
            raise InvalidRequest("The body is not valid JSON.") from error

    @classmethod
    def _scanned(cls, text: str, here: int) -> "Members":
        found: list[Member] = []
        while text[here] == '"':
            plain = _NAMED.match(text, here)
            if plain is not None:
                name, value = plain[1], plain.end()
            else:
                name, ends = _VALUE(text, here)
                value = _end(_COLON, text, ends)
            _, end = _VALUE(text, value)
            found.append(Member(name, here, value, end))
            comma = _COMMA.match(text, end)
            if comma is None:
                return cls(tuple(found), _end(_CLOSING, text, end) - 1)
            here = comma.end()
        if found:
            raise ValueError  # a comma with nothing behind it
        return cls((), _end(_CLOSING, text, here) - 1)

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
    """Collects changes to some text, and makes them all at once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._changes: list[tuple[int, int, str]] = []
        self._appended: set[int] = set()

    def replace(self, begin: int, end: int, by: str) -> None:
        """Put `by` in the place of what is there."""
        self._changes.append((begin, end, by))

    def value(self, member: Member, by: object) -> None:
        """Give a member another value."""
        self.replace(member.value, member.end, _json(by))

    def member(self, member: Member, name: str, value: object) -> None:
        """Put another member in the place of one."""
        text = _json(name) + ":" + _json(value)
        self.replace(member.begin, member.end, text)

    def append(self, members: Members, name: str, value: object) -> None:
        """Add a member at the end of an object."""
        is_first = not members.found and members.close not in self._appended
        self._appended.add(members.close)
        text = _json(name) + ":" + _json(value)
        self.replace(members.close, members.close, text if is_first else "," + text)

    def made(self) -> str:
        """The text with every change; changes at one place stand in the order they were made."""
        pieces, here = [], 0
        for begin, end, by in sorted(self._changes, key=itemgetter(0)):
            pieces += [self._text[here:begin], by]
            here = end
        return "".join([*pieces, self._text[here:]])


def refuse_repeated(text: str, what: str) -> None:
    """Refuse JSON in which any object has a name twice, however deep.

    Raises:
        InvalidRequest: one has, or it is nested too deeply to tell.
    """

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({name.casefold() for name, _ in pairs}) < len(pairs):
            raise InvalidRequest(f"{what}: no name may stand in an object twice.")

    try:
        json.loads(text, object_pairs_hook=once, parse_int=str)
    except RecursionError as error:
        raise InvalidRequest(f"{what}: this is nested too deeply.") from error


def refuse_brackets(data: bytes) -> None:
    """Refuse a body of so many parts that reading it would hold everybody up.

    Raises:
        InvalidRequest: it has.
    """
    if data.count(b"[") + data.count(b"{") > _MOST_BRACKETS:
        raise InvalidRequest(f"A body has at most {_MOST_BRACKETS} objects and lists.")


def _end(pattern: "re.Pattern[str]", text: str, at: int) -> int:
    found = pattern.match(text, at)
    if found is None:
        raise ValueError
    return found.end()


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
