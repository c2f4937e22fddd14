"""What goes out and what comes back: plain records, and which headers may travel where."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from tenantry.core.errors import InvalidRequest

# Headers of the connection, not of the message (RFC 9110, 7.6.1), and those that we set ourselves.
_OURS = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive",
        "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
# What a stranger may be told after a redirect. An allow-list: credentials have many names.
_SAFE = frozenset({"accept", "accept-language", "user-agent"})
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_AGENT = "tenantry"
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")  # RFC 9110, 5.6.2


@dataclass(frozen=True, slots=True)
class EgressRequest:
    """A request to a tenant's source.

    Attributes:
        method: in capitals.
        url: absolute, http or https, in ASCII; never with a user name.
        headers: as the caller wants them; those of the connection itself are left out.
        body: None for no body.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How far one request may go.

    Attributes:
        hosts: the only hosts, in lower case, also after redirects; None is any.
        ports: the only ports; None is any.
        max_redirects: how many are followed; one more is refused.
        max_bytes: of the body, after decompression.
        timeout_s: for all of a fetch, redirects and body included. For a stream: until its headers,
            and then again for each piece.
        tls_ca: PEM text of the only authority that is trusted; empty means the system's store.
    """

    hosts: frozenset[str] | None = None
    ports: frozenset[int] | None = None
    max_redirects: int = 3
    max_bytes: int = 1 << 20
    timeout_s: float = 20.0
    tls_ca: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """An answer, read whole; untrusted.

    Attributes:
        status: HTTP status, whatever it is.
        headers: names in lower case; the last of equal ones.
        body: decompressed.
        url: where it came from, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class EgressStream:
    """An answer whose body is still to come; untrusted.

    Attributes:
        status: HTTP status, whatever it is.
        headers: names in lower case; the last of equal ones.
        chunks: the body piece by piece, decompressed; raises as `EgressGuard.fetch` does.
        url: where it came from, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes] = field(repr=False)
    url: str = field(repr=False)


def checked_method(method: str) -> str:
    """The method, if it is one that requests are made with.

    Raises:
        InvalidRequest: it is not.
    """
    if method not in _METHODS:
        raise InvalidRequest(f"The method must be one of {', '.join(_METHODS)}.")
    return method


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's headers as they are sent: names in lower case, none of the connection's.

    Raises:
        InvalidRequest: a name or value that could end the header and begin another.
    """
    kept = {"user-agent": _AGENT}
    for name, value in headers.items():
        lower = name.lower()
        if not lower or not _TOKEN.issuperset(lower):
            raise InvalidRequest("A header's name may hold letters, digits and hyphens only.")
        if not value.replace("\t", " ").isprintable():
            raise InvalidRequest(f"The value of the header '{lower}' holds a control character.")
        if lower not in _OURS:
            kept[lower] = value
    # Compressions other than gzip are not asked for: each is one more parser of strangers' bytes.
    return kept | {"accept-encoding": "gzip"}


def for_strangers(headers: Mapping[str, str]) -> dict[str, str]:
    """What of these headers may be told to another origin."""
    kept = {name: value for name, value in headers.items() if name in _SAFE}
    return kept | {"accept-encoding": "gzip"}
