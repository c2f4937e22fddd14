"""AES-256-GCM, and what each sealed thing is bound to (ADR-0010).

Bound is by associated data: fields with their lengths before them, so that no content can move
into its neighbour. A separator would not do, for a field may contain it.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol
from uuid import UUID

from tenantry.core.errors import InvalidRequest, SecretUnreadable
from tenantry.core.ids import TenantId

KEY_BYTES = 32
MOST_SEALS = 2**32
"""With random nonces of 96 bits, for one key. Source: NIST SP 800-38D, section 8.3."""
_NONCE_BYTES = 12
_SCHEME = "tenantry-secret-1"

OwnerKind = Literal["connector", "provider_account"]


class Aead(Protocol):
    """An authenticated cipher with its key set."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Ciphertext and tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """The plaintext; raises when anything differs."""
        ...


@dataclass(frozen=True, slots=True)
class SecretOwner:
    """What a credential belongs to: a connector, or an account at a model provider."""

    kind: OwnerKind
    id: UUID


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """Where a sealed field belongs; it opens nowhere else."""

    tenant: TenantId
    owner: SecretOwner
    field: str
    version: int


def associated_data(*parts: str) -> bytes:
    """The parts in UTF-8, each after its length in four bytes: injective."""
    return b"".join(len(p.encode()).to_bytes(4) + p.encode() for p in parts)


def encrypt(key: bytes, plaintext: bytes, bound_to: bytes) -> bytes:
    """Nonce, ciphertext and tag: 28 bytes more than `plaintext`."""
    return _seal(_aead(key), plaintext, bound_to)


def decrypt(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    """What `encrypt` was given.

    Raises:
        SecretUnreadable: another key, another binding, or a changed byte.
    """
    return _open(_aead(key), sealed, bound_to)


class DataKey:
    """A tenant's key in the clear: seals and opens its fields. Never printed, never stored."""

    __slots__ = ("_aead", "version")

    def __init__(self, version: int, key: bytes) -> None:
        self.version = version
        self._aead = _aead(key)

    def __repr__(self) -> str:
        return f"DataKey(version={self.version})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A data key is not serialised.")

    def seal(self, place: SecretPlace, text: str) -> bytes:
        """The text, sealed for `place` under this version of the key."""
        return _seal(self._aead, text.encode(), self._bound_to(place))

    def open(self, place: SecretPlace, sealed: bytes) -> str:
        """The text that was sealed for exactly this place under this version.

        Raises:
            SecretUnreadable: it was sealed for another place or by another key, or was changed.
        """
        return _open(self._aead, sealed, self._bound_to(place)).decode()

    def _bound_to(self, place: SecretPlace) -> bytes:
        return associated_data(
            _SCHEME,
            str(place.tenant),
            place.owner.kind,
            str(place.owner.id),
            place.field,
            str(place.version),
            str(self.version),
        )


def _seal(aead: Aead, plaintext: bytes, bound_to: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + aead.encrypt(nonce, plaintext, bound_to)


def _open(aead: Aead, sealed: bytes, bound_to: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
        raise SecretUnreadable from None


def _aead(key: bytes) -> Aead:
    if len(key) != KEY_BYTES:
        raise SecretUnreadable
    make: Callable[[bytes], Aead]
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM as make
    except ImportError as error:
        raise InvalidRequest(
            "Credentials are sealed by the extra `connectors`: pip install 'tenantry[connectors]'."
        ) from error
    return make(key)
