"""How hosts and URLs may be written: one way each, so that no two parsers can read two things.

Whatever other parsers read differently (user names, backslashes, percent-encoded or non-ASCII
hosts, decimal, octal, hexadecimal and short IPv4) is refused, wherever it leads.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from yarl import URL

from tenantry.security.egress.addresses import parse_address

_MOST_URL = 8_192  # characters, as most servers' request lines
_MOST_NAMED = 100  # characters of a host in the audit log
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443}
_UNPRINTABLE = re.compile(r"[^A-Za-z0-9._:%\[\]-]")


class Refusal(Exception):
    """Why something may not be reached; in words for the audit log, never with the text itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was taken apart and put together again.

    Attributes:
        url: what is requested, without fragment.
        host: canonical: lower case, no brackets, no trailing dot.
        port: the one named, or the scheme's.
    """

    url: URL
    host: str
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials may be sent to (RFC 6454)."""
        return (self.url.scheme, self.host, self.port)


def canonical_host(host: str) -> str:
    """The host in its one spelling: an IP address without brackets, or a name in lower case.

    Raises:
        Refusal: it is written in a way that is not taken.
    """
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in text:
        if (address := parse_address(text)) is None:
            raise Refusal("spelling of an IPv6 address")
        return str(address)
    name = text.lower().removesuffix(".")
    if host.startswith("[") or len(name) > 253 or not name.isascii():
        raise Refusal("spelling of a host")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # what `inet_aton` reads as an IPv4 address of some kind
        if parse_address(name) is None:
            raise Refusal("spelling of an IPv4 address")
        return name
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise Refusal("spelling of a host")
    return name


def parse_url(text: str) -> Target:
    """A URL as it is going to be requested.

    Raises:
        Refusal: it is not plain http or https, or two parsers could read it differently.
    """
    if len(text) > _MOST_URL or not text.isascii() or not text.isprintable():
        raise Refusal("spelling of a URL")
    if " " in text or "\\" in text:
        raise Refusal("spelling of a URL")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise Refusal("spelling of a URL") from None
    if parts.scheme not in _PORTS:
        raise Refusal("scheme")
    if "@" in parts.netloc:
        raise Refusal("user name in a URL")
    host, port = _authority(parts.netloc, _PORTS[parts.scheme])
    shown = f"[{host}]" if ":" in host else host
    plain = f"{parts.scheme}://{shown}:{port}{parts.path or '/'}"
    url = URL(f"{plain}?{parts.query}" if parts.query else plain, encoded=True)
    if (url.scheme, url.raw_host, url.port) != (parts.scheme, host, port):
        raise Refusal("spelling of a URL")
    return Target(url, host, port)


def named(text: str) -> str:
    """The host that a URL or host names, fit to be recorded: short, printable, no user name."""
    _, slashes, rest = text[:_MOST_URL].partition("//")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0] if slashes else ""
    if not slashes and "://" not in text and "@" not in text:
        authority = text
    return _UNPRINTABLE.sub("?", authority.rsplit("@", 1)[-1])[:_MOST_NAMED]


def _authority(netloc: str, default: int) -> tuple[str, int]:
    host, colon, port = netloc, "", ""
    if not netloc.endswith("]"):
        host, colon, port = netloc.rpartition(":") if ":" in netloc else (netloc, "", "")
    if ":" in host and not host.startswith("["):
        raise Refusal("spelling of an IPv6 address")
    if colon and not (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65_536):
        raise Refusal("port")
    return canonical_host(host), int(port) if colon else default
