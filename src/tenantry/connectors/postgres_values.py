"""Columns and values of PostgreSQL as JSON with logical types (CON-3).

The server sends every value as text in UTF-8, its settings pinned by the session. What JSON cannot
carry exactly stays that text: decimals, infinite dates, dates before our era.

Source: the type numbers of PostgreSQL's `pg_type.dat`, which never change.
"""

import base64
import re
from dataclasses import dataclass
from types import MappingProxyType

import orjson

from tenantry.core.errors import QueryFailed
from tenantry.core.events import Json

_LOGICAL = MappingProxyType(
    {
        16: "boolean", 17: "binary", 1700: "decimal", 1082: "date", 1083: "time", 1266: "time",
        1114: "timestamp", 1184: "timestamp", 1186: "interval", 114: "json", 3802: "json",
        2950: "uuid", **dict.fromkeys((20, 21, 23, 26), "integer"),
        **dict.fromkeys((700, 701), "float"),
        **dict.fromkeys((18, 19, 25, 1042, 1043, 705), "text"),
    }
)  # fmt: skip
_ARRAYS = MappingProxyType(
    {
        1000: 16, 1001: 17, 1231: 1700, 1182: 1082, 1183: 1083, 1270: 1266, 1115: 1114,
        1185: 1184, 1187: 1186, 199: 114, 3807: 3802, 2951: 2950, 1016: 20, 1005: 21, 1007: 23,
        1028: 26, 1021: 700, 1022: 701, 1009: 25, 1014: 1042, 1015: 1043, 1002: 18, 1003: 19,
    }
)  # fmt: skip
_TOKEN = re.compile(r'[{},]|"(?:[^"\\]|\\.)*"|[^{},"]+', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_BOUNDS = re.compile(r"^\[[-0-9:\]\[]+\]=")
_DEEPEST = 6  # dimensions of an array in PostgreSQL
_ZONE = re.compile(r"([+-]\d\d)(:\d\d)?$")


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result: its name, the number of its type, the platform's logical type."""

    name: str
    oid: int

    @property
    def logical(self) -> str:
        """`json` for an array, `other` for what has no name of ours: ranges, networks, enums."""
        return "json" if self.oid in _ARRAYS else _LOGICAL.get(self.oid, "other")

    def value(self, text: bytes | None) -> Json:
        """The value that the server sent as `text`.

        Raises:
            QueryFailed: it is not of its type: the server is not what it says.
        """
        if text is None:
            return None
        try:
            plain = text.decode("utf-8", "replace")
            if self.oid in _ARRAYS:
                return _array(plain, _LOGICAL[_ARRAYS[self.oid]])
            return _scalar(plain, self.logical)
        except (ValueError, IndexError) as error:
            raise QueryFailed("The database sent a value that is not of its type.") from error


def _scalar(text: str, logical: str) -> Json:
    match logical:
        case "integer":
            return int(text)
        case "float":
            number = float(text)
            return number if abs(number) < float("inf") else text  # NaN compares as False
        case "boolean":
            return text == "t"
        case "binary":
            return base64.b64encode(bytes.fromhex(text.removeprefix("\\x"))).decode()
        case "json":
            return _json(text)
        case "timestamp":
            return _timestamp(text)
        case _:
            return text


def _json(text: str) -> Json:
    try:
        parsed: Json = orjson.loads(text)
    except ValueError:
        return text  # not as our parser reads it: told as the text that it is
    return parsed


def _timestamp(text: str) -> str:
    if not text[:1].isdigit() or text.endswith("BC"):
        return text
    day, _, rest = text.partition(" ")
    return f"{day}T{_ZONE.sub(lambda found: found[1] + (found[2] or ':00'), rest)}"


def _array(text: str, logical: str) -> Json:
    """The nested lists that an array's text stands for."""
    outermost: list[Json] = []
    open_lists = [outermost]
    for part in _TOKEN.findall(_BOUNDS.sub("", text)):
        if part == "{":
            inner: list[Json] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
            if len(open_lists) > _DEEPEST + 1:
                raise ValueError("too deep")
        elif part == "}":
            open_lists.pop()
        elif part.startswith('"'):
            open_lists[-1].append(_scalar(_ESCAPED.sub(r"\1", part[1:-1]), logical))
        elif part != ",":
            open_lists[-1].append(None if part == "NULL" else _scalar(part, logical))
    if open_lists != [outermost]:
        raise ValueError("not closed")
    return outermost[0]
