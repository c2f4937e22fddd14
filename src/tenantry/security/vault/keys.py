"""What keeps the key-encryption key: it wraps data keys and opens them again, bound to a tenant.

The key itself never comes out; of the kinds, only `file` holds it in this process at all.
"""

from dataclasses import dataclass, field
from typing import Protocol

from tenantry.core.ids import TenantId
from tenantry.security.vault.envelope import associated_data

_SCHEME = "tenantry-data-key-1"


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """What a wrapped data key is bound to: it opens for no other tenant and version."""

    tenant: TenantId
    version: int

    def encoded(self) -> bytes:
        """The binding as associated data."""
        return associated_data(_SCHEME, str(self.tenant), str(self.version))


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key as it is stored.

    Attributes:
        blob: the wrapped key; only its keeper understands it.
        by: which key wrapped it, such as `file:3f9a12c4`; no secret.
    """

    blob: bytes = field(repr=False)
    by: str


class KeyEncryption(Protocol):
    """A keeper of the key-encryption key."""

    def holds(self, by: str) -> bool:
        """Whether keys wrapped by `by` are this keeper's to unwrap."""
        ...

    async def current(self) -> str:
        """The key that wraps now, as in `Wrapped.by`; another value after a rotation.

        Raises:
            VaultUnavailable: the keeper does not answer.
        """
        ...

    async def wrap(self, key: bytes, binding: KeyBinding) -> Wrapped:
        """The data key, wrapped by the current key.

        Raises:
            VaultUnavailable: the keeper does not answer.
        """
        ...

    async def unwrap(self, wrapped: Wrapped, binding: KeyBinding) -> bytes:
        """The data key again.

        Raises:
            SecretUnreadable: it was wrapped for another tenant or version, by a key that is not
                here, or was changed.
            VaultUnavailable: the keeper does not answer.
        """
        ...

    async def close(self) -> None:
        """Drop connections to the keeper."""
        ...
