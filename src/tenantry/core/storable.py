"""Text and JSON that PostgreSQL can keep."""

import re
from collections.abc import Mapping

import orjson

from tenantry.core.events import Json

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` with what no text column can hold, NUL and lone surrogates, as U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def is_storable(text: str) -> bool:
    """Whether `text` can be kept as it is."""
    return _UNSTORABLE.search(text) is None


def storable_text(value: Json) -> bytes:
    """`value` as JSON that `jsonb` can keep: all its texts storable."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # half a surrogate pair, most likely
        return orjson.dumps(storable_json(value))
    return text if b"\\u0000" not in text else orjson.dumps(storable_json(value))


def storable_json(value: Json) -> Json:
    """`value` with all its texts storable; jsonb has the same gaps as text."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(key): storable_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable_json(each) for each in value]
    return value
