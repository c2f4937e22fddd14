"""Reports (COST-5): sums of ledger rows, and the rows themselves.

What a provider confirmed and what is our own count are always shown apart, and so is what had no
price. Money is in pico-USD, whole; days are UTC.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from tenantry.core.errors import InvalidRequest
from tenantry.core.ids import TenantId, parse_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.statements import RoleDatabase, Statements
from tenantry.isolation.transaction import Database
from tenantry.metering.usage import Payer

Dimension = Literal["day", "model", "account", "tool", "connector", "assistant", "member"]

_SQL = load("tenantry.metering")
_EXPORT_PAGE = 500
_MEASURES = (
    "calls", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "duration_ms",
    "row_count", "size_bytes", "cost_picousd", "unconfirmed_calls", "unconfirmed_picousd",
    "unpriced_calls", "tenant_paid_calls",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` up to, but not including, `until`; both with a time zone."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since.tzinfo is None or self.until.tzinfo is None or self.since > self.until:
            raise InvalidRequest("A period is two moments with a time zone, the earlier one first.")


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over ledger rows.

    Attributes:
        calls: calls, tool executions, embeddings and daily storage counts.
        input_tokens: of the prompts, cached ones included.
        cached_tokens: served from a provider's cache.
        output_tokens: produced, reasoning included.
        reasoning_tokens: of hidden reasoning.
        duration_ms: time of calls and tools, added up.
        row_count: rows that tools returned, or that were stored.
        size_bytes: bytes that tools returned, or that were stored (bytes x days).
        cost_picousd: all of it, 1e-12 USD.
        unconfirmed_calls: how many of the calls no provider confirmed.
        unconfirmed_picousd: how much of the cost that is.
        unpriced_calls: how many of the calls had no price, and so cost 0 here.
        tenant_paid_calls: how many went out with the tenant's own accounts, and so cost 0 here.
    """

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    duration_ms: int = 0
    row_count: int = 0
    size_bytes: int = 0
    cost_picousd: int = 0
    unconfirmed_calls: int = 0
    unconfirmed_picousd: int = 0
    unpriced_calls: int = 0
    tenant_paid_calls: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(getattr(self, name) + getattr(other, name) for name in _MEASURES))

    @property
    def confirmed_picousd(self) -> int:
        """The cost that rests on a provider's own figures, or on our own tools and storage."""
        return self.cost_picousd - self.unconfirmed_picousd


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a report: its key in the chosen dimension, the operation, who pays, the sums.

    `key` is a day (2026-11-23), `<provider>/<model>`, an account at a provider, a tool, a
    connector's id, an assistant's id (empty for none) or an actor (`member:<id>`).
    """

    key: str
    operation: str
    payer: Payer
    sums: Sums


@dataclass(frozen=True, slots=True)
class Totals:
    """A tenant's totals, and what its calls under way may still cost at most."""

    sums: Sums
    reserved_calls: int
    reserved_picousd: int


@dataclass(frozen=True, slots=True)
class EventKey:
    """Where a page of events ends; opaque to clients once it is sealed."""

    at: datetime
    call_id: UUID
    kind: str
    part: int

    def __str__(self) -> str:
        return f"{self.at.isoformat()}|{self.call_id}|{self.kind}|{self.part}"

    @classmethod
    def parse(cls, text: str) -> "EventKey":
        """The key that `str` wrote.

        Raises:
            InvalidRequest: it did not write this.
        """
        try:
            at, call_id, kind, part = text.split("|")
            key = cls(datetime.fromisoformat(at), UUID(call_id), kind, int(part))
        except ValueError as error:
            raise InvalidRequest("The cursor is not valid.") from error
        if key.at.tzinfo is None or parse_id(call_id) is None:
            raise InvalidRequest("The cursor is not valid.")
        return key


@dataclass(frozen=True, slots=True)
class EventPage:
    """Ledger rows, newest first, as dictionaries by column; `next` is None on the last page."""

    events: list[dict[str, Any]]
    next: EventKey | None


class UsageReports:
    """What a tenant used."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def by(self, ctx: TenantContext, dimension: Dimension, period: Period) -> list[Line]:
        """Sums by one dimension, and within each of its keys by operation and payer."""
        async with self._db.tenant(ctx) as tx:
            lines = await _lines(tx, dimension, period)
        # Days newest first, anything else the costliest first.
        lines.sort(key=lambda line: (-line.sums.cost_picousd, line.key, line.operation, line.payer))
        if dimension == "day":
            lines.sort(key=lambda line: line.key, reverse=True)
        return lines

    async def totals(self, ctx: TenantContext, period: Period) -> Totals:
        """All of the period in one line; what is reserved is of now."""
        async with self._db.tenant(ctx) as tx:
            lines = await _lines(tx, "member", period)
            held = await tx.rows(_SQL["usage_reserved"])
        sums = sum((line.sums for line in lines), start=Sums())
        return Totals(sums, int(held[0]["calls"]), int(held[0]["cost_picousd"]))

    async def events(
        self, ctx: TenantContext, period: Period, limit: int = 100, after: EventKey | None = None
    ) -> EventPage:
        """A page of ledger rows, newest first."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(
                _SQL["usage_events"],
                since=period.since,
                until=period.until,
                most=limit + 1,
                at=after.at if after else None,
                call_id=after.call_id if after else None,
                kind=after.kind if after else None,
                part=after.part if after else None,
            )
        page = rows[:limit]
        if len(rows) <= limit or not page:
            return EventPage(page, None)
        last = page[-1]
        return EventPage(page, EventKey(last["at"], last["call_id"], last["kind"], last["part"]))

    async def all_events(self, ctx: TenantContext, period: Period) -> AsyncIterator[dict[str, Any]]:
        """Every ledger row of the period, newest first, a page of them in memory at a time."""
        after: EventKey | None = None
        while True:
            page = await self.events(ctx, period, _EXPORT_PAGE, after)
            for event in page.events:
                yield event
            if page.next is None:
                return
            after = page.next


async def tenant_totals(operator: RoleDatabase, period: Period) -> dict[TenantId, Sums]:
    """For operators: the totals of every tenant that used something, the costliest first."""
    async with operator.transaction() as statements:
        lines = await _lines(statements, "tenant", period)
    found: dict[TenantId, Sums] = {}
    for line in lines:
        tenant = TenantId(UUID(line.key))
        found[tenant] = found.get(tenant, Sums()) + line.sums
    return dict(sorted(found.items(), key=lambda item: (-item[1].cost_picousd, str(item[0]))))


async def _lines(
    statements: Statements, dimension: Dimension | Literal["tenant"], period: Period
) -> list[Line]:
    rows = await statements.rows(
        _SQL["usage_by"], dimension=dimension, since=period.since, until=period.until
    )
    # SQL adds bigints up as numeric: sums may be larger than a row's ceiling, and stay whole.
    return [
        Line(
            row["key"],
            row["operation"],
            row["payer"],
            Sums(*(int(row[name]) for name in _MEASURES)),
        )
        for row in rows
    ]
