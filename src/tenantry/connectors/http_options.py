"""Options of a connector to an HTTP API: read from a request, and as they are stored (CON-2).

What is stored can be sent back as it is: reading it again gives the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import orjson

from tenantry.connectors.openapi_document import ApiDocument, parse, read
from tenantry.connectors.openapi_schema import clean, is_plain_name
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json

AuthKind = Literal["none", "bearer", "basic", "api_key"]
SECRET_OF: Mapping[str, str] = {"bearer": "token", "basic": "password", "api_key": "api_key"}
"""The secret that each kind of authentication needs."""

_KNOWN = frozenset(
    {
        "document", "document_url", "document_sha256", "base_url", "operations", "fixed", "expose",
        "auth", "writes", "left_out",
    }
)  # fmt: skip
_MOST_STORED_BYTES = 512 * 1024
_MOST_NAMES = 200
_BASE_URL = re.compile(
    r"(?P<origin>(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?)(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*)"
)
_DOCUMENT_URL = re.compile(r"https?://[!-~]{1,2000}")
_AUTH_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_FRAMING = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade"})


@dataclass(frozen=True, slots=True)
class Authentication:
    """How the API is told who calls.

    Attributes:
        kind: `none`, `bearer`, `basic` or `api_key`.
        user: of `basic`.
        place: of `api_key`: `header` or `query`.
        name: of the header or query parameter of an `api_key`.
    """

    kind: AuthKind = "none"
    user: str = ""
    place: Literal["header", "query"] = "header"
    name: str = ""

    @classmethod
    def read(cls, given: Json) -> "Authentication":
        """What the option `auth` says.

        Raises:
            InvalidRequest: it says something else than it may.
        """
        if given is None:
            return cls()
        parts = _object(given, "auth")
        kind = parts.get("kind")
        wanted = {"none": (), "bearer": (), "basic": ("user",), "api_key": ("in", "name")}
        if not isinstance(kind, str) or kind not in wanted:
            raise InvalidRequest("auth.kind is none, bearer, basic or api_key.")
        if set(parts) != {"kind", *wanted[kind]}:
            needs = ", ".join(("kind", *wanted[kind]))
            raise InvalidRequest(f"auth of kind {kind} has exactly {needs}.")
        if kind == "basic":
            user = parts["user"]
            if not isinstance(user, str) or not user or ":" in user or not user.isprintable():
                raise InvalidRequest("auth.user is a text without colons.")
            return cls("basic", user=user[:200])
        if kind == "api_key":
            return cls._key(parts["in"], parts["name"])
        return cls("bearer") if kind == "bearer" else cls()

    @classmethod
    def _key(cls, place: Json, name: Json) -> "Authentication":
        if not isinstance(name, str) or not _AUTH_NAME.fullmatch(name) or name.lower() in _FRAMING:
            raise InvalidRequest("auth.name is the name of a header or query parameter.")
        if place == "header":
            return cls("api_key", place="header", name=name)
        if place == "query":
            return cls("api_key", place="query", name=name)
        raise InvalidRequest("auth.in is header or query.")

    def stored(self) -> dict[str, Json]:
        """As the option `auth`."""
        if self.kind == "basic":
            return {"kind": "basic", "user": self.user}
        if self.kind == "api_key":
            return {"kind": "api_key", "in": self.place, "name": self.name}
        return {"kind": self.kind}


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """A connector to an API, without its secret.

    Attributes:
        document: what it offers; None until a document that is given by its URL was fetched.
        document_url: where the document was found; empty if it was given itself.
        document_sha256: of the document as it was accepted.
        base_url: what paths are appended to; without a slash at its end.
        allow: names of the operations chosen; None is every one that only reads.
        fixed: values of arguments that the configuration fills, by key; of a body, `body.a.b`.
        expose: arguments that a model may fill though they are named like somebody, and why.
        auth: how the API is told who calls.
        writes: whether operations that change something may be called at all.
    """

    document: ApiDocument | None
    document_url: str
    document_sha256: str
    base_url: str
    allow: tuple[str, ...] | None
    fixed: Mapping[str, Json]
    expose: Mapping[str, str]
    auth: Authentication
    writes: bool

    @classmethod
    def read(cls, options: Mapping[str, Json]) -> "HttpOptions":
        """The options as given or as stored.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """
        if unknown := sorted(options.keys() - _KNOWN):
            raise InvalidRequest(f"A connector of kind http has no option {clean(unknown[0], 40)}.")
        url, given = options.get("document_url"), options.get("document")
        if url is not None and not (isinstance(url, str) and _DOCUMENT_URL.fullmatch(url)):
            raise InvalidRequest("document_url is an http or https URL.")
        if url is None and given is None:
            raise InvalidRequest("Give the OpenAPI document as document, or its document_url.")
        allow = _allow(options.get("operations"))
        writes = options.get("writes", "refused")
        if writes not in {"refused", "allowed"}:
            raise InvalidRequest("writes is refused or allowed.")
        document = None if given is None else read(given, allow)
        return cls(
            document=document,
            document_url=url if isinstance(url, str) else "",
            document_sha256=_digest(options, given),
            base_url=_base_url(options.get("base_url"), document),
            allow=allow,
            fixed=_fixed(options.get("fixed", {})),
            expose=_reasons(options.get("expose", {})),
            auth=Authentication.read(options.get("auth")),
            writes=writes == "allowed",
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port, in one spelling: what a secret is given for."""
        parts = _BASE_URL.fullmatch(self.base_url)
        if parts is None:
            return ""  # no document yet
        return f"{parts['scheme']}://{self.host}:{self.port}"

    @property
    def host(self) -> str:
        """The host that is called, in lower case, without brackets."""
        parts = _BASE_URL.fullmatch(self.base_url)
        return parts["host"].strip("[]").lower().rstrip(".") if parts else ""

    @property
    def port(self) -> int:
        """The port that is called."""
        parts = _BASE_URL.fullmatch(self.base_url)
        if parts is None or not parts["port"]:
            return 80 if self.base_url.startswith("http:") else 443
        return int(parts["port"])

    def stored(self, left_out: Mapping[str, str]) -> dict[str, Json]:
        """As they are kept: the document with the operations chosen alone.

        Raises:
            InvalidRequest: that is too much.
        """
        kept: dict[str, Json] = {
            "base_url": self.base_url,
            "auth": self.auth.stored(),
            "writes": "allowed" if self.writes else "refused",
        }
        if self.document is not None:
            kept |= {
                "document": self.document.written(),
                "document_sha256": self.document_sha256,
                "left_out": dict(left_out),
            }
        optional: dict[str, Json] = {
            "document_url": self.document_url,
            "operations": {} if self.allow is None else {"allow": list(self.allow)},
            "fixed": dict(self.fixed),
            "expose": dict(self.expose),
        }
        kept |= {name: value for name, value in optional.items() if value}
        if len(orjson.dumps(kept)) > _MOST_STORED_BYTES:
            raise InvalidRequest("The operations chosen are too much text; choose fewer.")
        return kept


def _allow(given: Json) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = _object(given, "operations").get("allow")
    if (
        not isinstance(names, list)
        or not 0 < len(names) <= _MOST_NAMES
        or not all(is_plain_name(name) for name in names)
        or set(_object(given, "operations")) != {"allow"}
    ):
        raise InvalidRequest(f"operations is {{allow: [1 to {_MOST_NAMES} names]}}.")
    return tuple(str(name) for name in names)


def _fixed(given: Json) -> dict[str, Json]:
    fixed = _object(given, "fixed")
    for name, value in fixed.items():
        if value is None or not isinstance(value, str | int | float | bool):
            raise InvalidRequest(f"The fixed value of {clean(name, 60)} is a text or a number.")
    return fixed


def _reasons(given: Json) -> dict[str, str]:
    reasons = _object(given, "expose")
    if not all(isinstance(why, str) and why.strip() for why in reasons.values()):
        raise InvalidRequest("expose gives each argument a reason.")
    return {name: clean(why) for name, why in reasons.items()}


def _object(given: Json, name: str) -> dict[str, Json]:
    if not isinstance(given, Mapping) or len(given) > _MOST_NAMES:
        raise InvalidRequest(f"{name} is an object.")
    return dict(given)


def _digest(options: Mapping[str, Json], given: Json) -> str:
    known = options.get("document_sha256")
    if isinstance(known, str) and re.fullmatch(r"[0-9a-f]{64}", known):
        return known
    if known is not None:
        raise InvalidRequest("document_sha256 is 64 hexadecimal digits.")
    return "" if given is None else digest_of(given)


def digest_of(document: Json) -> str:
    """SHA-256 of a document, whatever its spacing and the order of its keys."""
    return sha256(orjson.dumps(parse(document), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _base_url(given: Json, document: ApiDocument | None) -> str:
    url = given or (document.server if document else "")
    if url == "" and document is None:
        return ""  # the document that is fetched may say it
    parts = _BASE_URL.fullmatch(url) if isinstance(url, str) else None
    if parts is None or any(step in {".", ".."} for step in parts["path"].split("/")):
        raise InvalidRequest(
            "base_url is an http or https URL with host and path, without user, query or fragment."
        )
    if parts["port"] and not 0 < int(parts["port"]) < 65_536:
        raise InvalidRequest("The port of base_url is between 1 and 65535.")
    return parts[0].rstrip("/")
