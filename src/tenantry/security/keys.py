"""API keys: their shape, their checksum, and how they are compared.

`tnt_live_<public id, 8>_<secret, 32>_<checksum, 6>`, all base62. The public id is the index; the
secret (190 bits) is stored as HMAC-SHA256 under a pepper, which a stolen table does not contain
(a slow password hash buys nothing for 190 random bits and is a lever for denial of service). The
checksum lets secret scanners and clients recognise a mistyped key offline.
"""

import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Literal

KeyKind = Literal["live", "operator"]

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM_LENGTH = 6
_SHAPE = re.compile(
    r"^tnt_(?P<kind>live|operator)_(?P<public_id>[0-9A-Za-z]{8})"
    r"_(?P<secret>[0-9A-Za-z]{32})_(?P<checksum>[0-9A-Za-z]{6})$",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in clear: exists only while it is issued or presented, never stored or logged."""

    kind: KeyKind
    public_id: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls, kind: KeyKind) -> "ApiKey":
        """A fresh key."""
        return cls(kind, _random(8), _random(32))

    @classmethod
    def parse(cls, text: str) -> "ApiKey | None":
        """The key written in `text`, or None when it cannot be one of ours."""
        match = _SHAPE.match(text)
        if match is None:
            return None
        kind: KeyKind = "operator" if match["kind"] == "operator" else "live"
        key = cls(kind, match["public_id"], match["secret"])
        return key if hmac.compare_digest(key._checksum(), match["checksum"]) else None

    def reveal(self) -> str:
        """The key as its holder writes it. Shown once, at creation."""
        return f"{self._body()}_{self._checksum()}"

    def digest(self, pepper: bytes) -> bytes:
        """What is stored: HMAC-SHA256 of the whole key, 32 bytes."""
        return digest_of(self.reveal(), pepper)

    def _body(self) -> str:
        return f"tnt_{self.kind}_{self.public_id}_{self.secret}"

    def _checksum(self) -> str:
        value, digits = zlib.crc32(self._body().encode()), []
        for _ in range(6):
            value, digit = divmod(value, len(_ALPHABET))
            digits.append(_ALPHABET[digit])
        return "".join(reversed(digits))


def digest_of(text: str, pepper: bytes) -> bytes:
    """The digest under which a key written like this would be stored, whether or not it is one."""
    body = text[: -_CHECKSUM_LENGTH - 1]
    return hmac.digest(pepper, body.encode("utf-8", "surrogatepass"), "sha256")


def checksum_of(text: str) -> str:
    """The end of a key as it was written, which its digest does not cover."""
    return text[-_CHECKSUM_LENGTH - 1 :]


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
