"""Tools of an MCP server as they were accepted, and whether they are still the same (SEC-3).

Threat: a server shows one tool when it is looked at and another one later, whose description talks
a model into something (a rug pull), or whose arguments mean something else.
Invariant: what a model is shown and what arguments are checked against is the text that an
administrator accepted; a tool whose definition has another hash since is not called.
Source: Model Context Protocol 2025-11-25, server/tools.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import orjson

from tenantry.connectors.openapi_document import is_deep
from tenantry.connectors.openapi_schema import Resolver, Schema, Unreadable, clean, reduce
from tenantry.connectors.option_values import object_of
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json

_HASH = re.compile(r"[0-9a-f]{64}")
_DESCRIPTION_CHARS = 1_000
_DEFINING = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


@dataclass(frozen=True, slots=True)
class PinnedTool:
    """A tool as it was accepted.

    Attributes:
        description: what it does, as the server says, cleaned: untrusted.
        schema: closed schema of all its arguments.
        sha256: of its definition, as the server gave it.
        is_said_to_read: the server says that it changes nothing; a stranger's word.
    """

    description: str
    schema: Schema
    sha256: str
    is_said_to_read: bool

    @classmethod
    def of(cls, definition: Mapping[str, Json]) -> "PinnedTool":
        """A tool as a server lists it.

        Raises:
            Unreadable: nothing can be made of its arguments.
            InvalidRequest: it is too much.
        """
        given = definition.get("inputSchema")
        if not isinstance(given, Mapping) or is_deep(definition):
            raise Unreadable("its schema is nested too deeply, or none")
        said = (clean(definition.get(key), _DESCRIPTION_CHARS) for key in ("title", "description"))
        hints = definition.get("annotations")
        return cls(
            description=clean(" ".join(filter(None, said)), _DESCRIPTION_CHARS),
            schema=_arguments(given),
            sha256=digest_of(definition),
            is_said_to_read=isinstance(hints, Mapping) and hints.get("readOnlyHint") is True,
        )

    @classmethod
    def read(cls, stored: Json, name: str) -> "PinnedTool":
        """A tool as it was stored.

        Raises:
            InvalidRequest: it is not like that.
        """
        kept = object_of(stored, f"tools.{name}")
        schema, digest = kept.get("schema"), kept.get("sha256")
        if not isinstance(schema, Mapping) or not isinstance(digest, str):
            raise InvalidRequest(f"tools.{name} has a schema and a sha256.")
        if not _HASH.fullmatch(digest) or is_deep(schema):
            raise InvalidRequest(f"tools.{name} is no tool that was accepted.")
        try:
            arguments = _arguments(schema)
        except Unreadable as error:
            raise InvalidRequest(f"The schema of {name} cannot be read: {error}.") from None
        description = clean(kept.get("description"), _DESCRIPTION_CHARS)
        return cls(description, arguments, digest, kept.get("said_to_read") is True)

    def stored(self) -> dict[str, Json]:
        """As it is kept."""
        return {
            "description": self.description,
            "schema": self.schema,
            "sha256": self.sha256,
            "said_to_read": self.is_said_to_read,
        }


def digest_of(definition: Mapping[str, Json]) -> str:
    """SHA-256 of all that a server says of a tool, whatever the order of its keys.

    Complexity: linear in the definition, which is nested no deeper than `is_deep` allows.
    """
    said = {key: definition[key] for key in _DEFINING if definition.get(key) is not None}
    return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def is_same(tool: PinnedTool, definition: Mapping[str, Json]) -> bool:
    """Whether a server still says of a tool what it said when the tool was accepted."""
    return not is_deep(definition) and digest_of(definition) == tool.sha256


def _arguments(schema: Mapping[str, Json]) -> Schema:
    reduced = reduce(Resolver(schema), {"type": "object", **schema})
    if reduced.get("type") != "object":
        raise Unreadable("its arguments are no object")
    return reduced
