"""Grants in the database: one transaction that holds the tenant's plan, three statements.

The arithmetic is `granting`'s; here it is only read and written. A transaction whose outcome is
not known is harmless: what a holder tells are totals, and a grant that it never heard of is given
back when its lease ends.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import orjson

from tenantry.core.events import AuditSink
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.transaction import Database, Transaction
from tenantry.limits.alerts import Alert
from tenantry.limits.granting import Counter, Grant, Lease, Part, Request, State, grant
from tenantry.limits.rules import Budget, CounterKey, Rulebook, Scope
from tenantry.limits.windows import Window

_SQL = load("tenantry.limits")
_SCOPES: tuple[Scope, ...] = ("member", "key", "assistant", "model")
_SEEN = ("budget_id", "subject", "mark", "scope", "unit", "period", "amount", "limit_amount")


class Authority(Protocol):
    """Where budgets are kept: who grants to all replicas."""

    async def trip(self, ctx: TenantContext, request: Request) -> Grant:
        """Answer a request, durable on return.

        Raises:
            StoreUnavailable: it cannot be reached; nothing is granted, as far as is known.
        """
        ...


class PostgresAuthority:
    """Budgets in the platform's database."""

    def __init__(self, db: Database, signer: ContextSigner, audit: AuditSink) -> None:
        self._db = db
        self._signer = signer
        self._audit = audit

    async def trip(self, ctx: TenantContext, request: Request) -> Grant:
        """As `Authority.trip`; alerts that are new are recorded, and are in the audit log."""
        subjects = {want.ask.subject(scope) for want in request.wants for scope in _SCOPES}
        subjects |= {key.subject for told in request.told for key in told.spent} | {""}
        leases = {told.lease for told in request.told} | {request.lease}
        async with self._db.tenant(ctx) as tx:
            state = await read_state(tx, subjects)
            if state is None:
                return Grant(None)
            answer = grant(state, request)
            changes = Changes([x for x in leases if x is not None], answer.alerts)
            raised = await write_state(tx, self._signer, state, changes)
        for alert in raised:
            detail = {name: alert[name] for name in _SEEN} | {"budget_id": str(alert["budget_id"])}
            await self._audit.record(
                ctx.event("budget.alert", "allowed", "limits", str(alert["budget_id"]), detail)
            )
        return answer


async def read_state(tx: Transaction, subjects: Collection[str]) -> State | None:
    """What the database holds of this tenant's budgets, locked; None when it has none."""
    if await tx.row(_SQL["lock_plan"]) is None:
        return None
    row = await tx.row(_SQL["read_state"], subjects=list(subjects))
    if row is None:
        return None
    rulebook = Rulebook(
        row["epoch"], row["time_zone"], tuple(budget_of(found) for found in row["budgets"] or ())
    )
    counters = {
        _key(found): Counter(
            Window(_time(found["window_start"]), _time(found["window_end"])),
            found["used"],
            found["tat_us"],
        )
        for found in row["counters"] or ()
    }
    leases = {UUID(found["lease_id"]): _lease(found) for found in row["leases"] or ()}
    now = row["now"].astimezone(UTC)
    return State(now, rulebook, counters, leases, transaction=row["transaction"])


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be written of a state beside the counters that were touched.

    Attributes:
        leases: those to store.
        alerts: to record, each once in a window.
        tidies: whether counters of windows that ended long ago are dropped.
    """

    leases: Collection[UUID] = ()
    alerts: Collection[Alert] = ()
    tidies: bool = False


async def write_state(
    tx: Transaction, signer: ContextSigner, state: State, changes: Changes
) -> list[Mapping[str, Any]]:
    """Store what has changed; the alerts that are new.

    Signed for this transaction: no other SQL in it can write counters or leases.
    """
    counters = [_counter_row(key, state.counters[key]) for key in state.touched]
    kept = [_lease_row(state.leases[lease]) for lease in changes.leases if lease in state.leases]
    if not (counters or kept or state.ended or changes.alerts or changes.tidies):
        return []
    body = {
        "counters": counters,
        "leases": kept,
        "ended": list(state.ended),
        "alerts": [_alert_row(alert) for alert in changes.alerts],
        "tidies": changes.tidies,
    }
    text, mac = signer.budgets(tx.ctx, state.transaction, orjson.dumps(body).decode())
    return list(await tx.rows(_SQL["write_budgets"], key=signer.key_id, body=text, mac=mac))


def budget_of(row: Mapping[str, Any]) -> Budget:
    """A budget as a row of its table, or of that row as JSON."""
    return Budget(
        UUID(str(row["budget_id"])),
        row["set_by"],
        row["scope"],
        row["subject"],
        row["unit"],
        row["period"],
        row["hard_limit"],
        row["soft_limit"],
        row["grace"],
        tuple(row["alerts"]),
    )


def _key(row: Mapping[str, Any]) -> CounterKey:
    return CounterKey(UUID(row["budget_id"]), row["subject"], _time(row["window_start"]))


def _lease(row: Mapping[str, Any]) -> Lease:
    parts = {
        CounterKey(UUID(budget), subject, _time(start)): Part(granted, told)
        for budget, subject, start, granted, told in row["parts"]
    }
    return Lease(
        UUID(row["lease_id"]), UUID(row["replica"]), row["epoch"], _time(row["expires_at"]), parts
    )


def _lease_row(lease: Lease) -> Mapping[str, Any]:
    parts = [
        (key.budget, key.subject, key.start, part.granted, part.told)
        for key, part in lease.parts.items()
    ]
    return {
        "lease_id": lease.id,
        "replica": lease.replica,
        "epoch": lease.epoch,
        "expires_at": lease.expires_at,
        "parts": parts,
    }


def _counter_row(key: CounterKey, counter: Counter) -> Mapping[str, Any]:
    return {
        "budget_id": key.budget,
        "subject": key.subject,
        "window_start": counter.window.start,
        "window_end": counter.window.end,
        "used": counter.used,
        "tat_us": counter.tat_us,
    }


def _alert_row(alert: Alert) -> Mapping[str, Any]:
    return {
        "budget_id": alert.budget.id,
        "subject": alert.key.subject,
        "window_start": alert.key.start,
        "mark": alert.mark,
        "amount": alert.amount,
        "scope": alert.budget.scope,
        "unit": alert.budget.unit,
        "period": alert.budget.period,
        "limit_amount": alert.limit,
    }


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
