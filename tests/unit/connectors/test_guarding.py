"""A refusal is recorded with what it reached for, and reading SQL holds nobody up."""

import asyncio
from datetime import UTC, datetime

import pytest

from tenantry.connectors.base import ConnectorConfig
from tenantry.connectors.guarding import admit, reading_places
from tenantry.connectors.sql_guard import Reason, Scope
from tenantry.core.errors import QueryRefused
from tenantry.core.events import AuditEvent
from tenantry.core.ids import ConnectorId, new_id
from tenantry.isolation.context import TenantContext

pytestmark = pytest.mark.req("CON-3")

_SCOPE = Scope("postgres", [("public", "orders")], 11, {("public", "orders"): ("id", "total")})
_CONFIG = ConnectorConfig(ConnectorId(new_id()), "shop", "postgres", {}, datetime.now(UTC))


class Sink:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    async def record(self, event: AuditEvent) -> None:
        """Keep one event."""
        self.events.append(event)


@pytest.mark.parametrize(
    ("statement", "reason", "named"),
    [
        ("SELECT o.secret FROM orders AS o", "column", "o.secret"),
        ("SELECT * FROM globex.orders", "relation", "globex.orders"),
        ("SELECT ('/etc/passwd'::text).pg_read_file", "function", "pg_read_file"),
        ("SELECT 1 INTO stolen", "statement", "INTO"),
    ],
)
async def test_what_reaches_outside_is_recorded_once_with_its_name(
    ctx: TenantContext, statement: str, reason: Reason, named: str
) -> None:
    sink = Sink()
    with pytest.raises(QueryRefused):
        await admit(ctx, sink, reading_places(), _CONFIG, statement, _SCOPE)
    (event,) = sink.events
    assert (event.action, event.target) == ("query.refused", named)
    assert event.detail == {"connector": "shop", "reason": reason, reason: named}


async def test_a_mistake_is_answered_and_not_recorded(ctx: TenantContext) -> None:
    sink = Sink()
    with pytest.raises(QueryRefused):
        await admit(ctx, sink, reading_places(), _CONFIG, "SELECT FROM WHERE", _SCOPE)
    assert sink.events == []


async def test_the_event_loop_goes_on_while_a_long_statement_is_read(ctx: TenantContext) -> None:
    statement = "SELECT " + ", ".join(f"id + {n} AS c{n}" for n in range(800)) + " FROM orders"
    reading = asyncio.create_task(admit(ctx, Sink(), reading_places(), _CONFIG, statement, _SCOPE))
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert (await reading).relations == {("public", "orders")}
    assert turns > 2, "the loop had no turn of its own while the statement was read"


async def test_one_tenants_flood_of_long_statements_is_read_beside_its_neighbours_one(
    ctx: TenantContext, neighbour: TenantContext
) -> None:
    statement = "SELECT " + ", ".join(f"id + {n} AS c{n}" for n in range(300)) + " FROM orders"
    places, read = reading_places(), []

    async def ask(who: TenantContext) -> None:
        await admit(who, Sink(), places, _CONFIG, statement, _SCOPE)
        read.append(who.tenant)

    flood = [asyncio.create_task(ask(ctx)) for _ in range(24)]
    await asyncio.sleep(0)  # all of them wait, or are being read
    await ask(neighbour)
    before = read.index(neighbour.tenant)
    await asyncio.gather(*flood)
    # One was under way, and as many more as end while a single other statement is read.
    assert before <= 4, f"{before} of {len(flood)} statements of a flood were read before it"
