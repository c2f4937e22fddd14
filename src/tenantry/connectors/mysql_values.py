"""Columns and values of MySQL and MariaDB as JSON with logical types (CON-3).

The server sends every value as text, in UTF-8 whatever the column's character set is. What JSON
cannot carry exactly stays that text: decimals, dates that no calendar has (`0000-00-00`), times of
more than a day.
"""

import base64
from dataclasses import dataclass

import orjson

from tenantry.connectors.mysql_packets import Fields, Malformed
from tenantry.core.events import Json

_BINARY = 63  # the "character set" of bytes
_LOGICAL = {
    **dict.fromkeys((0, 246), "decimal"),
    **dict.fromkeys((1, 2, 3, 8, 9, 13, 16), "integer"),  # 13 is YEAR, 16 is BIT
    **dict.fromkeys((4, 5), "float"),
    **dict.fromkeys((7, 12, 17, 18), "timestamp"),
    **dict.fromkeys((10, 14), "date"),
    **dict.fromkeys((11, 19), "time"),
    245: "json",
    255: "binary",  # a geometry: its SRID in four bytes, then well-known binary
    6: "other",
}
_BIT = 16
_NAMED = {b"json": "json", b"uuid": "uuid", b"inet4": "text", b"inet6": "text"}


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result: its name, its wire type, and the platform's logical type."""

    name: str
    code: int
    logical: str

    def value(self, text: bytes | None) -> Json:
        """The value that the server sent as `text`."""
        if text is None:
            return None
        try:
            return self._value(text)
        except ValueError as error:
            raise Malformed from error

    def _value(self, text: bytes) -> Json:
        match self.logical:
            case "integer":
                return int.from_bytes(text, "big") if self.code == _BIT else int(text)
            case "float":
                return float(text)
            case "json":
                return _json(text)
            case "binary":
                return base64.b64encode(text).decode()
            case "timestamp":
                return text.decode("ascii").replace(" ", "T")
            case "decimal" | "date" | "time":
                return text.decode("ascii")
            case _:
                return text.decode("utf-8", "replace")


def column(payload: bytes, *, names_types: bool) -> ResultColumn:
    """The column that a definition packet describes.

    Args:
        payload: the packet.
        names_types: the server adds names of extended types (MariaDB 10.5 and later).
    """
    fields = Fields(payload)
    for _ in range(4):  # catalog, schema, the table's alias, the table
        fields.text()
    name = (fields.text() or b"").decode("utf-8", "replace")
    fields.text()  # the column's own name, without an alias
    extended = _extended(fields.text() or b"") if names_types else ""
    fields.length()
    charset = fields.number(2)
    fields.take(4)
    code = fields.number(1)
    logical = extended or _LOGICAL.get(code) or ("binary" if charset == _BINARY else "text")
    return ResultColumn(name, code, logical)


def _extended(named: bytes) -> str:
    """The logical type that MariaDB's own name for a type stands for; empty if none does."""
    fields = Fields(named)
    found = ""
    while not fields.is_done:
        fields.take(1)  # 0: name of the type, 1: format of its text
        found = _NAMED.get(fields.text() or b"", found)
    return found


def _json(text: bytes) -> Json:
    try:
        parsed: Json = orjson.loads(text)
    except ValueError:
        return text.decode("utf-8", "replace")  # numbers beyond 64 bits, for one
    return parsed
