"""Calls that are made once, however often their client asks (`Idempotency-Key`).

What is kept stands in the call's own intent, durable before the call leaves: a digest of the key
and one of what was asked; no answer is kept. Whoever asks again is told what became of the first.
One that used nothing, since it was never sent or the provider refused it, gives its key back.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from tenantry.core.errors import AlreadyMade, KeyReused
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database

MOST_ATTEMPTS = 20
"""Of calls that used nothing, under one key; each is an intent of its own in the ledger."""
_SQL = load("tenantry.metering")
_STATES = {
    None: "it is still under way",
    "settled": "it has ended",
    "swept": "it was broken off",
}


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A client's key, and a digest of what it asks under it."""

    key: str
    digest: str

    @classmethod
    def of(cls, key: str, *asked: bytes) -> "RequestKey":
        """The key for what is asked."""
        whole = hashlib.sha256()
        for part in asked:
            whole.update(len(part).to_bytes(8, "big") + part)
        return cls(key, whole.hexdigest())

    def attempt(self, number: int) -> str:
        """The digest under which the attempt stands in the ledger."""
        return hashlib.sha256(f"{number}:{self.key}".encode()).hexdigest()


async def refuse_repeated(ctx: TenantContext, db: Database, key: RequestKey, number: int) -> None:
    """Return if the attempt in the ledger used nothing, so that another may be made.

    Raises:
        KeyReused: something else was asked under this key.
        AlreadyMade: the call was made.
    """
    async with db.tenant(ctx) as tx:
        found: dict[str, Any] | None = await tx.row(
            _SQL["call_by_key"], request_key=key.attempt(number)
        )
    if found is None:
        return
    if found["request_digest"] != key.digest:
        raise KeyReused
    if not found["unused"]:
        state = _STATES.get(found["ended"], "it has ended")
        raise AlreadyMade(f"This call was made before, as {found['call_id']}: {state}.")
