"""Adds rows to the ledger by group commit: one durable write for many calls of many tenants.

Threat: a row is entered under another tenant than the one whose call it is.
Invariant: a row is signed with the verified context it was made in, and the database enters it
under that tenant or not at all (`db/migrations/0016_ledger_writer.sql`); a row that it refuses is
recorded as a blocked crossing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from tenantry.core.errors import BoundaryCrossed, LeaseLost
from tenantry.core.events import AuditSink
from tenantry.core.group_commit import GroupCommit
from tenantry.db.queries import load
from tenantry.isolation.context import ContextMint, TenantContext
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.statements import RoleDatabase
from tenantry.metering.entries import Entry

_SQL = load("tenantry.metering")


@dataclass(frozen=True, slots=True)
class SignedRow:
    """A row as the database believes it."""

    body: str
    mac: str = field(repr=False)


class LedgerWriter:
    """The one way by which calls enter the ledger outside a tenant's transaction."""

    def __init__(
        self, door: RoleDatabase, mint: ContextMint, signer: ContextSigner, audit: AuditSink
    ) -> None:
        self._door = door
        self._mint = mint
        self._signer = signer
        self._audit = audit
        self._group: GroupCommit[SignedRow, str] = GroupCommit(self._write)

    async def append(self, ctx: TenantContext, entry: Entry) -> bool:
        """Add a row; durable on return. False when the call has it, or is closed already.

        Raises:
            ContextInvalid: the context is not one our authentication made.
            BoundaryCrossed: the database does not believe the row; recorded.
            LeaseLost: an intent without a live lease of the tenant's budgets; nothing was added.
            StoreUnavailable: it cannot be written, or too much waits to be.
        """
        self._mint.verify(ctx)
        return await self.add(ctx, SignedRow(*self._signer.row(ctx, orjson.dumps(entry).decode())))

    async def add(self, ctx: TenantContext, row: SignedRow) -> bool:
        """Add a row that is signed already; as `append`."""
        outcome = await self._group.submit(row, ctx.tenant)
        if outcome == "refused":
            await self._audit.record(ctx.event("ledger.row", "refused", "database", "usage_events"))
            raise BoundaryCrossed
        if outcome == "fenced":
            raise LeaseLost
        return outcome == "added"

    async def close(self) -> None:
        """Return once everything is written."""
        await self._group.close()

    async def _write(self, rows: Sequence[SignedRow]) -> list[str]:
        async with self._door.autocommit() as statements:
            found = await statements.rows(
                _SQL["append_usage"],
                key=self._signer.key_id,
                # One text: the driver takes a list apart in Python, at 40 us a row.
                rows=orjson.dumps([(row.body, row.mac) for row in rows]).decode(),
            )
        return [row["outcome"] for row in found]
