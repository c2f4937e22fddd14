"""Signs the tenant context towards the database (DB-4).

Token layout and verification: `db/migrations/0001_context.sql`, and `0060_access_lists.sql` for the
letter that says what the transaction may see. HMAC-SHA256 as in RFC 2104.
"""

import hashlib
import hmac
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from tenantry.isolation.context import Sight, TenantContext

_BLOCK = 64  # SHA-256's block, in bytes
View = Literal["g", "o", "e", "k", "p"]
_OF_SIGHT: Mapping[Sight, View] = MappingProxyType({"groups": "g", "open": "o", "everything": "e"})


class ContextSigner:
    """Makes the token that `tenantry.current_tenant()` verifies; holds the signing key."""

    def __init__(self, key: bytes, key_id: str = "k1") -> None:
        self._key = key
        self._key_id = key_id

    @property
    def key_id(self) -> str:
        """Which row of `signing_keys` verifies the tokens made here."""
        return self._key_id

    def token(
        self, ctx: TenantContext, backend_pid: int, expires_at: int, view: View | None = None
    ) -> str:
        """The signed context of one transaction: letters and digits only.

        Args:
            ctx: a verified context.
            backend_pid: process id of the PostgreSQL backend that may use it.
            expires_at: seconds since 1970 after which the database refuses it.
            view: what the transaction may see, if not just what the context does.
        """
        tenant, actor, letter = ctx.tenant.hex, ctx.actor.id.hex, view or _OF_SIGHT[ctx.sees]
        body = f"{self._key_id}{tenant}{actor}{expires_at:010d}{letter}{backend_pid}"
        return body + hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()

    def row(self, ctx: TenantContext, body: str) -> tuple[str, str]:
        """A row of the ledger as `tenantry.append_usage()` believes it: its text, and the MAC.

        Args:
            ctx: a verified context of the tenant that the row belongs to.
            body: the row as a JSON object.
        """
        row = f"usage|{ctx.tenant.hex}|{body}"
        return row, hmac.digest(self._key, row.encode(), "sha256").hex()

    def budgets(self, ctx: TenantContext, transaction: str, body: str) -> tuple[str, str]:
        """What is to be written of budgets as `tenantry.write_budgets()` believes it, and the MAC.

        Args:
            ctx: a verified context of the tenant whose budgets they are.
            transaction: PostgreSQL's number of the one in which it is written.
            body: counters, leases and alerts as a JSON object.
        """
        text = f"budgets|{ctx.tenant.hex}|{transaction}|{body}"
        return text, hmac.digest(self._key, text.encode(), "sha256").hex()

    def is_job(self, body: str, mac: str) -> bool:
        """Whether `tenantry.release_jobs()` signed this text of the queue with our key."""
        if not body.startswith(f"job|{self._key_id}|") or not mac.isascii():
            return False
        expected = hmac.digest(self._key, body.encode("utf-8", "replace"), "sha256").hex()
        return hmac.compare_digest(expected, mac)

    def blocks(self) -> tuple[bytes, bytes]:
        """The key's inner and outer padded blocks, as the database stores them."""
        key = self._key if len(self._key) <= _BLOCK else hashlib.sha256(self._key).digest()
        padded = key.ljust(_BLOCK, b"\0")
        return bytes(b ^ 0x36 for b in padded), bytes(b ^ 0x5C for b in padded)
