"""Calls that change something and that a model asked for: each waits for its member (SEC-3).

Threat: text in a tenant's own data makes a model call what writes; an approval is used twice, for
other arguments, by somebody else, or later.
Invariant: an approval is for one operation as it was shown and for exactly the arguments that are
sent, of the member in whose conversation it was asked for, once, within five minutes. No tool
takes one: a model cannot approve.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from tenantry.core.errors import Conflict, NotFound, QueryRefused
from tenantry.core.events import AuditSink, Json, Outcome
from tenantry.core.ids import new_id
from tenantry.core.storable import storable_json
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database

_SQL = load("tenantry.connectors")
_SECONDS = 300
_MOST_WAITING = 20  # of one member
_DAYS = 30
Decision = Literal["approved", "refused"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that a model asks for.

    Attributes:
        connector: whose operation it is.
        operation: its name.
        arguments: as the model gave them.
        sha256: of the operation and of all that would be sent.
    """

    connector: UUID
    operation: str
    arguments: Mapping[str, Json]
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Approval:
    """A call that waits for its member, or was decided.

    Attributes:
        approval_id: UUIDv7.
        conversation_id: in which it was asked for.
        asked: the call.
        state: `pending`, `approved` or `refused`.
        requested_at: when the model asked.
        expires_at: after which it is good for nothing.
    """

    approval_id: UUID
    conversation_id: UUID
    asked: Asked
    state: str
    requested_at: datetime
    expires_at: datetime


class Approvals:
    """Keeps what one member at a time is asked."""

    def __init__(self, db: Database, audit: AuditSink) -> None:
        self._db = db
        self._audit = audit

    async def ask(self, ctx: TenantContext, conversation: UUID, asked: Asked) -> Approval:
        """Let a call wait for the member; what expired a month ago in the tenant is removed.

        Raises:
            Forbidden: the actor is no member.
            QueryRefused: as many wait as may be.
        """
        async with self._db.tenant(ctx) as tx:
            await tx.execute(_SQL["delete_old_approvals"], days=_DAYS)
            row = await tx.row(
                _SQL["ask_approval"],
                approval_id=new_id(),
                connector_id=asked.connector,
                conversation_id=conversation,
                member_id=ctx.member,
                operation=asked.operation,
                arguments=Jsonb(storable_json(dict(asked.arguments))),
                sha256=asked.sha256,
                seconds=_SECONDS,
                most=_MOST_WAITING,
            )
            if row is None:
                raise QueryRefused(f"{_MOST_WAITING} calls wait for the member already.")
            approval = _approval(row)
            await self._record(ctx, "approval.asked", "allowed", approval)
        return approval

    async def list_pending(self, ctx: TenantContext, after: UUID, limit: int) -> list[Approval]:
        """The member's own that still wait, with ids after `after`, oldest first."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(
                _SQL["list_approvals"], member_id=ctx.member, after=after, limit=limit
            )
        return [_approval(row) for row in rows]

    async def get(self, ctx: TenantContext, approval: UUID) -> Approval:
        """One of the member's own.

        Raises:
            NotFound: no such approval, or another member's.
        """
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(_SQL["get_approval"], approval_id=approval, member_id=ctx.member)
        if row is None:
            raise NotFound
        return _approval(row)

    async def decide(self, ctx: TenantContext, approval: UUID, decision: Decision) -> Approval:
        """Approve or refuse, once.

        Raises:
            NotFound: no such approval, or another member's.
            Conflict: it was decided before, or has expired; recorded.
        """
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(
                _SQL["decide_approval"],
                approval_id=approval,
                member_id=ctx.member,
                state=decision,
            )
            if row is not None:
                decided = _approval(row)
                # Inside the transaction: what cannot be recorded is not approved.
                await self._record(ctx, f"approval.{decision}", "allowed", decided)
                return decided
        known = await self.get(ctx, approval)
        reason = "expired" if known.state == "pending" else "decided before"
        await self._record(ctx, "approval.unusable", "refused", known, reason)
        raise Conflict("This was decided before, or has expired. Have the assistant ask again.")

    async def refuse_changed(self, ctx: TenantContext, approval: Approval) -> None:
        """Refuse one whose operation or arguments are not what was asked any more.

        Raises:
            Conflict: always; recorded.
        """
        await self._record(ctx, "approval.unusable", "refused", approval, "changed")
        raise Conflict("The operation changed since this was asked. Have the assistant ask again.")

    async def _record(
        self,
        ctx: TenantContext,
        action: str,
        outcome: Outcome,
        approval: Approval,
        reason: str = "",
    ) -> None:
        detail: dict[str, Json] = {
            "operation": approval.asked.operation[:60],
            "conversation": str(approval.conversation_id),
            "sha256": approval.asked.sha256.hex(),
        }
        if reason:
            detail["reason"] = reason
        target = str(approval.approval_id)
        await self._audit.record(ctx.event(action, outcome, "connector", target, detail))


def _approval(row: Mapping[str, Any]) -> Approval:
    return Approval(
        approval_id=row["approval_id"],
        conversation_id=row["conversation_id"],
        asked=Asked(row["connector_id"], row["operation"], row["arguments"], row["sha256"]),
        state=row["state"],
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
    )
