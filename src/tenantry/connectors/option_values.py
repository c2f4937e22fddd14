"""Values of options as they are given with a request: objects, names, and an address (CON-2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tenantry.connectors.openapi_schema import is_plain_name
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json

Writes = Literal["refused", "approval", "allowed"]
"""Whether operations that write may be called: never, once a member approved, or as they come."""

MOST_NAMES = 200
_WRITES: tuple[Writes, ...] = ("refused", "approval", "allowed")
_BASE_URL = re.compile(
    r"(?P<origin>(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?)(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*)"
)


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """Where a server is.

    Attributes:
        url: scheme, host and path, as it was given.
        origin: scheme, host and port, in one spelling: what a secret is given for.
        host: in lower case, without brackets.
        port: the port, also where the URL leaves it out.
    """

    url: str
    origin: str
    host: str
    port: int

    @classmethod
    def read(cls, given: Json, name: str) -> "BaseUrl":
        """The URL that the option of this name holds.

        Raises:
            InvalidRequest: it is none, or has parts that it may not have.
        """
        parts = _BASE_URL.fullmatch(given) if isinstance(given, str) else None
        if parts is None or any(step in {".", ".."} for step in parts["path"].split("/")):
            raise InvalidRequest(
                f"{name} is an http or https URL with host and path, without user, query or "
                "fragment."
            )
        if parts["port"] and not 0 < int(parts["port"]) < 65_536:
            raise InvalidRequest(f"The port of {name} is between 1 and 65535.")
        host = parts["host"].strip("[]").lower().rstrip(".")
        port = int(parts["port"] or (80 if parts["scheme"] == "http" else 443))
        return cls(parts[0], f"{parts['scheme']}://{host}:{port}", host, port)


def writes_of(given: Json) -> Writes:
    """What the option `writes` says; `refused` unless given.

    Raises:
        InvalidRequest: it says something else than it may.
    """
    for each in _WRITES:
        if given == each:
            return each
    raise InvalidRequest("writes is refused, approval or allowed.")


def object_of(given: Json, name: str) -> dict[str, Json]:
    """The object that the option of this name holds.

    Raises:
        InvalidRequest: it holds none, or one that is too large.
    """
    if not isinstance(given, Mapping) or len(given) > MOST_NAMES:
        raise InvalidRequest(f"{name} is an object.")
    return dict(given)


def names_of(given: Json) -> tuple[str, ...] | None:
    """The names in a list of 1 to 200; None if it is no such list."""
    if (
        not isinstance(given, list)
        or not 0 < len(given) <= MOST_NAMES
        or not all(is_plain_name(name) for name in given)
    ):
        return None
    return tuple(dict.fromkeys(str(name) for name in given))
