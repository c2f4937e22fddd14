"""The hash-chained audit log (SEC-4): a chain per tenant and a chain of heads.

Events are appended on a connection of their own, by a role that may call one function and nothing
else: evidence of a refusal survives the rollback of the attack. Chains and their verification are
in `db/migrations/0003_audit.sql`.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenantry.core.events import AuditEvent, Json
from tenantry.core.group_commit import GroupCommit
from tenantry.core.ids import PLATFORM
from tenantry.core.storable import storable_text
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.statements import RoleDatabase
from tenantry.isolation.transaction import Database

_SQL = load("tenantry.security")
NEWEST = 2**62
_MOST_DIGESTS = 1024
"""Remembered: most events are about a few models, assistants and tools."""


@dataclass(frozen=True, slots=True)
class Defect:
    """Where the log contradicts itself; `seq` is an anchor's number for the nil tenant."""

    tenant: UUID
    seq: int
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of reading the whole log."""

    events: int
    chains: int
    defects: tuple[Defect, ...]


class AuditLog:
    """Appends to, reads and verifies the audit log."""

    def __init__(self, door: RoleDatabase, key: bytes) -> None:
        self._door = door
        self._key = key
        self._group: GroupCommit[bytes, None] = GroupCommit(self._append)
        self._digests: dict[str, str] = {}

    async def record(self, event: AuditEvent) -> None:
        """Append the event to its tenant's chain; durable on return (one round trip a group).

        Raises:
            StoreUnavailable: the log cannot be written; the caller must refuse its work.
        """
        row: dict[str, Json] = {
            "tenant": str(event.tenant),
            "actor": event.actor,
            "action": event.action,
            "outcome": event.outcome,
            "layer": event.layer,
            "target_digest": self.digest(event.target) if event.target else "",
            "detail": event.detail,
            "request_id": event.request_id,
        }
        await self._group.submit(storable_text(row), event.tenant)

    async def close(self) -> None:
        """Return once everything is written."""
        await self._group.close()

    async def _append(self, events: Sequence[bytes]) -> list[None]:
        async with self._door.autocommit() as statements:
            await statements.execute(
                _SQL["append_audits"], events=(b"[%b]" % b",".join(events)).decode()
            )
        return [None] * len(events)

    def digest(self, target: str) -> str:
        """Keyed digest of a target: ids can be guessed, so a plain hash would reveal them."""
        known = self._digests.get(target)
        if known is None:
            known = hmac.digest(self._key, target.encode("utf-8", "replace"), "sha256").hex()
            if len(self._digests) >= _MOST_DIGESTS:
                self._digests.clear()
            self._digests[target] = known
        return known

    async def anchor(self) -> int:
        """Add to the chain of heads what moved since its last link; the newest link's number."""
        async with self._door.autocommit() as statements:
            return int(await statements.value(_SQL["anchor_audit"]))

    async def verify(self) -> Verification:
        """Recompute every link of every chain."""
        async with self._door.transaction() as statements:
            counts = await statements.row(_SQL["count_audit"]) or {"events": 0, "chains": 0}
            broken = await statements.rows(_SQL["verify_audit"])
        defects = tuple(Defect(r["tenant_id"], r["seq"], r["problem"]) for r in broken)
        return Verification(counts["events"], counts["chains"], defects)

    async def platform_events(self, before: int = NEWEST, limit: int = 100) -> list[dict[str, Any]]:
        """Events that belong to no tenant (operators, failed sign-ins), newest first."""
        async with self._door.autocommit() as statements:
            return await statements.rows(
                _SQL["list_platform_audit"], owner=PLATFORM, before=before, limit=limit
            )


async def tenant_events(
    ctx: TenantContext,
    db: Database,
    before: int = NEWEST,
    limit: int = 100,
    outcome: str | None = None,
) -> list[dict[str, Any]]:
    """The tenant's own audit events with `seq` below `before`, newest first."""
    async with db.tenant(ctx) as tx:
        return await tx.rows(_SQL["list_audit"], before=before, limit=limit, outcome=outcome)
